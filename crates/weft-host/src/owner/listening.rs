//! Which TCP sockets listen on a port: asked of the kernel over netlink (sock_diag(7)).
//!
//! The table `/proc/net/tcp` says the same, but reading it walks every connection of the machine: a fifth of a
//! second where there are many. The kernel's answer here walks the listening ones alone. The table is read only
//! where the kernel does not answer (some sandboxes).

use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{
    AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, netlink, recv, send, socket_with,
};
use std::fs;
use std::io;
use std::time::Duration;

/// A listening socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Listener {
    /// The user it belongs to.
    pub(super) uid: u32,
    /// Its inode: its identity, as long as it is open.
    pub(super) inode: u64,
}

/// The sockets that listen on this port, on any address.
pub(super) fn on_port(port: u16) -> Vec<Listener> {
    let answers = [AddressFamily::INET, AddressFamily::INET6].map(|family| ask(family, port));
    let answered: io::Result<Vec<_>> = answers.into_iter().collect();
    answered.map_or_else(|_| by_tables(port), |listeners| listeners.concat())
}

/// `NLMSG_ERROR`, `NLMSG_DONE`, `SOCK_DIAG_BY_FAMILY` (linux/netlink.h, linux/sock_diag.h).
const ERROR: u16 = 2;
const DONE: u16 = 3;
const BY_FAMILY: u16 = 20;
/// `NLM_F_REQUEST | NLM_F_DUMP`.
const REQUEST_DUMP: u16 = 0x301;
/// Bytes of `struct nlmsghdr` and of `struct inet_diag_req_v2`.
const HEADER_BYTES: usize = 16;
const REQUEST_BYTES: usize = 56;
/// `1 << TCP_LISTEN`.
const STATE_LISTEN: u32 = 1 << 10;
/// Where `struct inet_diag_msg` has the port, the user and the inode.
const PORT_AT: usize = 4;
const UID_AT: usize = 64;
const INODE_AT: usize = 68;
/// The kernel fills messages of 32 KiB at the most (netlink(7)).
const BUFFER_BYTES: usize = 32 * 1024;
/// The kernel answers at once; one that does not is given up on.
const ANSWER_WAIT: Duration = Duration::from_millis(500);
/// Messages of one answer, at the most.
const MESSAGES_MAX: usize = 1024;

fn ask(family: AddressFamily, port: u16) -> io::Result<Vec<Listener>> {
    let socket = socket_with(
        AddressFamily::NETLINK,
        SocketType::DGRAM,
        SocketFlags::CLOEXEC,
        Some(netlink::SOCK_DIAG),
    )?;
    set_socket_timeout(&socket, Timeout::Recv, Some(ANSWER_WAIT))?;
    send(&socket, &request(family, port), SendFlags::empty())?;
    let mut listeners = Vec::new();
    let mut buffer = vec![0; BUFFER_BYTES];
    for _ in 0..MESSAGES_MAX {
        let (len, _) = recv(&socket, &mut *buffer, RecvFlags::empty())?;
        let bytes = buffer.get(..len).unwrap_or_default();
        if read(bytes, port, &mut listeners)? {
            return Ok(listeners);
        }
    }
    Err(io::ErrorKind::InvalidData.into())
}

/// "All listening TCP sockets of this family with this port."
fn request(family: AddressFamily, port: u16) -> Vec<u8> {
    const TCP: u8 = 6;
    let mut bytes = Vec::with_capacity(HEADER_BYTES + REQUEST_BYTES);
    bytes.extend_from_slice(&((HEADER_BYTES + REQUEST_BYTES) as u32).to_ne_bytes());
    bytes.extend_from_slice(&BY_FAMILY.to_ne_bytes());
    bytes.extend_from_slice(&REQUEST_DUMP.to_ne_bytes());
    // The sequence number and our port: one question a socket needs neither.
    bytes.extend_from_slice(&[0; 8]);
    bytes.extend_from_slice(&[family.as_raw() as u8, TCP, 0, 0]);
    bytes.extend_from_slice(&STATE_LISTEN.to_ne_bytes());
    bytes.extend_from_slice(&port.to_be_bytes());
    bytes.resize(HEADER_BYTES + REQUEST_BYTES, 0);
    bytes
}

/// Reads one datagram of the answer; whether it was the last one.
fn read(mut bytes: &[u8], port: u16, listeners: &mut Vec<Listener>) -> io::Result<bool> {
    let broken = || io::Error::from(io::ErrorKind::InvalidData);
    while !bytes.is_empty() {
        let len = u32_at(bytes, 0).ok_or_else(broken)? as usize;
        let kind = bytes
            .get(4..6)
            .and_then(|two| two.try_into().ok())
            .map(u16::from_ne_bytes);
        let body = bytes.get(HEADER_BYTES..len).ok_or_else(broken)?;
        match kind.ok_or_else(broken)? {
            DONE => return Ok(true),
            ERROR => return Err(broken()),
            _ => {
                let found = body.get(PORT_AT..PORT_AT + 2).ok_or_else(broken)?;
                let uid = u32_at(body, UID_AT).ok_or_else(broken)?;
                let inode = u32_at(body, INODE_AT).ok_or_else(broken)?.into();
                // The kernel has filtered already; one that ignores the filter is not believed.
                if found == port.to_be_bytes() {
                    listeners.push(Listener { uid, inode });
                }
            }
        }
        // Messages begin at multiples of four.
        bytes = bytes.get(len.next_multiple_of(4)..).unwrap_or_default();
    }
    Ok(false)
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn by_tables(port: u16) -> Vec<Listener> {
    ["/proc/net/tcp", "/proc/net/tcp6"]
        .into_iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| in_table(&table, port))
        .collect()
}

/// The rows of `/proc/net/tcp` (proc_net_tcp(5)) that listen on this port.
fn in_table(table: &str, port: u16) -> Vec<Listener> {
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

#[cfg(test)]
mod tests;
