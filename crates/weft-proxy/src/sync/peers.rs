//! How this sidecar finds the instances that it calls, as the center is told: by the links and checks of its own.
//!
//! Only what changed is told; all of it at the start of a stream. Never in here: when it is told (`sync.rs`).

use std::collections::HashMap;
use std::sync::atomic::Ordering::Relaxed;
use weft_api::sync::{PeerHealth, PeerReport};
use weft_model::instance::InstanceLoad;
use weft_model::snapshot::Member;
use weft_model::{Instance, InstanceId, ServiceName, Snapshot};

/// Instances that one report tells of; the others follow in the next.
pub(super) const PEERS_MAX: usize = 1_000;

/// An instance that was not heard for longer counts as silent, and becoming so is a change.
const SILENT_AFTER_MS: u64 = 6_000;

/// What was told of one instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Told {
    incarnation: u64,
    state: &'static str,
    is_silent: bool,
    /// The report in which the instance was looked at last.
    turn: u64,
}

/// What a stream's center was told so far.
#[derive(Debug, Default)]
pub(super) struct Peers {
    told: HashMap<ServiceName, HashMap<InstanceId, Told>>,
    turn: u64,
    has_begun: bool,
}

impl Peers {
    /// What changed since the last report; none when nothing did.
    pub(super) fn report(&mut self, snapshot: &Snapshot, now_ms: u64) -> Option<PeerReport> {
        self.turn += 1;
        let mut rows = Vec::new();
        for service in snapshot.services() {
            for member in service.members.iter().filter(|member| is_met(&member.load)) {
                if rows.len() < PEERS_MAX {
                    rows.extend(self.look(&service.name, member, now_ms));
                }
            }
        }
        // In a full report nobody else is left over; in a cut one those not looked at may still be there.
        if rows.len() < PEERS_MAX {
            self.forget(&mut rows);
        }
        if rows.is_empty() {
            return None;
        }
        let full = !std::mem::replace(&mut self.has_begun, true);
        Some(PeerReport { full, peers: rows })
    }

    fn look(&mut self, name: &ServiceName, member: &Member, now_ms: u64) -> Option<PeerHealth> {
        let Member { instance, load } = member;
        let heard_ms = load.heard_ms.load(Relaxed);
        let silence = if heard_ms == 0 {
            u64::MAX
        } else {
            now_ms.saturating_sub(heard_ms)
        };
        let now = Told {
            incarnation: instance.incarnation,
            state: state(load, now_ms),
            is_silent: silence > SILENT_AFTER_MS,
            turn: self.turn,
        };
        if !self.told.contains_key(name) {
            self.told.insert(name.clone(), HashMap::new());
        }
        let of_service = self.told.get_mut(name)?;
        let before = match of_service.get_mut(&instance.id) {
            Some(known) => Some(std::mem::replace(known, now)),
            None => of_service.insert(instance.id.clone(), now),
        };
        let same = before.map(|before| Told {
            turn: self.turn,
            ..before
        });
        if same == Some(now) {
            return None;
        }
        let silent_ms = u32::try_from(silence).unwrap_or(u32::MAX);
        Some(row(name, instance, now.state, silent_ms))
    }

    /// Tells of those that are known no more.
    fn forget(&mut self, rows: &mut Vec<PeerHealth>) {
        let turn = self.turn;
        for (name, instances) in &mut self.told {
            instances.retain(|id, told| {
                let stays = told.turn == turn || rows.len() >= PEERS_MAX;
                if !stays {
                    rows.push(PeerHealth {
                        namespace: name.namespace.to_string(),
                        service: name.name.to_string(),
                        instance: id.to_string(),
                        incarnation: told.incarnation,
                        ..PeerHealth::default()
                    });
                }
                stays
            });
        }
        self.told.retain(|_, instances| !instances.is_empty());
    }
}

/// Whether anything was ever sent to or heard of the instance.
fn is_met(load: &InstanceLoad) -> bool {
    load.heard_ms.load(Relaxed) != 0
        || load.outstanding.load(Relaxed) != 0
        || load.avoided_until_ms.load(Relaxed) != 0
}

/// What is found of it, before what it says of itself.
fn state(load: &InstanceLoad, now_ms: u64) -> &'static str {
    if load.suspects.load(Relaxed) > 0 {
        "suspect"
    } else if load.avoided_until_ms.load(Relaxed) > now_ms {
        "unreachable"
    } else {
        load.state().text()
    }
}

fn row(name: &ServiceName, instance: &Instance, state: &str, silent_ms: u32) -> PeerHealth {
    PeerHealth {
        namespace: name.namespace.to_string(),
        service: name.name.to_string(),
        instance: instance.id.to_string(),
        incarnation: instance.incarnation,
        state: state.to_owned(),
        silent_ms,
    }
}

#[cfg(test)]
mod tests;
