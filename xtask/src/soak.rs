//! `cargo xtask soak`: gRPC of all kinds through two sidecars for a long time, by grpc-go's own client and server, with
//! the memory of both looked at. Short for half a minute, full for five.
//!
//! Flat means: between the second quarter and the last one no sidecar has grown. Never judges speed.

use crate::bench::http1::build;
use crate::bench::meter::anonymous_kib;
use crate::bench::processes::{Process, now, wait_for};
use crate::command::{self, output};
use crate::drill::mesh::{Instance, Mesh, READY_WITHIN, ends_at_once, tied_to_us};
use crate::drill::rows::Rows;
use crate::peers;
use crate::report::median;
use crate::suites::Tally;
use clap::Args;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering::Relaxed};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// grpc-go dials what it names, so the service is called like the host at which its caller's sidecar listens.
const SERVICE: &str = "localhost";

/// How long it lasts in the full form, and in the short one.
const LASTS: (Duration, Duration) = (Duration::from_mins(5), Duration::from_secs(30));

/// Cases that run side by side, each again and again: large messages on one channel, a channel for each call, streams
/// of both sides, streams that end early.
const CASES: &[&[&str]] = &[
    &[
        "rpc_soak",
        "--soak_iterations=50",
        "--soak_overall_timeout_seconds=120",
        PATIENCE,
    ],
    &[
        "channel_soak",
        "--soak_iterations=50",
        "--soak_overall_timeout_seconds=120",
        PATIENCE,
    ],
    &["ping_pong"],
    &["client_streaming"],
    &["cancel_after_first_response"],
];

/// grpc-go looks its target's name up in DNS for each channel, where a lost question costs five seconds, with a mesh or
/// without one. That is not what is soaked: an iteration may take longer, but must succeed.
const PATIENCE: &str = "--soak_per_iteration_max_acceptable_latency_ms=20000";

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// What a sidecar may have grown, in KiB: a buffer more in a pool is no leak.
const GROWN_KIB_MAX: f64 = 2048.0;

/// How to run it.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Five minutes instead of half of one
    #[arg(long)]
    full: bool,
    /// One JSON object as last line
    #[arg(long)]
    json: bool,
    /// A binary to run instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
}

/// Runs it, prints the rows, and says whether all of them pass.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => build("release")?,
    };
    soak(&binary, options.full, options.json)
}

/// The short form.
pub(crate) fn run_short() -> Result<Tally, String> {
    soak(&build("release")?, false, false).map(Tally::one)
}

fn soak(binary: &Path, full: bool, json: bool) -> Result<bool, String> {
    for peer in ["grpc-interop-client", "grpc-interop-server"] {
        if peers::version(peer).is_none() {
            return Err(format!(
                "{peer} is not installed; cargo xtask peers installs it"
            ));
        }
    }
    let began = now();
    let mut rows = Rows::new(full);
    let mesh = Mesh::new(binary, "soak")?;
    let _center = mesh.start_center()?;
    let caller = mesh.start_instance("web", &ends_at_once(), &[])?;
    let (_app, port) = server(&mesh)?;
    let outbound = caller.address("outbound").port();
    let spec = format!("{outbound}:grpc={port}");
    let flags = [vec!["--port".to_owned(), spec], ends_at_once()].concat();
    let callee = mesh.start_instance(SERVICE, &flags, &[])?;
    // The callee is known to the caller when a call passes.
    mesh.wait_for("a call through both sidecars", || {
        client(outbound, &["empty_unary"]).ok()
    })?;
    let lasts = if full { LASTS.0 } else { LASTS.1 };
    let watched = [("caller's", &caller), ("app's", &callee)];
    let result = under_load(outbound, lasts, &watched, &mut rows);
    result.map_err(|error| format!("{error}\n{}", mesh.logs()))?;
    for (whose, instance) in watched {
        let name = |what: &str| format!("{whose} sidecar: {what}");
        rows.count(&name("panics"), metric(instance, "weft_panics_total")?, 0.0);
        rows.count(
            &name("calls that stay open"),
            metric(instance, "weft_calls_active")?,
            0.0,
        );
    }
    let seconds = (now() - began).as_secs_f64();
    Ok(rows.print("soak grpc", seconds, json))
}

/// Runs all cases again and again while memory is looked at.
fn under_load(
    outbound: u16,
    lasts: Duration,
    watched: &[(&str, &Instance)],
    rows: &mut Rows,
) -> Result<(), String> {
    let over = AtomicBool::new(false);
    let (ran, failed) = (AtomicU32::new(0), AtomicU32::new(0));
    let why = Mutex::new(None);
    let mut seen: Vec<Vec<f64>> = vec![Vec::new(); watched.len()];
    let pids: Vec<u32> = watched
        .iter()
        .map(|(whose, instance)| {
            instance
                .sidecar_pid()
                .ok_or_else(|| format!("the {whose} sidecar does not run"))
        })
        .collect::<Result<_, _>>()?;
    std::thread::scope(|scope| {
        for case in CASES {
            let (over, ran, failed, why) = (&over, &ran, &failed, &why);
            scope.spawn(move || {
                while !over.load(Relaxed) {
                    ran.fetch_add(1, Relaxed);
                    let Err(error) = client(outbound, case) else {
                        continue;
                    };
                    failed.fetch_add(1, Relaxed);
                    why.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .get_or_insert(error);
                }
            });
        }
        let began = now();
        let looked = loop {
            if now() - began >= lasts {
                break Ok(());
            }
            std::thread::sleep(LOOK_EVERY);
            let looks: Result<Vec<f64>, String> =
                pids.iter().map(|pid| anonymous_kib(*pid)).collect();
            match looks {
                Ok(looks) => seen
                    .iter_mut()
                    .zip(looks)
                    .for_each(|(all, look)| all.push(look)),
                Err(error) => break Err(error),
            }
        };
        over.store(true, Relaxed);
        looked
    })?;
    rows.shown("runs of its client", f64::from(ran.load(Relaxed)));
    rows.count("runs that failed", f64::from(failed.load(Relaxed)), 0.0);
    if let Ok(Some(why)) = why.into_inner() {
        rows.note(why);
    }
    for ((whose, instance), looks) in watched.iter().zip(&seen) {
        let quarter = looks.len() / 4;
        let early = median(looks[quarter..2 * quarter].to_vec());
        let late = median(looks[3 * quarter..].to_vec());
        rows.shown(&format!("{whose} sidecar: memory, MiB"), late / 1024.0);
        rows.count(
            &format!("{whose} sidecar: grown, KiB"),
            (late - early).max(0.0),
            GROWN_KIB_MAX,
        );
        rows.shown(
            &format!("{whose} sidecar: calls"),
            metric(instance, "weft_calls_total")?,
        );
    }
    Ok(())
}

/// The server, and the port that it writes first.
fn server(mesh: &Mesh) -> Result<(Process, u16), String> {
    let path = mesh.file("server.out");
    let told = |error: std::io::Error| format!("start grpc-go's server: {error}");
    let mut command = tied_to_us();
    command
        .arg("grpc-interop-server")
        .env("PATH", peers::path())
        .stdin(Stdio::null())
        .stdout(File::create(&path).map_err(told)?);
    let process = Process::spawn(&mut command)?;
    let port = wait_for("the port of grpc-go's server", READY_WITHIN, || {
        fs::read_to_string(&path)
            .ok()?
            .lines()
            .next()?
            .trim()
            .parse()
            .ok()
    })?;
    Ok((process, port))
}

/// Runs its client once; an error when it failed, with what it said.
fn client(outbound: u16, case: &[&str]) -> Result<(), String> {
    let port = format!("--server_port={outbound}");
    let host = format!("--server_host={SERVICE}");
    let (name, more) = case.split_first().unwrap_or((&"", &[]));
    let name = format!("--test_case={name}");
    let mut words = vec!["grpc-interop-client", &host, &port, &name];
    words.extend(more);
    let mut command = command::command("setpriv", &["--pdeathsig", "TERM"]);
    command
        .args(words)
        .env("GRPC_ENABLE_TXT_SERVICE_CONFIG", "false")
        .env("PATH", peers::path());
    output(command).map(drop)
}

fn metric(instance: &Instance, name: &str) -> Result<f64, String> {
    let (_, text) = crate::bench::processes::get(instance.address("management"), "/metrics")?;
    Ok(crate::bench::processes::metric_sum(&text, name))
}
