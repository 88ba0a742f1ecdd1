//! Callers, instances and what happens to them.

use super::Random;
use super::link::{DELAY_MAX_MS, Frame, Link, Turn, Word};
use crate::context::OwnHealth;
use crate::health;
use crate::protocol::link::pulse::{BEAT_ACTIVE, BEAT_IDLE, DOUBT_MS, LATE_MAX};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::watch;
use weft_model::instance::{HealthState, InstanceLoad, SHARE_FULL};
use weft_policy::balance::{Candidate, picked};

/// Virtual milliseconds of a step.
const STEP_MS: u64 = 5;

/// From the last sign of life to doubt, at the most: two beats, and a timer's grain.
const BOUND_SUSPECT_MS: u64 = DOUBT_MS + 4 * STEP_MS;

/// From when it could be heard to when it is, at the most: an instance that read of the first call late begins
/// to beat then.
const BOUND_HEARD_MS: u64 = BEAT_ACTIVE.as_millis() as u64 + DELAY_MAX_MS + 4 * STEP_MS;

/// From healing to trust, at the most: a held frame arrives, or an idle peer speaks.
const BOUND_TRUST_MS: u64 = BEAT_IDLE.as_millis() as u64 + 2 * DELAY_MAX_MS + 4 * STEP_MS;

/// A worker that stood still this long ago is as good as one that never did.
const RESTED_MS: u64 = BOUND_TRUST_MS + LATE_MAX.as_millis() as u64;

/// The first sequence of a sidecar is its time of day.
const DAY_MS: u64 = 1_000_000;

#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counts {
    pub(super) calls: u64,
    pub(super) suspected: u64,
    pub(super) partitions: u64,
    pub(super) drains: u64,
    pub(super) late: u64,
    pub(super) deaths: u64,
}

impl Counts {
    pub(super) fn add(&mut self, other: &Self) {
        self.calls += other.calls;
        self.suspected += other.suspected;
        self.partitions += other.partitions;
        self.drains += other.drains;
        self.late += other.late;
        self.deaths += other.deaths;
    }
}

struct Instance {
    own: watch::Sender<OwnHealth>,
    incarnation: u64,
    /// The sidecar runs.
    up: bool,
    sleeps_until_ms: u64,
}

/// Times of a worker, in virtual milliseconds.
#[derive(Default)]
struct Worker {
    sleeps_until: u64,
    /// The last time at which it stood still.
    slept: u64,
    calls_at: u64,
}

struct Caller {
    workers: Vec<Worker>,
    /// By instance: what the product knows, and the newest word that came.
    loads: Vec<Arc<InstanceLoad>>,
    newest: Vec<Option<Word>>,
}

impl Caller {
    fn new(random: &mut Random, instances: usize) -> Self {
        Self {
            workers: (0..=random.below(2)).map(|_| Worker::default()).collect(),
            loads: (0..instances).map(|_| Arc::default()).collect(),
            newest: vec![None; instances],
        }
    }
}

impl Instance {
    fn new() -> Self {
        Self {
            own: watch::Sender::new(OwnHealth {
                sequence: DAY_MS,
                state: HealthState::Ready,
                share: SHARE_FULL,
            }),
            incarnation: 1,
            up: true,
            sleeps_until_ms: 0,
        }
    }

    fn word(&self) -> Word {
        let own = *self.own.borrow();
        (self.incarnation, own.sequence, own.state)
    }
}

pub(super) struct World {
    random: Random,
    now_ms: u64,
    callers: Vec<Caller>,
    instances: Vec<Instance>,
    links: Vec<Link>,
    /// (caller, instance) that do not hear each other.
    parted: BTreeSet<(usize, usize)>,
    is_told: bool,
    /// The longest usual time between a worker's calls: with few of them beats are all that is heard.
    pause_max_ms: u64,
    /// In a quiet world only workers of callers stand still.
    is_quiet: bool,
    pub(super) counts: Counts,
}

impl World {
    pub(super) fn new(seed: u64, is_told: bool) -> Self {
        let mut random = Random(seed);
        let instances = 2 + random.below(4) as usize;
        let callers = 2 + random.below(4);
        Self {
            now_ms: 0,
            callers: (0..callers)
                .map(|_| Caller::new(&mut random, instances))
                .collect(),
            instances: (0..instances).map(|_| Instance::new()).collect(),
            links: Vec::new(),
            parted: BTreeSet::new(),
            random,
            is_told,
            pause_max_ms: [120, 4_000][(seed / 4 % 2) as usize],
            is_quiet: seed.is_multiple_of(4),
            counts: Counts::default(),
        }
    }

    pub(super) fn now_ms(&self) -> u64 {
        self.now_ms
    }

    pub(super) fn step(&mut self) {
        self.now_ms += STEP_MS;
        self.happen();
        self.note_hampered();
        for at in 0..self.links.len() {
            self.turn(at, 0);
            self.turn(at, 1);
        }
        self.links
            .retain(|link| !link.ends[0].closed || !link.ends[1].closed);
        self.call();
        self.check();
    }

    fn tell(&self, what: &str) {
        if self.is_told {
            println!("{:>8} ms: {what}", self.now_ms);
        }
    }

    fn delay_ms(&mut self, caller: usize, instance: usize) -> u64 {
        let delay_ms = 1 + self.random.below(DELAY_MAX_MS);
        let is_parted = self.parted.contains(&(caller, instance));
        if is_parted { u64::MAX } else { delay_ms }
    }

    // What happens.

    fn happen(&mut self) {
        if self.random.is_one_in(60) {
            self.nap();
        }
        if self.is_quiet || !self.random.is_one_in(40) {
            return;
        }
        let instance = self.random.below(self.instances.len() as u64) as usize;
        let caller = self.random.below(self.callers.len() as u64) as usize;
        match self.random.below(12) {
            0..2 => self.part(caller, instance),
            2..5 => self.heal(),
            5 => self.change(instance, HealthState::AppDead),
            6..8 => self.revive(instance),
            8 => self.drain(instance),
            9 => self.kill(instance),
            10 => self.start(instance),
            _ => self.change(instance, HealthState::Overloaded),
        }
    }

    /// A worker stands still: its events wait.
    fn nap(&mut self) {
        let longest_ms = [500, 1_500][self.random.below(2) as usize];
        let for_ms = 20 + self.random.below(longest_ms);
        let until_ms = self.now_ms + for_ms;
        let all = self.callers.len() + self.instances.len();
        let at = self.random.below(all as u64) as usize;
        if let Some(caller) = self.callers.get_mut(at) {
            let worker = self.random.below(caller.workers.len() as u64) as usize;
            caller.workers[worker].sleeps_until = until_ms;
            self.counts.late += 1;
            self.tell(&format!(
                "worker {worker} of caller {at} sleeps {for_ms} ms"
            ));
        } else if !self.is_quiet {
            let at = at - self.callers.len();
            self.instances[at].sleeps_until_ms = until_ms;
            self.tell(&format!("instance {at} sleeps {for_ms} ms"));
        }
    }

    fn part(&mut self, caller: usize, instance: usize) {
        self.counts.partitions += 1;
        let whom = match self.random.below(3) {
            0 => 0..self.callers.len(),
            _ => caller..caller + 1,
        };
        self.tell(&format!("callers {whom:?} and instance {instance} part"));
        for caller in whom {
            self.parted.insert((caller, instance));
            let own = |link: &&mut Link| (link.caller, link.instance) == (caller, instance);
            self.links.iter_mut().filter(own).for_each(Link::part);
        }
    }

    fn heal(&mut self) {
        let Some(pair) = self.parted.pop_first() else {
            return;
        };
        self.tell(&format!(
            "caller {} hears instance {} again",
            pair.0, pair.1
        ));
        let (now_ms, delay_ms) = (self.now_ms, 1 + self.random.below(DELAY_MAX_MS));
        for link in &mut self.links {
            if (link.caller, link.instance) == pair {
                link.heal(now_ms, delay_ms);
            }
        }
    }

    /// The instance says how it is now, to all at once.
    fn change(&mut self, instance: usize, state: HealthState) {
        if !self.instances[instance].up {
            return;
        }
        health::change(&self.instances[instance].own, state);
        let word = self.instances[instance].word();
        self.tell(&format!("instance {instance} says {word:?}"));
        self.push(instance, Frame::Health(word));
    }

    /// The app is started anew.
    fn revive(&mut self, instance: usize) {
        if self.instances[instance].word().2 == HealthState::AppDead {
            self.instances[instance].incarnation += 1;
        }
        self.change(instance, HealthState::Ready);
    }

    fn drain(&mut self, instance: usize) {
        self.counts.drains += 1;
        self.change(instance, HealthState::Draining);
    }

    fn push(&mut self, instance: usize, frame: Frame) {
        for at in 0..self.links.len() {
            if self.links[at].instance == instance && !self.links[at].ends[1].closed {
                let delay_ms = self.delay_ms(self.links[at].caller, instance);
                self.links[at].send(1, &[frame], self.now_ms, delay_ms);
            }
        }
    }

    /// The sidecar dies; the system ends its connections.
    fn kill(&mut self, instance: usize) {
        if !std::mem::replace(&mut self.instances[instance].up, false) {
            return;
        }
        self.counts.deaths += 1;
        self.tell(&format!("instance {instance} is killed"));
        self.push(instance, Frame::End);
        for link in &mut self.links {
            if link.instance == instance {
                link.ends[1].close(&mut Turn::default());
            }
        }
    }

    /// Its successor comes, or one that had left comes back.
    fn start(&mut self, instance: usize) {
        if self.instances[instance].word().2 == HealthState::Draining {
            self.kill(instance);
        }
        let now_ms = self.now_ms;
        let place = &mut self.instances[instance];
        if place.up {
            return;
        }
        place.up = true;
        place.incarnation += 1;
        place.own = watch::Sender::new(OwnHealth {
            sequence: DAY_MS + now_ms,
            state: HealthState::Ready,
            share: SHARE_FULL,
        });
        self.tell(&format!("instance {instance} starts"));
    }

    /// Remembers for each link when something last kept its instance from being heard.
    fn note_hampered(&mut self) {
        for link in &mut self.links {
            let place = &self.instances[link.instance];
            let asleep = place.sleeps_until_ms > self.now_ms;
            let parted = self.parted.contains(&(link.caller, link.instance));
            if link.ends[1].closed || asleep || parted {
                link.hampered_ms = self.now_ms;
            }
        }
        let workers = self
            .callers
            .iter_mut()
            .flat_map(|caller| &mut caller.workers);
        for worker in workers.filter(|worker| worker.sleeps_until > self.now_ms) {
            worker.slept = self.now_ms;
        }
    }

    fn turn(&mut self, at: usize, end: usize) {
        let link = &mut self.links[at];
        let (caller, instance) = (link.caller, link.instance);
        let sleeps_until_ms = match end {
            0 => self.callers[caller].workers[link.worker].sleeps_until,
            _ => self.instances[instance].sleeps_until_ms,
        };
        if sleeps_until_ms > self.now_ms {
            return;
        }
        let stood = sleeps_until_ms + STEP_MS > self.now_ms;
        let own = self.instances[instance].word();
        let was_suspect = link.ends[0].pulse.is_suspect();
        let mut turn = link.ends[end].turn(self.now_ms, stood, own, &mut self.random);
        let is_suspect = link.ends[0].pulse.is_suspect();
        if end == 0 {
            for word in turn.words.drain(..) {
                let newest = &mut self.callers[caller].newest[instance];
                if newest.is_none_or(|known| (word.0, word.1) >= (known.0, known.1)) {
                    *newest = Some(word);
                }
            }
            // What a caller says of itself is not looked at here.
            for frame in &mut turn.out {
                if matches!(frame, Frame::Health(_)) {
                    *frame = Frame::Reply;
                }
            }
        }
        let delay_ms = self.delay_ms(caller, instance);
        self.links[at].send(end, &turn.out, self.now_ms, delay_ms);
        if is_suspect && !was_suspect {
            self.suspected(at);
        }
    }

    /// Only who could not be heard is suspect.
    fn suspected(&mut self, at: usize) {
        self.counts.suspected += 1;
        let link = &self.links[at];
        let what = format!("caller {} suspects instance {}", link.caller, link.instance);
        self.tell(&what);
        let well_ms = self.now_ms - link.hampered_ms;
        assert!(
            link.hampered_ms > 0 && well_ms <= BOUND_HEARD_MS,
            "at {} ms {what}, which could be heard for {well_ms} ms",
            self.now_ms
        );
    }

    /// Every worker that is awake and whose turn it is makes a call.
    fn call(&mut self) {
        for caller in 0..self.callers.len() {
            for worker in 0..self.callers[caller].workers.len() {
                let place = &self.callers[caller].workers[worker];
                if place.sleeps_until > self.now_ms || place.calls_at > self.now_ms {
                    continue;
                }
                // Sometimes so long that links become idle.
                let pause_ms = match self.random.below(50) {
                    0 => 12_000,
                    _ => self.random.below(self.pause_max_ms),
                };
                self.callers[caller].workers[worker].calls_at = self.now_ms + pause_ms;
                self.attempts(caller, worker);
            }
        }
    }

    /// One call: an instance after the other until one takes it.
    fn attempts(&mut self, caller: usize, worker: usize) {
        self.counts.calls += 1;
        let mut tried = Vec::new();
        loop {
            let random = self.random.next();
            let loads = &self.callers[caller].loads;
            let candidate = |at: usize| Candidate {
                outstanding: loads[at].outstanding.load(Relaxed),
                weight: loads[at].share(),
                eligible: loads[at].is_eligible(self.now_ms),
            };
            let Some(instance) = picked(loads.len(), candidate, &tried, random) else {
                let all: BTreeSet<usize> = tried.iter().copied().collect();
                assert_eq!(all.len(), loads.len(), "somebody was left out");
                return;
            };
            let other = (0..loads.len()).find(|at| !tried.contains(at) && candidate(*at).eligible);
            assert!(
                candidate(instance).eligible || other.is_none(),
                "caller {caller} calls instance {instance} ({}), and {other:?} is there",
                loads[instance].state().text()
            );
            if self.reach(caller, worker, instance) {
                return;
            }
            tried.push(instance);
        }
    }

    /// A call on the link to an instance, which is made if there is none; whether that worked.
    fn reach(&mut self, caller: usize, worker: usize, instance: usize) -> bool {
        let whose = (caller, worker, instance);
        let own = |link: &Link| {
            (link.caller, link.worker, link.instance) == whose && !link.ends[0].closed
        };
        let known = self.links.iter().position(own);
        let can = self.instances[instance].up && !self.parted.contains(&(caller, instance));
        if known.is_none() && can {
            let link = Link::new(self.now_ms, (caller, worker), instance);
            self.links.push(link);
        }
        let Some(at) = known.or_else(|| self.links.iter().position(own)) else {
            return false;
        };
        let delay_ms = self.delay_ms(caller, instance);
        let link = &mut self.links[at];
        link.ends[0]
            .pulse
            .meet(&self.callers[caller].loads[instance], false);
        link.ends[0].open(self.now_ms);
        link.send(0, &[Frame::Open], self.now_ms, delay_ms);
        true
    }

    // What must hold.

    fn check(&self) {
        for (number, caller) in self.callers.iter().enumerate() {
            for (instance, load) in caller.loads.iter().enumerate() {
                let newest = caller.newest[instance].map_or(HealthState::Ready, |word| word.2);
                assert_eq!(load.state(), newest, "caller {number}, instance {instance}");
                let suspects = self.links.iter().filter(|link| {
                    (link.caller, link.instance) == (number, instance)
                        && link.ends[0].pulse.is_suspect()
                });
                assert_eq!(load.suspects.load(Relaxed) as usize, suspects.count());
            }
        }
        self.links.iter().for_each(|link| self.check_link(link));
    }

    fn check_link(&self, link: &Link) {
        let end = &link.ends[0];
        let worker = &self.callers[link.caller].workers[link.worker];
        if end.closed || self.now_ms - worker.slept <= RESTED_MS {
            return;
        }
        let (caller, instance) = (link.caller, link.instance);
        let who = || format!("at {} ms caller {caller}, instance {instance}", self.now_ms);
        let silence_ms = end.pulse.silence_ms(self.now_ms);
        if end.pulse.is_active(self.now_ms) && silence_ms > BOUND_SUSPECT_MS {
            let told = "silent and trusted";
            assert!(end.pulse.is_suspect(), "{}: {silence_ms} ms {told}", who());
        }
        let well_ms = self.now_ms - link.hampered_ms;
        if well_ms > BOUND_TRUST_MS {
            let told = "to be heard and suspect";
            assert!(!end.pulse.is_suspect(), "{}: {well_ms} ms {told}", who());
        }
    }
}
