//! All that one change touches: an instance, its service, the keys of both, and the order in which they changed.
//!
//! Never in here: why something changes.

use super::service::KeyUse;
use super::time::Due;
use super::{Catalog, Entry, Owner, REMOVALS_KEPT_MAX, ServiceEntry, ServiceId};
use crate::names::{host_key, instance_keys};
use std::collections::BTreeSet;
use std::time::Instant;
use weft_api::sync::{self, frame};
use weft_model::ServiceName;

impl Catalog {
    pub(super) fn next_revision(&mut self, now: Instant) -> u64 {
        self.revision += 1;
        self.merge_at.get_or_insert(now + self.times.merge);
        self.revision
    }

    /// The service with this name, from now on, or `since`, if there was none.
    pub(super) fn place(&mut self, name: &ServiceName, since: Option<u64>) -> ServiceId {
        if let Some(service) = self.ids.get(name) {
            return *service;
        }
        self.services_known += 1;
        let service = ServiceId(self.services_known);
        self.ids.insert(name.clone(), service);
        self.services
            .insert(service, ServiceEntry::new(name.clone()));
        // The change that makes the service comes with the next revision.
        let since = since.unwrap_or(self.revision + 1);
        self.rekey(
            service,
            &BTreeSet::from([host_key(name)]),
            &BTreeSet::new(),
            since,
        );
        service
    }

    /// An instance is like this now.
    pub(super) fn put(
        &mut self,
        service: ServiceId,
        record: sync::Instance,
        owner: Owner,
        now: Instant,
        since: Option<u64>,
    ) {
        let revision = self.next_revision(now);
        let Some(place) = self.services.get_mut(&service) else {
            return;
        };
        let id = record.id.clone();
        let come = instance_keys(&place.name, &record);
        let known = place.instances.get_mut(&id);
        let known = known.map(|known| (known.owner, std::mem::take(&mut known.seen)));
        let gone = match place.instances.get(&id) {
            Some(known) => instance_keys(&place.name, &known.record),
            None => std::mem::take(&mut place.lingering),
        };
        let before = known.as_ref().map(|(owner, _)| *owner);
        let entry = Entry {
            wire: frame::instance_bytes(&record).into(),
            record,
            changed: revision,
            owner,
            seen: known.map(|(_, seen)| seen).unwrap_or_default(),
        };
        let changed = place.changed;
        let left = place.put(&id, entry);
        let has_plain = place.plain.contains_key(&id);
        let forgotten_at = place.forgotten_at.take();
        self.unsaved.insert((place.name.clone(), id.clone()));
        if let Some(left) = left {
            self.removals.remove(&(left, service));
        }
        self.count_owner(before, Some(owner));
        self.overridden_changed |= has_plain && before != Some(owner);
        self.touched(service, changed, revision);
        self.rekey(service, &come, &gone, since.unwrap_or(revision));
        if let Some(before) = before {
            self.disarm(service, &id, before);
        }
        if let Some(at) = forgotten_at {
            self.deadlines.remove(&(at, Due::Forget(service)));
        }
        if let Owner::Nobody { dropped_at } = owner {
            self.deadlines.insert((dropped_at, Due::Drop(service, id)));
        }
        #[cfg(test)]
        {
            self.work.instances_encoded += 1;
        }
    }

    /// An instance is no more; one that was declared under its id takes its place.
    pub(super) fn remove(&mut self, service: ServiceId, id: &str, now: Instant) {
        let revision = self.next_revision(now);
        let Some(place) = self.services.get_mut(&service) else {
            return;
        };
        let changed = place.changed;
        let Some(entry) = place.take(id, revision) else {
            return;
        };
        let gone = instance_keys(&place.name, &entry.record);
        let is_empty = place.instances.is_empty();
        let reinstated = place.plain.get(id).cloned();
        self.unsaved.insert((place.name.clone(), id.to_owned()));
        if is_empty {
            place.lingering.clone_from(&gone);
        }
        self.count_owner(Some(entry.owner), None);
        self.disarm(service, id, entry.owner);
        self.forget_reports(service, id, &entry);
        self.touched(service, changed, revision);
        self.removals.insert((revision, service));
        if self.removals.len() > REMOVALS_KEPT_MAX
            && let Some((forgotten, of)) = self.removals.pop_first()
        {
            self.complete_from = self.complete_from.max(forgotten);
            if let Some(place) = self.services.get_mut(&of) {
                place.forget_removal(forgotten);
            }
        }
        if is_empty {
            self.forget_later(service, now);
        } else {
            self.rekey(service, &BTreeSet::new(), &gone, revision);
        }
        if let Some(record) = reinstated {
            self.put(service, record, Owner::Person, now, None);
        }
    }

    fn count_owner(&mut self, before: Option<Owner>, after: Option<Owner>) {
        let is_registered = |owner: Option<Owner>| owner.is_some_and(|o| o != Owner::Person);
        self.instances += usize::from(is_registered(after));
        self.instances -= usize::from(is_registered(before));
    }

    /// A service has changed at a revision; `before` is when it did last.
    pub(super) fn touched(&mut self, service: ServiceId, before: u64, revision: u64) {
        self.changed_services.remove(&before);
        self.changed_services.insert(revision, service);
        #[cfg(test)]
        {
            self.work.services_touched += 1;
        }
    }

    /// A service has these keys now in place of those.
    pub(super) fn rekey(
        &mut self,
        service: ServiceId,
        come: &BTreeSet<u64>,
        gone: &BTreeSet<u64>,
        since: u64,
    ) {
        for hash in come.difference(gone) {
            let Some(place) = self.services.get_mut(&service) else {
                return;
            };
            let first = KeyUse { count: 0, since };
            let own = place.keys.entry(*hash).or_insert(first);
            own.count += 1;
            if own.count == 1 {
                self.keys.gain(*hash, service, since);
                self.interest_gained(*hash, service);
            }
            #[cfg(test)]
            {
                self.work.keys_touched += 1;
            }
        }
        for hash in gone.difference(come) {
            let Some(place) = self.services.get_mut(&service) else {
                return;
            };
            let Some(own) = place.keys.get_mut(hash) else {
                continue;
            };
            own.count -= 1;
            if own.count == 0 {
                place.keys.remove(hash);
                let forgotten = self.keys.lose(*hash, service, self.revision);
                self.complete_from = self.complete_from.max(forgotten.unwrap_or(0));
                self.interest_lost(*hash, service);
            }
            #[cfg(test)]
            {
                self.work.keys_touched += 1;
            }
        }
    }
}
