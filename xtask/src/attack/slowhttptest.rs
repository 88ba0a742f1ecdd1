//! slowhttptest beside our own slow peers, in the full form: slow heads (-H), slow bodies (-B), slow readers (-X),
//! with 3,000 connections each. It says each second how many are open, and whether it was answered itself.

use super::stand::Stand;
use crate::command::{self, found};
use crate::drill::rows::Rows;
use std::fs;

/// Connections of each mode.
const CONNECTIONS: &str = "3000";

/// New ones a second.
const RATE: &str = "1500";

/// Between two pieces of a head or body, in seconds.
const EVERY: &str = "5";

/// How long a mode lasts, in seconds: two to connect, ten to be closed.
const SECONDS: &str = "16";

/// Seconds in which its own probe may wait for an answer.
const ANSWERED_WITHIN: &str = "1";

/// One way to be slow.
struct Mode {
    flag: &'static str,
    path: &'static str,
    /// What else it needs.
    words: &'static [&'static str],
    /// Whether all of them are to be closed.
    is_closed: bool,
}

const MODES: &[Mode] = &[
    Mode {
        flag: "-H",
        path: "/slow",
        words: &[],
        is_closed: true,
    },
    Mode {
        flag: "-B",
        path: "/body",
        words: &["-s", "1000000"],
        is_closed: true,
    },
    // Windows of 1 to 10 bytes, of which 5 are read each second.
    Mode {
        flag: "-X",
        path: "/big",
        words: &["-w", "1", "-y", "10", "-n", "1", "-z", "5"],
        is_closed: false,
    },
];

/// Runs the three modes.
pub(super) fn run(stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    if found("slowhttptest").is_none() {
        rows.note(
            "slowhttptest is not installed (cargo xtask peers): its rows are left out".to_owned(),
        );
        return Ok(());
    }
    for mode in MODES {
        one(stand, mode, rows)?;
    }
    Ok(())
}

fn one(stand: &Stand, mode: &Mode, rows: &mut Rows) -> Result<(), String> {
    let title = format!("slowhttptest {}", mode.flag);
    let report = command::target().join(format!("slowhttptest{}", mode.flag));
    let report = report.to_string_lossy().into_owned();
    let url = format!("http://{}{}", stand.inbound(), mode.path);
    let mut words = vec![
        mode.flag,
        "-c",
        CONNECTIONS,
        "-r",
        RATE,
        "-i",
        EVERY,
        "-l",
        SECONDS,
        "-p",
        ANSWERED_WITHIN,
        "-u",
        &url,
        "-g",
        "-o",
        &report,
    ];
    words.extend(mode.words);
    let before = stand.memory_kib()?;
    let (_, cost) = stand.under(&title, rows, || {
        command::output(command::command("slowhttptest", &words))
    })?;
    let path = format!("{report}.csv");
    let text = fs::read_to_string(&path).map_err(|error| format!("read \"{path}\": {error}"))?;
    let seconds = seconds(&text);
    let last = seconds
        .last()
        .ok_or_else(|| format!("\"{path}\" says nothing: \"{text}\""))?;
    let open = last.pending + last.connected;
    if mode.is_closed {
        rows.count(&format!("{title}: not closed of {CONNECTIONS}"), open, 0.0);
    } else {
        rows.shown(&format!("{title}: open at the end"), open);
    }
    let silent = seconds.iter().filter(|second| !second.is_answered).count();
    rows.count(
        &format!("{title}: seconds without an answer"),
        silent as f64,
        0.0,
    );
    rows.shown(&format!("{title}: memory, MiB"), cost.peak_kib / 1024.0);
    rows.shown(&format!("{title}: memory before, MiB"), before / 1024.0);
    rows.count(
        &format!("{title}: not stopped at the app"),
        cost.not_stopped,
        0.0,
    );
    Ok(())
}

/// A line of its report.
struct Second {
    pending: f64,
    connected: f64,
    is_answered: bool,
}

/// Lines of `Seconds,Closed,Pending,Connected,Service Available`, behind that head.
fn seconds(text: &str) -> Vec<Second> {
    text.lines()
        .skip(1)
        .filter_map(|line| {
            let columns: Vec<f64> = line
                .split(',')
                .filter_map(|word| word.trim().parse().ok())
                .collect();
            let [_, _, pending, connected, available] = columns[..] else {
                return None;
            };
            Some(Second {
                pending,
                connected,
                is_answered: available > 0.0,
            })
        })
        .collect()
}
