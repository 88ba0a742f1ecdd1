//! The last changes of objects, in order, for those who follow them: each has a revision of its own, so who saw
//! one knows exactly what comes after it.
//!
//! In memory and bounded: who asks for what came before it lists anew. Never in here: who follows, the history
//! that people read.

use super::plan::Plan;
use super::{Deed, Stored};
use std::collections::VecDeque;
use weft_api::sync::Version;

/// Changes remembered of all objects.
pub(crate) const RECENT_MAX: usize = 2_048;

/// One change.
#[derive(Clone, Debug)]
pub(crate) struct Recent {
    pub(crate) deed: Deed,
    /// What the object became, or was when it went; with the version of the change.
    pub(crate) object: Stored,
}

/// The last changes.
#[derive(Clone, Debug, Default)]
pub(crate) struct RecentChanges {
    /// The version of the last change that was taken.
    last: Version,
    /// All changes after this revision are here.
    complete_from: u64,
    changes: VecDeque<Recent>,
}

impl RecentChanges {
    /// Nothing has changed since this version.
    pub(super) fn starting(version: Version) -> Self {
        Self {
            last: version,
            complete_from: version.revision,
            changes: VecDeque::new(),
        }
    }

    pub(super) fn take(&mut self, plan: &Plan) {
        let changed = plan.outcomes.iter().filter(|o| o.deed.is_some());
        for (outcome, (epoch, revision, _)) in changed.zip(plan.history.keys()) {
            let (Some(deed), Some(object)) = (
                outcome.deed,
                outcome.after.as_ref().or(outcome.before.as_ref()),
            ) else {
                continue;
            };
            self.last = Version {
                epoch: *epoch,
                revision: *revision,
            };
            let object = Stored {
                version: self.last,
                ..object.clone()
            };
            self.changes.push_back(Recent { deed, object });
            if self.changes.len() > RECENT_MAX
                && let Some(forgotten) = self.changes.pop_front()
            {
                self.complete_from = forgotten.object.version.revision;
            }
        }
    }

    /// The version of which a list of objects is: whoever follows from here misses nothing and sees nothing twice.
    pub(crate) fn version(&self) -> Version {
        self.last
    }

    /// The changes after a revision, the oldest first; none: some of them are forgotten.
    pub(crate) fn after(&self, revision: u64) -> Option<impl Iterator<Item = &Recent>> {
        if revision < self.complete_from {
            return None;
        }
        let is_before = |recent: &Recent| recent.object.version.revision <= revision;
        let from = self.changes.partition_point(is_before);
        Some(self.changes.range(from..))
    }
}
