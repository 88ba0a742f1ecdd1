//! `weft run`: what it is told, how it begins. What follows is in `supervise.rs`.

use crate::check::Check;
use crate::folders::{FolderError, Folders};
use crate::policy::{AppRestart, SidecarFailure};
use crate::runtime_file::Ports;
use crate::sockets::{self, Handed, OpenError, Plan, Role, TakeError};
use crate::supervise::{self, say};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::path::PathBuf;
use std::time::Duration;
use weft_api::sidecar::SidecarSpec;

/// What `weft run` was told.
#[derive(Debug)]
pub struct RunConfig {
    /// The sidecar's part.
    pub spec: SidecarSpec,
    /// The sockets.
    pub sockets: Plan,
    /// Where files go.
    pub folders: Folders,
    /// The app; empty: something else starts it.
    pub command: Vec<OsString>,
    /// Whether the app's HTTP clients are sent through the forward proxy.
    pub set_http_proxy: bool,
    /// How long a drain may take before the app is told to end.
    pub drain_limit: Duration,
    /// How long all of the leaving may take, from the signal to the app's end; then the app is killed.
    pub grace: Duration,
    /// What follows when a sidecar dies again and again; none: as the mesh declares.
    pub sidecar_failure: Option<SidecarFailure>,
    /// Whether an app that ends by itself, or fails its check, is started again.
    pub restart: AppRestart,
    /// How the app is checked while it runs.
    pub check: Option<Check>,
    /// How long the ports of an app that something else starts may be closed before the instance leaves.
    pub app_away: Duration,
    /// The weft binary: what sidecars are started from.
    pub program: PathBuf,
}

/// Why `weft run` could not begin.
#[derive(Debug)]
pub enum RunError {
    /// A folder.
    Folder(FolderError),
    /// A socket that could not be opened.
    Socket(OpenError),
    /// Sockets that systemd handed over.
    Handed(TakeError),
    /// The machine: signals, runtime, processes.
    System {
        /// What was attempted.
        attempt: &'static str,
        /// What was found.
        error: io::Error,
    },
}

impl fmt::Display for RunError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Folder(error) => error.fmt(f),
            Self::Socket(error) => error.fmt(f),
            Self::Handed(error) => error.fmt(f),
            Self::System { attempt, error } => write!(f, "cannot {attempt}: {error}"),
        }
    }
}

impl std::error::Error for RunError {}

/// Runs sidecar and app; returns the exit code. To be called once, on the main thread: the kernel ties the
/// children's lives to the thread that started them.
pub fn run(mut config: RunConfig) -> Result<u8, RunError> {
    let taken = sockets::take_activated().map_err(RunError::Handed)?;
    let handed = Handed::new(taken.unwrap_or_default(), &mut config.sockets);
    let handed = handed.map_err(RunError::Handed)?;
    let listeners = config.sockets.open(handed).map_err(RunError::Socket)?;
    let slot = config
        .folders
        .claim_slot(&config.spec.namespace, &config.spec.service)
        .map_err(RunError::Folder)?;
    match config.folders.state_of(&slot) {
        Ok(folder) => config.spec.state_dir = Some(folder),
        // The app matters more: only a restart without a center is worse off.
        Err(error) => say(&format!(
            "{error}; the sidecar keeps nothing of what it knows, a restart needs a center"
        )),
    }
    if config.sockets.is_inbound_open() {
        say(
            "inbound listens beyond this machine without identities yet: whoever reaches it reaches the app",
        );
    }
    if let Some(text) = moved_ports(&config.sockets, listeners.ports()) {
        say(&text);
    }
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| RunError::System {
            attempt: "start the runtime",
            error,
        })?;
    runtime
        .block_on(supervise::supervise(config, listeners, slot))
        .map_err(|error| RunError::System {
            attempt: "listen to signals",
            error,
        })
}

/// Says which default ports were taken, and what is used instead.
fn moved_ports(plan: &Plan, ports: Ports) -> Option<String> {
    let roles = [
        (Role::Outbound, plan.outbound.is_some(), ports.outbound),
        (
            Role::Inbound,
            plan.inbound.is_some_and(|inbound| inbound.port.is_some()),
            ports.inbound,
        ),
        (Role::HttpProxy, plan.http_proxy.is_some(), ports.http_proxy),
        (
            Role::Management,
            plan.management.is_some(),
            ports.management,
        ),
    ];
    let moved: Vec<String> = roles
        .into_iter()
        .filter(|(role, asked, port)| !asked && *port != role.default_port())
        .map(|(role, _, port)| format!("{} {port} (not {})", role.name(), role.default_port()))
        .collect();
    (!moved.is_empty()).then(|| {
        format!(
            "default ports are in use, the sidecar has {}",
            moved.join(", ")
        )
    })
}

#[cfg(test)]
mod tests;
