//! `cargo xtask test`: everything that this machine can run, with one closing line.
//!
//! Unit tests, scenarios over real processes, the rules of the house (a test of this crate) and the short form
//! of the conformance suites. Figures belong to `bench`; nothing here measures time.

use crate::command::{cargo, cargo_command, in_ci, run};
use crate::{conform, peers};
use std::io::{BufRead, BufReader};
use std::process::Stdio;
use std::sync::{Mutex, PoisonError};

/// What ran.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    /// Tests that passed.
    pub(crate) passed: u64,
    /// Tests that failed.
    pub(crate) failed: u64,
}

impl Tally {
    /// One thing that either holds or does not.
    pub(crate) fn one(holds: bool) -> Self {
        Self {
            passed: u64::from(holds),
            failed: u64::from(!holds),
        }
    }

    /// Both together.
    pub(crate) fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
        }
    }

    /// The closing line, alone on its line.
    pub(crate) fn line(self) -> String {
        format!("{} passed, {} failed", self.passed, self.failed)
    }
}

/// What has failed so far in this run, in words.
static FAILED: Mutex<Vec<String>> = Mutex::new(Vec::new());

/// Remembers what failed: a long run names it again at its end, where people and machines look first.
pub(crate) fn note_failed(what: String) {
    FAILED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(what);
}

/// Everything that was noted.
pub(crate) fn all_failed() -> Vec<String> {
    FAILED
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .clone()
}

/// Runs all; the closing line comes last.
pub(crate) fn run_all() -> Result<bool, String> {
    let tally = run_suites()?;
    println!("{}", tally.line());
    Ok(tally.failed == 0)
}

/// Runs all without the closing line.
pub(crate) fn run_suites() -> Result<Tally, String> {
    let peers_there = match peers::tell_left_out() {
        Ok(()) => true,
        Err(error) => {
            println!("{error}");
            false
        }
    };
    // Scenarios start the binary itself. The whole workspace, so that its crates have the features that the
    // tests are built with, and nothing is built twice.
    run(cargo_command(&["build", "--workspace"]))?;
    let mut tally = cargo_tests()?;
    if !peers_there {
        tally = tally.plus(Tally::one(false));
    }
    println!("suite: conform h1");
    tally = tally.plus(Tally::one(conform::h1(false, false)));
    println!("suite: conform tunnel");
    let tunnel = conform::tunnel(false).unwrap_or_else(|error| {
        println!("conform tunnel: {error}");
        false
    });
    tally = tally.plus(Tally::one(tunnel));
    Ok(tally)
}

/// Minutes that building and running all tests may take in CI, where nobody sees that one hangs.
const TESTS_MINUTES_MAX: &str = "15m";

fn cargo_tests() -> Result<Tally, String> {
    const WORDS: [&str; 3] = ["test", "--workspace", "--no-fail-fast"];
    let mut command = cargo_command(&WORDS);
    if in_ci() {
        let cargo = cargo();
        let words = ["--kill-after=10s", TESTS_MINUTES_MAX, cargo.as_str()];
        command = crate::command::command("timeout", &[words, WORDS].concat());
    }
    let mut child = command
        .env("PATH", peers::path())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(|error| format!("run cargo test: {error}"))?;
    let mut tally = Tally::default();
    if let Some(stdout) = child.stdout.take() {
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(|error| format!("read the output of cargo test: {error}"))?;
            println!("{line}");
            if let Some(name) = failed_test(&line) {
                note_failed(format!("test {name}"));
            }
            if let Some(found) = counted(&line) {
                tally = tally.plus(found);
            }
        }
    }
    let status = child
        .wait()
        .map_err(|error| format!("wait for cargo test: {error}"))?;
    if !status.success() && tally.failed == 0 {
        // It did not build, or a test program died: that is a failure that no line counted.
        println!("cargo test ended with {status} and no failed test: see above");
        note_failed(format!("cargo test ended with {status}"));
        tally.failed = 1;
    }
    Ok(tally)
}

/// The name on the line of a test that failed.
fn failed_test(line: &str) -> Option<&str> {
    line.strip_prefix("test ")?.strip_suffix(" ... FAILED")
}

/// The counts of a `test result:` line.
fn counted(line: &str) -> Option<Tally> {
    let counts = line.strip_prefix("test result:")?;
    let number = |unit: &str| -> Option<u64> {
        let (before, _) = counts.split_once(unit)?;
        before.trim().rsplit([' ', ';', '.']).next()?.parse().ok()
    };
    Some(Tally {
        passed: number(" passed")?,
        failed: number(" failed")?,
    })
}

#[cfg(test)]
mod tests;
