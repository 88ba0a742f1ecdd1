//! What is true of the mesh: every service and instance, the names under which they are called, and who
//! was told what. A state machine without I/O: time comes in as an argument.
//!
//! | file | defines |
//! |---|---|
//! | `catalog/change.rs` | all that one change touches |
//! | `catalog/service.rs` | one service: its instances and what changed of them |
//! | `catalog/keys.rs` | which keys are services |
//! | `catalog/declared.rs` | services and instances without a sidecar, as people declared them |
//! | `catalog/feed.rs` | what each stream uses |
//! | `catalog/publish.rs` | what each stream is sent |
//! | `catalog/peers.rs` | how sidecars find the instances that they call |
//! | `catalog/time.rs` | what time does: drops, forgets, publishes |
//!
//! Each change takes the next revision and touches one instance, its service and the keys of both: nothing here
//! walks over all services or instances because one has changed. Changes are published together, [`MERGE`] after
//! the first of them. Never in here: sockets, streams.

mod change;
mod declared;
mod feed;
mod keys;
mod peers;
mod publish;
mod service;
mod time;

pub(crate) use declared::Remembered;
pub(crate) use feed::KEYS_PER_SIDECAR_MAX;
pub(crate) use peers::PEERS_PER_SIDECAR_MAX;
pub(crate) use publish::Parcel;
pub(crate) use service::ServiceEntry;

use bytes::Bytes;
use feed::{Feed, Feeds};
use keys::Keys;
use peers::Seen;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use time::Due;
use tokio::sync::Notify;
use weft_api::sync;
use weft_model::ServiceName;

/// A change waits for others at most this long before all are pushed.
pub(crate) const MERGE: Duration = Duration::from_millis(50);

/// An instance whose stream broke stays this long, unconfirmed, before it is dropped.
pub(crate) const UNCONFIRMED_KEPT: Duration = Duration::from_mins(1);

/// A service without instances keeps its names this long, so that calls to it fail as calls to a service
/// and do not leave the mesh.
pub(crate) const EMPTY_SERVICE_KEPT: Duration = Duration::from_mins(10);

/// Instances that sidecars registered, in one center.
pub(crate) const INSTANCES_MAX: usize = 20_000;

/// Names in one center: all of them fit one message.
pub(crate) const NAMES_MAX: usize = 400_000;

/// Removals remembered, of instances, of names and of services' keys each: a sidecar that holds something older
/// is sent everything that it uses.
const REMOVALS_KEPT_MAX: usize = 16_384;

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

/// A service as long as the catalog knows it; never used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct ServiceId(u64);

/// Why something that a sidecar said was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// [`INSTANCES_MAX`] or [`NAMES_MAX`] was reached.
    Full,
    /// The record names another instance than the stream's hello.
    NotYours,
    /// A subscription of so many keys.
    Keys(usize),
}

/// Who vouches for an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Owner {
    /// Its sidecar, on this stream.
    Sidecar(StreamId),
    /// Nobody: its stream broke, and it is dropped then.
    Nobody { dropped_at: Instant },
    /// A person: it has no sidecar.
    Person,
}

/// An instance as the catalog holds it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// The record, with the state the center believes in.
    pub(crate) record: sync::Instance,
    /// The record's bytes, encoded once for all who are sent it.
    pub(crate) wire: Bytes,
    /// The revision of its last change.
    pub(crate) changed: u64,
    pub(crate) owner: Owner,
    /// How sidecars that call it find it.
    pub(crate) seen: BTreeMap<StreamId, Seen>,
}

/// One connected sidecar: who it is, what it uses and what it is to be sent.
pub(crate) struct Sidecar {
    pub(crate) service: ServiceName,
    pub(crate) instance: String,
    /// The last version it uses.
    pub(crate) acked: Option<sync::Version>,
    /// The last version it refused, until it acknowledges a later one.
    pub(crate) refused: Option<sync::Nack>,
    feed: Feed,
    /// The instances of which it said how it finds them.
    reported: BTreeSet<(ServiceId, String)>,
}

/// The state of the mesh.
pub(crate) struct Catalog {
    epoch: u64,
    revision: u64,
    /// All up to this revision was handed to the streams.
    published: u64,
    times: Times,
    ids: BTreeMap<ServiceName, ServiceId>,
    services: BTreeMap<ServiceId, ServiceEntry>,
    services_known: u64,
    /// Instances that sidecars registered.
    instances: usize,
    keys: Keys,
    sidecars: BTreeMap<StreamId, Sidecar>,
    feeds: Feeds,
    /// Each service at its last change.
    changed_services: BTreeMap<u64, ServiceId>,
    /// Instances that left, the oldest first.
    removals: BTreeSet<(u64, ServiceId)>,
    /// Differences can be told to whoever holds at least this revision.
    complete_from: u64,
    merge_at: Option<Instant>,
    deadlines: BTreeSet<(Instant, Due)>,
    /// Instances whose row in the store is not what is true.
    unsaved: BTreeSet<(ServiceName, String)>,
    /// A declared instance gave way to one of a sidecar, or came back.
    overridden_changed: bool,
    /// What was done so far, for tests that count.
    #[cfg(test)]
    work: Work,
}

/// What changes cost.
#[cfg(test)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Work {
    services_touched: u64,
    instances_encoded: u64,
    deltas_made: u64,
    keys_touched: u64,
    streams_told: u64,
}

impl Catalog {
    /// An empty catalog that goes on at a version.
    pub(crate) fn new(version: sync::Version, times: Times) -> Self {
        Self {
            epoch: version.epoch,
            revision: version.revision,
            published: version.revision,
            times,
            ids: BTreeMap::new(),
            services: BTreeMap::new(),
            services_known: 0,
            instances: 0,
            keys: Keys::default(),
            sidecars: BTreeMap::new(),
            feeds: Feeds::default(),
            changed_services: BTreeMap::new(),
            removals: BTreeSet::new(),
            complete_from: version.revision,
            merge_at: None,
            deadlines: BTreeSet::new(),
            unsaved: BTreeSet::new(),
            overridden_changed: false,
            #[cfg(test)]
            work: Work::default(),
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
        let known = self.ids.iter();
        known.filter_map(|(name, id)| Some((name, self.services.get(id)?)))
    }

    fn service(&self, name: &ServiceName) -> Option<&ServiceEntry> {
        self.services.get(self.ids.get(name)?)
    }

    pub(crate) fn sidecar(&self, stream: StreamId) -> Option<&Sidecar> {
        self.sidecars.get(&stream)
    }

    /// All connected sidecars.
    pub(crate) fn sidecars(&self) -> impl Iterator<Item = (StreamId, &Sidecar)> {
        self.sidecars.iter().map(|(stream, own)| (*stream, own))
    }

    /// A sum over all names.
    pub(crate) fn names_note(&self) -> u64 {
        self.keys.note()
    }

    /// The next revision, for a change that no sidecar is told of.
    pub(crate) fn claim_revision(&mut self) -> u64 {
        self.revision += 1;
        self.revision
    }

    /// The instances to save since the last call, each with its bytes, or none when no row is needed.
    pub(crate) fn take_unsaved(&mut self) -> Vec<(ServiceName, String, Option<Bytes>)> {
        let unsaved = std::mem::take(&mut self.unsaved);
        let rows = unsaved.into_iter().map(|(service, id)| {
            let place = self.service(&service);
            let entry = place.and_then(|place| place.instances.get(&id));
            // What a person declared has its own row; only that it was taken out of use is kept here.
            let kept = entry.filter(|entry| {
                entry.owner != Owner::Person || entry.record.offline_changed_ms != 0
            });
            let bytes = kept.map(|entry| entry.wire.clone());
            (service, id, bytes)
        });
        rows.collect()
    }

    /// A sidecar has said who it is and what it holds. Whoever feeds its stream waits for what is returned.
    pub(crate) fn connected(
        &mut self,
        stream: StreamId,
        service: ServiceName,
        instance: String,
        held: Option<u64>,
    ) -> Arc<Notify> {
        let feed = Feed::new(held);
        let wake = feed.wake();
        let sidecar = Sidecar {
            service,
            instance,
            acked: None,
            refused: None,
            feed,
            reported: BTreeSet::new(),
        };
        self.sidecars.insert(stream, sidecar);
        wake
    }

    /// A sidecar says what its instance is now.
    pub(crate) fn register(
        &mut self,
        stream: StreamId,
        mut record: sync::Instance,
        now: Instant,
    ) -> Result<(), Refused> {
        let name = ServiceName::new(&record.namespace, &record.service);
        let own = self.sidecars.get(&stream);
        if !own.is_some_and(|own| own.service == name && own.instance == record.id) {
            return Err(Refused::NotYours);
        }
        if record.state() != sync::InstanceState::Draining {
            record.set_state(sync::InstanceState::Ready);
        }
        let known = self
            .service(&name)
            .and_then(|place| place.instances.get(&record.id));
        let is_new = known.is_none_or(|known| known.owner == Owner::Person);
        if is_new && (self.instances >= INSTANCES_MAX || self.keys.len() >= NAMES_MAX) {
            return Err(Refused::Full);
        }
        // Of two words about being out of use the later one counts; a sidecar that does not know it is told.
        let said = known.map(|known| (known.record.offline, known.record.offline_changed_ms));
        if let Some((offline, changed_ms)) = said
            && changed_ms > record.offline_changed_ms
        {
            record.offline = offline;
            record.offline_changed_ms = changed_ms;
            let word = sync::SetOffline {
                offline,
                changed_ms,
            };
            self.tell_offline(stream, word);
        }
        let known = self
            .service(&name)
            .and_then(|place| place.instances.get(&record.id));
        if known.is_some_and(|known| known.record == record) {
            self.adopt(&name, &record.id, stream);
            return Ok(());
        }
        let service = self.place(&name, None);
        self.put(service, record, Owner::Sidecar(stream), now, None);
        Ok(())
    }

    /// The same record from another stream: nothing changed for anybody else.
    fn adopt(&mut self, name: &ServiceName, id: &str, stream: StreamId) {
        let Some(service) = self.ids.get(name).copied() else {
            return;
        };
        let place = self.services.get_mut(&service);
        if let Some(entry) = place.and_then(|place| place.instances.get_mut(id)) {
            let before = std::mem::replace(&mut entry.owner, Owner::Sidecar(stream));
            self.disarm(service, id, before);
        }
    }

    /// The instance leaves by its own will.
    pub(crate) fn goodbye(&mut self, stream: StreamId, now: Instant) {
        let Some(sidecar) = self.disconnect(stream) else {
            return;
        };
        if let Some(service) = self.owned(stream, &sidecar) {
            self.remove(service, &sidecar.instance, now);
        }
    }

    /// The stream ended without a goodbye: the instance may well live.
    pub(crate) fn broken(&mut self, stream: StreamId, now: Instant) {
        let Some(sidecar) = self.disconnect(stream) else {
            return;
        };
        let Some(service) = self.owned(stream, &sidecar) else {
            return;
        };
        let place = self.services.get(&service);
        let Some(entry) = place.and_then(|place| place.instances.get(&sidecar.instance)) else {
            return;
        };
        let mut record = entry.record.clone();
        if record.state() == sync::InstanceState::Ready {
            record.set_state(sync::InstanceState::Unconfirmed);
        }
        let dropped_at = now + self.times.unconfirmed_kept;
        self.put(service, record, Owner::Nobody { dropped_at }, now, None);
    }

    /// A person takes an instance out of use, or back. Returns what it is then; none: there is no such instance.
    pub(crate) fn set_offline(
        &mut self,
        name: &ServiceName,
        id: &str,
        word: sync::SetOffline,
        now: Instant,
    ) -> Option<&Entry> {
        let service = self.ids.get(name).copied()?;
        let entry = self.services.get(&service)?.instances.get(id)?;
        let mut record = entry.record.clone();
        record.offline = word.offline;
        // Later than what was said before, also when the clock went back.
        record.offline_changed_ms = word.changed_ms.max(record.offline_changed_ms + 1);
        let changed_ms = record.offline_changed_ms;
        let owner = entry.owner;
        self.put(service, record, owner, now, None);
        if let Owner::Sidecar(stream) = owner {
            let word = sync::SetOffline { changed_ms, ..word };
            self.tell_offline(stream, word);
        }
        self.services.get(&service)?.instances.get(id)
    }

    /// The sidecar uses everything up to this version.
    pub(crate) fn acked(&mut self, stream: StreamId, version: sync::Version) {
        if let Some(sidecar) = self.sidecars.get_mut(&stream) {
            sidecar.acked = Some(version);
            sidecar.refused = None;
        }
    }

    fn owned(&self, stream: StreamId, sidecar: &Sidecar) -> Option<ServiceId> {
        let service = self.ids.get(&sidecar.service).copied()?;
        let entry = self
            .services
            .get(&service)?
            .instances
            .get(&sidecar.instance)?;
        (entry.owner == Owner::Sidecar(stream)).then_some(service)
    }
}

#[cfg(test)]
mod tests;
