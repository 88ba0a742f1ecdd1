//! Who listens on a port, from the kernel's tables under `/proc`.
//!
//! An error that says "port taken" without a name sends people to search; this file finds the name. It also
//! tells whether an app that weft did not start is up, without a connection that the app would notice.

use std::fmt;
use std::fs;
use std::os::unix::fs::MetadataExt;

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
    let listeners: Vec<Listener> = tables()
        .iter()
        .flat_map(|table| listeners(table, port))
        .collect();
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

/// Whether anybody in this network namespace listens on one of these TCP ports.
pub fn any_listens(ports: &[u16]) -> bool {
    let tables = tables();
    ports.iter().any(|port| {
        tables
            .iter()
            .any(|table| !listeners(table, *port).is_empty())
    })
}

/// A listening socket in the kernel's table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Listener {
    uid: u32,
    inode: u64,
}

fn tables() -> Vec<String> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .collect()
}

/// The rows of `/proc/net/tcp` (proc_net_tcp(5)) that listen on this port.
fn listeners(table: &str, port: u16) -> Vec<Listener> {
    const LISTEN: &str = "0A";
    let suffix = format!(":{port:04X}");
    let row = |line: &str| {
        // sl local remote st queues timer retransmits uid timeout inode
        let mut columns = line.split_ascii_whitespace();
        let local = columns.nth(1)?;
        let state = columns.nth(1)?;
        if state != LISTEN || !local.ends_with(&suffix) {
            return None;
        }
        let uid = columns.nth(3)?.parse().ok()?;
        let inode = columns.nth(1)?.parse().ok()?;
        Some(Listener { uid, inode })
    };
    table.lines().skip(1).filter_map(row).collect()
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
