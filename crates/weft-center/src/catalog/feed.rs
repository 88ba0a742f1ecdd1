//! What each stream uses: its keys, the services that have one of them, and how far it is.
//!
//! Never in here: what it is sent (`catalog/publish.rs`).

use super::publish::Parcel;
use super::{Catalog, Refused, ServiceId, Sidecar, StreamId};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::Instant;
use tokio::sync::Notify;
use weft_api::sync;

/// Keys that one sidecar may use.
pub(crate) const KEYS_PER_SIDECAR_MAX: usize = 65_536;

/// How far a stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// It has not subscribed.
    Silent { held: Option<u64> },
    /// It holds this revision, or nothing that counts, and needs the rest.
    Behind { held: Option<u64> },
    /// It has all that was published, or its inbox has.
    InStep,
}

/// What one stream uses and is to be sent.
pub(super) struct Feed {
    pub(super) keys: BTreeSet<u64>,
    pub(super) all: bool,
    /// Of the last Subscribe.
    pub(super) sequence: u64,
    /// The services that have one of the keys, and how many of them.
    pub(super) services: BTreeMap<ServiceId, u32>,
    /// Those of which it needs all, whatever revision it holds.
    pub(super) full: BTreeSet<ServiceId>,
    /// Keys whose services it needs whole with the next answer.
    pub(super) fresh: BTreeSet<u64>,
    pub(super) progress: Progress,
    pub(super) inbox: VecDeque<Parcel>,
    /// The last revision that was taken from here.
    pub(super) told: u64,
    /// The revision up to which it was told of names, or its inbox has them.
    pub(super) named: u64,
    /// It refused something: only a batch that says everything helps it.
    pub(super) needs_full: bool,
    pub(super) offline: Option<(u64, sync::SetOffline)>,
    pub(super) policy: Option<sync::OwnPolicy>,
    pub(super) policy_told: Option<sync::OwnPolicy>,
    pub(super) wake: Arc<Notify>,
}

/// Who uses what.
#[derive(Default)]
pub(super) struct Feeds {
    pub(super) by_key: BTreeMap<u64, BTreeSet<StreamId>>,
    pub(super) all: BTreeSet<StreamId>,
    /// Streams in step by what they were told last.
    pub(super) quiet: BTreeSet<(u64, StreamId)>,
    /// The revision up to which all were told of names.
    pub(super) named: u64,
    /// All are told of names again not before then.
    pub(super) names_turn_at: Option<Instant>,
    /// Names have changed and wait for that.
    pub(super) names_wait_until: Option<Instant>,
}

impl Feed {
    pub(super) fn new(held: Option<u64>) -> Self {
        Self {
            keys: BTreeSet::new(),
            all: false,
            sequence: 0,
            services: BTreeMap::new(),
            full: BTreeSet::new(),
            fresh: BTreeSet::new(),
            progress: Progress::Silent { held },
            inbox: VecDeque::new(),
            told: 0,
            named: held.unwrap_or(0),
            needs_full: false,
            offline: None,
            policy: None,
            policy_told: None,
            wake: Arc::new(Notify::new()),
        }
    }

    pub(super) fn wake(&self) -> Arc<Notify> {
        Arc::clone(&self.wake)
    }

    /// It refused something, or takes nothing: it will be told anew all of what it uses.
    pub(super) fn fall_behind(&mut self) {
        // Of names the difference will do, as long as the sidecar believes what it was told.
        let held = Some(self.told).filter(|_| !self.all && !self.needs_full);
        self.inbox.clear();
        self.named = self.named.min(self.told);
        self.full.extend(self.services.keys());
        self.progress = Progress::Behind { held };
    }
}

impl Sidecar {
    /// How many keys it uses; none: all.
    pub(crate) fn keys_used(&self) -> Option<usize> {
        (!self.feed.all).then_some(self.feed.keys.len())
    }
}

impl Catalog {
    /// A sidecar says which keys it uses from now on.
    pub(crate) fn subscribe(
        &mut self,
        stream: StreamId,
        subscribe: &sync::Subscribe,
    ) -> Result<(), Refused> {
        if subscribe.keys.len() > KEYS_PER_SIDECAR_MAX {
            return Err(Refused::Keys(subscribe.keys.len()));
        }
        let published = self.published;
        let Some(sidecar) = self.sidecars.get_mut(&stream) else {
            return Ok(());
        };
        let feed = &mut sidecar.feed;
        feed.sequence = subscribe.sequence;
        let keys: BTreeSet<u64> = subscribe.keys.iter().copied().collect();
        let before = std::mem::replace(&mut feed.keys, keys.clone());
        let was_all = std::mem::replace(&mut feed.all, subscribe.all);
        let mut first = None;
        feed.progress = match feed.progress {
            Progress::Silent { held } => {
                first = held;
                Progress::Behind { held }
            }
            _ if subscribe.all && !was_all => Progress::Behind { held: None },
            Progress::Behind { held } => Progress::Behind { held },
            Progress::InStep => Progress::Behind {
                held: Some(published.max(feed.told)),
            },
        };
        feed.wake.notify_one();
        if subscribe.all {
            self.feeds.all.insert(stream);
        } else {
            self.feeds.all.remove(&stream);
        }
        for hash in before.difference(&keys) {
            self.unuse(*hash, stream);
        }
        for hash in keys.difference(&before) {
            let users = self.feeds.by_key.entry(*hash).or_default();
            users.insert(stream);
            let services: Vec<_> = self.keys.services(*hash).collect();
            for service in services {
                self.interested(stream, service);
            }
        }
        if let Some(sidecar) = self.sidecars.get_mut(&stream) {
            let fresh = &mut sidecar.feed.fresh;
            fresh.extend(&subscribe.fresh);
            fresh.retain(|hash| keys.contains(hash));
        }
        if let Some(held) = first {
            self.spare(stream, held);
        }
        Ok(())
    }

    /// A sidecar that comes back holds the services of these keys as they were at a revision, if they had the key
    /// by then.
    fn spare(&mut self, stream: StreamId, held: u64) {
        let Some(sidecar) = self.sidecars.get_mut(&stream) else {
            return;
        };
        let feed = &mut sidecar.feed;
        for hash in feed.keys.difference(&feed.fresh) {
            for service in self.keys.services(*hash) {
                let place = self.services.get(&service);
                let own = place.and_then(|place| place.keys.get(hash));
                if own.is_some_and(|own| own.since <= held) {
                    feed.full.remove(&service);
                }
            }
        }
    }

    fn unuse(&mut self, hash: u64, stream: StreamId) {
        if let Some(users) = self.feeds.by_key.get_mut(&hash) {
            users.remove(&stream);
            if users.is_empty() {
                self.feeds.by_key.remove(&hash);
            }
        }
        let services: Vec<_> = self.keys.services(hash).collect();
        for service in services {
            self.uninterested(stream, service);
        }
    }

    /// A service has one more key.
    pub(super) fn interest_gained(&mut self, hash: u64, service: ServiceId) {
        let users = self.feeds.by_key.get(&hash).cloned().unwrap_or_default();
        for stream in users {
            self.interested(stream, service);
        }
    }

    /// A service has one key less.
    pub(super) fn interest_lost(&mut self, hash: u64, service: ServiceId) {
        let users = self.feeds.by_key.get(&hash).cloned().unwrap_or_default();
        for stream in users {
            self.uninterested(stream, service);
        }
    }

    fn interested(&mut self, stream: StreamId, service: ServiceId) {
        let Some(sidecar) = self.sidecars.get_mut(&stream) else {
            return;
        };
        let count = sidecar.feed.services.entry(service).or_insert(0);
        *count += 1;
        if *count == 1 {
            sidecar.feed.full.insert(service);
            if let Some(place) = self.services.get_mut(&service) {
                place.streams.insert(stream);
            }
        }
    }

    fn uninterested(&mut self, stream: StreamId, service: ServiceId) {
        let Some(sidecar) = self.sidecars.get_mut(&stream) else {
            return;
        };
        let Some(count) = sidecar.feed.services.get_mut(&service) else {
            return;
        };
        *count -= 1;
        if *count == 0 {
            sidecar.feed.services.remove(&service);
            sidecar.feed.full.remove(&service);
            if let Some(place) = self.services.get_mut(&service) {
                place.streams.remove(&stream);
            }
        }
    }

    /// The stream is gone. Returns whose it was.
    pub(super) fn disconnect(&mut self, stream: StreamId) -> Option<Sidecar> {
        let mut sidecar = self.sidecars.remove(&stream)?;
        for hash in &sidecar.feed.keys {
            if let Some(users) = self.feeds.by_key.get_mut(hash) {
                users.remove(&stream);
                if users.is_empty() {
                    self.feeds.by_key.remove(hash);
                }
            }
        }
        for service in sidecar.feed.services.keys() {
            if let Some(place) = self.services.get_mut(service) {
                place.streams.remove(&stream);
            }
        }
        self.feeds.all.remove(&stream);
        self.feeds.quiet.remove(&(sidecar.feed.told, stream));
        let reported = std::mem::take(&mut sidecar.reported);
        self.forget_seen(stream, reported);
        Some(sidecar)
    }

    /// The sidecar refuses a version. It is sent everything with the next change: not at once, because the same
    /// again would be refused again.
    pub(crate) fn nacked(&mut self, stream: StreamId, nack: sync::Nack) {
        if let Some(sidecar) = self.sidecars.get_mut(&stream) {
            sidecar.refused = Some(nack);
            sidecar.feed.needs_full = true;
        }
    }

    /// The sidecar's instance is to be taken out of use, or back.
    pub(super) fn tell_offline(&mut self, stream: StreamId, word: sync::SetOffline) {
        let revision = self.revision;
        if let Some(sidecar) = self.sidecars.get_mut(&stream) {
            sidecar.feed.offline = Some((revision, word));
            sidecar.feed.wake.notify_one();
        }
    }

    /// What was declared for the sidecar's own service; the same as last is not told again.
    pub(crate) fn tell_policy(&mut self, stream: StreamId, policy: sync::OwnPolicy) {
        if let Some(sidecar) = self.sidecars.get_mut(&stream)
            && sidecar.feed.policy_told.as_ref() != Some(&policy)
        {
            sidecar.feed.policy_told = Some(policy.clone());
            sidecar.feed.policy = Some(policy);
            sidecar.feed.wake.notify_one();
        }
    }
}
