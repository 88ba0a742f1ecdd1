//! One immutable, indexed view of the mesh. A call sees one snapshot from beginning to end.

use crate::instance::{Instance, InstanceId, InstanceLoad, InstanceState, Port, ServiceName};
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::sync::Arc;

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
    pub name: ServiceName,
    /// Its ports by name, as its instances declare them.
    pub ports: Vec<Port>,
    /// The instances that may be called, sorted by id.
    pub members: Vec<Member>,
}

impl Service {
    /// The position of the first port for which `want` holds.
    pub fn port(&self, want: impl Fn(&Port) -> bool) -> Option<&Port> {
        self.ports.iter().find(|port| want(port))
    }
}

/// Where an RPC interface is served.
#[derive(Clone, Debug)]
pub struct RpcEntry {
    /// The service.
    pub service: Arc<Service>,
    /// The port's name.
    pub port: Box<str>,
    /// The group; empty means any.
    pub group: Box<str>,
    /// The version; empty means any.
    pub version: Box<str>,
}

/// Where an `ip:port` leads.
#[derive(Clone, Debug)]
pub struct AddressEntry {
    /// The service.
    pub service: Arc<Service>,
    /// The position of the instance in its service.
    pub member: usize,
    /// The port's name.
    pub port: Box<str>,
}

/// The view of the mesh. Built whole by [`Snapshot::build`], never changed.
#[derive(Debug, Default)]
pub struct Snapshot {
    /// The center's version.
    pub version: Version,
    /// This sidecar's own growing number of snapshots.
    pub generation: u64,
    /// Whether any center has been heard (a set of names was received).
    pub synced: bool,
    /// The hashes of all keys that are services, also of those whose instances are not known.
    names: Arc<HashSet<u64>>,
    /// By namespace, then by name: a look-up by borrowed texts copies nothing.
    services: HashMap<Box<str>, HashMap<Box<str>, Arc<Service>>>,
    rpc: HashMap<Box<str>, Vec<RpcEntry>>,
    addresses: HashMap<SocketAddr, AddressEntry>,
}

impl Snapshot {
    /// Builds a snapshot from all known instances. `previous` lends the loads of instances that stay.
    pub fn build(
        version: Version,
        synced: bool,
        instances: Vec<Arc<Instance>>,
        previous: &Self,
    ) -> Self {
        let mut loads: HashMap<(InstanceId, u64), Arc<InstanceLoad>> = HashMap::new();
        for member in previous.services().flat_map(|service| &service.members) {
            let key = (member.instance.id.clone(), member.instance.incarnation);
            loads.insert(key, Arc::clone(&member.load));
        }
        let mut grouped: HashMap<ServiceName, Vec<Arc<Instance>>> = HashMap::new();
        for instance in instances {
            grouped
                .entry(instance.service.clone())
                .or_default()
                .push(instance);
        }
        let mut snapshot = Self {
            version,
            generation: previous.generation + 1,
            synced,
            ..Self::default()
        };
        for (name, mut members) in grouped {
            members.sort_by(|a, b| a.id.cmp(&b.id));
            let service = Arc::new(service_of(name, members, &loads));
            snapshot.index(&service);
            let names = snapshot
                .services
                .entry(service.name.namespace.clone())
                .or_default();
            names.insert(service.name.name.clone(), service);
        }
        snapshot
    }

    /// The same with this set of names.
    #[must_use]
    pub fn with_names(self, names: Arc<HashSet<u64>>) -> Self {
        Self { names, ..self }
    }

    /// Whether the key with this hash is a service, even when none of its instances is known.
    pub fn has_name(&self, hash: u64) -> bool {
        self.names.contains(&hash)
    }

    fn index(&mut self, service: &Arc<Service>) {
        for port in service
            .ports
            .iter()
            .filter(|port| !port.protocol.is_http_family())
        {
            let interface = if port.interface.is_empty() {
                service.name.name.clone()
            } else {
                port.interface.clone()
            };
            self.rpc.entry(interface).or_default().push(RpcEntry {
                service: Arc::clone(service),
                port: port.name.clone(),
                group: port.group.clone(),
                version: port.version.clone(),
            });
        }
        for (position, member) in service.members.iter().enumerate() {
            for port in &member.instance.ports {
                let address = SocketAddr::new(member.instance.address, port.number);
                let entry = AddressEntry {
                    service: Arc::clone(service),
                    member: position,
                    port: port.name.clone(),
                };
                self.addresses.insert(address, entry);
            }
        }
    }

    /// The service with this name.
    pub fn service(&self, namespace: &str, name: &str) -> Option<&Arc<Service>> {
        self.services.get(namespace)?.get(name)
    }

    /// All services.
    pub fn services(&self) -> impl Iterator<Item = &Arc<Service>> {
        self.services.values().flat_map(HashMap::values)
    }

    /// Where this RPC interface is served, in no order.
    pub fn rpc(&self, interface: &str) -> &[RpcEntry] {
        self.rpc.get(interface).map_or(&[], Vec::as_slice)
    }

    /// The instance and port at this address.
    pub fn address(&self, address: SocketAddr) -> Option<&AddressEntry> {
        self.addresses.get(&address)
    }
}

fn service_of(
    name: ServiceName,
    instances: Vec<Arc<Instance>>,
    loads: &HashMap<(InstanceId, u64), Arc<InstanceLoad>>,
) -> Service {
    let mut ports: Vec<Port> = Vec::new();
    let mut members = Vec::with_capacity(instances.len());
    for instance in instances {
        for port in &instance.ports {
            if !ports.iter().any(|known| known.name == port.name) {
                ports.push(port.clone());
            }
        }
        if instance.state == InstanceState::Draining {
            continue;
        }
        let load = loads
            .get(&(instance.id.clone(), instance.incarnation))
            .cloned()
            .unwrap_or_default();
        members.push(Member { instance, load });
    }
    Service {
        name,
        ports,
        members,
    }
}

#[cfg(test)]
mod tests;
