//! `bench h2`, `bench grpc`: CPU per request of one hop in HTTP/2 and in gRPC; beside Envoy when asked.
//!
//! As `bench http1` measures: rounds in turns, the median of the rounds' ratios gates, and weft's own count of calls
//! must agree with the load's.

use super::envoy::{Envoy, Next};
use super::h2::MESSAGE;
use super::http1::{Against, Findings, Rounds, SERVICE, Side, alternate, build, raise_open_files};
use super::load::{H2_CONNECTIONS, H2_STREAMS, Load};
use super::processes::{Backend, Folder, LOAD_CORE, Mesh, can_pin};
use crate::peers;
use crate::report::{Report, Row};
use clap::Args;
use serde_json::json;
use std::fs;
use std::path::{Path, PathBuf};

const H2_RATIO_GATE: f64 = 1.1;
const H2_RATIO_GOAL: f64 = 2.0;

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
    /// HTTP/2 to an app in HTTP/2.
    H2,
    /// Unary calls of gRPC.
    Grpc,
}

/// Measures, prints, and says whether all gates hold.
pub(crate) fn run(suite: Suite, options: &Options) -> Result<bool, String> {
    can_pin()?;
    for name in ["h2load"]
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
    let name = match suite {
        Suite::H2 => {
            Hop::h2("h2 hop cpu_us", Load::H2, "h2").measure(&binary, options, &mut findings)?;
            "bench h2"
        }
        Suite::Grpc => {
            let load = Load::Grpc(message);
            Hop::h2("grpc hop cpu_us", load, "grpc").measure(&binary, options, &mut findings)?;
            "bench grpc"
        }
    };
    for note in &findings.notes {
        println!("note: {note}");
    }
    let report = Report {
        suite: name.to_owned(),
        rows: findings.rows,
        faults: findings.faults,
        setting: json!({
            "profile": options.profile,
            "rounds": options.rounds().count,
            "seconds": options.rounds().seconds,
            "connections": H2_CONNECTIONS,
            "streams": H2_STREAMS,
            "workers": 1,
            "weft": "all defaults, --workers 1",
            "load": peers::version("h2load"),
            "peer": options.against.and_then(|_| peers::version("envoy")),
            "peer_setting": "router only, --concurrency 1",
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
        let sidecar = mesh.start_sidecar(SERVICE, Some(&port))?;
        let envoy = match options.against {
            Some(Against::Envoy) => Some(Envoy::start("envoy-h2", (self.next)(backend.port))?),
            None => None,
        };
        let side = Side {
            load: self.load,
            address: sidecar.address("inbound")?,
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
