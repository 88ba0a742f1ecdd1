//! Where each `ip:port` of an instance leads, in parts that copies share.
//!
//! Sorted lists: an entry takes 16 bytes, where a hash table takes three times as much and is copied whole too.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

/// Parts of the index: a change copies one of them.
const SHARDS: usize = 128;

/// Entries for which a full list makes room: lists are short, and doubling would leave half of each empty.
const GROWTH: usize = 8;

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
    /// None before the first. Shared as a whole by copies between which no address changed.
    shards: Arc<Vec<Arc<Shard>>>,
}

/// One part of it.
#[derive(Clone, Debug, Default)]
struct Shard {
    v4: Sorted<u32>,
    v6: Sorted<u128>,
}

impl Addresses {
    pub(super) fn get(&self, address: SocketAddr) -> Option<Spot> {
        self.spot(address.ip(), address.port())
    }

    fn spot(&self, ip: IpAddr, port: u16) -> Option<Spot> {
        let shard = self.shards.get(shard_of(ip, port))?;
        match ip {
            IpAddr::V4(ip) => shard.v4.get((ip.to_bits(), port)),
            IpAddr::V6(ip) => shard.v6.get((ip.to_bits(), port)),
        }
    }

    /// Sets where an address leads, or that it leads nowhere.
    fn set(&mut self, ip: IpAddr, port: u16, spot: Option<Spot>) {
        if let Some(shard) = Arc::make_mut(&mut self.shards).get_mut(shard_of(ip, port)) {
            let shard = Arc::make_mut(shard);
            match ip {
                IpAddr::V4(ip) => shard.v4.set((ip.to_bits(), port), spot),
                IpAddr::V6(ip) => shard.v6.set((ip.to_bits(), port), spot),
            }
        }
    }

    /// Of two instances with one address the later one has it.
    pub(super) fn insert(&mut self, ip: IpAddr, port: u16, spot: Spot) {
        if self.shards.is_empty() {
            self.shards = Arc::new(vec![Arc::default(); SHARDS]);
        }
        self.set(ip, port, Some(spot));
    }

    /// Takes an address away from the instance at this spot; one that another has by now stays.
    pub(super) fn remove(&mut self, ip: IpAddr, port: u16, spot: Spot) {
        if self.spot(ip, port) == Some(spot) {
            self.set(ip, port, None);
        }
    }

    /// The instance at the first spot stands at the second now.
    pub(super) fn follow(&mut self, ip: IpAddr, port: u16, from: Spot, to: Spot) {
        if self.spot(ip, port) == Some(from) {
            self.set(ip, port, Some(to));
        }
    }
}

/// Addresses of one family, sorted.
#[derive(Clone, Debug)]
struct Sorted<A>(Vec<(A, u16, Spot)>);

impl<A> Default for Sorted<A> {
    fn default() -> Self {
        Self(Vec::new())
    }
}

impl<A: Copy + Ord> Sorted<A> {
    fn find(&self, key: (A, u16)) -> Result<usize, usize> {
        self.0
            .binary_search_by_key(&key, |(ip, port, _)| (*ip, *port))
    }

    fn get(&self, key: (A, u16)) -> Option<Spot> {
        let at = self.find(key).ok()?;
        self.0.get(at).map(|(_, _, spot)| *spot)
    }

    fn set(&mut self, key: (A, u16), spot: Option<Spot>) {
        let found = self.find(key);
        match (found, spot) {
            (Ok(at), Some(spot)) => {
                if let Some(entry) = self.0.get_mut(at) {
                    entry.2 = spot;
                }
            }
            (Ok(at), None) => {
                self.0.remove(at);
            }
            (Err(at), Some(spot)) => {
                if self.0.len() == self.0.capacity() {
                    self.0.reserve_exact(GROWTH);
                }
                self.0.insert(at, (key.0, key.1, spot));
            }
            (Err(_), None) => {}
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
