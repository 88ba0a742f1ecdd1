//! The next snapshot while it is made: what is known now, who stands where in it, and the changes to it.
//!
//! It holds the one working copy. [`Draft::publish`] hands out a copy of that which shares nearly everything
//! with the one before; a change afterwards copies the parts that it touches. Never in here: who is believed.

use super::addresses::Spot;
use super::names::Names;
use super::{Member, RpcEntry, Service, Snapshot, Usage, Version};
use crate::instance::{Instance, InstanceId, InstanceLoad, InstanceState, Port, ServiceName};
use std::borrow::Borrow;
use std::collections::{HashMap, HashSet};
use std::hash::{Hash, Hasher};
use std::sync::Arc;

/// What is known, ready to be changed and published.
#[derive(Debug, Default)]
pub struct Draft {
    snapshot: Snapshot,
    services: HashMap<ServiceName, Standing>,
    /// Slots of services that were forgotten.
    vacant: Vec<u32>,
}

/// One service, as only its changes need to know it.
#[derive(Debug, Default)]
struct Standing {
    slot: u32,
    /// Each with its position among those that may be called; [`ASIDE`] for one that takes no calls.
    instances: HashMap<ById, u32>,
    /// What this sidecar knows of those that take no calls, kept for their return.
    aside: HashMap<InstanceId, Arc<InstanceLoad>>,
    /// Each port that an instance declares, with the number of those that do, in the order of coming.
    ports: Vec<(Port, usize)>,
    /// The last instance to leave: while there is no other its ports are the service's.
    departed: Option<Arc<Instance>>,
}

/// The position of an instance that takes no calls.
const ASIDE: u32 = u32::MAX;

/// An instance, found by its id.
#[derive(Debug)]
struct ById(Arc<Instance>);

impl PartialEq for ById {
    fn eq(&self, other: &Self) -> bool {
        self.0.id == other.0.id
    }
}

impl Eq for ById {}

impl Hash for ById {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.id.hash(state);
    }
}

impl Borrow<str> for ById {
    fn borrow(&self) -> &str {
        self.0.id.as_str()
    }
}

impl Borrow<InstanceId> for ById {
    fn borrow(&self) -> &InstanceId {
        &self.0.id
    }
}

impl Draft {
    /// The snapshot as of now, with this version.
    pub fn publish(&mut self, version: Version, synced: bool) -> Snapshot {
        self.snapshot.version = version;
        self.snapshot.synced = synced;
        self.snapshot.generation += 1;
        self.snapshot.clone()
    }

    /// Sets which mesh it is.
    pub fn set_mesh(&mut self, id: &str) {
        if *self.snapshot.mesh != *id {
            self.snapshot.mesh = id.into();
        }
    }

    /// What was published, and what has changed since.
    pub fn view(&self) -> &Snapshot {
        &self.snapshot
    }

    /// The hashes of all keys that are services.
    pub fn names(&self) -> &Names {
        &self.snapshot.names
    }

    /// The same, to be changed.
    pub fn names_mut(&mut self) -> &mut Names {
        &mut self.snapshot.names
    }

    /// Sets which keys a center was asked about and has answered.
    pub fn set_answered(&mut self, answered: HashSet<u64>) {
        if *self.snapshot.answered != answered {
            self.snapshot.answered = Arc::new(answered);
        }
    }

    /// The names of all services.
    pub fn services(&self) -> impl Iterator<Item = &ServiceName> {
        self.services.keys()
    }

    /// Whether the service is known, be it without instances.
    pub fn knows(&self, service: &ServiceName) -> bool {
        self.services.contains_key(service)
    }

    /// Instances of a service, also those that take no calls.
    pub fn instances(&self, service: &ServiceName) -> impl Iterator<Item = &Arc<Instance>> {
        let standing = self.services.get(service);
        standing
            .into_iter()
            .flat_map(|standing| standing.instances.keys().map(|by_id| &by_id.0))
    }

    /// How many they are.
    pub fn count(&self, service: &ServiceName) -> usize {
        let standing = self.services.get(service);
        standing.map_or(0, |standing| standing.instances.len())
    }

    /// Finds instances of one service by their ids, many in a row.
    pub fn finder<'a>(
        &'a self,
        service: &ServiceName,
    ) -> impl Fn(&str) -> Option<&'a Arc<Instance>> + use<'a> {
        let standing = self.services.get(service);
        move |id| {
            let (by_id, _) = standing?.instances.get_key_value(id)?;
            Some(&by_id.0)
        }
    }

    /// One instance, and what this sidecar knows of it by itself.
    pub fn get(
        &self,
        service: &ServiceName,
        id: &InstanceId,
    ) -> Option<(&Arc<Instance>, &Arc<InstanceLoad>)> {
        let standing = self.services.get(service)?;
        let (by_id, position) = standing.instances.get_key_value(id)?;
        let load = if *position == ASIDE {
            standing.aside.get(id)?
        } else {
            let service = self.snapshot.at(standing.slot)?;
            &service.members.get(*position as usize)?.load
        };
        Some((&by_id.0, load))
    }

    /// The last instances of services that have none.
    pub fn departed(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.services
            .values()
            .filter_map(|standing| standing.departed.as_ref())
    }

    /// The instances that take no calls, of all services.
    pub fn aside(&self) -> impl Iterator<Item = &Arc<Instance>> {
        self.services.values().flat_map(|standing| {
            let ids = standing.aside.keys();
            ids.filter_map(|id| Some(&standing.instances.get_key_value(id)?.0.0))
        })
    }

    /// A service to be changed; one that was not known is from now on, without instances.
    pub fn edit(&mut self, name: &ServiceName) -> Edit<'_> {
        if !self.services.contains_key(name) {
            let slot = self.seat(name);
            let standing = Standing {
                slot,
                ..Standing::default()
            };
            self.services.insert(name.clone(), standing);
        }
        Edit {
            snapshot: &mut self.snapshot,
            standing: self.services.entry(name.clone()).or_default(),
        }
    }

    /// Gives a new service its slot and its place in the directory.
    fn seat(&mut self, name: &ServiceName) -> u32 {
        let service = Some(Arc::new(Service {
            name: Arc::new(name.clone()),
            ports: Arc::default(),
            members: super::Chunked::default(),
            checked: 0,
            usage: Arc::<Usage>::default(),
            subscribed: false,
        }));
        let slots = &mut self.snapshot.services;
        let slot = match self.vacant.pop() {
            Some(slot) => {
                if let Some(place) = slots.get_mut(slot as usize) {
                    *place = service;
                }
                slot
            }
            None => slots.push(service) as u32,
        };
        let directory = Arc::make_mut(&mut self.snapshot.directory);
        let names = directory.entry(name.namespace.clone()).or_default();
        names.insert(Arc::from(&*name.name), slot);
        slot
    }

    /// Forgets a service with all of its instances.
    pub fn forget(&mut self, name: &ServiceName) {
        let Some(mut standing) = self.services.remove(name) else {
            return;
        };
        let slot = standing.slot;
        let mut edit = Edit {
            snapshot: &mut self.snapshot,
            standing: &mut standing,
        };
        edit.clear();
        if let Some(place) = self.snapshot.services.get_mut(slot as usize) {
            *place = None;
        }
        let directory = Arc::make_mut(&mut self.snapshot.directory);
        if let Some(names) = directory.get_mut(&name.namespace) {
            names.remove(&*name.name);
            if names.is_empty() {
                directory.remove(&name.namespace);
            }
        }
        self.vacant.push(slot);
    }
}

/// The changes to one service.
#[derive(Debug)]
pub struct Edit<'a> {
    snapshot: &'a mut Snapshot,
    standing: &'a mut Standing,
}

impl Edit<'_> {
    /// Says whether the center tells what becomes of the service.
    pub fn set_subscribed(&mut self, subscribed: bool) {
        let slot = self.standing.slot;
        if self
            .snapshot
            .at(slot)
            .is_some_and(|now| now.subscribed != subscribed)
            && let Some(service) = service_mut(self.snapshot, slot)
        {
            service.subscribed = subscribed;
        }
    }

    /// The instance with this id, as it is known now.
    pub fn get(&self, id: &InstanceId) -> Option<&Arc<Instance>> {
        self.standing
            .instances
            .get_key_value(id)
            .map(|(by_id, _)| &by_id.0)
    }

    /// Takes an instance as it is now. The load of an instance stays while its app is not started anew.
    pub fn put(&mut self, instance: Arc<Instance>) {
        let earlier = self.standing.instances.remove_entry(&instance.id);
        let has_same_ports = earlier
            .as_ref()
            .is_some_and(|(ById(earlier), _)| Arc::ptr_eq(&earlier.shape, &instance.shape));
        if !has_same_ports {
            self.count_ports(&instance.ports);
        }
        let (earlier, position) = match earlier {
            Some((ById(earlier), position)) => {
                if !has_same_ports {
                    self.discount_ports(&earlier.ports);
                }
                (Some(earlier), Some(position))
            }
            None => (None, None),
        };
        if let Some(departed) = self.standing.departed.take() {
            self.discount_ports(&departed.ports);
        }
        let is_same_start = earlier
            .as_ref()
            .is_some_and(|earlier| earlier.incarnation == instance.incarnation);
        let takes_calls = instance.state != InstanceState::Draining;
        let position = match position {
            Some(position) if takes_calls && position != ASIDE => {
                self.replace(position, &instance, is_same_start);
                position
            }
            position => {
                let load = position.and_then(|position| self.unseat(&instance.id, position));
                let load = load.filter(|_| is_same_start).unwrap_or_default();
                if takes_calls {
                    self.add(&instance, load)
                } else {
                    self.put_aside(&instance, load)
                }
            }
        };
        self.standing.instances.insert(ById(instance), position);
    }

    /// Takes an instance out; returns it and what this sidecar knew of it by itself.
    pub fn remove(&mut self, id: &InstanceId) -> Option<(Arc<Instance>, Arc<InstanceLoad>)> {
        let (ById(instance), position) = self.standing.instances.remove_entry(id)?;
        let load = self.unseat(id, position).unwrap_or_default();
        if self.standing.instances.is_empty() {
            self.standing.departed = Some(Arc::clone(&instance));
        } else {
            self.discount_ports(&instance.ports);
        }
        Some((instance, load))
    }

    /// Takes the last instance of a service that has none.
    pub fn set_departed(&mut self, instance: Arc<Instance>) {
        if !self.standing.instances.is_empty() {
            return;
        }
        self.count_ports(&instance.ports);
        if let Some(before) = self.standing.departed.replace(instance) {
            self.discount_ports(&before.ports);
        }
    }

    /// Takes everything out.
    fn clear(&mut self) {
        let ids: Vec<_> = self
            .standing
            .instances
            .keys()
            .map(|by_id| by_id.0.id.clone())
            .collect();
        for id in ids {
            self.remove(&id);
        }
        if let Some(departed) = self.standing.departed.take() {
            self.discount_ports(&departed.ports);
        }
    }

    /// Takes what this sidecar knows of an instance from where it is.
    fn unseat(&mut self, id: &InstanceId, position: u32) -> Option<Arc<InstanceLoad>> {
        if position == ASIDE {
            self.standing.aside.remove(id)
        } else {
            self.take_out(position)
        }
    }

    fn put_aside(&mut self, instance: &Instance, load: Arc<InstanceLoad>) -> u32 {
        self.standing.aside.insert(instance.id.clone(), load);
        ASIDE
    }

    fn spot(&self, position: u32) -> Spot {
        Spot {
            slot: self.standing.slot,
            member: position,
        }
    }

    fn add(&mut self, instance: &Arc<Instance>, load: Arc<InstanceLoad>) -> u32 {
        let member = Member {
            instance: Arc::clone(instance),
            load,
        };
        let slot = self.standing.slot;
        let Some(service) = service_mut(self.snapshot, slot) else {
            return self.put_aside(instance, member.load);
        };
        service.checked += u32::from(instance.check.is_some());
        let position = service.members.push(member) as u32;
        let spot = self.spot(position);
        for port in &instance.ports {
            let addresses = &mut self.snapshot.addresses;
            addresses.insert(instance.address, port.number, spot);
        }
        position
    }

    /// Another record at the same position.
    fn replace(&mut self, position: u32, instance: &Arc<Instance>, is_same_start: bool) {
        let spot = self.spot(position);
        let Some(service) = service_mut(self.snapshot, self.standing.slot) else {
            return;
        };
        let Some(member) = service.members.get_mut(position as usize) else {
            return;
        };
        let before = std::mem::replace(&mut member.instance, Arc::clone(instance));
        service.checked += u32::from(instance.check.is_some());
        service.checked -= u32::from(before.check.is_some());
        if !is_same_start {
            member.load = Arc::default();
        }
        let has_same_ports =
            Arc::ptr_eq(&before.shape, &instance.shape) || before.ports == instance.ports;
        if before.address == instance.address && has_same_ports {
            return;
        }
        let addresses = &mut self.snapshot.addresses;
        for port in &before.ports {
            addresses.remove(before.address, port.number, spot);
        }
        for port in &instance.ports {
            addresses.insert(instance.address, port.number, spot);
        }
    }

    /// Takes the member at a position out; the last one takes its place.
    fn take_out(&mut self, position: u32) -> Option<Arc<InstanceLoad>> {
        let service = service_mut(self.snapshot, self.standing.slot)?;
        let member = service.members.swap_remove(position as usize)?;
        service.checked -= u32::from(member.instance.check.is_some());
        let moved_from = service.members.len() as u32;
        let moved = service.members.get(position as usize);
        let moved = moved.map(|member| Arc::clone(&member.instance));
        let (spot, last) = (self.spot(position), self.spot(moved_from));
        let addresses = &mut self.snapshot.addresses;
        for port in &member.instance.ports {
            addresses.remove(member.instance.address, port.number, spot);
        }
        if let Some(moved) = moved {
            for port in &moved.ports {
                addresses.follow(moved.address, port.number, last, spot);
            }
            if let Some(place) = self.standing.instances.get_mut(&moved.id) {
                *place = position;
            }
        }
        Some(member.load)
    }

    fn count_ports(&mut self, ports: &[Port]) {
        let mut is_new = false;
        for port in ports {
            let known = &mut self.standing.ports;
            if let Some((_, count)) = known.iter_mut().find(|(known, _)| known == port) {
                *count += 1;
                continue;
            }
            known.push((port.clone(), 1));
            is_new = true;
        }
        if is_new {
            self.list_ports();
        }
    }

    fn discount_ports(&mut self, ports: &[Port]) {
        let mut is_gone = false;
        for port in ports {
            let known = &mut self.standing.ports;
            if let Some(position) = known.iter().position(|(known, _)| known == port)
                && let Some((_, count)) = known.get_mut(position)
            {
                *count -= 1;
                if *count == 0 {
                    known.remove(position);
                    is_gone = true;
                }
            }
        }
        if is_gone {
            self.list_ports();
        }
    }

    /// The first port of each name is the service's.
    fn list_ports(&mut self) {
        let mut ports: Vec<Port> = Vec::new();
        for (port, _) in &self.standing.ports {
            if !ports.iter().any(|known| known.name == port.name) {
                ports.push(port.clone());
            }
        }
        let slot = self.standing.slot;
        let Some(service) = service_mut(self.snapshot, slot) else {
            return;
        };
        if *service.ports == *ports {
            return;
        }
        let before = std::mem::replace(&mut service.ports, ports.into());
        let (name, ports) = (Arc::clone(&service.name), Arc::clone(&service.ports));
        self.index_rpc(&name, &before, &ports);
    }

    fn index_rpc(&mut self, name: &ServiceName, before: &[Port], ports: &[Port]) {
        let slot = self.standing.slot;
        let interfaces = |ports: &[Port]| -> HashSet<Box<str>> {
            let rpc = ports.iter().filter(|port| !port.protocol.is_http_family());
            rpc.map(|port| interface_of(name, port).into()).collect()
        };
        let mut touched = interfaces(before);
        touched.extend(interfaces(ports));
        if touched.is_empty() {
            return;
        }
        let index = Arc::make_mut(&mut self.snapshot.rpc);
        for interface in touched {
            let now = index.get(&interface).map_or(&[][..], |entries| entries);
            let others = now.iter().filter(|entry| entry.slot != slot).cloned();
            let own = ports
                .iter()
                .filter(|port| !port.protocol.is_http_family())
                .filter(|port| interface_of(name, port) == &*interface)
                .map(|port| RpcEntry {
                    slot,
                    port: port.name.clone(),
                    group: port.group.clone(),
                    version: port.version.clone(),
                });
            let entries: Arc<[RpcEntry]> = others.chain(own).collect();
            if entries.is_empty() {
                index.remove(&interface);
            } else {
                index.insert(interface, entries);
            }
        }
    }
}

/// What a port without an interface serves is the service's name.
fn interface_of<'a>(service: &'a ServiceName, port: &'a Port) -> &'a str {
    if port.interface.is_empty() {
        &service.name
    } else {
        &port.interface
    }
}

/// The service in a slot, copied first when a published snapshot has it.
fn service_mut(snapshot: &mut Snapshot, slot: u32) -> Option<&mut Service> {
    let place = snapshot.services.get_mut(slot as usize)?;
    place.as_mut().map(Arc::make_mut)
}

#[cfg(test)]
mod tests;
