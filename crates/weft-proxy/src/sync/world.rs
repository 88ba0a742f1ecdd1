//! What this sidecar holds of the mesh, as centers told it: a state machine without I/O.
//!
//! A batch is staged delta by delta and used whole when its set of names arrives, or not at all. A center
//! that starts anew knows less than we do until the other sidecars have come back to it, so what it does not
//! know is held for [`UNCONFIRMED_HOLD`]. The time in which no center is there never counts.
//!
//! Never in here: sockets, the snapshot's pointer.

mod picture;
mod taken;
mod used;
mod using;

pub(crate) use picture::WorldPicture;
pub(crate) use taken::Answers;
pub(crate) use using::SWEEP_EVERY;

use crate::clock::Moment;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use taken::Takings;
use used::Used;
use weft_api::sync::arriving::{ArrivingDelta, InstanceReader};
use weft_api::sync::{self, FieldError};
use weft_model::key::key_hash;
use weft_model::snapshot::Draft;
use weft_model::{Code, Failure, Family, Instance, InstanceId, ServiceName, Snapshot, Version};

/// Instances that a new center does not know are served this long, so that their sidecars can come back.
pub(crate) const UNCONFIRMED_HOLD: Duration = Duration::from_mins(1);

/// Instances of one batch.
pub(crate) const INSTANCES_MAX: usize = 100_000;

/// Names held.
pub(crate) const NAMES_MAX: usize = 1_000_000;

/// Who vouches for an instance for which the center that is followed does not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voucher {
    /// An earlier one; the present one has not heard of the instance.
    Earlier,
    /// Nobody any more; but it answers.
    Itself {
        /// When the last voucher ended.
        since: Instant,
    },
}

/// A delta whose fields are all sound.
struct Staged {
    service: ServiceName,
    full: bool,
    /// One that has not changed is the very one that is held.
    upserted: Vec<Arc<Instance>>,
    removed: Vec<InstanceId>,
}

/// Where a center's state comes from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Store {
    id: String,
    epoch: u64,
}

/// What this sidecar holds.
#[derive(Default)]
pub(crate) struct World {
    /// Services and instances, and the set of names. Of services without instances the last that left: while
    /// the name still is a service's, calls to it fail as calls to a service without instances.
    draft: Draft,
    /// Instances for which the center that is followed does not vouch.
    doubted: BTreeMap<ServiceName, BTreeMap<InstanceId, Voucher>>,
    /// Services without instances.
    empty: BTreeSet<ServiceName>,
    /// What the app calls.
    used: Used,
    /// When each service was called last, or else was first heard of, in milliseconds since 1970.
    last_uses: BTreeMap<ServiceName, u64>,
    /// A Subscribe was answered: calls may wait for it.
    has_answers: bool,
    reader: InstanceReader,
    /// The address at which the store that all of this came from was heard last.
    center: Arc<str>,
    /// The address that is at the other end of the stream.
    connected_center: Arc<str>,
    /// The store that all of this came from, and its version; none before the first batch.
    held: Option<(Store, Version)>,
    /// The store at the other end of the stream.
    connected: Store,
    staged: Vec<Staged>,
    staged_instances: usize,
    /// A delta of the batch under way was refused: the batch will not be used.
    refused: bool,
    /// A batch was refused: only one that says everything can be used.
    needs_full: bool,
    hold_until: Option<Instant>,
    /// Whether an instance answers; without it none does.
    answers: Option<Answers>,
    /// When the instances that are kept because they answer are looked at again.
    look_at: Option<Instant>,
    /// What is to be told of them.
    notes: Vec<String>,
}

impl World {
    /// Why a center that says this is not followed: its store is another than the one remembered, and that
    /// one is still among the configured addresses, at another place. Two live stores are a fault, and
    /// whichever is asked last must not win. A new store at the very address of the old one has replaced it.
    /// Or it is an older copy of the store: a store that was restored on purpose has a higher epoch.
    pub(crate) fn refusal(
        &self,
        hello: &sync::CenterHello,
        center: &str,
        configured: &[String],
    ) -> Option<Failure> {
        let (store, _) = self.held.as_ref()?;
        let epoch = hello.version.unwrap_or_default().epoch;
        if store.id == hello.store_id && epoch < store.epoch {
            let found = format!(
                "{center} has an older copy of store {}, of epoch {epoch}; the snapshot in use is of epoch {}",
                store.id, store.epoch
            );
            return Some(Failure::with(Code::OtherStore, found));
        }
        let is_elsewhere =
            *self.center != *center && configured.iter().any(|known| **known == *self.center);
        if store.id == hello.store_id || !is_elsewhere {
            return None;
        }
        let found = format!(
            "{center} has store {}, the snapshot in use is of store {} at {}",
            hello.store_id, store.id, self.center
        );
        Some(Failure::with(Code::OtherStore, found))
    }

    /// A center has said who it is.
    pub(crate) fn connected(&mut self, hello: &sync::CenterHello, center: &str) {
        self.connected_center = center.into();
        let epoch = hello.version.unwrap_or_default().epoch;
        self.connected = Store {
            id: hello.store_id.clone(),
            epoch,
        };
    }

    /// The stream is gone, and with it what was not complete.
    pub(crate) fn disconnected(&mut self) {
        self.unstage();
        self.needs_full = false;
        self.hold_until = None;
        self.used.unsay();
    }

    /// The store and version to tell a center, so that it sends only what changed.
    pub(crate) fn held(&self) -> (String, Option<sync::Version>) {
        match &self.held {
            Some((store, version)) => {
                let Version { epoch, revision } = *version;
                (store.id.clone(), Some(sync::Version { epoch, revision }))
            }
            None => (String::new(), None),
        }
    }

    /// The version in use.
    pub(crate) fn version(&self) -> Version {
        self.held
            .as_ref()
            .map(|(_, version)| *version)
            .unwrap_or_default()
    }

    /// Whether a set of names was received.
    pub(crate) fn is_synced(&self) -> bool {
        self.held.is_some()
    }

    /// Takes a delta of the batch under way.
    pub(crate) fn stage(&mut self, delta: &ArrivingDelta) -> Result<(), FieldError> {
        if self.refused {
            return Ok(());
        }
        let staged = self.checked(delta);
        match staged {
            Ok(staged) => {
                self.staged_instances += staged.upserted.len();
                self.staged.push(staged);
                Ok(())
            }
            Err(why) => {
                self.refused = true;
                Err(why)
            }
        }
    }

    fn checked(&mut self, delta: &ArrivingDelta) -> Result<Staged, FieldError> {
        let head = &delta.head;
        if self.staged_instances + delta.count() > INSTANCES_MAX {
            return Err(wrong(
                "instances",
                format!("a batch has more than {INSTANCES_MAX}"),
            ));
        }
        if head.service.is_empty() {
            return Err(wrong("service", "it is empty".to_owned()));
        }
        let service = ServiceName::new(&head.namespace, &head.service);
        let held = self.draft.finder(&service);
        let mut upserted = Vec::with_capacity(delta.count());
        for (position, wire) in delta.upserted().enumerate() {
            let path = || format!("instances[{position}]");
            let instance = self.reader.read_held(wire, path, &held)?;
            if instance.service != service {
                let found = format!("it is not of the delta's service \"{service}\"");
                return Err(wrong(&format!("instances[{position}].service"), found));
            }
            upserted.push(instance);
        }
        let removed = head.removed.iter().map(|id| InstanceId::new(id)).collect();
        Ok(Staged {
            service,
            full: head.full,
            upserted,
            removed,
        })
    }

    /// The names end a batch: all of it is used now, or none. False when the batch was refused before.
    pub(crate) fn commit(
        &mut self,
        names: &sync::NameSet,
        now: Moment,
    ) -> Result<bool, FieldError> {
        let staged = std::mem::take(&mut self.staged);
        if self.refused {
            self.unstage();
            self.needs_full = true;
            return Ok(false);
        }
        self.unstage();
        let version = match self.checked_names(names) {
            Ok(version) => version,
            Err(why) => {
                self.needs_full = true;
                return Err(why);
            }
        };
        let is_same_store = self.is_same_store();
        if names.full && !is_same_store {
            self.doubt_all();
        }
        self.change_names(names);
        let mut takings = Takings::new();
        let told: BTreeSet<ServiceName> = staged
            .iter()
            .filter(|delta| delta.full)
            .map(|delta| delta.service.clone())
            .collect();
        if names.full && is_same_store {
            // The store knows what became of its own instances: what it leaves out of all is gone.
            for service in self.subscribed_except(&told) {
                self.take_all(&mut takings, &service);
            }
        }
        let touched: BTreeSet<ServiceName> =
            staged.iter().map(|delta| delta.service.clone()).collect();
        for delta in staged {
            self.apply(delta, &mut takings, now);
        }
        let answered = self.used.take_answered(names.subscribed);
        self.settle(&answered, &touched, &mut takings);
        self.take_away(takings, is_same_store, now.instant);
        if names.full {
            self.mark_unconfirmed();
        }
        self.mark_subscribed(&answered, touched);
        self.held = Some((self.connected.clone(), version));
        self.center = Arc::clone(&self.connected_center);
        self.needs_full = false;
        self.forget_empty();
        if self.hold_until.is_none() && self.holds_unconfirmed() {
            self.hold_until = Some(now.instant + UNCONFIRMED_HOLD);
        }
        Ok(true)
    }

    fn is_same_store(&self) -> bool {
        let held = self.held.as_ref();
        held.is_some_and(|(store, _)| *store == self.connected)
    }

    fn checked_names(&self, names: &sync::NameSet) -> Result<Version, FieldError> {
        let sync::Version { epoch, revision } = names.version.unwrap_or_default();
        if epoch != self.connected.epoch {
            let found = format!("{epoch} is not the {} of CenterHello", self.connected.epoch);
            return Err(wrong("version.epoch", found));
        }
        if self.needs_full && !names.full {
            return Err(wrong(
                "full",
                "a version before this one was refused".to_owned(),
            ));
        }
        let same_store = self
            .held
            .as_ref()
            .filter(|(store, _)| *store == self.connected);
        if let Some((_, held)) = same_store {
            if revision < held.revision {
                let found = format!("{revision} is before {}, which is in use", held.revision);
                return Err(wrong("version.revision", found));
            }
        } else if !names.full {
            let found = "the first set of names of a store must be full".to_owned();
            return Err(wrong("full", found));
        }
        let kept = if names.full {
            0
        } else {
            self.draft.names().len()
        };
        if kept + names.added.len() > NAMES_MAX {
            return Err(wrong(
                "added",
                format!("there are more than {NAMES_MAX} names"),
            ));
        }
        Ok(Version { epoch, revision })
    }

    fn change_names(&mut self, names: &sync::NameSet) {
        let own = self.draft.names_mut();
        if names.full {
            *own = names.added.iter().copied().collect();
            return;
        }
        for hash in &names.removed {
            own.remove(*hash);
        }
        for hash in &names.added {
            own.insert(*hash);
        }
    }

    /// Another store has not confirmed anything yet. Services that are not used are not of its business.
    fn doubt_all(&mut self) {
        let mut doubted = Vec::new();
        for service in self.subscribed_except(&BTreeSet::new()) {
            let ids = self.draft.instances(&service);
            doubted.extend(ids.map(|instance| (service.clone(), instance.id.clone())));
        }
        for (service, id) in doubted {
            self.doubt(&service, &id, Voucher::Earlier);
        }
    }

    fn mark_unconfirmed(&mut self) {
        let earlier: Vec<_> = self
            .doubted
            .iter()
            .flat_map(|(service, doubted)| doubted.iter().map(move |doubt| (service, doubt)))
            .filter(|(_, (_, voucher))| **voucher == Voucher::Earlier)
            .map(|(service, (id, _))| (service.clone(), id.clone()))
            .collect();
        for (service, id) in earlier {
            self.unconfirm(&service, &id);
        }
    }

    fn apply(&mut self, delta: Staged, takings: &mut Takings, now: Moment) {
        let service = &delta.service;
        if !self.draft.knows(service) {
            self.last_uses.insert(service.clone(), now.unix_ms);
            self.empty.insert(service.clone());
        }
        let taking = self.taking(takings, service);
        for id in delta.removed {
            let held = self.draft.get(service, &id).map(|(held, _)| held);
            match held.map(|held| self.is_vouched(held)) {
                Some(true) => taking.take(id),
                // The center has heard of its end.
                Some(false) => self.remove(service, &id),
                None => {}
            }
        }
        let doubted = self.doubted.get_mut(service);
        let mut doubted = doubted.filter(|doubted| !doubted.is_empty());
        let mut edit = self.draft.edit(service);
        for instance in &delta.upserted {
            taking.spare(&instance.id);
            if let Some(doubted) = &mut doubted {
                doubted.remove(&instance.id);
            }
            let held = edit.get(&instance.id);
            if !held.is_some_and(|held| Arc::ptr_eq(held, instance)) {
                edit.put(Arc::clone(instance));
            }
        }
        let come = &delta.upserted;
        if delta.full && !(is_ascending(come) && come.len() == self.draft.count(service)) {
            let come: HashSet<&InstanceId> = come.iter().map(|come| &come.id).collect();
            for held in self.draft.instances(service) {
                if self.is_vouched(held) && !come.contains(&held.id) {
                    taking.take(held.id.clone());
                }
            }
        }
        if self.doubted.get(service).is_some_and(BTreeMap::is_empty) {
            self.doubted.remove(service);
        }
        if self.draft.count(service) > 0 {
            self.empty.remove(service);
        }
    }

    fn remove(&mut self, service: &ServiceName, id: &InstanceId) {
        if let Some(doubted) = self.doubted.get_mut(service) {
            doubted.remove(id);
            if doubted.is_empty() {
                self.doubted.remove(service);
            }
        }
        if self.draft.knows(service) {
            self.draft.edit(service).remove(id);
            if self.draft.count(service) == 0 {
                self.empty.insert(service.clone());
            }
        }
    }

    fn doubt(&mut self, service: &ServiceName, id: &InstanceId, voucher: Voucher) {
        let doubted = self.doubted.entry(service.clone()).or_default();
        doubted.insert(id.clone(), voucher);
    }

    /// Whether the center that is followed vouches for an instance that is held.
    fn is_vouched(&self, instance: &Instance) -> bool {
        let doubted = self.doubted.get(&instance.service);
        !doubted.is_some_and(|doubted| doubted.contains_key(&instance.id))
    }

    /// How many instances of a service the center that is followed vouches for.
    pub(crate) fn vouched_count(&self, service: &ServiceName) -> usize {
        let doubted = self.doubted.get(service).map_or(0, BTreeMap::len);
        self.draft.count(service).saturating_sub(doubted)
    }

    /// When [`World::tick`] has something to do.
    pub(crate) fn due_at(&self) -> Option<Instant> {
        self.hold_until.into_iter().chain(self.look_at).min()
    }

    /// Lets go of what nobody came back to confirm. True when something changed.
    pub(crate) fn tick(&mut self, now: Instant) -> bool {
        let gone_silent = self.drop_who_is_silent(now);
        if self.hold_until.is_none_or(|until| until > now) {
            return gone_silent;
        }
        self.hold_until = None;
        self.end_hold(now);
        self.forget_empty();
        true
    }

    /// Services without instances stay while their name is a service's.
    fn forget_empty(&mut self) {
        let names = self.draft.names();
        let is_named = |service: &ServiceName| {
            let ServiceName { namespace, name } = service;
            names.contains(key_hash(Family::Host, name, "", "", namespace))
        };
        let gone: Vec<_> = self
            .empty
            .iter()
            .filter(|service| !is_named(service))
            .cloned()
            .collect();
        for service in gone {
            self.forget(&service);
        }
    }

    fn forget(&mut self, service: &ServiceName) {
        self.draft.forget(service);
        self.empty.remove(service);
        self.doubted.remove(service);
        self.last_uses.remove(service);
    }

    fn holds_unconfirmed(&self) -> bool {
        let mut all = self.doubted.values().flat_map(BTreeMap::values);
        all.any(|voucher| *voucher == Voucher::Earlier)
    }

    fn unstage(&mut self) {
        self.staged.clear();
        self.staged_instances = 0;
        self.refused = false;
    }

    /// The snapshot of now.
    pub(crate) fn publish(&mut self) -> Snapshot {
        let (version, is_synced) = (self.version(), self.is_synced());
        if let Some(answered) = self.used.new_answered() {
            self.draft.set_answered(answered);
        }
        let mesh = match &self.held {
            Some((store, _)) => &store.id,
            None => &self.connected.id,
        };
        self.draft.set_mesh(mesh);
        self.draft.publish(version, is_synced)
    }
}

/// Whether each is there once, which is quickly seen of what a center tells in order.
fn is_ascending(instances: &[Arc<Instance>]) -> bool {
    let mut pairs = instances.iter().zip(instances.iter().skip(1));
    pairs.all(|(one, next)| one.id < next.id)
}

fn wrong(field: &str, reason: String) -> FieldError {
    FieldError {
        field: field.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests;
