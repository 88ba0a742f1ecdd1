//! The data plane: the sidecar process beside one app.
//!
//! Start at `path.rs`: the life of a connection and the path of a call. Around it:
//!
//! | files | what |
//! |---|---|
//! | `accept` `detect` `decode` `route` `admit` `pick` `forward` `record` | the eight stages, in order |
//! | `call.rs` | one shape for the calls of every protocol |
//! | `asking.rs` | calls that wait for their service to be told |
//! | `protocol.rs`, `protocol/*` | one file or folder per protocol, and the link |
//! | `upstream.rs`, `connecting.rs` | the own app and external hosts; attempts that many wait for |
//! | `worker.rs`, `sources.rs`, `context.rs`, `buffer.rs`, `deadline.rs` | what a worker runs on |
//! | `control.rs`, `sync.rs`, `saved.rs`, `management.rs`, `app.rs`, `begin.rs`, `health.rs`, `check.rs`, `agent.rs`, `leave.rs` | the control thread: everything that is not a call |
//! | `settings.rs` | every named limit |
//! | `simulation.rs` | what a sidecar knows, for simulations: without sockets, threads and clock |
//!
//! Never in here: the center, the command line, serde on its own types.

mod accept;
mod admit;
mod agent;
mod app;
mod asking;
mod begin;
mod budget;
mod buffer;
mod call;
mod check;
mod clock;
mod connecting;
mod context;
mod control;
mod deadline;
mod decode;
mod detect;
mod forward;
mod health;
mod leave;
mod log;
mod management;
mod path;
mod pick;
mod protocol;
mod record;
mod route;
mod saved;
mod settings;
mod silent;
pub mod simulation;
mod sources;
mod sync;
mod tunnel;
mod upstream;
mod worker;

pub use settings::Limits;

use std::fmt;
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use weft_api::sidecar::SidecarSpec;

/// The sockets on which a sidecar listens, opened by its parent.
#[derive(Debug, Default)]
pub struct Listeners {
    /// The app's calls, any protocol.
    pub outbound: Vec<TcpListener>,
    /// Links from peers, and plain callers.
    pub inbound: Vec<TcpListener>,
    /// The app's calls through an HTTP forward proxy.
    pub http_proxy: Vec<TcpListener>,
    /// Metrics, probes, configuration.
    pub management: Vec<TcpListener>,
    /// Those of `SidecarSpec::listens`, found by their ports.
    pub declared: Vec<TcpListener>,
}

/// All that a sidecar starts with.
#[derive(Debug)]
pub struct Config {
    /// Which instance it stands beside.
    pub spec: SidecarSpec,
    /// Its sockets.
    pub listeners: Listeners,
    /// Its line to the host agent; without one it serves on its own.
    pub agent: Option<UnixStream>,
    /// Its limits.
    pub limits: Limits,
}

impl Config {
    /// A configuration with default limits.
    pub fn new(spec: SidecarSpec, listeners: Listeners, agent: Option<UnixStream>) -> Self {
        Self {
            spec,
            listeners,
            agent,
            limits: Limits::default(),
        }
    }
}

/// Why a sidecar did not start: what was attempted, and what was found.
#[derive(Debug)]
pub struct StartError {
    attempted: &'static str,
    found: std::io::Error,
}

impl StartError {
    pub(crate) fn new(attempted: &'static str, found: std::io::Error) -> Self {
        Self { attempted, found }
    }
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "starting the sidecar: {}: {}",
            self.attempted, self.found
        )
    }
}

impl std::error::Error for StartError {}

/// Runs a sidecar until it is told to leave (SIGTERM, SIGINT, the host agent) and has.
///
/// # Errors
/// When a socket, thread or runtime is not to be had.
pub fn run(config: Config) -> Result<(), StartError> {
    control::run(config)
}
