//! `cargo xtask attack`: hostile and clumsy peers against a real sidecar, and what they cost.
//!
//! | file | is |
//! |---|---|
//! | `attack/stand.rs` | the sidecar, its app, its figures |
//! | `attack/ceiling.rs` | the memory cgroup around it |
//! | `attack/app.rs`, `attack/app_h2.rs` | the app, which counts what reaches it and what it was told to stop |
//! | `attack/beside.rs` | the same against Envoy and the h2 crate, side by side |
//! | `attack/bystander.rs` | who calls meanwhile, on a new connection every 5 ms |
//! | `attack/bytes.rs` | frames and header blocks by hand |
//! | `attack/http2.rs`, `attack/plans.rs` | floods of frames |
//! | `attack/honest.rs` | callers that look like attackers and must not be cut off |
//! | `attack/http1.rs` | floods of HTTP/1.1 |
//! | `attack/slow.rs`, `attack/slowhttptest.rs` | peers that are silent, slow, or do not read |
//! | `attack/upstream.rs` | floods from the other side: hostile apps and outside servers |
//!
//! Attackers write raw bytes on plain sockets. What was *processed* comes from the sidecar's own counters: what an
//! attacker could write lies in the kernel's buffers and says nothing. Settings are the defaults.

mod app;
mod app_h2;
mod beside;
mod bystander;
mod bytes;
mod ceiling;
mod honest;
mod http1;
mod http2;
mod plans;
mod slow;
mod slowhttptest;
mod stand;
mod upstream;

use crate::bench::http1::{build, raise_open_files};
use crate::bench::processes::now;
use crate::command::found;
use crate::drill::rows::Rows;
use crate::suites::Tally;
use ceiling::{CEILING_MIB, Ceiling};
use clap::Args;
use stand::Stand;
use std::path::{Path, PathBuf};

/// The attacks that are no flood of frames, in the order in which `all` runs them.
const OTHERS: &[&str] = &[
    "zerowin", "h1floods", "slow", "idle", "sniff", "grpc", "upstream", "honest",
];

/// Rows that are known to fail, as README says.
const KNOWN: &[&str] = &["slow readers (-X): bystander p99, ms"];

/// How to run one.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Which: a1 a1b ... a12, zerowin (a10), h1floods (a-j), slow, idle, sniff (b1, b4), grpc (b5), upstream, honest, or all
    name: String,
    /// The long form: all frames and connections, with times held to their limits
    #[arg(long)]
    full: bool,
    /// One JSON object as last line
    #[arg(long)]
    json: bool,
    /// A binary to attack instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// Runs one attack or all, prints the rows, and says whether all of them pass.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => build("release")?,
    };
    attack(&options.name, &binary, options.full, options.json)
}

/// The short form of all attacks.
pub(crate) fn run_all() -> Result<Tally, String> {
    let binary = build("release")?;
    attack("all", &binary, false, false).map(Tally::one)
}

fn attack(name: &str, binary: &Path, full: bool, json: bool) -> Result<bool, String> {
    if found("setpriv").is_none() {
        return Err("setpriv is not installed (Debian util-linux)".to_owned());
    }
    raise_open_files()?;
    let began = now();
    let mut rows = Rows::new(full);
    rows.known(KNOWN);
    let ceiling = Ceiling::make().map_err(|reason| {
        rows.note(format!(
            "no memory cgroup, so no ceiling but the sidecar's own pages: {reason}"
        ));
    });
    let stand = Stand::start(binary, ceiling.ok())?;
    let result = sequence(name, &stand, &mut rows);
    result.map_err(|error| format!("{error}\n{}", stand.logs()))?;
    if full {
        beside::run(&stand, &mut rows)?;
    }
    rows.count("sidecars that died of it", f64::from(stand.died()), 0.0);
    rows.count("panics", stand.metric("weft_panics_total")?, 0.0);
    memory(&stand, &mut rows)?;
    let seconds = (now() - began).as_secs_f64();
    Ok(rows.print(&format!("attack {name}"), seconds, json))
}

/// S12: what all of it took, one after the other, of the machine's memory.
fn memory(stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    let (most, name) = stand.most();
    rows.count("most memory at any time, MiB", most, CEILING_MIB as f64);
    rows.note(format!("most memory under: {name}"));
    rows.shown("memory at the end, MiB", stand.memory_kib()? / 1024.0);
    if let Some(ceiling) = stand.ceiling() {
        let title = format!("cgroup of {CEILING_MIB} MiB");
        rows.count(
            &format!("{title}: killed by the kernel"),
            ceiling.kills()?,
            0.0,
        );
        rows.shown(
            &format!("{title}: most used, caches and kernel too, MiB"),
            ceiling.peak_mib()?,
        );
    }
    Ok(())
}

fn sequence(name: &str, stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    let plans = plans::all();
    let is_known = name == "all"
        || OTHERS.contains(&name)
        || plans.iter().any(|plan| plan.id.eq_ignore_ascii_case(name));
    if !is_known {
        let names: Vec<String> = plans.iter().map(|plan| plan.id.to_lowercase()).collect();
        return Err(format!(
            "there is no attack \"{name}\": all, {}, {}",
            names.join(", "),
            OTHERS.join(", ")
        ));
    }
    for plan in &plans {
        if name == "all" || plan.id.eq_ignore_ascii_case(name) {
            http2::run(stand, plan, rows)?;
        }
    }
    for other in OTHERS {
        if name != "all" && name != *other {
            continue;
        }
        match *other {
            "zerowin" => slow::zero_windows(stand, rows)?,
            "h1floods" => http1::run(stand, rows)?,
            "slow" => {
                slow::slow(stand, rows)?;
                if rows.full() {
                    slowhttptest::run(stand, rows)?;
                }
            }
            "idle" => slow::idle(stand, rows)?,
            "sniff" => slow::sniffing(stand, rows)?,
            "grpc" => http2::grpc(stand, rows)?,
            "upstream" => upstream::run(stand, rows)?,
            _ => honest::run(stand, rows)?,
        }
    }
    Ok(())
}
