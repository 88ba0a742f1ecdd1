//! What a caller can name, and the 64-bit hash by which a sidecar knows every such name.

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

/// [`Key::hash64`] of parts that are not yet a key.
pub fn key_hash(family: Family, name: &str, group: &str, version: &str, namespace: &str) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    let mut hash = (OFFSET ^ family as u64).wrapping_mul(PRIME);
    for part in [name, group, version, namespace] {
        for byte in part.bytes().chain([0]) {
            hash = (hash ^ u64::from(byte)).wrapping_mul(PRIME);
        }
    }
    hash
}

#[cfg(test)]
mod tests;
