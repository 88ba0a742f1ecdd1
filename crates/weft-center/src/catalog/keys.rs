//! Which keys are services. Each key counts the services that have it, and each service counts who gives it a
//! key, so that a change of one instance touches its own keys and no others.
//!
//! What has become of a key is kept in the order of revisions, so that a difference walks only what changed.
//! Never in here: who is interested in a key (`catalog/feed.rs`).

use super::{REMOVALS_KEPT_MAX, ServiceId};
use std::collections::{BTreeMap, BTreeSet};

struct Name {
    services: BTreeSet<ServiceId>,
    /// The revision from which on it is a name.
    since: u64,
}

/// All keys.
#[derive(Default)]
pub(super) struct Keys {
    names: BTreeMap<u64, Name>,
    /// The last change of each name that is one or was one: (revision, hash).
    log: BTreeSet<(u64, u64)>,
    /// Former names, with the revision at which they ended.
    removed: BTreeMap<u64, u64>,
    removed_order: BTreeSet<(u64, u64)>,
    /// What became of names can be told to whoever holds at least this revision.
    complete_from: u64,
    /// Keys that a service lost, whether or not another has them: (revision, hash, service).
    lost: BTreeSet<(u64, u64, ServiceId)>,
}

impl Keys {
    /// How many names there are.
    pub(super) fn len(&self) -> usize {
        self.names.len()
    }

    /// A sum over all names.
    pub(super) fn note(&self) -> u64 {
        let sum = self.names.keys().fold(0, |sum, hash| sum ^ hash);
        sum ^ self.names.len() as u64
    }

    /// The services that have a key.
    pub(super) fn services(&self, hash: u64) -> impl Iterator<Item = ServiceId> + '_ {
        let name = self.names.get(&hash);
        name.into_iter()
            .flat_map(|name| name.services.iter().copied())
    }

    /// A service has one more key.
    pub(super) fn gain(&mut self, hash: u64, service: ServiceId, revision: u64) {
        if let Some(name) = self.names.get_mut(&hash) {
            name.services.insert(service);
            return;
        }
        if let Some(ended) = self.removed.remove(&hash) {
            self.removed_order.remove(&(ended, hash));
            self.log.remove(&(ended, hash));
        }
        let services = BTreeSet::from([service]);
        let since = revision;
        self.names.insert(hash, Name { services, since });
        self.log.insert((revision, hash));
    }

    /// A service has one key less. Returns the last revision of which something was forgotten.
    pub(super) fn lose(&mut self, hash: u64, service: ServiceId, revision: u64) -> Option<u64> {
        let name = self.names.get_mut(&hash)?;
        if !name.services.remove(&service) {
            return None;
        }
        self.lost.insert((revision, hash, service));
        if name.services.is_empty() {
            self.log.remove(&(name.since, hash));
            self.names.remove(&hash);
            self.removed.insert(hash, revision);
            self.removed_order.insert((revision, hash));
            self.log.insert((revision, hash));
        }
        self.trim()
    }

    fn trim(&mut self) -> Option<u64> {
        let mut forgotten = None;
        if self.lost.len() > REMOVALS_KEPT_MAX {
            forgotten = self.lost.pop_first().map(|(revision, ..)| revision);
        }
        if self.removed_order.len() > REMOVALS_KEPT_MAX
            && let Some((revision, hash)) = self.removed_order.pop_first()
        {
            self.removed.remove(&hash);
            self.log.remove(&(revision, hash));
            self.complete_from = revision;
            forgotten = forgotten.max(Some(revision));
        }
        forgotten
    }

    /// All names.
    pub(super) fn all(&self) -> Vec<u64> {
        self.names.keys().copied().collect()
    }

    /// Whoever was told of names up to here can be told the difference.
    pub(super) fn complete_from(&self) -> u64 {
        self.complete_from
    }

    /// When the set of names has changed last.
    pub(super) fn last_change(&self) -> Option<u64> {
        self.log.last().map(|(revision, _)| *revision)
    }

    /// The names that came and those that went after a revision.
    pub(super) fn difference(&self, held: u64) -> (Vec<u64>, Vec<u64>) {
        let changed = self.log.range((held + 1, 0)..).map(|(_, hash)| *hash);
        let (mut added, mut removed): (Vec<u64>, Vec<u64>) =
            changed.partition(|hash| self.names.contains_key(hash));
        added.sort_unstable();
        removed.sort_unstable();
        (added, removed)
    }

    /// The keys that services lost after a revision.
    pub(super) fn lost_after(&self, held: u64) -> impl Iterator<Item = (u64, ServiceId)> + '_ {
        let lost = self.lost.range((held + 1, 0, ServiceId(0))..);
        lost.map(|(_, hash, service)| (*hash, *service))
    }
}
