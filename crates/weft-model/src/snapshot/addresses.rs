//! Where each `ip:port` of an instance leads, in parts that copies share.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Parts of the index: a change copies one of them.
const SHARDS: usize = 64;

/// Where an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Spot {
    /// Its service.
    pub(super) slot: u32,
    /// Its position in it.
    pub(super) member: u32,
}

/// The index.
#[derive(Clone, Debug, Default)]
pub(super) struct Addresses {
    /// None before the first.
    shards: Vec<Arc<Shard>>,
}

type Shard = HashMap<(IpAddr, u16), Spot>;

impl Addresses {
    pub(super) fn get(&self, address: SocketAddr) -> Option<Spot> {
        let (ip, port) = (address.ip(), address.port());
        let shard = self.shards.get(shard_of(ip, port))?;
        shard.get(&(ip, port)).copied()
    }

    /// Of two instances with one address the later one has it.
    pub(super) fn insert(&mut self, ip: IpAddr, port: u16, spot: Spot) {
        if self.shards.is_empty() {
            self.shards = vec![Arc::default(); SHARDS];
        }
        if let Some(shard) = self.shards.get_mut(shard_of(ip, port)) {
            Arc::make_mut(shard).insert((ip, port), spot);
        }
    }

    /// Takes an address away from the instance at this spot; one that another has by now stays.
    pub(super) fn remove(&mut self, ip: IpAddr, port: u16, spot: Spot) {
        if let Some(shard) = self.shards.get_mut(shard_of(ip, port))
            && shard.get(&(ip, port)) == Some(&spot)
        {
            Arc::make_mut(shard).remove(&(ip, port));
        }
    }

    /// The instance at the first spot stands at the second now.
    pub(super) fn follow(&mut self, ip: IpAddr, port: u16, from: Spot, to: Spot) {
        if let Some(shard) = self.shards.get_mut(shard_of(ip, port))
            && shard.get(&(ip, port)) == Some(&from)
        {
            Arc::make_mut(shard).insert((ip, port), to);
        }
    }
}

fn shard_of(ip: IpAddr, port: u16) -> usize {
    let bits = match ip {
        IpAddr::V4(ip) => u64::from(ip.to_bits()),
        IpAddr::V6(ip) => (ip.to_bits() ^ (ip.to_bits() >> 64)) as u64,
    };
    let mixed = (bits ^ (u64::from(port) << 32)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    (mixed >> 32) as usize % SHARDS
}
