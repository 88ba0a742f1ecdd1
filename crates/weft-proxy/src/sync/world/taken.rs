//! Instances that the center took away although they answer.
//!
//! A center that lost half of what it knew must not empty a service that works. What is kept is looked at
//! again and again, and goes when it no longer answers. Never in here: how it is known who answers.

use super::{Held, HeldService, Staged, Voucher, World};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_model::{Instance, InstanceId, InstanceState, ServiceName};
use weft_policy::removal::{HELD_MAX, Removal, is_kept, is_massive};

/// Instances that are kept because they answer are looked at this often.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether an instance answers this sidecar now.
pub(crate) type Answers = Box<dyn Fn(&Instance) -> bool + Send>;

/// What the center vouched for, of services that an update may shrink.
type Before = BTreeMap<ServiceName, BTreeMap<InstanceId, Arc<Instance>>>;

impl World {
    /// Says who answers.
    pub(crate) fn ask(&mut self, answers: Answers) {
        self.answers = Some(answers);
    }

    /// What is to be told of instances that were kept, or no longer are.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The services that an update of the store in use may shrink, as they are. Another store takes nothing
    /// away at once: what it does not know is held anyway.
    pub(super) fn before(&self, staged: &[Staged], is_full: bool) -> Before {
        let is_same_store = self
            .held
            .as_ref()
            .is_some_and(|(store, _)| *store == self.connected);
        if self.answers.is_none() || !is_same_store {
            return Before::new();
        }
        let shrinking: BTreeSet<&ServiceName> = staged
            .iter()
            .filter(|delta| delta.full || !delta.removed.is_empty())
            .map(|delta| &delta.service)
            .collect();
        let services = self.services.iter();
        services
            .filter(|(name, _)| is_full || shrinking.contains(name))
            .map(|(name, service)| (name.clone(), vouched(service)))
            .collect()
    }

    /// Takes back those of a massive removal that answer.
    pub(super) fn keep_who_answers(&mut self, before: Before, now: Instant) {
        for (name, before) in before {
            let service = self.services.entry(name.clone()).or_default();
            let removal = Removal {
                before: before.len(),
                after: vouched(service).len(),
            };
            if !is_massive(removal) {
                continue;
            }
            let mut kept = 0;
            for (id, instance) in before {
                let answers = self.answers.as_ref().is_some_and(|ask| ask(&instance));
                if service.instances.contains_key(&id) || !is_kept(answers, Duration::ZERO) {
                    continue;
                }
                kept += 1;
                service.instances.insert(id, kept_by_itself(&instance, now));
            }
            if kept > 0 {
                self.look_at.get_or_insert(now + LOOK_EVERY);
                let Removal { before, after } = removal;
                self.notes.push(format!(
                    "the center took {} of {before} instances of service \"{name}\" away; {kept} of them answer \
                     and are kept while they do, {} min at the most",
                    before - after,
                    HELD_MAX.as_secs() / 60
                ));
            }
        }
    }

    /// Lets go of what was kept and no longer answers. True when something went.
    pub(super) fn drop_who_is_silent(&mut self, now: Instant) -> bool {
        if self.look_at.is_none_or(|at| at > now) {
            return false;
        }
        let mut went = 0;
        let mut stay = 0;
        for service in self.services.values_mut() {
            let mut last = None;
            service.instances.retain(|_, held| {
                let Voucher::Itself { since } = held.voucher else {
                    return true;
                };
                let answers = self.answers.as_ref().is_some_and(|ask| ask(&held.instance));
                let stays = is_kept(answers, now.saturating_duration_since(since));
                if stays {
                    stay += 1;
                } else {
                    went += 1;
                    last = Some(Arc::clone(&held.instance));
                }
                stays
            });
            service.departed = last.or(service.departed.take());
        }
        self.look_at = (stay > 0).then(|| now + LOOK_EVERY);
        if went > 0 {
            self.notes.push(format!(
                "{went} instances that the center had taken away are let go: they no longer answer, or were kept \
                 for {} min",
                HELD_MAX.as_secs() / 60
            ));
            self.forget_services();
        }
        went > 0
    }

    /// Nobody came back to confirm what an earlier center knew: it goes, unless it answers.
    pub(super) fn end_hold(&mut self, now: Instant) {
        for service in self.services.values_mut() {
            let mut last = None;
            service.instances.retain(|_, held| {
                if held.voucher != Voucher::Earlier {
                    return true;
                }
                let answers = self.answers.as_ref().is_some_and(|ask| ask(&held.instance));
                if is_kept(answers, Duration::ZERO) {
                    *held = kept_by_itself(&held.instance, now);
                    self.look_at.get_or_insert(now + LOOK_EVERY);
                    return true;
                }
                last = Some(Arc::clone(&held.instance));
                false
            });
            service.departed = last.or(service.departed.take());
        }
    }
}

fn vouched(service: &HeldService) -> BTreeMap<InstanceId, Arc<Instance>> {
    let own = service.instances.iter();
    own.filter(|(_, held)| held.voucher == Voucher::Center)
        .map(|(id, held)| (id.clone(), Arc::clone(&held.instance)))
        .collect()
}

fn kept_by_itself(instance: &Instance, now: Instant) -> Held {
    let state = match instance.state {
        InstanceState::Ready | InstanceState::Unconfirmed => InstanceState::Unconfirmed,
        InstanceState::Draining => InstanceState::Draining,
    };
    let instance = Instance {
        state,
        ..instance.clone()
    };
    Held {
        instance: Arc::new(instance),
        voucher: Voucher::Itself { since: now },
    }
}
