//! `cargo xtask sim`: simulated worlds by seed, with what must hold looked at after every step.
//!
//! Each simulation is a test beside the code it runs: a plain test run tries a few seeds, this many. Time in them
//! is virtual, so a seed replays exactly, on any machine. Never in here: what is simulated.

use crate::command::{cargo_command, told};
use crate::report::{Report, Row};
use crate::suites::Tally;
use serde_json::json;
use std::time::Instant;

/// Seeds of the short form.
const SEEDS: u64 = 200;

/// Lines of a failed run that are shown.
const TOLD_LINES_MAX: usize = 60;

/// A simulation.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Simulation {
    /// The center's store on a disk that crashes, fills and flips bits
    Store,
    /// What callers believe of instances while links break, networks part and workers stand still
    Health,
    /// A center and its sidecars while messages are late, streams break and the center comes and goes
    Sync,
}

impl Simulation {
    const ALL: [Self; 3] = [Self::Store, Self::Health, Self::Sync];

    fn name(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Health => "health",
            Self::Sync => "sync",
        }
    }

    /// The test that it is, as words for cargo.
    fn test(self) -> &'static [&'static str] {
        match self {
            Self::Store => &["-p", "weft-center", "--lib", "store::tests::sim::"],
            Self::Health => &["-p", "weft-proxy", "--lib", "link::pulse::tests::sim::"],
            Self::Sync => &["-p", "weft-test", "--test", "sim_sync"],
        }
    }
}

/// How to run.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// Which simulation; without one all of them
    pub(crate) simulation: Option<Simulation>,
    /// Replay this one, told step by step
    #[arg(long, conflicts_with = "seeds", requires = "simulation")]
    pub(crate) seed: Option<u64>,
    /// How many to run
    #[arg(long, default_value_t = SEEDS)]
    pub(crate) seeds: u64,
    /// One JSON object as last line
    #[arg(long)]
    pub(crate) json: bool,
}

/// Runs the short form of all.
pub(crate) fn run_all() -> Tally {
    let options = Options {
        seeds: SEEDS,
        ..Options::default()
    };
    Tally::one(run(&options))
}

/// Runs one or all; whether everything held.
pub(crate) fn run(options: &Options) -> bool {
    let all = Simulation::ALL.into_iter();
    let chosen = all.filter(|simulation| options.simulation.is_none_or(|only| only == *simulation));
    let mut report = Report {
        suite: "sim".to_owned(),
        rows: Vec::new(),
        faults: Vec::new(),
        setting: json!({ "seed": options.seed, "seeds": options.seeds }),
    };
    for simulation in chosen {
        let name = simulation.name();
        let start = now();
        match run_one(simulation, options) {
            Ok(()) => {}
            Err(fault) => report.faults.push(format!("{name}: {fault}")),
        }
        let seeds = options.seed.map_or(options.seeds, |_| 1);
        let took = (now() - start).as_secs_f64();
        report
            .rows
            .push(Row::shown(&format!("{name} seeds"), seeds as f64));
        report
            .rows
            .push(Row::shown(&format!("{name} s, with its build"), took));
    }
    report.print(options.json);
    report.pass()
}

fn run_one(simulation: Simulation, options: &Options) -> Result<(), String> {
    let words = [
        &["test", "--quiet"],
        simulation.test(),
        &["--", "--nocapture"],
    ]
    .concat();
    let mut command = cargo_command(&words);
    command.env("RUST_BACKTRACE", "0");
    match options.seed {
        Some(seed) => command.env("WEFT_SIM_SEED", seed.to_string()),
        None => command.env("WEFT_SIM_SEEDS", options.seeds.to_string()),
    };
    let told = told(&command);
    let output = command
        .output()
        .map_err(|error| format!("run {told}: {error}"))?;
    let said = String::from_utf8_lossy(&output.stdout);
    let lines: Vec<&str> = said.lines().collect();
    let is_run = lines.iter().any(|line| line.contains("1 passed"));
    if output.status.success() && is_run {
        let shown = |line: &&&str| options.seed.is_some() || line.starts_with("sim ");
        lines
            .iter()
            .filter(shown)
            .for_each(|line| println!("{line}"));
        return Ok(());
    }
    // What the product logs on its way is noise here.
    let errors = String::from_utf8_lossy(&output.stderr);
    let errors = errors.lines().filter(|line| !line.starts_with('{'));
    let all: Vec<&str> = lines.into_iter().chain(errors).collect();
    let from = match options.seed {
        Some(_) => 0,
        None => all.len().saturating_sub(TOLD_LINES_MAX),
    };
    all[from..].iter().for_each(|line| println!("{line}"));
    Err(format!("{told}: {}; see above", output.status))
}

#[expect(clippy::disallowed_methods, reason = "suites are timed for a person")]
fn now() -> Instant {
    Instant::now()
}
