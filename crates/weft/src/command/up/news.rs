//! What happened to the processes of `weft up`, in words: a death, a successor, an app that answers again, calls
//! that failed meanwhile.
//!
//! Taken from what the host agents say and write for anybody, so it is what a person would find as well.

use super::household::Household;
use super::report::Report;
use crate::clock;
use std::collections::{HashMap, HashSet};
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};
use std::time::Instant;

/// How a line of a host agent begins.
const AGENT: &str = "weft run: ";
/// Bytes of a log that are looked at in one turn.
const TURN_BYTES_MAX: u64 = 64 * 1024;
/// Lines of one log that are told in one turn.
const TURN_LINES_MAX: usize = 5;

/// Follows the processes.
pub(super) struct News {
    began: Instant,
    logs: Vec<Log>,
    sidecars: HashMap<String, u32>,
    /// Instances whose app does not answer.
    silent: HashSet<String>,
    failed: u64,
}

impl News {
    /// What happens from now on.
    pub(super) fn begin(household: &Household) -> Self {
        let logs = household.names().map(|name| {
            let path = household.log_path(name);
            Log {
                at: path.metadata().map_or(0, |metadata| metadata.len()),
                name: name.to_owned(),
                path,
                half: String::new(),
            }
        });
        Self {
            began: clock::now(),
            logs: logs.collect(),
            sidecars: sidecars(household),
            silent: HashSet::new(),
            failed: 0,
        }
    }

    /// A sentence with its time.
    pub(super) fn sentence(&self, text: &str) -> String {
        let passed = clock::now().saturating_duration_since(self.began);
        format!("[{:>5.1} s] {text}", passed.as_secs_f64())
    }

    /// What happened since the last turn, a sentence each.
    pub(super) fn turn(&mut self, household: &Household, report: &Report) -> Vec<String> {
        let mut told = Vec::new();
        // Before the logs: a death is told before its successor.
        let now = sidecars(household);
        for log in &mut self.logs {
            told.extend(log.turn());
        }
        let mut successors: Vec<_> = now
            .iter()
            .filter(|(name, pid)| self.sidecars.get(*name).is_some_and(|known| known != *pid))
            .map(|(name, pid)| {
                format!("{name}: another sidecar (pid {pid}) serves, on the same sockets")
            })
            .collect();
        successors.sort();
        told.extend(successors);
        self.sidecars.extend(now);
        for (name, port) in household.app_ports() {
            let answers = weft_host::owner::any_listens(&[*port]);
            if answers && self.silent.remove(name) {
                told.push(format!("{name}: its app answers again"));
            } else if !answers && self.silent.insert(name.clone()) {
                told.push(format!(
                    "{name}: its app does not answer; callers use another instance"
                ));
            }
        }
        if report.total.failed > self.failed {
            let more = report.total.failed - self.failed;
            let found = report.found.replace(char::is_control, " ");
            told.push(format!(
                "{more} of the visitors' calls failed; the last one found: {found}"
            ));
            self.failed = report.total.failed;
        } else if !told.is_empty() {
            told.push(format!(
                "{} of the visitors' calls failed so far",
                self.failed
            ));
        }
        told.iter().map(|text| self.sentence(text)).collect()
    }
}

/// The sidecar of each instance.
fn sidecars(household: &Household) -> HashMap<String, u32> {
    let of = |name: &str| Some((name.to_owned(), household.runtime_file(name)?.sidecar_pid?));
    household.names().filter_map(of).collect()
}

/// The log of one process, read from a place on.
struct Log {
    name: String,
    path: PathBuf,
    at: u64,
    /// The beginning of a line that was not written to its end.
    half: String,
}

impl Log {
    fn turn(&mut self) -> Vec<String> {
        let read = read_from(&self.path, self.at);
        self.at += read.len() as u64;
        let text = std::mem::take(&mut self.half) + &String::from_utf8_lossy(&read);
        let (whole, half) = text.rsplit_once('\n').unwrap_or(("", &text));
        half.clone_into(&mut self.half);
        let mut told: Vec<String> = whole
            .lines()
            .filter_map(|line| line.strip_prefix(AGENT))
            .map(|line| format!("{}: {}", self.name, line.replace(char::is_control, " ")))
            .collect();
        if told.len() > TURN_LINES_MAX {
            let more = told.len() - TURN_LINES_MAX;
            told.truncate(TURN_LINES_MAX);
            told.push(format!("{}: and {more} lines more in its log", self.name));
        }
        told
    }
}

/// What a file has from a place on, not more than a turn's share; nothing when it cannot be read.
fn read_from(path: &Path, at: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = File::open(path).and_then(|mut file| {
        file.seek(SeekFrom::Start(at))?;
        file.take(TURN_BYTES_MAX).read_to_end(&mut bytes)
    });
    // A log that cannot be read tells nothing; the numbers are shown all the same.
    if read.is_err() {
        bytes.clear();
    }
    bytes
}

#[cfg(test)]
mod tests;
