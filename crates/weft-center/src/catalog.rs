//! What is true of the mesh: every service and instance, the names under which they are called, and who
//! was told what. A state machine without I/O: time comes in as an argument.
//!
//! Each change takes the next revision. A sidecar is sent what changed since the revision it holds, or
//! everything when that can no longer be told ([`Catalog::changes_since`]); so a slow sidecar costs nothing
//! but its own delay. Changes are published together, [`MERGE`] after the first of them.
//!
//! Never in here: sockets, streams, encoding.

use crate::names::service_keys;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::{Duration, Instant};
use weft_api::sync;
use weft_model::ServiceName;

/// A change waits for others at most this long before all are pushed.
pub(crate) const MERGE: Duration = Duration::from_millis(50);

/// An instance whose stream broke stays this long, unconfirmed, before it is dropped.
pub(crate) const UNCONFIRMED_KEPT: Duration = Duration::from_mins(1);

/// A service without instances keeps its names this long, so that calls to it fail as calls to a service
/// and do not leave the mesh.
pub(crate) const EMPTY_SERVICE_KEPT: Duration = Duration::from_mins(10);

/// Instances in one center.
pub(crate) const INSTANCES_MAX: usize = 20_000;

/// Names in one center: all of them fit one message.
pub(crate) const NAMES_MAX: usize = 400_000;

/// Removals remembered, of instances and of names each: a sidecar that holds something older is sent
/// everything.
const REMOVALS_KEPT_MAX: usize = 4_096;

/// How long things are kept and how many: the constants above, unless a test says otherwise.
#[derive(Clone, Copy, Debug)]
pub struct Times {
    /// See [`MERGE`].
    pub merge: Duration,
    /// See [`UNCONFIRMED_KEPT`].
    pub unconfirmed_kept: Duration,
    /// See [`EMPTY_SERVICE_KEPT`].
    pub empty_service_kept: Duration,
}

impl Default for Times {
    fn default() -> Self {
        Self {
            merge: MERGE,
            unconfirmed_kept: UNCONFIRMED_KEPT,
            empty_service_kept: EMPTY_SERVICE_KEPT,
        }
    }
}

/// One open stream; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct StreamId(pub(crate) u64);

/// Why a registration was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// [`INSTANCES_MAX`] or [`NAMES_MAX`] was reached.
    Full,
    /// The record names another instance than the stream's hello.
    NotYours,
}

/// What a sidecar is to be sent so that it holds the present revision. Deltas go first; the names end the
/// batch, and only then does the sidecar use it.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Changes {
    pub(crate) deltas: Vec<sync::Delta>,
    pub(crate) names: sync::NameSet,
}

/// An instance as the catalog holds it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The record, with the state the center believes in.
    pub(crate) record: sync::Instance,
    /// The revision of its last change.
    pub(crate) changed: u64,
    /// The stream that registered it; none once that broke.
    pub(crate) owner: Option<StreamId>,
    dropped_at: Option<Instant>,
}

/// A service as the catalog holds it.
#[derive(Clone, Debug, Default)]
pub(crate) struct ServiceEntry {
    /// Its instances by id.
    pub(crate) instances: BTreeMap<String, Entry>,
    /// The revision of its last change.
    pub(crate) changed: u64,
    keys: BTreeSet<u64>,
    forgotten_at: Option<Instant>,
}

/// One connected sidecar: who it is and what it said it uses.
#[derive(Clone, Debug)]
pub(crate) struct Sidecar {
    pub(crate) service: ServiceName,
    pub(crate) instance: String,
    /// The last version it uses.
    pub(crate) acked: Option<sync::Version>,
    /// The last version it refused, until it acknowledges a later one.
    pub(crate) refused: Option<sync::Nack>,
}

struct Name {
    services: u32,
    added: u64,
}

/// The state of the mesh.
pub(crate) struct Catalog {
    epoch: u64,
    revision: u64,
    published: u64,
    times: Times,
    services: BTreeMap<ServiceName, ServiceEntry>,
    instances: usize,
    names: HashMap<u64, Name>,
    sidecars: BTreeMap<StreamId, Sidecar>,
    removed_instances: VecDeque<(u64, ServiceName, String)>,
    removed_names: VecDeque<(u64, u64)>,
    /// Differences can be told to whoever holds at least this revision.
    complete_from: u64,
    merge_at: Option<Instant>,
    /// Instances whose row in the store is not what is true.
    unsaved: BTreeSet<(ServiceName, String)>,
}

impl Catalog {
    /// An empty catalog that goes on at a version.
    pub(crate) fn new(version: sync::Version, times: Times) -> Self {
        Self {
            epoch: version.epoch,
            revision: version.revision,
            published: version.revision,
            times,
            services: BTreeMap::new(),
            instances: 0,
            names: HashMap::new(),
            sidecars: BTreeMap::new(),
            removed_instances: VecDeque::new(),
            removed_names: VecDeque::new(),
            complete_from: version.revision,
            merge_at: None,
            unsaved: BTreeSet::new(),
        }
    }

    /// The present version.
    pub(crate) fn version(&self) -> sync::Version {
        sync::Version {
            epoch: self.epoch,
            revision: self.revision,
        }
    }

    pub(crate) fn services(&self) -> impl Iterator<Item = (&ServiceName, &ServiceEntry)> {
        self.services.iter()
    }

    pub(crate) fn sidecar(&self, stream: StreamId) -> Option<&Sidecar> {
        self.sidecars.get(&stream)
    }

    /// Takes back what the store remembers, before anybody is served. Each instance is unconfirmed until its
    /// sidecar comes back, or time is up. `names` is what [`Catalog::names_note`] said when all of this was
    /// last told: the same names now, and the difference is all that sidecars need.
    pub(crate) fn restore(
        &mut self,
        records: Vec<sync::Instance>,
        names: Option<u64>,
        now: Instant,
    ) {
        let told = self.revision;
        for mut record in records {
            record.set_state(sync::InstanceState::Unconfirmed);
            let service = ServiceName::new(&record.namespace, &record.service);
            let changed = self.next_revision(now);
            let id = record.id.clone();
            let entry = Entry {
                record,
                changed,
                owner: None,
                dropped_at: Some(now + self.times.unconfirmed_kept),
            };
            let place = self.services.entry(service.clone()).or_default();
            if place.instances.insert(id, entry).is_none() {
                self.instances += 1;
            }
            self.service_changed(&service, now);
        }
        self.complete_from = if names == Some(self.names_note()) {
            told
        } else {
            self.revision
        };
    }

    /// A sum over all names.
    pub(crate) fn names_note(&self) -> u64 {
        let sum = self.names.keys().fold(0, |sum, hash| sum ^ hash);
        sum ^ self.names.len() as u64
    }

    /// The next revision, for a change that no sidecar is told of.
    pub(crate) fn claim_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    /// The instances to save since the last call, each with its record, or none when it is gone.
    pub(crate) fn take_unsaved(&mut self) -> Vec<(ServiceName, String, Option<&sync::Instance>)> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let services = &self.services;
        let records = unsaved.into_iter().map(|(service, id)| {
            let place = services.get(&service);
            let entry = place.and_then(|place| place.instances.get(&id));
            (service, id, entry.map(|entry| &entry.record))
        });
        records.collect()
    }

    /// A sidecar has said who it is.
    pub(crate) fn connected(&mut self, stream: StreamId, service: ServiceName, instance: String) {
        let sidecar = Sidecar {
            service,
            instance,
            acked: None,
            refused: None,
        };
        self.sidecars.insert(stream, sidecar);
    }

    /// A sidecar says what its instance is now.
    pub(crate) fn register(
        &mut self,
        stream: StreamId,
        mut record: sync::Instance,
        now: Instant,
    ) -> Result<(), Refused> {
        let service = ServiceName::new(&record.namespace, &record.service);
        let own = self.sidecars.get(&stream);
        if !own.is_some_and(|own| own.service == service && own.instance == record.id) {
            return Err(Refused::NotYours);
        }
        if record.state() != sync::InstanceState::Draining {
            record.set_state(sync::InstanceState::Ready);
        }
        let known = self
            .services
            .get(&service)
            .and_then(|entry| entry.instances.get(&record.id));
        let is_full = self.instances >= INSTANCES_MAX || self.names.len() >= NAMES_MAX;
        if known.is_none() && is_full {
            return Err(Refused::Full);
        }
        if known.is_some_and(|known| known.record == record) {
            self.adopt(&service, &record.id, stream);
            return Ok(());
        }
        if known.is_none() {
            self.instances += 1;
        }
        let changed = self.next_revision(now);
        let id = record.id.clone();
        let entry = Entry {
            record,
            changed,
            owner: Some(stream),
            dropped_at: None,
        };
        self.unsaved.insert((service.clone(), id.clone()));
        let place = self.services.entry(service.clone()).or_default();
        place.instances.insert(id, entry);
        self.service_changed(&service, now);
        Ok(())
    }

    /// The same record from another stream: nothing changed for anybody else.
    fn adopt(&mut self, service: &ServiceName, id: &str, stream: StreamId) {
        let entry = self
            .services
            .get_mut(service)
            .and_then(|entry| entry.instances.get_mut(id));
        if let Some(entry) = entry {
            entry.owner = Some(stream);
            entry.dropped_at = None;
        }
    }

    /// The instance leaves by its own will.
    pub(crate) fn goodbye(&mut self, stream: StreamId, now: Instant) {
        let Some(sidecar) = self.sidecars.remove(&stream) else {
            return;
        };
        if self.owns(stream, &sidecar) {
            self.remove(&sidecar.service, &sidecar.instance, now);
        }
    }

    /// The stream ended without a goodbye: the instance may well live.
    pub(crate) fn broken(&mut self, stream: StreamId, now: Instant) {
        let Some(sidecar) = self.sidecars.remove(&stream) else {
            return;
        };
        if !self.owns(stream, &sidecar) {
            return;
        }
        let dropped_at = now + self.times.unconfirmed_kept;
        let changed = self.next_revision(now);
        let place = self.services.get_mut(&sidecar.service);
        if let Some(entry) = place.and_then(|place| place.instances.get_mut(&sidecar.instance)) {
            entry.owner = None;
            entry.dropped_at = Some(dropped_at);
            entry.changed = changed;
            if entry.record.state() == sync::InstanceState::Ready {
                entry.record.set_state(sync::InstanceState::Unconfirmed);
            }
        }
        self.service_changed(&sidecar.service, now);
    }

    /// The sidecar uses everything up to this version.
    pub(crate) fn acked(&mut self, stream: StreamId, version: sync::Version) {
        if let Some(sidecar) = self.sidecars.get_mut(&stream) {
            sidecar.acked = Some(version);
            sidecar.refused = None;
        }
    }

    /// The sidecar refuses a version.
    pub(crate) fn nacked(&mut self, stream: StreamId, nack: sync::Nack) {
        if let Some(sidecar) = self.sidecars.get_mut(&stream) {
            sidecar.refused = Some(nack);
        }
    }

    /// When [`Catalog::tick`] has something to do next.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        let services = self.services.values();
        let forgotten = services.clone().filter_map(|service| service.forgotten_at);
        let dropped = services
            .flat_map(|service| service.instances.values())
            .filter_map(|entry| entry.dropped_at);
        self.merge_at
            .into_iter()
            .chain(forgotten)
            .chain(dropped)
            .min()
    }

    /// Drops what has waited long enough. True when there is something new to push.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        self.drop_unconfirmed(now);
        self.forget_empty_services(now);
        if self.merge_at.is_none_or(|merge_at| merge_at > now) {
            return false;
        }
        self.merge_at = None;
        let news = self.published != self.revision;
        self.published = self.revision;
        news
    }

    fn drop_unconfirmed(&mut self, now: Instant) {
        let mut late = Vec::new();
        for (service, place) in &self.services {
            for (id, entry) in &place.instances {
                if entry.dropped_at.is_some_and(|at| at <= now) {
                    late.push((service.clone(), id.clone()));
                }
            }
        }
        for (service, id) in late {
            self.remove(&service, &id, now);
        }
    }

    fn forget_empty_services(&mut self, now: Instant) {
        let late: Vec<_> = self
            .services
            .iter()
            .filter(|(_, place)| place.forgotten_at.is_some_and(|at| at <= now))
            .map(|(service, _)| service.clone())
            .collect();
        for service in late {
            let revision = self.next_revision(now);
            if let Some(place) = self.services.remove(&service) {
                self.replace_keys(&place.keys, &BTreeSet::new(), revision);
            }
        }
    }

    /// What brings a sidecar from the revision it holds to the present one; everything when it holds none.
    pub(crate) fn changes_since(&self, held: Option<u64>) -> Changes {
        match held.filter(|held| (self.complete_from..=self.revision).contains(held)) {
            Some(held) => self.difference(held),
            None => self.everything(),
        }
    }

    fn everything(&self) -> Changes {
        let deltas = self.services.iter().map(|(service, place)| {
            let records = place.instances.values().map(|entry| entry.record.clone());
            sync::Delta {
                full: true,
                upserted: records.collect(),
                ..self.delta(service)
            }
        });
        let mut added: Vec<u64> = self.names.keys().copied().collect();
        added.sort_unstable();
        Changes {
            deltas: deltas.collect(),
            names: sync::NameSet {
                version: Some(self.version()),
                full: true,
                added,
                removed: Vec::new(),
                subscribed: 0,
            },
        }
    }

    fn difference(&self, held: u64) -> Changes {
        let mut deltas: BTreeMap<&ServiceName, sync::Delta> = BTreeMap::new();
        for (service, place) in self
            .services
            .iter()
            .filter(|(_, place)| place.changed > held)
        {
            let changed = place
                .instances
                .values()
                .filter(|entry| entry.changed > held);
            let upserted = changed.map(|entry| entry.record.clone()).collect();
            deltas.insert(
                service,
                sync::Delta {
                    upserted,
                    ..self.delta(service)
                },
            );
        }
        for (_, service, id) in self.removed_instances.iter().filter(|(at, ..)| *at > held) {
            let place = self.services.get(service);
            if place.is_some_and(|place| place.instances.contains_key(id)) {
                continue;
            }
            let delta = deltas.entry(service).or_insert_with(|| self.delta(service));
            if !delta.removed.contains(id) {
                delta.removed.push(id.clone());
            }
        }
        let mut added: Vec<u64> = self
            .names
            .iter()
            .filter(|(_, name)| name.added > held)
            .map(|(hash, _)| *hash)
            .collect();
        added.sort_unstable();
        let gone = self
            .removed_names
            .iter()
            .filter(|(at, _)| *at > held)
            .map(|(_, hash)| *hash);
        let removed: BTreeSet<u64> = gone.filter(|hash| !self.names.contains_key(hash)).collect();
        Changes {
            deltas: deltas.into_values().collect(),
            names: sync::NameSet {
                version: Some(self.version()),
                full: false,
                added,
                removed: removed.into_iter().collect(),
                subscribed: 0,
            },
        }
    }

    fn delta(&self, service: &ServiceName) -> sync::Delta {
        sync::Delta {
            version: Some(self.version()),
            namespace: service.namespace.to_string(),
            service: service.name.to_string(),
            full: false,
            upserted: Vec::new(),
            removed: Vec::new(),
        }
    }

    fn owns(&self, stream: StreamId, sidecar: &Sidecar) -> bool {
        let place = self.services.get(&sidecar.service);
        let entry = place.and_then(|place| place.instances.get(&sidecar.instance));
        entry.is_some_and(|entry| entry.owner == Some(stream))
    }

    fn remove(&mut self, service: &ServiceName, id: &str, now: Instant) {
        let Some(place) = self.services.get_mut(service) else {
            return;
        };
        if place.instances.remove(id).is_none() {
            return;
        }
        self.instances -= 1;
        self.unsaved.insert((service.clone(), id.to_owned()));
        let revision = self.next_revision(now);
        self.removed_instances
            .push_back((revision, service.clone(), id.to_owned()));
        if self.removed_instances.len() > REMOVALS_KEPT_MAX
            && let Some((forgotten, ..)) = self.removed_instances.pop_front()
        {
            self.complete_from = self.complete_from.max(forgotten);
        }
        self.service_changed(service, now);
    }

    fn next_revision(&mut self, now: Instant) -> u64 {
        self.revision += 1;
        self.merge_at.get_or_insert(now + self.times.merge);
        self.revision
    }

    /// Follows a change of a service's instances: its revision, its names, whether it is empty.
    fn service_changed(&mut self, service: &ServiceName, now: Instant) {
        let revision = self.revision;
        let empty_kept = self.times.empty_service_kept;
        let Some(place) = self.services.get_mut(service) else {
            return;
        };
        place.changed = revision;
        if place.instances.is_empty() {
            place.forgotten_at = Some(now + empty_kept);
            return;
        }
        place.forgotten_at = None;
        let records = place.instances.values().map(|entry| &entry.record);
        let keys = service_keys(service, records);
        if keys == place.keys {
            return;
        }
        let before = std::mem::replace(&mut place.keys, keys.clone());
        self.replace_keys(&before, &keys, revision);
    }

    /// Two services may have a key in common, so each is counted.
    fn replace_keys(&mut self, before: &BTreeSet<u64>, after: &BTreeSet<u64>, revision: u64) {
        for hash in after.difference(before) {
            let name = self.names.entry(*hash).or_insert(Name {
                services: 0,
                added: revision,
            });
            name.services += 1;
        }
        for hash in before.difference(after) {
            let Some(name) = self.names.get_mut(hash) else {
                continue;
            };
            name.services -= 1;
            if name.services > 0 {
                continue;
            }
            self.names.remove(hash);
            self.removed_names.push_back((revision, *hash));
            if self.removed_names.len() > REMOVALS_KEPT_MAX
                && let Some((forgotten, _)) = self.removed_names.pop_front()
            {
                self.complete_from = self.complete_from.max(forgotten);
            }
        }
    }
}

#[cfg(test)]
mod tests;
