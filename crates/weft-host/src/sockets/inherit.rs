//! The receiving side of a hand-over: takes the descriptors that the parent left from number 3 on, the sidecar
//! from its agent or from systemd, the agent from systemd.
//!
//! The only unsafe code of this crate: a number in the environment becomes an owned descriptor, which no
//! type can vouch for. So it is done once per process, at its start, and each descriptor is looked at first.

#![allow(
    unsafe_code,
    reason = "descriptors arrive as numbers; see the SAFETY comments"
)]

use super::Role;
use rustix::io::FdFlags;
use rustix::net::AddressFamily;
use std::fmt;
use std::net::TcpListener;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, Ordering};

/// The first number of the systemd convention (sd_listen_fds(3)).
pub(crate) const FIRST_FD: RawFd = 3;
/// Descriptors that are taken, at the most.
const FDS_MAX: usize = 64;
/// The name under which the socket to the host agent is handed over.
pub(crate) const AGENT: &str = "agent";

/// What the parent handed over.
#[derive(Debug, Default)]
pub struct Taken {
    /// Calls of the app, in any protocol.
    pub outbound: Vec<TcpListener>,
    /// Calls for the app.
    pub inbound: Vec<TcpListener>,
    /// HTTP forward proxy.
    pub http_proxy: Vec<TcpListener>,
    /// Metrics and readiness.
    pub management: Vec<TcpListener>,
    /// Listeners that a person declared.
    pub declared: Vec<TcpListener>,
    /// The socket to the host agent; none under systemd.
    pub agent: Option<UnixStream>,
}

/// Why nothing was taken: lower case, with what to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TakeError(pub(super) String);

impl fmt::Display for TakeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cannot take the listening sockets: {}", self.0)
    }
}

impl std::error::Error for TakeError {}

/// Takes the sockets that the parent handed over: `LISTEN_PID` is our own pid (systemd), or `WEFT_PARENT` is
/// our parent's (the host agent, which cannot know our pid before we run). Works once per process.
pub fn take() -> Result<Taken, TakeError> {
    let environment = |name: &str| std::env::var(name).ok();
    let own = std::process::id();
    let parent = rustix::process::getppid().map_or(0, |pid| pid.as_raw_nonzero().get() as u32);
    let names = announced(environment, own, parent)?;
    take_named(&names)
}

/// Takes the sockets that systemd handed to the host agent: `LISTEN_PID` is our own pid. None when nothing is
/// meant for us. Works once per process.
pub fn take_activated() -> Result<Option<Taken>, TakeError> {
    let names = activated(|name| std::env::var(name).ok(), std::process::id())?;
    names.map(|names| take_named(&names)).transpose()
}

/// Takes the descriptors with these names, once per process.
fn take_named(names: &[String]) -> Result<Taken, TakeError> {
    static TAKEN: AtomicBool = AtomicBool::new(false);
    if TAKEN.swap(true, Ordering::SeqCst) {
        return Err(TakeError("they were taken before in this process".into()));
    }
    let mut taken = Taken::default();
    for (fd, name) in (FIRST_FD..).zip(names) {
        // SAFETY: only looked at, and the parent promised that this number is open; if it is not, fcntl says
        // so and nothing else happens.
        let seen = unsafe { BorrowedFd::borrow_raw(fd) };
        rustix::io::fcntl_setfd(seen, FdFlags::CLOEXEC)
            .map_err(|error| TakeError(format!("descriptor {fd} (\"{name}\"): {error}")))?;
        // SAFETY: open, as just seen; ours alone, because the parent made it for us, nothing in this process
        // opened a number before `main` called us, and `TAKEN` lets this loop run once.
        let owned = unsafe { OwnedFd::from_raw_fd(fd) };
        sort(&mut taken, name, owned)?;
    }
    Ok(taken)
}

/// The names of the descriptors, when they are meant for this process.
fn announced(
    variable: impl Fn(&str) -> Option<String>,
    own: u32,
    parent: u32,
) -> Result<Vec<String>, TakeError> {
    let number = |name: &str| variable(name).and_then(|text| text.parse::<u32>().ok());
    let by_systemd = number("LISTEN_PID").is_some_and(|pid| pid == own);
    let by_agent = number("LISTEN_PID").is_none() && number("WEFT_PARENT") == Some(parent);
    if !by_systemd && !by_agent {
        let text = "neither LISTEN_PID nor WEFT_PARENT names this process or its parent; a sidecar is \
                    started by \"weft run\" or by a systemd socket unit";
        return Err(TakeError(text.into()));
    }
    names_in(variable)
}

/// The names of the descriptors that systemd hands to the host agent with this pid.
fn activated(
    variable: impl Fn(&str) -> Option<String>,
    own: u32,
) -> Result<Option<Vec<String>>, TakeError> {
    if variable("LISTEN_PID").and_then(|text| text.parse().ok()) != Some(own) {
        return Ok(None);
    }
    let names = names_in(variable)?;
    let roles: Vec<_> = Role::ALL.into_iter().map(Role::name).collect();
    match names.iter().find(|name| !roles.contains(&name.as_str())) {
        Some(unknown) => Err(TakeError(format!(
            "\"{unknown}\" is none of {}; write one of them as FileDescriptorName= in its socket unit",
            roles.join(", ")
        ))),
        None => Ok(Some(names)),
    }
}

/// One name for each descriptor.
fn names_in(variable: impl Fn(&str) -> Option<String>) -> Result<Vec<String>, TakeError> {
    let count = variable("LISTEN_FDS").and_then(|text| text.parse().ok());
    let count: usize = count.unwrap_or(0);
    let names: Vec<String> = variable("LISTEN_FDNAMES")
        .unwrap_or_default()
        .split(':')
        .map(str::to_owned)
        .collect();
    if count == 0 || count > FDS_MAX || names.len() != count {
        return Err(TakeError(format!(
            "LISTEN_FDS announces {count} of 1 to {FDS_MAX} sockets and LISTEN_FDNAMES names {}; each needs \
             a name (FileDescriptorName= in a systemd socket unit)",
            names.len()
        )));
    }
    Ok(names)
}

/// Puts a descriptor where its name says, after a look at what it is.
fn sort(taken: &mut Taken, name: &str, fd: OwnedFd) -> Result<(), TakeError> {
    if name == AGENT {
        if family(&fd) != Some(AddressFamily::UNIX) {
            return Err(TakeError(format!("\"{name}\" is not a socket pair")));
        }
        taken.agent = Some(UnixStream::from(fd));
        return Ok(());
    }
    let Some(role) = Role::ALL.into_iter().find(|role| role.name() == name) else {
        let known: Vec<_> = Role::ALL.into_iter().map(Role::name).collect();
        return Err(TakeError(format!(
            "\"{name}\" is none of {}, {AGENT}",
            known.join(", ")
        )));
    };
    let is_listening = rustix::net::sockopt::socket_acceptconn(&fd).unwrap_or(false);
    if !is_listening
        || !matches!(
            family(&fd),
            Some(AddressFamily::INET | AddressFamily::INET6)
        )
    {
        return Err(TakeError(format!(
            "\"{name}\" is not a listening TCP socket"
        )));
    }
    let listener = TcpListener::from(fd);
    let set = listener.set_nonblocking(true);
    set.map_err(|error| TakeError(format!("\"{name}\": {error}")))?;
    match role {
        Role::Outbound => taken.outbound.push(listener),
        Role::Inbound => taken.inbound.push(listener),
        Role::HttpProxy => taken.http_proxy.push(listener),
        Role::Management => taken.management.push(listener),
        Role::Declared => taken.declared.push(listener),
    }
    Ok(())
}

fn family(fd: &impl AsFd) -> Option<AddressFamily> {
    rustix::net::sockopt::socket_domain(fd).ok()
}

#[cfg(test)]
mod tests;
