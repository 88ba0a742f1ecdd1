//! One service: its instances, the keys it has and who gives them, what changed in the order of revisions.
//!
//! Never in here: other services, streams' queues.

use super::{Entry, StreamId};
use crate::delta;
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;
use weft_api::sync;
use weft_model::ServiceName;

/// A key of a service.
#[derive(Clone, Copy, Debug)]
pub(super) struct KeyUse {
    /// Instances, declarations and the service itself: all that give it.
    pub(super) count: u32,
    /// The revision from which on the service has it.
    pub(super) since: u64,
}

/// What a person declared of a service.
#[derive(Clone, Debug, Default)]
pub(super) struct DeclaredPorts {
    pub(super) keys: BTreeSet<u64>,
    pub(super) ports: Vec<sync::Port>,
}

/// A service as the catalog holds it.
#[derive(Clone, Debug)]
pub(crate) struct ServiceEntry {
    pub(crate) name: ServiceName,
    /// Its instances by id.
    pub(crate) instances: BTreeMap<String, Entry>,
    /// The revision of its last change.
    pub(crate) changed: u64,
    pub(super) keys: BTreeMap<u64, KeyUse>,
    pub(super) declared: Option<DeclaredPorts>,
    /// Instances without a sidecar that were declared, by id; also those whose id a sidecar has.
    pub(super) plain: BTreeMap<String, sync::Instance>,
    /// The keys of the last instance, kept while there is none.
    pub(super) lingering: BTreeSet<u64>,
    pub(super) forgotten_at: Option<Instant>,
    /// Streams that use one of its keys.
    pub(super) streams: BTreeSet<StreamId>,
    /// The last change of each instance that is or was: (revision, id).
    log: BTreeMap<u64, String>,
    /// Former instances, with the revision at which they left.
    removed: BTreeMap<String, u64>,
}

impl ServiceEntry {
    pub(super) fn new(name: ServiceName) -> Self {
        Self {
            name,
            instances: BTreeMap::new(),
            changed: 0,
            keys: BTreeMap::new(),
            declared: None,
            plain: BTreeMap::new(),
            lingering: BTreeSet::new(),
            forgotten_at: None,
            streams: BTreeSet::new(),
            log: BTreeMap::new(),
            removed: BTreeMap::new(),
        }
    }

    /// The ports that people declared.
    pub(crate) fn declared_ports(&self) -> &[sync::Port] {
        self.declared
            .as_ref()
            .map_or(&[], |declared| &declared.ports)
    }

    /// Puts an instance in, or in place of what it was. Returns when a former one with its id had left.
    pub(super) fn put(&mut self, id: &str, entry: Entry) -> Option<u64> {
        let revision = entry.changed;
        let left = self.removed.remove(id);
        let before = self.instances.insert(id.to_owned(), entry);
        let last = left.or(before.map(|before| before.changed));
        if let Some(last) = last {
            self.log.remove(&last);
        }
        self.log.insert(revision, id.to_owned());
        self.changed = revision;
        left
    }

    /// Takes an instance out.
    pub(super) fn take(&mut self, id: &str, revision: u64) -> Option<Entry> {
        let entry = self.instances.remove(id)?;
        self.log.remove(&entry.changed);
        self.log.insert(revision, id.to_owned());
        self.removed.insert(id.to_owned(), revision);
        self.changed = revision;
        Some(entry)
    }

    /// Forgets that an instance left at this revision.
    pub(super) fn forget_removal(&mut self, revision: u64) {
        if let Some(id) = self.log.remove(&revision) {
            self.removed.remove(&id);
        }
    }

    /// When those left of whom it is remembered.
    pub(super) fn removals(&self) -> impl Iterator<Item = u64> + '_ {
        self.removed.values().copied()
    }

    /// All instances, framed.
    pub(super) fn full(&self, version: sync::Version) -> Vec<Bytes> {
        let upserted = self.instances.values().map(|entry| &entry.wire);
        let head = sync::Delta {
            full: true,
            ..self.head(version)
        };
        delta::frames(head, upserted.collect())
    }

    /// What changed after a revision, framed.
    pub(super) fn difference(&self, held: u64, version: sync::Version) -> Vec<Bytes> {
        let mut upserted = Vec::new();
        let mut head = self.head(version);
        for id in self.log.range(held + 1..).map(|(_, id)| id) {
            match self.instances.get(id) {
                Some(entry) => upserted.push(&entry.wire),
                None => head.removed.push(id.clone()),
            }
        }
        delta::frames(head, upserted)
    }

    fn head(&self, version: sync::Version) -> sync::Delta {
        sync::Delta {
            version: Some(version),
            namespace: self.name.namespace.to_string(),
            service: self.name.name.to_string(),
            ..sync::Delta::default()
        }
    }
}
