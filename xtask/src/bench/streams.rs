//! `bench h2`, `bench grpc`, `bench tcp`: CPU per request of one hop in HTTP/2 and in gRPC, from HTTP/2 to HTTP/1.1,
//! and of bytes that pass unread; beside Envoy when asked.
//!
//! As `bench http1` measures: rounds in turns, the median of the rounds' ratios gates, and weft's own count of calls
//! must agree with the load's.

use super::envoy::{Envoy, Next};
use super::h2::MESSAGE;
use super::http1::{Against, Findings, Rounds, SERVICE, Side, alternate, build, raise_open_files};
use super::load::{CONNECTIONS, H2_CONNECTIONS, H2_STREAMS, Load};
use super::processes::{Backend, Folder, LOAD_CORE, Mesh, can_pin, free_port};
use crate::peers;
use crate::report::{Report, Row};
use clap::Args;
use serde_json::json;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

const H2_RATIO_GATE: f64 = 1.1;
const H2_RATIO_GOAL: f64 = 2.0;
const DOWN_RATIO_GATE: f64 = 1.5;
const DOWN_RATIO_GOAL: f64 = 2.5;
const BYTES_RATIO_GATE: f64 = 1.0;
const BYTES_RATIO_GOAL: f64 = 2.0;

/// How to run.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// A peer to measure in the same run; its ratios gate
    #[arg(long)]
    against: Option<Against>,
    /// Longer rounds, and more of them
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
}

impl Options {
    fn rounds(&self) -> Rounds {
        if self.full {
            Rounds {
                count: 9,
                seconds: 8,
            }
        } else {
            Rounds {
                count: 5,
                seconds: 3,
            }
        }
    }
}

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Suite {
    /// HTTP/2 to an app in HTTP/2, and to one in HTTP/1.1.
    H2,
    /// Unary calls of gRPC.
    Grpc,
    /// Requests in connections of which nothing is read.
    Tcp,
}

impl Suite {
    fn name(self) -> &'static str {
        match self {
            Self::H2 => "bench h2",
            Self::Grpc => "bench grpc",
            Self::Tcp => "bench tcp",
        }
    }

    /// The program that makes the load.
    fn loader(self) -> &'static str {
        match self {
            Self::H2 | Self::Grpc => "h2load",
            Self::Tcp => "wrk",
        }
    }
}

/// Measures, prints, and says whether all gates hold.
pub(crate) fn run(suite: Suite, options: &Options) -> Result<bool, String> {
    can_pin()?;
    for name in [suite.loader()]
        .into_iter()
        .chain(options.against.map(|_| "envoy"))
    {
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
    let folder = Folder::new("bench-messages")?;
    let message = folder.path.join("message");
    fs::write(&message, MESSAGE)
        .map_err(|error| format!("write \"{}\": {error}", message.display()))?;
    let mut findings = Findings::default();
    for hop in Hop::of(suite, message) {
        hop.measure(&binary, options, &mut findings)?;
    }
    for note in &findings.notes {
        println!("note: {note}");
    }
    let report = Report {
        suite: suite.name().to_owned(),
        rows: findings.rows,
        faults: findings.faults,
        setting: json!({
            "profile": options.profile,
            "rounds": options.rounds().count,
            "seconds": options.rounds().seconds,
            "connections": if suite == Suite::Tcp { CONNECTIONS } else { H2_CONNECTIONS },
            "streams": if suite == Suite::Tcp { 1 } else { H2_STREAMS },
            "workers": 1,
            "weft": "all defaults, --workers 1",
            "load": peers::version(suite.loader()),
            "peer": options.against.and_then(|_| peers::version("envoy")),
            "peer_setting": "router or relay only, --concurrency 1",
            "notes": findings.notes,
        }),
    };
    report.print(options.json);
    Ok(report.pass())
}

/// A plain caller through the inbound port to the app.
struct Hop {
    name: &'static str,
    load: Load,
    /// The kind of the bench's own app.
    app: &'static str,
    /// What the app's port declares.
    port: &'static str,
    /// How Envoy goes on.
    next: fn(u16) -> Next,
    gate: f64,
    goal: f64,
}

impl Hop {
    /// What a suite measures.
    fn of(suite: Suite, message: PathBuf) -> Vec<Self> {
        match suite {
            Suite::H2 => vec![
                Self::h2("h2 hop cpu_us", Load::H2, "h2"),
                Self {
                    name: "h2 to http1 cpu_us",
                    load: Load::H2,
                    app: "http1",
                    port: "http",
                    next: Next::App,
                    gate: DOWN_RATIO_GATE,
                    goal: DOWN_RATIO_GOAL,
                },
            ],
            Suite::Grpc => vec![Self::h2("grpc hop cpu_us", Load::Grpc(message), "grpc")],
            Suite::Tcp => vec![Self {
                name: "tcp relay cpu_us",
                load: Load::Bytes,
                app: "http1",
                port: "tcp",
                next: Next::Bytes,
                gate: BYTES_RATIO_GATE,
                goal: BYTES_RATIO_GOAL,
            }],
        }
    }

    /// HTTP/2 on both sides.
    fn h2(name: &'static str, load: Load, port: &'static str) -> Self {
        Self {
            name,
            load,
            app: "h2",
            port,
            next: Next::H2,
            gate: H2_RATIO_GATE,
            goal: H2_RATIO_GOAL,
        }
    }

    fn measure(
        self,
        binary: &Path,
        options: &Options,
        findings: &mut Findings,
    ) -> Result<(), String> {
        let backend = Backend::start(LOAD_CORE, self.app)?;
        let mesh = Mesh::new(binary.to_path_buf(), "hop")?;
        let port = format!("{}={}", self.port, backend.port);
        // By its first bytes a connection would be HTTP/1.1: only a listener that declares it relays.
        let declared = match self.load {
            Load::Bytes => Some(free_port()?),
            Load::Http1 | Load::H2 | Load::Grpc(_) => None,
        };
        let listener = declared.map(|port| format!("inbound:tcp={port}"));
        let sidecar = mesh.start_listening(SERVICE, Some(&port), listener.as_deref())?;
        let envoy = match options.against {
            Some(Against::Envoy) => Some(Envoy::start("envoy", (self.next)(backend.port))?),
            None => None,
        };
        let address = match declared {
            Some(port) => SocketAddr::from((Ipv4Addr::LOCALHOST, port)),
            None => sidecar.address("inbound")?,
        };
        let side = Side {
            load: self.load,
            address,
            pids: vec![sidecar.pid],
            counted: vec![&sidecar],
        };
        let peer = envoy
            .as_ref()
            .map(|envoy| (envoy.address, vec![envoy.pid()]));
        let rounds = alternate(self.name, &side, peer.as_ref(), options.rounds(), findings)?;
        let row = Row::rounds(self.name, rounds).ratio_at_least(self.gate, self.goal);
        findings.rows.push(row);
        sidecar.end()
    }
}
