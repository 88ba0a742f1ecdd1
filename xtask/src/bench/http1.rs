//! `bench http1`: CPU per request of one hop and of a pair of sidecars, memory and start; beside Envoy when asked.
//!
//! Rounds of weft and its peer alternate in one run, so that a slow minute of the machine meets both. What is gated
//! against a peer is the median of the rounds' ratios. Weft runs as it ships, every default on, and its own count
//! of calls must agree with wrk's: a bench that measured something else fails.

use super::client::Client;
use super::envoy::{Envoy, Next};
use super::load::{CONNECTIONS, Load, Round, round};
use super::meter::pss_kib;
use super::processes::{
    Backend, LOAD_CORE, Mesh, READY_WITHIN, Sidecar, can_pin, free_port, get, now, wait_for,
    wait_for_every,
};
use crate::command::{self, cargo_command, run as run_command};
use crate::peers;
use crate::report::{Report, Row, median};
use clap::{Args, ValueEnum};
use serde_json::json;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The service that every bench calls.
pub(super) const SERVICE: &str = "bench";

/// Seconds of the load that warms pools and caches.
const WARM_UP_SECONDS: u64 = 1;

/// Connections that are held open for the memory row.
const IDLE_CONNECTIONS: u64 = 1000;

/// How long after a load's end its calls may take to be counted.
const CALLS_END_WITHIN: Duration = Duration::from_secs(5);

/// Between two looks whether a service is known; refused calls cost instructions that are counted.
const KNOWN_EVERY: Duration = Duration::from_millis(250);

/// Starts that are timed.
const STARTS: usize = 10;

/// Sidecar and Envoy at work on less than this of their core were not the bottleneck: told, not failed.
const BUSY_MIN: f64 = 0.9;

const HOP_RATIO_GATE: f64 = 2.0;
const HOP_RATIO_GOAL: f64 = 3.5;
const PAIR_RATIO_GATE: f64 = 1.5;
const PAIR_RATIO_GOAL: f64 = 2.5;
const IDLE_MIB_GATE: f64 = 12.0;
const IDLE_MIB_GOAL: f64 = 8.0;
const CONNECTION_KIB_GATE: f64 = 6.0;
const CONNECTION_KIB_GOAL: f64 = 2.0;
const START_MS_GATE: f64 = 20.0;
const START_MS_GOAL: f64 = 5.0;

/// Timed rows outside of the full form gate at this many times their figure.
const SHORT_FORM_SLACK: f64 = 5.0;

/// Whom to measure beside weft.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Against {
    /// Envoy, from the Python package.
    Envoy,
}

/// How to run.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// A peer to measure in the same run; its ratios gate
    #[arg(long)]
    against: Option<Against>,
    /// Longer rounds, more of them, and timed rows gated at their figure
    #[arg(long)]
    full: bool,
    /// One JSON object as last line
    #[arg(long)]
    json: bool,
    /// The profile to build weft in: release, or dist as it ships
    #[arg(long, default_value = "release")]
    profile: String,
    /// A binary to measure instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Only these rows
    #[arg(long, value_name = "ROWS")]
    only: Vec<Part>,
}

/// Rows that are measured together.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// Memory of an idle sidecar and of idle connections.
    Memory,
    /// From exec to the first reply.
    Start,
    /// One hop through the inbound port.
    Hop,
    /// Both sidecars with their link.
    Pair,
}

impl Part {
    fn measure(
        self,
        binary: &Path,
        options: &Options,
        findings: &mut Findings,
    ) -> Result<(), String> {
        match self {
            Self::Memory => memory(binary, options, findings),
            Self::Start => starts(binary, options, findings),
            Self::Hop => hop(binary, options, findings),
            Self::Pair => pair(binary, options, findings),
        }
    }
}

impl Options {
    fn rounds(&self) -> usize {
        if self.full { 9 } else { 5 }
    }

    fn seconds(&self) -> u64 {
        if self.full { 8 } else { 3 }
    }

    fn all_rounds(&self) -> Rounds {
        Rounds {
            count: self.rounds(),
            seconds: self.seconds(),
        }
    }

    fn start_gate(&self) -> f64 {
        if self.full {
            START_MS_GATE
        } else {
            START_MS_GATE * SHORT_FORM_SLACK
        }
    }
}

/// Everything that was collected.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) rows: Vec<Row>,
    pub(super) faults: Vec<String>,
    pub(super) notes: Vec<String>,
}

/// Measures, prints, and says whether all gates hold.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    can_pin()?;
    let mut needed = vec!["wrk"];
    needed.extend(options.against.map(|_| "envoy"));
    for name in needed {
        if peers::version(name).is_none() {
            return Err(format!(
                "{name} is not installed; cargo xtask peers installs it"
            ));
        }
    }
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => build(&options.profile)?,
    };
    raise_open_files()?;
    let mut findings = Findings::default();
    for part in [Part::Memory, Part::Start, Part::Hop, Part::Pair] {
        if options.only.is_empty() || options.only.contains(&part) {
            part.measure(&binary, options, &mut findings)?;
        }
    }
    for note in &findings.notes {
        println!("note: {note}");
    }
    let report = Report {
        suite: "bench http1".to_owned(),
        rows: findings.rows,
        faults: findings.faults,
        setting: json!({
            "profile": options.profile,
            "rounds": options.rounds(),
            "seconds": options.seconds(),
            "connections": CONNECTIONS,
            "reply_bytes": super::backend::BODY_BYTES,
            "workers": 1,
            "weft": "all defaults, --workers 1",
            "peer": options.against.and_then(|_| peers::version("envoy")),
            "peer_setting": "router only, --concurrency 1; a pair speaks HTTP/2 between the two",
            "notes": findings.notes,
        }),
    };
    report.print(options.json);
    Ok(report.pass())
}

/// Builds weft and tells where it is.
pub(crate) fn build(profile: &str) -> Result<PathBuf, String> {
    run_command(cargo_command(&[
        "build",
        "--quiet",
        "--package",
        "weft",
        "--profile",
        profile,
    ]))?;
    let folder = if profile == "dev" { "debug" } else { profile };
    Ok(command::target().join(folder).join("weft"))
}

/// A thousand connections need more descriptors than the usual soft limit; children inherit ours.
pub(crate) fn raise_open_files() -> Result<(), String> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )
    .map_err(|error| format!("raise the limit of open files: {error}"))
}

fn http_port(backend: &Backend) -> String {
    format!("http={}", backend.port)
}

/// Plain HTTP caller -> inbound -> app.
fn hop(binary: &Path, options: &Options, findings: &mut Findings) -> Result<(), String> {
    let backend = Backend::start(LOAD_CORE, "http1")?;
    let mesh = Mesh::new(binary.to_path_buf(), "hop")?;
    let sidecar = mesh.start_sidecar(SERVICE, Some(&http_port(&backend)))?;
    let envoy = match options.against {
        Some(Against::Envoy) => Some(Envoy::start("envoy-hop", Next::App(backend.port))?),
        None => None,
    };
    let side = Side {
        load: Load::Http1,
        address: sidecar.address("inbound")?,
        pids: vec![sidecar.pid],
        counted: vec![&sidecar],
    };
    let peer = envoy
        .as_ref()
        .map(|envoy| (envoy.address, vec![envoy.pid()]));
    let rounds = alternate("hop", &side, peer.as_ref(), options.all_rounds(), findings)?;
    findings
        .rows
        .push(Row::rounds("hop cpu_us", rounds).ratio_at_least(HOP_RATIO_GATE, HOP_RATIO_GOAL));
    sidecar.end()
}

/// Client -> sidecar A 9981 -> link -> sidecar B -> app.
fn pair(binary: &Path, options: &Options, findings: &mut Findings) -> Result<(), String> {
    let backend = Backend::start(LOAD_CORE, "http1")?;
    let mut mesh = Mesh::new(binary.to_path_buf(), "pair")?;
    mesh.start_center()?;
    let called = mesh.start_sidecar(SERVICE, Some(&http_port(&backend)))?;
    let caller = mesh.start_sidecar("bench-caller", None)?;
    let outbound = caller.address("outbound")?;
    knows(outbound)?;
    let envoys = match options.against {
        Some(Against::Envoy) => {
            let behind = Envoy::start("envoy-b", Next::App(backend.port))?;
            let before = Envoy::start("envoy-a", Next::H2(behind.address.port()))?;
            Some((before, behind))
        }
        None => None,
    };
    let side = Side {
        load: Load::Http1,
        address: outbound,
        pids: vec![caller.pid, called.pid],
        counted: vec![&caller, &called],
    };
    let peer = envoys
        .as_ref()
        .map(|(before, behind)| (before.address, vec![before.pid(), behind.pid()]));
    let rounds = alternate("pair", &side, peer.as_ref(), options.all_rounds(), findings)?;
    findings.rows.push(
        Row::rounds("pair cpu_us, plain link", rounds)
            .ratio_at_least(PAIR_RATIO_GATE, PAIR_RATIO_GOAL),
    );
    caller.end()?;
    called.end()
}

/// Waits until a sidecar reaches the service.
pub(super) fn knows(outbound: SocketAddr) -> Result<(), String> {
    wait_for_every(
        KNOWN_EVERY,
        "the first reply through both sidecars",
        READY_WITHIN,
        || {
            Client::connect(outbound)
                .ok()?
                .get(SERVICE)
                .ok()
                .filter(|status| *status == 200)
        },
    )
    .map(|_| ())
}

/// What is loaded, and who counts.
pub(super) struct Side<'a> {
    pub(super) load: Load,
    pub(super) address: SocketAddr,
    pub(super) pids: Vec<u32>,
    pub(super) counted: Vec<&'a Sidecar>,
}

/// How many rounds, and how long each is.
#[derive(Clone, Copy)]
pub(super) struct Rounds {
    pub(super) count: usize,
    pub(super) seconds: u64,
}

/// Rounds of weft and its peer in turns: CPU microseconds per request.
pub(super) fn alternate(
    name: &str,
    side: &Side<'_>,
    peer: Option<&(SocketAddr, Vec<u32>)>,
    rounds: Rounds,
    findings: &mut Findings,
) -> Result<Vec<(f64, Option<f64>)>, String> {
    round(
        &side.load,
        side.address,
        SERVICE,
        &side.pids,
        WARM_UP_SECONDS,
    )?;
    if let Some((address, pids)) = peer {
        round(&side.load, *address, SERVICE, pids, WARM_UP_SECONDS)?;
    }
    let counts = |side: &Side<'_>| -> Result<Vec<f64>, String> {
        side.counted
            .iter()
            .map(|sidecar| sidecar.metric("weft_calls_total"))
            .collect()
    };
    let before = counts(side)?;
    let mut measured = Vec::new();
    let mut replies = 0;
    let mut busy = (Vec::new(), Vec::new());
    for _ in 0..rounds.count {
        let ours = round(
            &side.load,
            side.address,
            SERVICE,
            &side.pids,
            rounds.seconds,
        )?;
        replies += ours.requests;
        busy.0.push(ours.busy);
        let theirs: Option<Round> = match peer {
            Some((address, pids)) => {
                Some(round(&side.load, *address, SERVICE, pids, rounds.seconds)?)
            }
            None => None,
        };
        busy.1.extend(theirs.map(|round| round.busy));
        measured.push((ours.cpu_us, theirs.map(|round| round.cpu_us)));
    }
    let ours = median(busy.0);
    let theirs = if peer.is_some() {
        format!(", the peer's {:.2}", median(busy.1))
    } else {
        String::new()
    };
    let verdict = if ours < BUSY_MIN {
        ": the load's core was the limit"
    } else {
        ""
    };
    findings.notes.push(format!(
        "{name}: weft's core was busy to {ours:.2}{theirs}{verdict}"
    ));
    let calls = side.load.calls(replies, rounds.count);
    let counted = wait_for("the end of the load's calls", CALLS_END_WITHIN, || {
        let after = counts(side).ok()?;
        let counted: Vec<f64> = before.iter().zip(after).map(|(b, a)| a - b).collect();
        counted
            .iter()
            .all(|counted| *counted >= *calls.start() as f64)
            .then_some(counted)
    });
    match counted {
        Ok(counted) => {
            for (index, counted) in counted.into_iter().enumerate() {
                if counted > *calls.end() as f64 {
                    findings.faults.push(format!(
                        "{name}: the load took {replies} replies, sidecar {} counted {counted} calls",
                        index + 1
                    ));
                }
            }
        }
        Err(_) => findings.faults.push(format!(
            "{name}: the load took {replies} replies, its sidecars counted fewer than {} calls",
            calls.start()
        )),
    }
    Ok(measured)
}

/// An idle sidecar, and what an idle connection adds.
fn memory(binary: &Path, options: &Options, findings: &mut Findings) -> Result<(), String> {
    let backend = Backend::start(LOAD_CORE, "http1")?;
    let mesh = Mesh::new(binary.to_path_buf(), "memory")?;
    let sidecar = mesh.start_sidecar(SERVICE, Some(&http_port(&backend)))?;
    let envoy = match options.against {
        Some(Against::Envoy) => Some(Envoy::start("envoy-memory", Next::App(backend.port))?),
        None => None,
    };
    let measure = |address: SocketAddr, pid: u32| -> Result<(f64, f64), String> {
        let idle = pss_kib(pid)?;
        // The first calls fill pools that any number of connections share.
        Client::connect(address)?.get_times(SERVICE, 100)?;
        let before = pss_kib(pid)?;
        let mut open = Vec::new();
        for _ in 0..IDLE_CONNECTIONS {
            let mut client = Client::connect(address)?;
            client.get_times(SERVICE, 1)?;
            open.push(client);
        }
        let after = pss_kib(pid)?;
        Ok((idle / 1024.0, (after - before) / IDLE_CONNECTIONS as f64))
    };
    let (idle, connection) = measure(sidecar.address("inbound")?, sidecar.pid)?;
    let mut idle = Row::at_most(
        "idle sidecar PSS mib",
        idle,
        IDLE_MIB_GATE,
        Some(IDLE_MIB_GOAL),
    );
    let mut connection = Row::at_most(
        "idle connection kib",
        connection,
        CONNECTION_KIB_GATE,
        Some(CONNECTION_KIB_GOAL),
    );
    if let Some(envoy) = &envoy {
        let (mib, kib) = measure(envoy.address, envoy.pid())?;
        idle.peer = Some(mib);
        connection.peer = Some(kib);
    }
    findings.rows.extend([idle, connection]);
    sidecar.end()
}

/// From exec to the first 200 through the inbound port: agent, sidecar, first call.
fn starts(binary: &Path, options: &Options, findings: &mut Findings) -> Result<(), String> {
    let backend = Backend::start(LOAD_CORE, "http1")?;
    let mut times = Vec::new();
    for _ in 0..STARTS {
        let mesh = Mesh::new(binary.to_path_buf(), "start")?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let start = now();
        let mut process = mesh.launch(SERVICE, &http_port(&backend), address)?;
        wait_for("the first 200", READY_WITHIN, || {
            get(address, "/").ok().filter(|(status, _)| *status == 200)
        })?;
        times.push((now() - start).as_secs_f64() * 1000.0);
        process.end()?;
    }
    let rounds = times.iter().map(|time| (*time, None)).collect();
    let mut row = Row::rounds("weft run to first 200 ms", rounds);
    row.limit = crate::report::Limit::AtMost;
    row.gate = Some(options.start_gate());
    row.goal = Some(START_MS_GOAL);
    findings.rows.push(row);
    Ok(())
}
