//! How sidecars find the instances that they call: kept per stream, gone with it.
//!
//! An instance whose own stream broke stays as long as some sidecar hears it. Never in here: what a sidecar does
//! about a silent peer.

use super::{Catalog, Entry, ServiceId, StreamId};
use std::collections::BTreeSet;
use weft_api::sync;
use weft_model::ServiceName;
use weft_model::instance::NAMESPACE_DEFAULT;

/// Instances of which one sidecar may say how it finds them.
pub(crate) const PEERS_PER_SIDECAR_MAX: usize = 4_096;

/// An instance lives when it was heard this recently, in milliseconds.
const HEARD_WITHIN_MS: u32 = 6_000;

/// How a sidecar finds an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PeerState {
    Ready,
    Warming,
    Overloaded,
    Draining,
    AppDead,
    Suspect,
    Unreachable,
}

impl PeerState {
    const ALL: [(Self, &'static str); 7] = [
        (Self::Ready, "ready"),
        (Self::Warming, "warming"),
        (Self::Overloaded, "overloaded"),
        (Self::Draining, "draining"),
        (Self::AppDead, "app dead"),
        (Self::Suspect, "suspect"),
        (Self::Unreachable, "unreachable"),
    ];

    pub(crate) fn text(self) -> &'static str {
        let row = Self::ALL.iter().find(|(state, _)| *state == self);
        row.map_or("", |(_, text)| text)
    }

    fn from_text(text: &str) -> Option<Self> {
        let row = Self::ALL.iter().find(|(_, known)| *known == text);
        row.map(|(state, _)| *state)
    }
}

/// What one sidecar said of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) state: PeerState,
    pub(crate) incarnation: u64,
    pub(crate) silent_ms: u32,
}

impl Entry {
    /// Whether some sidecar hears it as one that takes calls.
    pub(super) fn is_heard(&self) -> bool {
        self.seen.values().any(|seen| {
            let is_well = match seen.state {
                PeerState::Ready | PeerState::Warming | PeerState::Overloaded => true,
                PeerState::Draining
                | PeerState::AppDead
                | PeerState::Suspect
                | PeerState::Unreachable => false,
            };
            is_well
                && seen.silent_ms <= HEARD_WITHIN_MS
                && seen.incarnation >= self.record.incarnation
        })
    }
}

impl Catalog {
    /// A sidecar says how it finds others. Returns how many rows were over [`PEERS_PER_SIDECAR_MAX`].
    pub(crate) fn peers_reported(&mut self, stream: StreamId, report: sync::PeerReport) -> usize {
        if report.full {
            self.forget_reporter(stream);
        }
        let mut dropped = 0;
        for row in report.peers {
            let namespace = match row.namespace.as_str() {
                "" => NAMESPACE_DEFAULT,
                named => named,
            };
            let name = ServiceName::new(namespace, &row.service);
            let Some(service) = self.ids.get(&name).copied() else {
                continue;
            };
            let place = self.services.get_mut(&service);
            let entry = place.and_then(|place| place.instances.get_mut(&row.instance));
            let (Some(entry), Some(sidecar)) = (entry, self.sidecars.get_mut(&stream)) else {
                continue;
            };
            let key = (service, row.instance);
            // A state of a later version is as good as none.
            let Some(state) = PeerState::from_text(&row.state) else {
                entry.seen.remove(&stream);
                sidecar.reported.remove(&key);
                continue;
            };
            if sidecar.reported.len() >= PEERS_PER_SIDECAR_MAX && !sidecar.reported.contains(&key) {
                dropped += 1;
                continue;
            }
            let seen = Seen {
                state,
                incarnation: row.incarnation,
                silent_ms: row.silent_ms,
            };
            entry.seen.insert(stream, seen);
            sidecar.reported.insert(key);
        }
        dropped
    }

    /// What this sidecar said of others is no longer so.
    pub(super) fn forget_reporter(&mut self, stream: StreamId) {
        let reported = self.sidecars.get_mut(&stream);
        let reported = reported.map(|sidecar| std::mem::take(&mut sidecar.reported));
        self.forget_seen(stream, reported.unwrap_or_default());
    }

    pub(super) fn forget_seen(
        &mut self,
        stream: StreamId,
        reported: BTreeSet<(ServiceId, String)>,
    ) {
        for (service, id) in reported {
            let place = self.services.get_mut(&service);
            if let Some(entry) = place.and_then(|place| place.instances.get_mut(&id)) {
                entry.seen.remove(&stream);
            }
        }
    }

    /// An instance is gone, and with it what was said of it.
    pub(super) fn forget_reports(&mut self, service: ServiceId, id: &str, entry: &Entry) {
        let key = (service, id.to_owned());
        for stream in entry.seen.keys() {
            if let Some(sidecar) = self.sidecars.get_mut(stream) {
                sidecar.reported.remove(&key);
            }
        }
    }
}
