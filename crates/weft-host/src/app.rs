//! The app's process: what it finds in its environment, and that it never outlives the agent.
//!
//! The agent does not exec the app itself: it starts `weft launch`, which asks the kernel for a signal at the
//! parent's death and then becomes the app (same process id). That needs no code between fork and exec.

use crate::runtime_file::Ports;
use rustix::process::{Pid, Signal};
use std::ffi::OsString;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

/// Exit code of a command that was not found, as shells have it.
pub const NOT_FOUND: u8 = 127;
/// Exit code of a command that could not be started, as shells have it.
pub const NOT_STARTED: u8 = 126;

/// What the app learns from its environment.
#[derive(Clone, Copy, Debug)]
pub(crate) struct AppEnvironment<'a> {
    pub(crate) service: &'a str,
    pub(crate) instance: &'a str,
    pub(crate) ports: Ports,
    /// Whether HTTP clients of the app are sent through the forward proxy.
    pub(crate) set_http_proxy: bool,
}

impl AppEnvironment<'_> {
    fn variables(&self) -> Vec<(&'static str, String)> {
        let mut variables = vec![
            (
                "WEFT_OUTBOUND",
                format!("127.0.0.1:{}", self.ports.outbound),
            ),
            ("WEFT_SERVICE", self.service.to_owned()),
            ("WEFT_INSTANCE", self.instance.to_owned()),
        ];
        if self.set_http_proxy {
            let port = self.ports.http_proxy;
            variables.push(("http_proxy", format!("http://127.0.0.1:{port}")));
        }
        variables
    }
}

/// Starts the app; its input and output are ours.
pub(crate) fn spawn(
    program: &Path,
    command: &[OsString],
    environment: &AppEnvironment<'_>,
) -> io::Result<Pid> {
    let child = launcher(program, LaunchSignal::Kill, command)
        .envs(environment.variables())
        .spawn()?;
    crate::sidecar::pid_of(&child)
}

/// The signal that a launched process gets when its parent dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LaunchSignal {
    /// It may end in its own way.
    Term,
    /// It ends.
    Kill,
}

impl LaunchSignal {
    /// The name as in `weft launch --signal`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Term => "term",
            Self::Kill => "kill",
        }
    }

    /// The signal with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Term, Self::Kill]
            .into_iter()
            .find(|known| known.name() == name)
    }

    fn signal(self) -> Signal {
        match self {
            Self::Term => Signal::TERM,
            Self::Kill => Signal::KILL,
        }
    }
}

/// A command that starts another one which does not outlive us. `program` is the weft binary.
pub fn launcher(program: &Path, signal: LaunchSignal, command: &[OsString]) -> Command {
    let mut launcher = Command::new(program);
    launcher
        .args(["launch", "--signal", signal.name(), "--parent"])
        .arg(std::process::id().to_string())
        .arg("--")
        .args(command);
    // Sockets of ours, if systemd handed us any.
    for variable in crate::sockets::HANDED_BY {
        launcher.env_remove(variable);
    }
    launcher
}

/// Why `weft launch` did not become the command.
#[derive(Debug)]
pub struct LaunchError {
    command: OsString,
    error: io::Error,
}

impl LaunchError {
    /// The exit code that tells it, as shells have it.
    pub fn exit_code(&self) -> u8 {
        if self.error.kind() == io::ErrorKind::NotFound {
            NOT_FOUND
        } else {
            NOT_STARTED
        }
    }
}

impl fmt::Display for LaunchError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { command, error } = self;
        write!(
            f,
            "cannot start \"{}\": {error}; write the app's command after \"--\", with its path if it is \
             not in PATH",
            command.display()
        )
    }
}

impl std::error::Error for LaunchError {}

/// The inside of `weft launch`: becomes the command, which gets this signal when the parent dies. Returns only
/// when that failed.
pub fn launch(parent: u32, signal: LaunchSignal, command: &[OsString]) -> LaunchError {
    let (program, arguments) = command
        .split_first()
        .map_or((OsString::new(), command), |(p, a)| (p.clone(), a));
    let failed = |error| LaunchError {
        command: program.clone(),
        error,
    };
    if let Err(error) = rustix::process::set_parent_process_death_signal(Some(signal.signal())) {
        return failed(error.into());
    }
    // The parent may have died before we asked.
    let now = rustix::process::getppid().map(|pid| pid.as_raw_nonzero().get() as u32);
    if now != Some(parent) {
        return failed(io::Error::other("the process that asked for it is gone"));
    }
    failed(Command::new(&program).args(arguments).exec())
}

#[cfg(test)]
mod tests;
