//! `cargo xtask ci`: all that must hold before a change is taken, with the time of each step.
//!
//! The same command on a person's machine and in CI. Cheap steps stand first; every step runs, so that one look
//! shows all that is broken.

use crate::command::{cargo_command, command, output, run, told};
use crate::suites::{Tally, all_failed, note_failed, run_suites};
use crate::{attack, bench, conform_h2, drill, fuzz, peers, sim, soak, tidy};
use serde_json::Value;
use std::time::{Duration, Instant};

/// What a step does.
type Work = fn() -> Result<Tally, String>;

const STEPS: &[(&str, Work)] = &[
    ("peers", || peers::install().map(|()| Tally::one(true))),
    ("format", || cargo(&["fmt", "--all", "--check"])),
    ("tidy", || tidy::run().map(Tally::one)),
    ("clippy", || {
        cargo(&[
            "clippy",
            "--workspace",
            "--all-targets",
            "--",
            "-D",
            "warnings",
        ])
    }),
    ("docs", documentation),
    ("test", run_suites),
    ("simulations", || Ok(sim::run_all())),
    ("release build", || cargo(&["build", "--release"])),
    ("weft up", up),
    ("conform h2", || {
        conform_h2::run(&conform_h2::Options::default(), false).map(Tally::one)
    }),
    ("fuzz", || {
        fuzz::run(&fuzz::Options::default()).map(Tally::one)
    }),
    ("bench gates", || {
        bench::gates::run(&bench::gates::Options::default()).map(Tally::one)
    }),
    ("attacks", attack::run_all),
    ("soak", soak::run_short),
    ("drills", drill::run_all),
];

/// How long `weft up` runs here.
const UP_FOR: &str = "20s";

/// What `weft up` must show: (field, value).
const UP_EXPECTED: &[(&str, u64)] = &[("services", 5), ("sidecars", 8), ("failed", 0)];

/// Runs every step, prints the table and the closing line.
pub(crate) fn run_all() -> bool {
    let mut sum = Tally::default();
    let mut table: Vec<(&str, Duration, Tally)> = Vec::new();
    for (name, work) in STEPS {
        println!("== {name}");
        let start = now();
        let tally = work().unwrap_or_else(|error| {
            println!("{name}: {error}");
            note_failed(format!("{name}: {error}"));
            Tally::one(false)
        });
        table.push((name, now() - start, tally));
        sum = sum.plus(tally);
    }
    println!("\n{:<16} {:>9}  result", "step", "seconds");
    let mut total = Duration::ZERO;
    for (name, time, tally) in &table {
        total += *time;
        println!("{name:<16} {:>9.1}  {}", time.as_secs_f64(), tally.line());
    }
    println!("{:<16} {:>9.1}", "all", total.as_secs_f64());
    for what in all_failed() {
        println!("failed: {what}");
    }
    println!("{}", sum.line());
    sum.failed == 0
}

#[expect(clippy::disallowed_methods, reason = "steps are timed for a person")]
fn now() -> Instant {
    Instant::now()
}

fn cargo(args: &[&str]) -> Result<Tally, String> {
    run(cargo_command(args)).map(|()| Tally::one(true))
}

/// Of the libraries: what binaries document is for their `--help`, where `[name:]` is no link.
fn documentation() -> Result<Tally, String> {
    let mut command = cargo_command(&[
        "doc",
        "--workspace",
        "--lib",
        "--no-deps",
        "--document-private-items",
    ]);
    // Private items are documented too, so links to them lead somewhere.
    command.env(
        "RUSTDOCFLAGS",
        "-D warnings -A rustdoc::private-intra-doc-links",
    );
    run(command).map(|()| Tally::one(true))
}

/// The command that a stranger types first, on this machine.
fn up() -> Result<Tally, String> {
    let weft = crate::command::target().join("release/weft");
    let mut command = command(&weft.to_string_lossy(), &["up", "--for", UP_FOR, "--json"]);
    command.env("PATH", peers::path());
    let told = told(&command);
    let said = output(command)?;
    let last = said.lines().last().unwrap_or_default();
    println!("{last}");
    let value: Value = serde_json::from_str(last)
        .map_err(|error| format!("read the last line of {told}: {error}: \"{last}\""))?;
    for (field, expected) in UP_EXPECTED {
        if value[field].as_u64() != Some(*expected) {
            return Err(format!(
                "{told}: {field} is {}, expected {expected}",
                value[field]
            ));
        }
    }
    if value["calls"].as_u64().is_none_or(|calls| calls == 0) {
        return Err(format!("{told}: no call was made"));
    }
    Ok(Tally::one(true))
}
