//! The sidecar's process: this very executable as `weft proxy`, with the sockets and one end of a socket
//! pair; and the JSON lines that go over that pair (weft-api's `agent.rs`).

use crate::clock;
use crate::sockets::Listeners;
use command_fds::{CommandFdExt, FdMapping};
use rustix::net::SendFlags;
use rustix::process::{Pid, Signal};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use weft_api::agent::{FromSidecar, LINE_BYTES_MAX, ToSidecar};
use weft_api::sidecar::SidecarSpec;

/// The first number of the systemd convention, and the name of the agent's socket in it.
const FIRST_FD: i32 = 3;
const AGENT: &str = "agent";

/// A running sidecar.
#[derive(Debug)]
pub(crate) struct Sidecar {
    /// Its process.
    pub(crate) pid: Pid,
    /// When it was started.
    pub(crate) born: Instant,
    lines: OwnedWriteHalf,
}

/// What comes from a running sidecar.
#[derive(Debug)]
pub(crate) struct SidecarLines(BufReader<OwnedReadHalf>);

impl Sidecar {
    /// Starts a sidecar on these sockets.
    pub(crate) fn spawn(
        program: &Path,
        spec: &SidecarSpec,
        listeners: &Listeners,
    ) -> io::Result<(Self, SidecarLines)> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let mut names = Vec::new();
        let mut fds = Vec::new();
        for (role, socket) in listeners.in_order() {
            names.push(role.name());
            fds.push(OwnedFd::from(socket.try_clone()?));
        }
        names.push(AGENT);
        fds.push(theirs.into());
        let mappings = (FIRST_FD..)
            .zip(fds)
            .map(|(child_fd, parent_fd)| FdMapping {
                parent_fd,
                child_fd,
            });
        let mut command = Command::new(program);
        command
            .arg("proxy")
            .args(spec.to_args())
            .env("LISTEN_FDS", names.len().to_string())
            .env("LISTEN_FDNAMES", names.join(":"))
            .env("WEFT_PARENT", std::process::id().to_string())
            .env_remove("LISTEN_PID")
            .env_remove("LISTEN_PIDFDID")
            .stdin(Stdio::null())
            // A process group of its own: Ctrl-C on a terminal ends the app, and the agent then the sidecar.
            .process_group(0)
            .fd_mappings(mappings.collect())
            .map_err(io::Error::other)?;
        // Reaped by the agent's own loop, which also takes in orphans when it is process 1.
        let pid = pid_of(&command.spawn()?)?;
        let (lines, write) = tokio::net::UnixStream::from_std(ours)?.into_split();
        let sidecar = Self {
            pid,
            born: clock::now(),
            lines: write,
        };
        Ok((sidecar, SidecarLines(BufReader::new(lines))))
    }

    /// Tells the sidecar something. One that does not read, or is dead, is not waited for.
    pub(crate) fn tell(&self, message: &ToSidecar) {
        let Ok(mut line) = serde_json::to_vec(message) else {
            return;
        };
        line.push(b'\n');
        // The messages of one life fit many times into the socket's buffer. Not by the runtime, which holds a write
        // back until it has looked at the socket once: the first words to a new sidecar would be lost.
        let socket: &tokio::net::UnixStream = self.lines.as_ref();
        let _ = rustix::net::send(socket, &line, SendFlags::DONTWAIT | SendFlags::NOSIGNAL);
    }

    /// Sends a signal; one that is dead already is left to the reaper.
    pub(crate) fn signal(&self, signal: Signal) {
        let _ = rustix::process::kill_process(self.pid, signal);
    }
}

impl SidecarLines {
    /// The next message; none when the sidecar hung up or spoke another language.
    pub(crate) async fn next(&mut self) -> Option<FromSidecar> {
        let mut line = Vec::new();
        let mut limited = (&mut self.0).take(LINE_BYTES_MAX as u64);
        limited.read_until(b'\n', &mut line).await.ok()?;
        if line.last() != Some(&b'\n') {
            return None;
        }
        // What we cannot read is of a later version, like an unknown kind.
        Some(serde_json::from_slice(&line).unwrap_or(FromSidecar::Unknown))
    }
}

/// The process id of a child just started.
pub(crate) fn pid_of(child: &std::process::Child) -> io::Result<Pid> {
    i32::try_from(child.id())
        .ok()
        .and_then(Pid::from_raw)
        .ok_or(io::ErrorKind::InvalidData.into())
}

/// For the sidecar, at its start: the kernel kills it when its host agent dies, so that it never stays behind
/// holding ports. Does nothing when the parent is not a host agent.
pub fn die_with_the_agent() -> io::Result<()> {
    if std::env::var_os("WEFT_PARENT")
        .as_deref()
        .is_none_or(OsStr::is_empty)
    {
        return Ok(());
    }
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    Ok(())
}
