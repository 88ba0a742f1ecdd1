//! Out of use by hand: what a person, or the center, said last, for this sidecar and every successor.
//!
//! The agent only remembers and passes on. That peers and center hear of it is the sidecar's part.

use super::Agent;
use crate::clock;
use weft_api::agent::ToSidecar;

/// The last word on whether the instance is in use.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Offline {
    is_offline: bool,
    /// When it was said, in milliseconds since 1970; 0: never.
    changed_ms: u64,
}

impl Offline {
    /// A person on this machine says it now. Later than all that was said before, whatever the clock says.
    fn said_here(&mut self, is_offline: bool, now_ms: u64) {
        let changed_ms = now_ms.max(self.changed_ms.saturating_add(1));
        *self = Self {
            is_offline,
            changed_ms,
        };
    }

    /// Somebody else said it then; the later word counts.
    fn heard(&mut self, is_offline: bool, changed_ms: u64) {
        if changed_ms > self.changed_ms {
            *self = Self {
                is_offline,
                changed_ms,
            };
        }
    }

    /// What a sidecar is told; nothing when nobody ever said anything.
    pub(super) fn message(self) -> Option<ToSidecar> {
        (self.changed_ms > 0).then_some(ToSidecar::SetOffline {
            offline: self.is_offline,
            changed_ms: self.changed_ms,
        })
    }
}

impl Agent {
    /// The CLI asks for it; what it is answered.
    pub(super) fn set_offline(&mut self, is_offline: bool) -> &'static str {
        self.offline.said_here(is_offline, clock::unix_ms());
        let message = self.offline.message();
        // The next one of a planned restart, and the one that gives way, are told too: either may serve.
        let sidecars = self.sidecar.iter();
        let beside = self.replacing.iter().map(super::Replacing::sidecar);
        for sidecar in sidecars.chain(beside) {
            if let Some(message) = &message {
                sidecar.tell(message);
            }
        }
        if is_offline {
            "is offline: no new calls, its app runs on"
        } else {
            "is online"
        }
    }

    /// The sidecar heard it from the center.
    pub(super) fn heard_offline(&mut self, is_offline: bool, changed_ms: u64) {
        self.offline.heard(is_offline, changed_ms);
    }
}

#[cfg(test)]
mod tests;
