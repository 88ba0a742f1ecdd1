//! One immutable, indexed view of the mesh. A call sees one snapshot from beginning to end.
//!
//! Snapshots share what is equal: the next one costs what changed, not what is known ([`Draft`]).

mod addresses;
pub mod chunked;
mod draft;
pub mod names;

pub use draft::{Draft, Edit};

use crate::instance::{Instance, InstanceLoad, Port, ServiceName};
use addresses::Addresses;
use chunked::Chunked;
use names::Names;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A version of the center's state: within one epoch revisions only grow; a new epoch is a new or
/// restored store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Version {
    /// The store's epoch.
    pub epoch: u64,
    /// The revision within it.
    pub revision: u64,
}

/// One instance as a snapshot holds it: the record, and the load that outlives snapshots.
#[derive(Clone, Debug)]
pub struct Member {
    /// The record.
    pub instance: Arc<Instance>,
    /// What this sidecar knows of it by itself.
    pub load: Arc<InstanceLoad>,
}

/// A service with its instances.
#[derive(Clone, Debug)]
pub struct Service {
    /// Its name.
    pub name: Arc<ServiceName>,
    /// Its ports by name, as its instances declare them.
    pub ports: Arc<[Port]>,
    /// The instances that may be called, in no order.
    pub members: Chunked<Member>,
    /// How many of them have no sidecar, and are checked by their callers.
    pub checked: u32,
    /// When it was called last.
    pub usage: Arc<Usage>,
    /// Whether the center tells what becomes of it; else this is what was told last.
    pub subscribed: bool,
}

impl Service {
    /// The first port for which `want` holds.
    pub fn port(&self, want: impl Fn(&Port) -> bool) -> Option<&Port> {
        self.ports.iter().find(|port| want(port))
    }
}

/// A call is noted at most this often for one service.
pub const USAGE_STEP_MS: u64 = 1_000;

/// When a service was called last; shared by all snapshots and workers.
#[derive(Debug, Default)]
pub struct Usage {
    /// When the next call is to be noted, on the process's own clock of milliseconds; 0 before the first.
    due_ms: AtomicU64,
}

impl Usage {
    /// Notes a call. True when it was noted: the first, and then one in [`USAGE_STEP_MS`].
    pub fn call(&self, now_ms: u64) -> bool {
        if now_ms < self.due_ms.load(Ordering::Relaxed) {
            return false;
        }
        self.due_ms.store(now_ms + USAGE_STEP_MS, Ordering::Relaxed);
        true
    }

    /// When the last noted call was, on the process's own clock of milliseconds; none before the first.
    pub fn called_ms(&self) -> Option<u64> {
        self.due_ms
            .load(Ordering::Relaxed)
            .checked_sub(USAGE_STEP_MS)
    }
}

/// Where an RPC interface is served; [`Snapshot::service_of`] tells by whom.
#[derive(Clone, Debug)]
pub struct RpcEntry {
    slot: u32,
    /// The port's name.
    pub port: Box<str>,
    /// The group; empty means any.
    pub group: Box<str>,
    /// The version; empty means any.
    pub version: Box<str>,
}

/// Where an `ip:port` leads.
#[derive(Clone, Copy, Debug)]
pub struct AddressMatch<'a> {
    /// The service.
    pub service: &'a Arc<Service>,
    /// The position of the instance in its service.
    pub member: usize,
    /// The port's name.
    pub port: &'a str,
}

/// By namespace, then by name: a look-up by borrowed texts copies nothing.
type Directory = HashMap<Box<str>, HashMap<Arc<str>, u32>>;

/// The view of the mesh. Made by a [`Draft`], never changed.
#[derive(Clone, Debug, Default)]
pub struct Snapshot {
    /// The id of the mesh, which is the id of its center's store; empty as long as none is known.
    pub mesh: Arc<str>,
    /// The center's version.
    pub version: Version,
    /// This sidecar's own growing number of snapshots.
    pub generation: u64,
    /// Whether any center has been heard (a set of names was received).
    pub synced: bool,
    /// The hashes of all keys that are services, also of those whose instances are not known.
    names: Names,
    /// The hashes of the keys that a center was asked about and has answered.
    answered: Arc<HashSet<u64>>,
    /// By slot; none where a service was forgotten.
    services: Chunked<Option<Arc<Service>>>,
    directory: Arc<Directory>,
    rpc: Arc<HashMap<Box<str>, Arc<[RpcEntry]>>>,
    addresses: Addresses,
}

impl Snapshot {
    /// Whether the key with this hash is a service, even when none of its instances is known.
    pub fn has_name(&self, hash: u64) -> bool {
        self.names.contains(hash)
    }

    /// How many keys are services.
    pub fn names_count(&self) -> usize {
        self.names.len()
    }

    /// Whether a center was asked about the key with this hash and has answered: a service that is not known
    /// then is none.
    pub fn is_answered(&self, hash: u64) -> bool {
        self.answered.contains(&hash)
    }

    /// The service with this name.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Arc<Service>> {
        self.at(*self.directory.get(namespace)?.get(name)?)
    }

    /// All services.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.iter().flatten()
    }

    /// Where this RPC interface is served, in no order and in any namespace.
    pub fn rpc(&self, interface: &str) -> &[RpcEntry] {
        self.rpc.get(interface).map_or(&[], |entries| entries)
    }

    /// Who serves it there.
    pub fn service_of(&self, entry: &RpcEntry) -> Option<&Arc<Service>> {
        self.at(entry.slot)
    }

    /// The instance and port at this address.
    pub fn address(&self, address: SocketAddr) -> Option<AddressMatch<'_>> {
        let spot = self.addresses.get(address)?;
        let service = self.at(spot.slot)?;
        let member = spot.member as usize;
        let ports = &service.members.get(member)?.instance.ports;
        let port = ports.iter().find(|port| port.number == address.port())?;
        Some(AddressMatch {
            service,
            member,
            port: &port.name,
        })
    }

    fn at(&self, slot: u32) -> Option<&Arc<Service>> {
        self.services.get(slot as usize)?.as_ref()
    }
}

#[cfg(test)]
mod tests;
