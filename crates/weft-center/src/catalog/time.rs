//! What time does to the catalog: deadlines in their order, so that nobody looks at all instances for them.
//!
//! Never in here: clocks.

use super::{Catalog, Owner, ServiceId};
use crate::names::host_key;
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

/// An instance that is kept because peers hear it is looked at again after this long.
const LOOK_AGAIN: Duration = Duration::from_secs(6);

/// What is due.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Due {
    /// An instance for which nobody vouches.
    Drop(ServiceId, String),
    /// The keys of a service without instances.
    Forget(ServiceId),
}

impl Catalog {
    /// When [`Catalog::tick`] has something to do next.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        let deadline = self.deadlines.first().map(|(at, _)| *at);
        let waits = self.merge_at.into_iter().chain(self.feeds.names_wait_until);
        waits.chain(deadline).min()
    }

    /// Drops what has waited long enough, and hands merged changes to the streams. True when there were some.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        while self.deadlines.first().is_some_and(|(at, _)| *at <= now) {
            match self.deadlines.pop_first() {
                Some((_, Due::Drop(service, id))) => self.drop_unconfirmed(service, &id, now),
                Some((_, Due::Forget(service))) => self.forget(service, now),
                None => break,
            }
        }
        let mut waits = self.merge_at.into_iter().chain(self.feeds.names_wait_until);
        if waits.all(|until| until > now) {
            return false;
        }
        self.merge_at = None;
        self.publish(now)
    }

    fn drop_unconfirmed(&mut self, service: ServiceId, id: &str, now: Instant) {
        let look_again = LOOK_AGAIN.min(self.times.unconfirmed_kept);
        let place = self.services.get_mut(&service);
        let Some(entry) = place.and_then(|place| place.instances.get_mut(id)) else {
            return;
        };
        if entry.is_heard() {
            let dropped_at = now + look_again;
            entry.owner = Owner::Nobody { dropped_at };
            let due = Due::Drop(service, id.to_owned());
            self.deadlines.insert((dropped_at, due));
            return;
        }
        self.remove(service, id, now);
    }

    /// An instance is no longer dropped at its time.
    pub(super) fn disarm(&mut self, service: ServiceId, id: &str, before: Owner) {
        if let Owner::Nobody { dropped_at } = before {
            let due = Due::Drop(service, id.to_owned());
            self.deadlines.remove(&(dropped_at, due));
        }
    }

    /// A service has lost its last instance.
    pub(super) fn forget_later(&mut self, service: ServiceId, now: Instant) {
        let at = now + self.times.empty_service_kept;
        if let Some(place) = self.services.get_mut(&service) {
            if let Some(before) = place.forgotten_at.replace(at) {
                self.deadlines.remove(&(before, Due::Forget(service)));
            }
            self.deadlines.insert((at, Due::Forget(service)));
        }
    }

    /// A service had no instance for long: its keys go, and unless it is declared it goes too.
    fn forget(&mut self, service: ServiceId, now: Instant) {
        let revision = self.next_revision(now);
        let Some(place) = self.services.get_mut(&service) else {
            return;
        };
        place.forgotten_at = None;
        let mut gone = std::mem::take(&mut place.lingering);
        let changed = std::mem::replace(&mut place.changed, revision);
        let stays = place.declared.is_some() || !place.instances.is_empty();
        if !stays {
            gone.insert(host_key(&place.name));
        }
        self.touched(service, changed, revision);
        self.rekey(service, &BTreeSet::new(), &gone, revision);
        if stays {
            return;
        }
        self.changed_services.remove(&revision);
        if let Some(place) = self.services.remove(&service) {
            self.ids.remove(&place.name);
            for left in place.removals() {
                self.removals.remove(&(left, service));
                // Nobody is left to say that these went.
                self.complete_from = self.complete_from.max(left);
            }
        }
    }
}
