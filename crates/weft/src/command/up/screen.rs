//! What `weft up` shows: a live table on a terminal, plain lines elsewhere.

use super::report::Report;
use crate::stats::{self, ServiceStats};
use std::fmt::Write as _;
use std::io::{self, IsTerminal, Write as _};

/// Erases to the end of the line.
const ERASE: &str = "\x1b[K";
const BOLD: &str = "\x1b[1m";
const RED: &str = "\x1b[31m";
const PLAIN: &str = "\x1b[0m";

/// Standard output.
pub(super) struct Screen {
    is_terminal: bool,
    colors: bool,
    /// Lines of the live block that are on the terminal now.
    shown: usize,
}

impl Screen {
    pub(super) fn new() -> Self {
        let is_terminal = io::stdout().is_terminal();
        let no_color = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
        Self {
            is_terminal,
            colors: is_terminal && !no_color,
            shown: 0,
        }
    }

    /// Says something once.
    pub(super) fn say(&mut self, text: &str) {
        self.shown = 0;
        write(&format!("{text}\n"));
    }

    /// Shows the present numbers: in place of the former ones on a terminal, as one more line elsewhere.
    pub(super) fn show(&mut self, services: &[ServiceStats], report: &Report) {
        if !self.is_terminal {
            write(&format!("{}\n", plain(services, report)));
            return;
        }
        let lines = block(services, report, self.colors);
        write(&redrawn(&lines, self.shown));
        self.shown = lines.len();
    }
}

/// A person who has closed the pipe wants to see no more; the mesh goes on until it is ended.
fn write(text: &str) {
    let mut out = io::stdout();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
}

/// The block in place of one that had `before` lines.
fn redrawn(lines: &[String], before: usize) -> String {
    let mut text = String::new();
    if before > 0 {
        let _ = write!(text, "\x1b[{before}A\r");
    }
    for line in lines {
        text.push_str(line);
        text.push_str(ERASE);
        text.push('\n');
    }
    // A block that has become shorter leaves lines behind.
    text.push_str("\x1b[J");
    text
}

fn block(services: &[ServiceStats], report: &Report, colors: bool) -> Vec<String> {
    let paint = |color: &str, text: &str| {
        if colors {
            format!("{color}{text}{PLAIN}")
        } else {
            text.to_owned()
        }
    };
    let mut lines = stats::table(services);
    if let Some(head) = lines.first_mut() {
        *head = paint(BOLD, head);
    }
    let counted = visitors(report);
    let is_bad = report.total.failed > 0;
    lines.push(String::new());
    lines.push(if is_bad {
        paint(RED, &counted)
    } else {
        counted
    });
    lines.push("Ctrl-C ends every process.".into());
    lines
}

/// What the load generator counted.
fn visitors(report: &Report) -> String {
    let Report {
        second,
        total,
        seconds,
        ..
    } = report;
    format!(
        "visitors counted in {seconds} s: {} calls, {} failed; last second: {} calls, p50 {}, p95 {}, p99 {}",
        total.calls,
        total.failed,
        second.calls,
        stats::duration(second.p50_us),
        stats::duration(second.p95_us),
        stats::duration(second.p99_us),
    )
}

/// One line with everything: the load generator's numbers, then the mesh's own.
fn plain(services: &[ServiceStats], report: &Report) -> String {
    let mut line = visitors(report);
    for service in services {
        if let Some(rate) = service.calls.calls_per_second.filter(|rate| *rate > 0.0) {
            let _ = write!(line, "; {} {rate:.0}/s", service.name);
        }
    }
    line
}

#[cfg(test)]
mod tests;
