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
/// The width of a terminal that does not tell it.
const COLUMNS_DEFAULT: u16 = 80;

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

    /// Says what has just happened: above the block on a terminal, as a line elsewhere.
    pub(super) fn tell(&mut self, text: &str) {
        if self.shown > 0 {
            write(&format!("\x1b[{}A\r\x1b[J", self.shown));
        }
        self.say(text);
    }

    /// Shows the present numbers: in place of the former ones on a terminal, as one more line elsewhere.
    pub(super) fn show(&mut self, services: &[ServiceStats], report: &Report) {
        if !self.is_terminal {
            write(&format!("{}\n", plain(services, report)));
            return;
        }
        let lines = block(services, report, self.colors, columns());
        write(&redrawn(&lines, self.shown));
        self.shown = lines.len();
    }
}

/// How wide the terminal is.
fn columns() -> usize {
    let size = rustix::termios::tcgetwinsize(io::stdout());
    let columns = size.map_or(0, |size| size.ws_col);
    usize::from(if columns == 0 {
        COLUMNS_DEFAULT
    } else {
        columns
    })
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

/// The live block. No line is wider than the terminal: a wrapped one would be two, and redrawing lose count.
fn block(services: &[ServiceStats], report: &Report, colors: bool, columns: usize) -> Vec<String> {
    let clip = |line: &str| line.chars().take(columns).collect::<String>();
    let paint = |color: &str, line: String| {
        if colors {
            format!("{color}{line}{PLAIN}")
        } else {
            line
        }
    };
    let mut lines: Vec<String> = stats::table(services)
        .iter()
        .map(|line| clip(line))
        .collect();
    if let Some(head) = lines.first_mut() {
        *head = paint(BOLD, std::mem::take(head));
    }
    lines.push(String::new());
    let [all, second] = visitors(report);
    if report.total.failed == 0 {
        lines.push(clip(&all));
    } else {
        lines.push(paint(RED, clip(&all)));
        let found = report.found.replace(char::is_control, " ");
        lines.push(clip(&format!("the last failure: {found}")));
    }
    lines.push(clip(&second));
    lines.push("Ctrl-C ends every process.".into());
    lines
}

/// What the load generator counted: in all, and in the last second.
fn visitors(report: &Report) -> [String; 2] {
    let Report {
        second,
        total,
        seconds,
        ..
    } = report;
    [
        format!(
            "visitors counted in {seconds} s: {} calls, {} failed",
            total.calls, total.failed
        ),
        format!(
            "last second: {} calls, p50 {}, p95 {}, p99 {}",
            second.calls,
            stats::duration(second.p50_us),
            stats::duration(second.p95_us),
            stats::duration(second.p99_us),
        ),
    ]
}

/// One line with everything: the load generator's numbers, then the mesh's own.
fn plain(services: &[ServiceStats], report: &Report) -> String {
    let mut line = visitors(report).join("; ");
    for service in services {
        if let Some(rate) = service.calls.calls_per_second.filter(|rate| *rate > 0.0) {
            let _ = write!(line, "; {} {rate:.0}/s", service.name);
        }
    }
    line
}

#[cfg(test)]
mod tests;
