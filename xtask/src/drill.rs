//! `cargo xtask drill`: failures made on purpose, under load, and what callers saw of them.
//!
//! | file | is |
//! |---|---|
//! | `drill/crash.rs` | `crash`: kill -9 of sidecars |
//! | `drill/podend.rs` | `podend`: the app ends first, its sidecar last |
//! | `drill/rollout.rs` | `rollout`: instances replaced one by one |
//! | `drill/cpdown.rs` | `cpdown`: the center away, restarted, restored |
//! | `drill/fds.rs` | `fds`: more connections than descriptors |
//! | `drill/health.rs` | `health`: a dead app, a silent sidecar |
//! | `drill/churn.rs`, `drill/crowd.rs`, `drill/pusher.rs` | `churn`: ten thousand instances that change |
//! | `drill/clients.rs` | who calls, and how failures are told |
//! | `drill/mesh.rs` | the processes of a drill, their folders and ends |
//! | `drill/load.rs` | the clients, on HTTP/1.1 and Motan2 at once, and what they count |
//! | `drill/app.rs` | the app that is called |
//! | `drill/wire.rs` | messages and frames of both |
//! | `drill/lost.rs`, `drill/apart.rs` | of `health`: dropped packets, and where they are dropped |
//! | `drill/beside.rs` | nginx and Envoy beside us |
//! | `drill/rows.rs` | figures with their limits |
//!
//! Each drill has a short form, which CI runs, and a full one. Everything here is real processes of the built binary
//! on loopback; nothing is simulated. `test` does not run drills.

mod apart;
pub(crate) mod app;
mod beside;
mod churn;
mod clients;
mod cpdown;
mod crash;
mod crowd;
mod fds;
mod health;
mod load;
mod lost;
pub(crate) mod mesh;
mod podend;
mod pusher;
mod rollout;
pub(crate) mod rows;
mod wire;

use crate::bench::http1::{build, raise_open_files};
use crate::bench::processes::now;
use crate::command::found;
use crate::suites::{Tally, note_failed};
use clap::{Args, ValueEnum};
use rows::Rows;
use std::path::{Path, PathBuf};

/// The drills.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Drill {
    /// kill -9 of a sidecar five times in 8 s: the callee's, the caller's, both.
    Crash,
    /// Pods that end in the order of Kubernetes: the app first, its sidecar last.
    Podend,
    /// Ten instances replaced one by one, without the center and with it.
    Rollout,
    /// The center away, restarted and restored, while sidecars are restarted and killed.
    Cpdown,
    /// 700 connections to a sidecar that may have 256 files open.
    Fds,
    /// An app killed at a thousand callers, a sidecar that falls silent, packets that are dropped.
    Health,
    /// 10,000 instances of which a thousand a second change.
    Churn,
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
            Self::Podend => "podend",
            Self::Rollout => "rollout",
            Self::Cpdown => "cpdown",
            Self::Fds => "fds",
            Self::Health => "health",
            Self::Churn => "churn",
        }
    }

    fn run(self, binary: &Path, rows: &mut Rows) -> Result<(), String> {
        match self {
            Self::Crash => crash::run(binary, rows),
            Self::Podend => podend::run(binary, rows),
            Self::Rollout => rollout::run(binary, rows),
            Self::Cpdown => cpdown::run(binary, rows),
            Self::Fds => fds::run(binary, rows),
            Self::Health => health::run(binary, rows),
            Self::Churn => churn::run(binary, rows),
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
            note_failed(format!("drill {}: {error}", drill.name()));
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
