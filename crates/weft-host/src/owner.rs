//! Who listens on a port, from the kernel and from `/proc`.
//!
//! An error that says "port taken" without a name sends people to search; this file finds the name. It also
//! tells whether an app that weft did not start is up, without a connection that the app would notice.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;

mod listening;

/// Processes that are looked through for a socket, at the most.
const PROCESSES_MAX: usize = 20_000;

/// The process that listens on a port.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Owner {
    /// Found.
    Process {
        /// Its process id.
        pid: u32,
        /// Its name, as in `comm`.
        name: String,
    },
    /// Somebody listens, but we may not see who: another user, or another process namespace.
    Hidden {
        /// The user the socket belongs to.
        uid: u32,
    },
}

impl fmt::Display for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, name } => write!(f, "\"{name}\" (pid {pid})"),
            Self::Hidden { uid } => {
                write!(
                    f,
                    "a process of user {uid} that this user may not look into"
                )
            }
        }
    }
}

/// Who listens on this TCP port, on any address; none when nobody does.
pub fn owner_of(port: u16) -> Option<Owner> {
    let listeners = listening::on_port(port);
    let first = listeners.first()?;
    let found = processes().find_map(|pid| {
        let holds = sockets_of(pid).any(|inode| listeners.iter().any(|known| known.inode == inode));
        holds.then(|| Owner::Process {
            pid,
            name: name_of(pid),
        })
    });
    Some(found.unwrap_or(Owner::Hidden { uid: first.uid }))
}

/// The inodes of the sockets in this network namespace that listen on one of these TCP ports. A socket keeps its
/// inode, so a new one tells of a new listener even when nobody saw the old one go.
pub fn listening_sockets(ports: &[u16]) -> Vec<u64> {
    ports
        .iter()
        .flat_map(|port| listening::on_port(*port))
        .map(|listener| listener.inode)
        .collect()
}

/// Whether anybody in this network namespace listens on one of these TCP ports.
pub fn any_listens(ports: &[u16]) -> bool {
    !listening_sockets(ports).is_empty()
}

fn processes() -> impl Iterator<Item = u32> {
    fs::read_dir("/proc")
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .take(PROCESSES_MAX)
}

/// The inodes behind a process's descriptors. A followed link gives the socket's own inode, so no text of
/// the form `socket:[1]` has to be read.
fn sockets_of(pid: u32) -> impl Iterator<Item = u64> {
    fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|entry| Some(fs::metadata(entry.path()).ok()?.ino()))
}

fn name_of(pid: u32) -> String {
    let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    name.trim_end().to_owned()
}

#[cfg(test)]
mod tests;
