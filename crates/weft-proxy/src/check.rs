//! Whether instances without a sidecar answer: nobody says so, so their callers look, from the control thread.
//!
//! Each one is checked as it was declared, at its interval. What fails once stays in use; what fails twice in a row
//! gets no new calls, until it passes once; at most half of a service is passed over, never the last. Never in here:
//! what a call finds out (`forward.rs`).

mod ask;

pub(crate) use ask::passes;

use crate::clock::{self, Instant};
use arc_swap::ArcSwap;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval};
use weft_model::declared::Check;
use weft_model::instance::{HealthState, InstanceLoad};
use weft_model::snapshot::Service;
use weft_model::{InstanceId, ServiceName, Snapshot};
use weft_policy::balance::may_be_passed_over;

/// How often it is looked which checks are due.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// Checks under way at once.
const CHECKS_MAX: usize = 16;

/// Two checks of one instance are this far apart at the least.
const INTERVAL_MIN: Duration = Duration::from_millis(100);

/// An answer is awaited this long at the most, and never longer than the interval.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// Instances that are new are first checked within this time.
const FIRST_WITHIN: Duration = Duration::from_secs(1);

/// Failures in a row after which an instance gets no new calls.
const FAILURES_MAX: u32 = 2;

/// Checks the instances without a sidecar of every service that is known, as long as the sidecar runs.
pub(crate) async fn watch(snapshots: Arc<ArcSwap<Snapshot>>, seed: u64) {
    let mut checks = Checks::new(seed);
    let mut running = JoinSet::new();
    let mut turn = interval(LOOK_EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            _ = turn.tick() => {}
            Some(Ok((id, passed))) = running.join_next() => checks.end(&id, passed, &snapshots.load()),
        }
        checks.learn(&snapshots.load());
        for due in checks.due(clock::now(), CHECKS_MAX - running.len()) {
            running.spawn(async move {
                let passed = passes(due.address, &due.check, due.limit).await;
                (due.id, passed)
            });
        }
    }
}

/// Within its namespace an instance without a sidecar has a name of its own.
type Id = (Box<str>, InstanceId);

/// A check that is to be made now.
#[derive(Debug)]
struct Due {
    id: Id,
    address: IpAddr,
    check: Check,
    limit: Duration,
}

/// One instance without a sidecar.
#[derive(Debug)]
struct Watched {
    service: ServiceName,
    address: IpAddr,
    check: Check,
    interval: Duration,
    load: Arc<InstanceLoad>,
    next: Instant,
    is_running: bool,
    /// In a row.
    failures: u32,
    /// Of the words said about it.
    sequence: u64,
}

/// All that are known.
#[derive(Debug)]
struct Checks {
    watched: HashMap<Id, Watched>,
    /// Of the snapshot from which they are.
    generation: Option<u64>,
    random: u64,
}

impl Checks {
    fn new(seed: u64) -> Self {
        Self {
            watched: HashMap::new(),
            generation: None,
            random: seed | 1,
        }
    }

    /// Takes the instances of a snapshot over, when it is another one.
    fn learn(&mut self, snapshot: &Snapshot) {
        if self.generation.replace(snapshot.generation) == Some(snapshot.generation) {
            return;
        }
        let mut before = std::mem::take(&mut self.watched);
        let services = snapshot.services();
        for service in services.filter(|service| service.checked > 0) {
            for member in &service.members {
                let instance = &member.instance;
                let Some(declared) = &instance.check else {
                    continue;
                };
                let id = (service.name.namespace.clone(), instance.id.clone());
                let interval = declared.interval.max(INTERVAL_MIN);
                let known = before
                    .remove(&id)
                    .filter(|known| Arc::ptr_eq(&known.load, &member.load));
                let watched = match known {
                    Some(known) => Watched {
                        address: instance.address,
                        check: declared.check.clone(),
                        interval,
                        ..known
                    },
                    None => Watched {
                        service: ServiceName::clone(&service.name),
                        address: instance.address,
                        check: declared.check.clone(),
                        interval,
                        load: Arc::clone(&member.load),
                        next: clock::now() + self.part_of(FIRST_WITHIN.min(interval)),
                        is_running: false,
                        failures: 0,
                        sequence: 0,
                    },
                };
                self.watched.insert(id, watched);
            }
        }
    }

    /// Those that are due, the longest first, so many at the most.
    fn due(&mut self, now: Instant, at_most: usize) -> Vec<Due> {
        let mut due: Vec<_> = self
            .watched
            .iter_mut()
            .filter(|(_, watched)| !watched.is_running && watched.next <= now)
            .collect();
        due.sort_by_key(|(_, watched)| watched.next);
        let due = due.into_iter().take(at_most).map(|(id, watched)| {
            watched.is_running = true;
            Due {
                id: id.clone(),
                address: watched.address,
                check: watched.check.clone(),
                limit: ANSWER_MAX.min(watched.interval),
            }
        });
        due.collect()
    }

    /// A check has ended.
    fn end(&mut self, id: &Id, passed: bool, snapshot: &Snapshot) {
        let jitter = self
            .watched
            .get(id)
            .map_or(Duration::ZERO, |watched| watched.interval / 5);
        let jitter = self.part_of(jitter);
        let Some(watched) = self.watched.get_mut(id) else {
            return;
        };
        watched.is_running = false;
        // As often as declared, on the average.
        watched.next = clock::now() + watched.interval.mul_f32(0.9) + jitter;
        let is_dead = !watched.load.state().takes_calls();
        if passed {
            watched.failures = 0;
            watched
                .load
                .heard_ms
                .fetch_max(clock::now_ms().max(1), Relaxed);
            if is_dead {
                watched.tell(HealthState::Ready);
            }
            return;
        }
        watched.failures = watched.failures.saturating_add(1);
        let service = snapshot.service(&watched.service.namespace, &watched.service.name);
        if watched.failures >= FAILURES_MAX
            && !is_dead
            && service.is_some_and(|service| has_enough_others(service))
        {
            watched.tell(HealthState::AppDead);
        }
    }

    /// A part of this time, by lot.
    fn part_of(&mut self, whole: Duration) -> Duration {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        whole.mul_f64((self.random >> 11) as f64 / (1_u64 << 53) as f64)
    }
}

impl Watched {
    fn tell(&mut self, state: HealthState) {
        self.sequence += 1;
        self.load.tell(0, self.sequence, state);
    }
}

/// Whether one more instance of the service may be passed over.
fn has_enough_others(service: &Service) -> bool {
    let dead = service
        .members
        .iter()
        .filter(|member| !member.load.state().takes_calls());
    may_be_passed_over(service.members.len(), dead.count())
}

#[cfg(test)]
mod tests;
