//! What a caller can name, and the 64-bit hash by which a sidecar knows every such name.

use std::fmt::{self, Write as _};
use std::net::SocketAddr;

/// FNV-1a.
const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0100_0000_01b3;

/// The kinds of key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Family {
    /// A host name, with or without namespace and port.
    Host = 1,
    /// `ip:port` of an instance (Spring clients send the instance's address as Host).
    Address = 2,
    /// An RPC interface.
    Rpc = 3,
}

/// A routing key: (family, name, group, version, namespace).
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Key {
    /// The kind of name.
    pub family: Family,
    /// The name.
    pub name: Box<str>,
    /// RPC: the group.
    pub group: Box<str>,
    /// RPC: the version.
    pub version: Box<str>,
    /// The namespace.
    pub namespace: Box<str>,
}

impl Key {
    /// The key of a host name.
    pub fn of_host(name: &str, namespace: &str) -> Self {
        Self::bare(Family::Host, name, namespace)
    }

    /// The key of an address, which belongs to no namespace.
    pub fn of_address(address: SocketAddr) -> Self {
        Self::bare(Family::Address, &address.to_string(), "")
    }

    /// The key of an RPC interface in any group and version.
    pub fn of_interface(interface: &str, namespace: &str) -> Self {
        Self::bare(Family::Rpc, interface, namespace)
    }

    /// A key that names no group and no version.
    pub fn bare(family: Family, name: &str, namespace: &str) -> Self {
        Self {
            family,
            name: name.into(),
            group: "".into(),
            version: "".into(),
            namespace: namespace.into(),
        }
    }

    /// The key's 64-bit hash: FNV-1a over the parts, each ended by a zero byte. Part of the sync protocol:
    /// it never changes.
    pub fn hash64(&self) -> u64 {
        key_hash(
            self.family,
            &self.name,
            &self.group,
            &self.version,
            &self.namespace,
        )
    }
}

/// [`Key::hash64`] of an address, without making its text.
pub fn address_hash(address: SocketAddr) -> u64 {
    struct Hasher(u64);
    impl fmt::Write for Hasher {
        fn write_str(&mut self, text: &str) -> fmt::Result {
            self.0 = text.bytes().fold(self.0, step);
            Ok(())
        }
    }
    let mut hasher = Hasher(begin(Family::Address));
    // The hasher takes every text.
    let _ = write!(hasher, "{address}");
    [0; 4].into_iter().fold(hasher.0, step)
}

const fn begin(family: Family) -> u64 {
    (OFFSET ^ family as u64).wrapping_mul(PRIME)
}

const fn step(hash: u64, byte: u8) -> u64 {
    (hash ^ byte as u64).wrapping_mul(PRIME)
}

/// [`Key::hash64`] of parts that are not yet a key.
pub fn key_hash(family: Family, name: &str, group: &str, version: &str, namespace: &str) -> u64 {
    let mut hash = begin(family);
    for part in [name, group, version, namespace] {
        for byte in part.bytes().chain([0]) {
            hash = step(hash, byte);
        }
    }
    hash
}

#[cfg(test)]
mod tests;
