//! `cargo xtask drill`: failures made on purpose, under load, and what callers saw of them.
//!
//! | file | is |
//! |---|---|
//! | `drill/crash.rs` | `crash`: kill -9 of sidecars |
//! | `drill/mesh.rs` | the processes of a drill, their folders and ends |
//! | `drill/load.rs` | the clients, on HTTP/1.1 and Motan2 at once, and what they count |
//! | `drill/app.rs` | the app that is called |
//! | `drill/wire.rs` | messages and frames of both |
//! | `drill/nginx.rs` | the peer beside us |
//! | `drill/rows.rs` | figures with their limits |
//!
//! Each drill has a short form, which CI runs, and a full one. Everything here is real processes of the built binary
//! on loopback; nothing is simulated. `test` does not run drills.

pub(crate) mod app;
mod crash;
mod load;
mod mesh;
mod nginx;
mod rows;
mod wire;

use crate::bench::http1::{build, raise_open_files};
use crate::bench::processes::{now, wait_for};
use crate::command::found;
use crate::suites::Tally;
use clap::{Args, ValueEnum};
use load::{Kind, Load, Protocol, Target};
use mesh::READY_WITHIN;
use rows::Rows;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The drills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Drill {
    /// kill -9 of a sidecar five times in 8 s: the callee's, the caller's, both.
    Crash,
}

/// How to run one.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Which
    name: Drill,
    /// The long form, with times held to their limits
    #[arg(long)]
    full: bool,
    /// One JSON object as last line
    #[arg(long)]
    json: bool,
    /// A binary to drill instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

impl Drill {
    fn name(self) -> &'static str {
        match self {
            Self::Crash => "crash",
        }
    }

    fn run(self, binary: &Path, rows: &mut Rows) -> Result<(), String> {
        match self {
            Self::Crash => crash::run(binary, rows),
        }
    }
}

/// Runs one drill, prints its rows, and says whether all of them pass.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => build("release")?,
    };
    one(options.name, &binary, options.full, options.json)
}

/// The short forms of all drills, one after the other.
pub(crate) fn run_all() -> Result<Tally, String> {
    let binary = build("release")?;
    let mut tally = Tally::default();
    for drill in Drill::value_variants() {
        let pass = one(*drill, &binary, false, false).unwrap_or_else(|error| {
            println!("drill {}: {error}", drill.name());
            false
        });
        tally = tally.plus(Tally::one(pass));
    }
    Ok(tally)
}

fn one(drill: Drill, binary: &Path, full: bool, json: bool) -> Result<bool, String> {
    if found("setpriv").is_none() {
        return Err("setpriv is not installed (Debian util-linux)".to_owned());
    }
    raise_open_files()?;
    let began = now();
    let mut rows = Rows::new(full);
    drill.run(binary, &mut rows)?;
    let seconds = (now() - began).as_secs_f64();
    Ok(rows.print(&format!("drill {}", drill.name()), seconds, json))
}

/// Calls until both protocols are answered: the caller's sidecar has heard of the service.
fn warm_up(target: &Target) -> Result<(), String> {
    const ANSWERED: u64 = 40;
    const RATE: f64 = 50.0;
    let both = [Protocol::Http1, Protocol::Motan2];
    for protocol in both {
        let kind = Kind {
            protocol,
            idempotent: true,
            keeps: true,
            retries: false,
        };
        let load = Load::start(target.clone(), vec![kind], RATE)?;
        let answered = wait_for("answers through the mesh", READY_WITHIN, || {
            (load.counts().answered >= ANSWERED).then_some(())
        });
        let counts = load.end();
        answered.map_err(|error| {
            let last = counts.failures.last();
            let why = last.map_or("nothing was called", |failure| failure.why.as_str());
            format!("{error}: {protocol:?}: {why}")
        })?;
    }
    Ok(())
}

/// Sentences that are alike up to their `|`, once, with how many there were and what stood behind the first one's.
fn summed_up(sentences: Vec<String>) -> Vec<String> {
    const TOLD_MAX: usize = 12;
    let mut alike: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for sentence in sentences {
        let (head, tail) = sentence.split_once('|').unwrap_or((&sentence, ""));
        let entry = alike.entry(head.to_owned());
        entry.or_insert_with(|| (0, tail.to_owned())).0 += 1;
    }
    let mut told: Vec<(usize, String)> = alike
        .into_iter()
        .map(|(head, (times, tail))| (times, format!("{times} x {head}{tail}")))
        .collect();
    told.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
    told.truncate(TOLD_MAX);
    told.into_iter().map(|(_, text)| text).collect()
}
