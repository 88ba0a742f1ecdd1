//! What each stream is sent.
//!
//! A stream that is in step holds all that was published of what it uses, or has it in its inbox: publishing
//! walks what changed, makes each delta once and hands the same bytes to every stream that uses the service.
//! A stream that has just subscribed, or does not take what it is sent, is behind: what it needs is made when it
//! asks for it, from the revision that it holds. Whoever uses nothing of what changed is told nothing.
//!
//! Never in here: sockets, when something is durable.

use super::feed::{Feed, Progress};
use super::{Catalog, ServiceId, StreamId};
use crate::delta::{encoded, joined};
use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};
use weft_api::sync::{self, from_center};

/// Messages waiting for one stream; with more, what it needs is made anew when it takes something.
const INBOX_MAX: usize = 256;

/// A stream to which nothing happens is told the version after so many revisions, so that a difference from what
/// it holds can be told when it comes back.
const QUIET_REVISIONS_MAX: u64 = 2_048;

/// Streams that are told of nothing but names are told at this pace, one after the other: every one of them is,
/// and a change of names must not cost more than the changes themselves. Below a thousand streams nothing waits.
const NAMES_PACE: Duration = Duration::from_micros(50);

/// A message for a stream, to be sent when its revision is durable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Parcel {
    pub(crate) revision: u64,
    pub(crate) bytes: Bytes,
}

impl Catalog {
    /// What a stream is to be sent next; nothing when it has to wait.
    pub(crate) fn take_parcels(&mut self, stream: StreamId) -> Vec<Parcel> {
        let mut parcels = Vec::new();
        let Some(sidecar) = self.sidecars.get_mut(&stream) else {
            return parcels;
        };
        let feed = &mut sidecar.feed;
        if let Some(policy) = feed.policy.take() {
            let bytes = encoded(from_center::Kind::OwnPolicy(policy));
            parcels.push(Parcel { revision: 0, bytes });
        }
        if let Some((revision, word)) = feed.offline.take() {
            let bytes = encoded(from_center::Kind::SetOffline(word));
            parcels.push(Parcel { revision, bytes });
        }
        let mut told = feed.inbox.back().map_or(feed.told, |last| last.revision);
        parcels.extend(feed.inbox.drain(..));
        if let Progress::Behind { held } = feed.progress {
            told = self.revision;
            let messages = self.answer(stream, held);
            parcels.extend(messages.into_iter().map(|bytes| Parcel {
                revision: told,
                bytes,
            }));
        }
        self.told(stream, told);
        parcels
    }

    fn told(&mut self, stream: StreamId, told: u64) {
        if let Some(sidecar) = self.sidecars.get_mut(&stream) {
            let feed = &mut sidecar.feed;
            let before = feed.told;
            feed.told = told.max(before);
            self.feeds.quiet.remove(&(before, stream));
            if feed.progress == Progress::InStep {
                self.feeds.quiet.insert((feed.told, stream));
            }
        }
    }

    /// What brings a stream from what it holds to the present revision; from then on it is in step.
    fn answer(&mut self, stream: StreamId, held: Option<u64>) -> Vec<Bytes> {
        let Some(sidecar) = self.sidecars.get_mut(&stream) else {
            return Vec::new();
        };
        let feed = &mut sidecar.feed;
        feed.progress = Progress::InStep;
        let needs_full = std::mem::take(&mut feed.needs_full);
        let mut full = std::mem::take(&mut feed.full);
        for hash in std::mem::take(&mut feed.fresh) {
            full.extend(self.keys.services(hash));
        }
        let tellable = self.complete_from..=self.revision;
        let named = std::mem::replace(&mut feed.named, self.revision);
        let is_named = named >= self.keys.complete_from();
        let held = held.filter(|held| !needs_full && is_named && tellable.contains(held));
        let version = self.version();
        let feed = &self.sidecars[&stream].feed;
        let used: Vec<ServiceId> = match (feed.all, held) {
            (false, _) => feed.services.keys().copied().collect(),
            (true, None) => self.ids.values().copied().collect(),
            (true, Some(held)) => self
                .changed_services
                .range(held + 1..)
                .map(|(_, service)| *service)
                .collect(),
        };
        let mut messages = Vec::new();
        for service in used {
            let Some(place) = self.services.get(&service) else {
                continue;
            };
            match held.filter(|_| !full.contains(&service)) {
                None => messages.extend(place.full(version)),
                Some(held) if place.changed > held => {
                    messages.extend(place.difference(held, version));
                }
                Some(_) => {}
            }
        }
        if let Some(held) = held.filter(|_| !feed.all) {
            messages.extend(self.last_words(feed, held));
        }
        let named = held.map(|held| held.min(named));
        messages.push(self.names_message(version, named, feed.sequence));
        joined(messages)
    }

    /// What changed of services that just lost the key by which a stream used them: their instances with that key
    /// are gone, and the stream must not go on calling them.
    fn last_words(&self, feed: &Feed, held: u64) -> Vec<Bytes> {
        let lost: BTreeSet<ServiceId> = self
            .keys
            .lost_after(held)
            .filter(|(hash, service)| {
                feed.keys.contains(hash) && !feed.services.contains_key(service)
            })
            .map(|(_, service)| service)
            .collect();
        let places = lost.iter().filter_map(|service| self.services.get(service));
        places
            .flat_map(|place| place.difference(held, self.version()))
            .collect()
    }

    /// The names end a batch: what changed of them after a revision, or all.
    fn names_message(&self, version: sync::Version, named: Option<u64>, sequence: u64) -> Bytes {
        let (added, removed) = match named {
            None => (self.keys.all(), Vec::new()),
            Some(named) => self.keys.difference(named),
        };
        encoded(from_center::Kind::Names(sync::NameSet {
            version: Some(version),
            full: named.is_none(),
            added,
            removed,
            subscribed: sequence,
        }))
    }

    /// Hands what changed since the last time to the streams that use it. True when something did.
    pub(super) fn publish(&mut self, now: Instant) -> bool {
        let from = self.published;
        let is_names_turn = self.take_names_turn(now);
        self.published = self.revision;
        if from == self.revision && !is_names_turn {
            return false;
        }
        let mut batches = self.batches(from);
        let mut targets: BTreeSet<StreamId> = batches.own.keys().copied().collect();
        if let Some(changed) = self.keys.last_change().filter(|_| is_names_turn) {
            let all = self.sidecars.keys();
            targets.extend(self.in_step(all, |feed| feed.named < changed));
        }
        if let Some((changed, _)) = self.changed_services.last_key_value()
            && !batches.whole.is_empty()
        {
            let all = self.feeds.all.iter();
            targets.extend(self.in_step(all, |feed| feed.told < *changed));
        }
        while let Some((told, stream)) = self.feeds.quiet.first().copied()
            && told + QUIET_REVISIONS_MAX <= self.published
        {
            self.feeds.quiet.pop_first();
            targets.insert(stream);
        }
        let mut names: BTreeMap<(u64, u64), Bytes> = BTreeMap::new();
        let mut whole: BTreeMap<(u64, u64), Vec<Bytes>> = BTreeMap::new();
        for stream in targets {
            let Some(feed) = self.sidecars.get(&stream).map(|sidecar| &sidecar.feed) else {
                continue;
            };
            // Streams in step with the same number of subscriptions, and most have one, share all bytes.
            let shared = (feed.sequence, feed.named);
            let ending = names.entry(shared).or_insert_with(|| {
                self.names_message(self.version(), Some(feed.named), feed.sequence)
            });
            let messages = if feed.all {
                let with_end =
                    || joined([batches.whole.as_slice(), std::slice::from_ref(ending)].concat());
                whole.entry(shared).or_insert_with(with_end).clone()
            } else {
                let mut own = batches.own.remove(&stream).unwrap_or_default();
                own.push(ending.clone());
                joined(own)
            };
            self.hand_over(stream, messages);
        }
        true
    }

    /// Whether now all are told of names that changed. When they must wait, it is noted until when.
    fn take_names_turn(&mut self, now: Instant) -> bool {
        self.feeds.names_wait_until = None;
        let named = self.feeds.named;
        if self
            .keys
            .last_change()
            .is_none_or(|changed| changed <= named)
        {
            return false;
        }
        if let Some(turn_at) = self.feeds.names_turn_at.filter(|turn_at| *turn_at > now) {
            self.feeds.names_wait_until = Some(turn_at);
            return false;
        }
        let streams = self.in_step(self.sidecars.keys(), |_| true).len();
        let streams = u32::try_from(streams).unwrap_or(u32::MAX);
        self.feeds.named = self.revision;
        self.feeds.names_turn_at = Some(now + NAMES_PACE * streams);
        true
    }

    /// Those streams in step for which something holds.
    fn in_step<'a>(
        &self,
        streams: impl Iterator<Item = &'a StreamId>,
        holds: impl Fn(&Feed) -> bool,
    ) -> Vec<StreamId> {
        let is_meant = |stream: &&StreamId| {
            let feed = self.sidecars.get(stream).map(|sidecar| &sidecar.feed);
            feed.is_some_and(|feed| feed.progress == Progress::InStep && holds(feed))
        };
        streams.filter(is_meant).copied().collect()
    }

    /// The deltas of all that changed after a revision, each made once.
    fn batches(&mut self, from: u64) -> Batches {
        let mut batches = Batches::default();
        let version = self.version();
        let changed = self.changed_services.range(from + 1..);
        let changed: Vec<ServiceId> = changed.map(|(_, service)| *service).collect();
        for service in changed {
            let Some(place) = self.services.get(&service) else {
                continue;
            };
            if place.streams.is_empty() && self.feeds.all.is_empty() {
                continue;
            }
            let difference = place.difference(from, version);
            #[cfg(test)]
            {
                self.work.deltas_made += 1;
            }
            let mut full = None;
            for stream in &place.streams {
                let Some(sidecar) = self.sidecars.get_mut(stream) else {
                    continue;
                };
                if sidecar.feed.told >= place.changed {
                    continue;
                }
                let own = batches.own.entry(*stream).or_default();
                if sidecar.feed.progress != Progress::InStep {
                    continue;
                }
                if sidecar.feed.full.remove(&service) {
                    let full = full.get_or_insert_with(|| place.full(version));
                    own.extend_from_slice(full);
                } else {
                    own.extend_from_slice(&difference);
                }
            }
            if !self.feeds.all.is_empty() {
                batches.whole.extend(difference);
            }
        }
        let mut lost: BTreeSet<(StreamId, ServiceId)> = BTreeSet::new();
        for (hash, service) in self.keys.lost_after(from) {
            for stream in self.feeds.by_key.get(&hash).into_iter().flatten() {
                let feed = self.sidecars.get(stream).map(|sidecar| &sidecar.feed);
                if feed.is_some_and(|feed| !feed.services.contains_key(&service)) {
                    lost.insert((*stream, service));
                }
            }
        }
        for (stream, service) in lost {
            if let Some(place) = self.services.get(&service) {
                let own = batches.own.entry(stream).or_default();
                own.extend(place.difference(from, version));
            }
        }
        batches
    }

    fn hand_over(&mut self, stream: StreamId, messages: Vec<Bytes>) {
        let revision = self.published;
        let names_from = self.keys.complete_from();
        let Some(sidecar) = self.sidecars.get_mut(&stream) else {
            return;
        };
        let feed = &mut sidecar.feed;
        match feed.progress {
            Progress::Silent { .. } => return,
            Progress::Behind { .. } => {}
            Progress::InStep if feed.needs_full || feed.named < names_from => feed.fall_behind(),
            Progress::InStep if feed.inbox.len() + messages.len() > INBOX_MAX => {
                feed.fall_behind();
            }
            Progress::InStep => {
                let parcels = messages.into_iter().map(|bytes| Parcel { revision, bytes });
                feed.inbox.extend(parcels);
                feed.named = revision;
            }
        }
        feed.wake.notify_one();
        #[cfg(test)]
        {
            self.work.streams_told += 1;
        }
    }

    /// The version that a stream in step holds, if it was not told: said when the center stops, so that the next
    /// one can go on from there.
    pub(crate) fn last_version(&self, stream: StreamId) -> Option<Parcel> {
        let feed = &self.sidecars.get(&stream)?.feed;
        let is_quiet = feed.progress == Progress::InStep && feed.inbox.is_empty();
        if !is_quiet || feed.needs_full || feed.told >= self.published {
            return None;
        }
        let version = sync::Version {
            epoch: self.epoch,
            revision: self.published,
        };
        let named = Some(feed.named).filter(|named| *named >= self.keys.complete_from())?;
        Some(Parcel {
            revision: self.published,
            bytes: self.names_message(version, Some(named), feed.sequence),
        })
    }
}

/// The deltas of one publication.
#[derive(Default)]
struct Batches {
    /// By stream; an empty one: the stream is to look for itself.
    own: BTreeMap<StreamId, Vec<Bytes>>,
    /// For those that use all.
    whole: Vec<Bytes>,
}

#[cfg(test)]
pub(super) mod tests;
