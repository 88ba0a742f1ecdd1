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
use weft_api::sync::{self, from_center};

/// Messages waiting for one stream; with more, what it needs is made anew when it takes something.
const INBOX_MAX: usize = 256;

/// A stream to which nothing happens is told the version after so many revisions, so that a difference from what
/// it holds can be told when it comes back.
const QUIET_REVISIONS_MAX: u64 = 2_048;

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
        let held = held.filter(|held| !needs_full && tellable.contains(held));
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
        messages.push(self.names_message(held, feed.sequence));
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

    /// The names end a batch.
    fn names_message(&self, held: Option<u64>, sequence: u64) -> Bytes {
        let (added, removed) = match held {
            None => (self.keys.all(), Vec::new()),
            Some(held) => self.keys.difference(held),
        };
        encoded(from_center::Kind::Names(sync::NameSet {
            version: Some(self.version()),
            full: held.is_none(),
            added,
            removed,
            subscribed: sequence,
        }))
    }

    /// Hands what changed since the last time to the streams that use it. True when something did.
    pub(super) fn publish(&mut self) -> bool {
        let from = self.published;
        self.published = self.revision;
        if from == self.revision {
            return false;
        }
        let mut batches = self.batches(from);
        let mut targets: BTreeSet<StreamId> = batches.own.keys().copied().collect();
        if let Some(changed) = self.keys.last_change().filter(|changed| *changed > from) {
            targets.extend(self.told_before(self.sidecars.keys(), changed));
        }
        if let Some((changed, _)) = self.changed_services.last_key_value()
            && !batches.whole.is_empty()
        {
            targets.extend(self.told_before(self.feeds.all.iter(), *changed));
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
            let (sequence, held) = (feed.sequence, feed.told.max(from));
            let ending = names
                .entry((sequence, held))
                .or_insert_with(|| self.names_message(Some(held), sequence));
            let messages = if feed.all {
                let with_end =
                    || joined([batches.whole.as_slice(), std::slice::from_ref(ending)].concat());
                let shared = whole.entry((sequence, held)).or_insert_with(with_end);
                shared.clone()
            } else {
                let mut own = batches.own.remove(&stream).unwrap_or_default();
                own.push(ending.clone());
                joined(own)
            };
            self.hand_over(stream, messages);
        }
        true
    }

    /// Those streams in step that were not told of a revision when they were answered between two publications.
    fn told_before<'a>(
        &self,
        streams: impl Iterator<Item = &'a StreamId>,
        revision: u64,
    ) -> Vec<StreamId> {
        let is_behind = |stream: &&StreamId| {
            let feed = self.sidecars.get(stream).map(|sidecar| &sidecar.feed);
            feed.is_some_and(|feed| feed.progress == Progress::InStep && feed.told < revision)
        };
        streams.filter(is_behind).copied().collect()
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
        let Some(sidecar) = self.sidecars.get_mut(&stream) else {
            return;
        };
        let feed = &mut sidecar.feed;
        match feed.progress {
            Progress::Silent { .. } => return,
            Progress::Behind { .. } => {}
            Progress::InStep if feed.needs_full => feed.fall_behind(),
            Progress::InStep if feed.inbox.len() + messages.len() > INBOX_MAX => {
                feed.fall_behind();
            }
            Progress::InStep => {
                let parcels = messages.into_iter().map(|bytes| Parcel { revision, bytes });
                feed.inbox.extend(parcels);
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
        let names = sync::NameSet {
            version: Some(sync::Version {
                epoch: self.epoch,
                revision: self.published,
            }),
            subscribed: feed.sequence,
            ..sync::NameSet::default()
        };
        Some(Parcel {
            revision: self.published,
            bytes: encoded(from_center::Kind::Names(names)),
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
