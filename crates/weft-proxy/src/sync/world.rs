//! What this sidecar holds of the mesh, as centers told it: a state machine without I/O.
//!
//! A batch is staged delta by delta and used whole when its set of names arrives, or not at all. A center
//! that starts anew knows less than we do until the other sidecars have come back to it, so what it does not
//! know is held for [`UNCONFIRMED_HOLD`]. The time in which no center is there never counts.
//!
//! Never in here: sockets, the snapshot's pointer.

mod picture;
mod taken;

pub(crate) use picture::WorldPicture;
pub(crate) use taken::Answers;

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_api::sync::{self, FieldError};
use weft_model::key::key_hash;
use weft_model::{
    Code, Failure, Family, Instance, InstanceId, InstanceState, ServiceName, Version,
};

/// Instances that a new center does not know are served this long, so that their sidecars can come back.
pub(crate) const UNCONFIRMED_HOLD: Duration = Duration::from_mins(1);

/// Instances of one batch.
pub(crate) const INSTANCES_MAX: usize = 100_000;

/// Names held.
pub(crate) const NAMES_MAX: usize = 1_000_000;

/// Who vouches for an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Voucher {
    /// The center that is followed now.
    Center,
    /// An earlier one; the present one has not heard of the instance.
    Earlier,
    /// Nobody any more; but it answers.
    Itself {
        /// When the last voucher ended.
        since: Instant,
    },
}

#[derive(Clone, Debug)]
struct Held {
    instance: Arc<Instance>,
    voucher: Voucher,
}

#[derive(Clone, Debug, Default)]
struct HeldService {
    instances: BTreeMap<InstanceId, Held>,
    /// The last instance to leave. While the name still is a service's, calls to it fail as calls to a
    /// service without instances and do not leave the mesh; the ports are known from it.
    departed: Option<Arc<Instance>>,
}

/// A delta whose fields are all sound.
struct Staged {
    service: ServiceName,
    full: bool,
    upserted: Vec<Instance>,
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
    services: BTreeMap<ServiceName, HeldService>,
    /// Shared with snapshots; copied when it changes while one of them has it.
    names: Arc<HashSet<u64>>,
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
    pub(crate) fn refusal(
        &self,
        hello: &sync::CenterHello,
        center: &str,
        configured: &[String],
    ) -> Option<Failure> {
        let (store, _) = self.held.as_ref()?;
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
    pub(crate) fn stage(&mut self, delta: &sync::Delta) -> Result<(), FieldError> {
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

    fn checked(&self, delta: &sync::Delta) -> Result<Staged, FieldError> {
        if self.staged_instances + delta.upserted.len() > INSTANCES_MAX {
            return Err(wrong(
                "instances",
                format!("a batch has more than {INSTANCES_MAX}"),
            ));
        }
        if delta.service.is_empty() {
            return Err(wrong("service", "it is empty".to_owned()));
        }
        let service = ServiceName::new(&delta.namespace, &delta.service);
        let upserted = sync::instances_from_wire(&delta.upserted)?;
        let stranger = upserted
            .iter()
            .position(|instance| instance.service != service);
        if let Some(position) = stranger {
            let found = format!("it is not of the delta's service \"{service}\"");
            return Err(wrong(&format!("instances[{position}].service"), found));
        }
        let removed = delta.removed.iter().map(|id| InstanceId::new(id)).collect();
        Ok(Staged {
            service,
            full: delta.full,
            upserted,
            removed,
        })
    }

    /// The names end a batch: all of it is used now, or none. False when the batch was refused before.
    pub(crate) fn commit(
        &mut self,
        names: &sync::NameSet,
        now: Instant,
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
        let before = self.before(&staged, names.full);
        if names.full {
            self.replace_vouchers();
        }
        self.change_names(names);
        for delta in staged {
            self.apply(delta);
        }
        self.keep_who_answers(before, now);
        if names.full {
            self.mark_unconfirmed();
        }
        self.held = Some((self.connected.clone(), version));
        self.center = Arc::clone(&self.connected_center);
        self.needs_full = false;
        self.forget_services();
        if self.hold_until.is_none() && self.holds_unconfirmed() {
            self.hold_until = Some(now + UNCONFIRMED_HOLD);
        }
        Ok(true)
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
        let kept = if names.full { 0 } else { self.names.len() };
        if kept + names.added.len() > NAMES_MAX {
            return Err(wrong(
                "added",
                format!("there are more than {NAMES_MAX} names"),
            ));
        }
        Ok(Version { epoch, revision })
    }

    fn change_names(&mut self, names: &sync::NameSet) {
        if names.full {
            self.names = Arc::new(names.added.iter().copied().collect());
            return;
        }
        if names.added.is_empty() && names.removed.is_empty() {
            return;
        }
        let own = Arc::make_mut(&mut self.names);
        for hash in &names.removed {
            own.remove(hash);
        }
        own.extend(&names.added);
    }

    /// Before a full batch nobody but an earlier center vouches for anything; what the batch names is
    /// vouched for again.
    fn replace_vouchers(&mut self) {
        let same_store = self
            .held
            .as_ref()
            .is_some_and(|(store, _)| *store == self.connected);
        for service in self.services.values_mut() {
            if same_store {
                // The same store knows what became of its own instances: what it leaves out is gone.
                let departed = drain_vouched(&mut service.instances);
                service.departed = departed.or(service.departed.take());
                continue;
            }
            for held in service.instances.values_mut() {
                held.voucher = Voucher::Earlier;
            }
        }
    }

    fn mark_unconfirmed(&mut self) {
        for held in self
            .services
            .values_mut()
            .flat_map(|service| service.instances.values_mut())
        {
            if held.voucher == Voucher::Earlier && held.instance.state == InstanceState::Ready {
                let unconfirmed = Instance {
                    state: InstanceState::Unconfirmed,
                    ..Instance::clone(&held.instance)
                };
                held.instance = Arc::new(unconfirmed);
            }
        }
    }

    fn apply(&mut self, delta: Staged) {
        let service = self.services.entry(delta.service).or_default();
        if delta.full {
            let departed = drain_vouched(&mut service.instances);
            service.departed = departed.or(service.departed.take());
        }
        for id in &delta.removed {
            if let Some(held) = service.instances.remove(id) {
                service.departed = Some(held.instance);
            }
        }
        for instance in delta.upserted {
            let id = instance.id.clone();
            let held = Held {
                instance: Arc::new(instance),
                voucher: Voucher::Center,
            };
            service.instances.insert(id, held);
        }
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
        self.forget_services();
        true
    }

    fn forget_services(&mut self) {
        let names = &self.names;
        self.services.retain(|name, service| {
            if !service.instances.is_empty() {
                service.departed = None;
                return true;
            }
            let host = key_hash(Family::Host, &name.name, "", "", &name.namespace);
            service.departed.is_some() && names.contains(&host)
        });
    }

    fn holds_unconfirmed(&self) -> bool {
        let mut all = self
            .services
            .values()
            .flat_map(|service| service.instances.values());
        all.any(|held| held.voucher == Voucher::Earlier)
    }

    fn unstage(&mut self) {
        self.staged.clear();
        self.staged_instances = 0;
        self.refused = false;
    }

    /// The hashes of all keys that are services.
    pub(crate) fn names(&self) -> Arc<HashSet<u64>> {
        Arc::clone(&self.names)
    }

    /// What a snapshot is built from. A service without instances is told by the last that left, as one
    /// that takes no calls.
    pub(crate) fn instances(&self) -> Vec<Arc<Instance>> {
        let mut all = Vec::new();
        for service in self.services.values() {
            all.extend(
                service
                    .instances
                    .values()
                    .map(|held| Arc::clone(&held.instance)),
            );
            if let Some(departed) = &service.departed {
                let departed = Instance {
                    state: InstanceState::Draining,
                    ..Instance::clone(departed)
                };
                all.push(Arc::new(departed));
            }
        }
        all
    }
}

/// Takes out what the present center vouches for; returns one of them.
fn drain_vouched(instances: &mut BTreeMap<InstanceId, Held>) -> Option<Arc<Instance>> {
    let mut last = None;
    instances.retain(|_, held| {
        let stays = held.voucher != Voucher::Center;
        if !stays {
            last = Some(Arc::clone(&held.instance));
        }
        stays
    });
    last
}

fn wrong(field: &str, reason: String) -> FieldError {
    FieldError {
        field: field.to_owned(),
        reason,
    }
}

#[cfg(test)]
mod tests;
