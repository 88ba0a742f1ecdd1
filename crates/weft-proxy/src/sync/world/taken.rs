//! Instances that the center took away although they answer.
//!
//! A center that lost half of what it knew must not empty a service that works. What is kept is looked at
//! again and again, and goes when it no longer answers. Never in here: how it is known who answers.

use super::{Voucher, World};
use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;
use std::time::{Duration, Instant};
use weft_model::instance::InstanceLoad;
use weft_model::{Instance, InstanceId, InstanceState, ServiceName};
use weft_policy::removal::{HELD_MAX, Removal, is_kept, is_massive};

/// Instances that are kept because they answer are looked at this often.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Whether an instance, of which the sidecar itself knows this, answers now.
pub(crate) type Answers = Box<dyn Fn(&Instance, &InstanceLoad) -> bool + Send>;

/// What an update takes away from one service.
pub(super) struct Taking {
    /// Instances that the center vouched for before it.
    before: usize,
    gone: HashSet<InstanceId>,
}

/// What an update takes away. It is taken when all of the update is known.
pub(super) type Takings = BTreeMap<ServiceName, Taking>;

impl World {
    /// Says who answers.
    pub(crate) fn ask(&mut self, answers: Answers) {
        self.answers = Some(answers);
    }

    /// What is to be told of instances that were kept, or no longer are.
    pub(crate) fn take_notes(&mut self) -> Vec<String> {
        std::mem::take(&mut self.notes)
    }

    /// The taking of a service by the update under way.
    pub(super) fn taking<'a>(
        &self,
        takings: &'a mut Takings,
        service: &ServiceName,
    ) -> &'a mut Taking {
        if !takings.contains_key(service) {
            let taking = Taking {
                before: self.vouched_count(service),
                gone: HashSet::new(),
            };
            takings.insert(service.clone(), taking);
        }
        takings.entry(service.clone()).or_insert_with(|| Taking {
            before: 0,
            gone: HashSet::new(),
        })
    }

    /// Everything that the center vouches for of a service.
    pub(super) fn take_all(&self, takings: &mut Takings, service: &ServiceName) {
        let taking = self.taking(takings, service);
        let vouched = self.draft.instances(service);
        let vouched = vouched.filter(|instance| self.is_vouched(instance));
        taking
            .gone
            .extend(vouched.map(|instance| instance.id.clone()));
    }

    /// Takes away what an update takes away, except what answers of a massive removal.
    pub(super) fn take_away(&mut self, takings: Takings, is_same_store: bool, now: Instant) {
        for (service, Taking { before, gone }) in takings {
            let after = self.vouched_count(&service).saturating_sub(gone.len());
            let removal = Removal { before, after };
            let asks = is_same_store && is_massive(removal);
            let mut kept = 0;
            for id in gone {
                if asks && self.answers(&service, &id) {
                    kept += 1;
                    self.keep_by_itself(&service, &id, now);
                } else {
                    self.remove(&service, &id);
                }
            }
            if kept > 0 {
                self.notes.push(format!(
                    "the center took {} of {before} instances of service \"{service}\" away; {kept} of them \
                     answer and are kept while they do, {} min at the most",
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
        for (service, id, voucher) in self.doubts() {
            let Voucher::Itself { since } = voucher else {
                continue;
            };
            let held_for = now.saturating_duration_since(since);
            if is_kept(self.answers(&service, &id), held_for) {
                stay += 1;
            } else {
                went += 1;
                self.remove(&service, &id);
            }
        }
        self.look_at = (stay > 0).then(|| now + LOOK_EVERY);
        if went > 0 {
            self.notes.push(format!(
                "{went} instances that the center had taken away are let go: they no longer answer, or were kept \
                 for {} min",
                HELD_MAX.as_secs() / 60
            ));
            self.forget_empty();
        }
        went > 0
    }

    /// Nobody came back to confirm what an earlier center knew: it goes, unless it answers.
    pub(super) fn end_hold(&mut self, now: Instant) {
        for (service, id, voucher) in self.doubts() {
            if voucher != Voucher::Earlier {
                continue;
            }
            if is_kept(self.answers(&service, &id), Duration::ZERO) {
                self.keep_by_itself(&service, &id, now);
            } else {
                self.remove(&service, &id);
            }
        }
    }

    fn doubts(&self) -> Vec<(ServiceName, InstanceId, Voucher)> {
        let all = self.doubted.iter().flat_map(|(service, doubted)| {
            let doubted = doubted.iter();
            doubted.map(|(id, voucher)| (service.clone(), id.clone(), *voucher))
        });
        all.collect()
    }

    fn answers(&self, service: &ServiceName, id: &InstanceId) -> bool {
        let known = self.draft.get(service, id);
        let known = known.zip(self.answers.as_ref());
        known.is_some_and(|((instance, load), answers)| answers(instance, load))
    }

    fn keep_by_itself(&mut self, service: &ServiceName, id: &InstanceId, now: Instant) {
        self.doubt(service, id, Voucher::Itself { since: now });
        self.unconfirm(service, id);
        self.look_at.get_or_insert(now + LOOK_EVERY);
    }

    /// Nobody confirms the instance any more.
    pub(super) fn unconfirm(&mut self, service: &ServiceName, id: &InstanceId) {
        let known = self.draft.get(service, id).map(|(instance, _)| instance);
        let Some(instance) = known.filter(|instance| instance.state == InstanceState::Ready) else {
            return;
        };
        let unconfirmed = Instance {
            state: InstanceState::Unconfirmed,
            ..Instance::clone(instance)
        };
        self.draft.edit(service).put(Arc::new(unconfirmed));
    }
}

impl Taking {
    /// The instance goes, unless the same update brings it back.
    pub(super) fn take(&mut self, id: InstanceId) {
        self.gone.insert(id);
    }

    /// The update brings the instance.
    pub(super) fn spare(&mut self, id: &InstanceId) {
        if !self.gone.is_empty() {
            self.gone.remove(id);
        }
    }
}
