//! What people declared: the objects, what they were before, and who wins where two say different things. A
//! state machine without I/O: a set of wishes becomes a plan, or is refused as a whole; a plan is taken once
//! it is durable.
//!
//! | file | defines |
//! |---|---|
//! | `declared/plan.rs` | what a set of wishes would change, or every fault in it |
//! | `declared/recent.rs` | the last changes, for those who follow them |
//! | `declared/row.rs` | objects and history as rows of the store |
//! | `declared/status.rs` | accepted, overridden, invalid |
//! | `declared/compiled.rs` | what an object means for the catalog and for sidecars |
//!
//! Never in here: who may write, how it travels.

pub(crate) mod compiled;
pub(crate) mod plan;
pub(crate) mod recent;
mod row;
pub(crate) mod status;

use crate::store::{Rows, Table};
use recent::RecentChanges;
use serde_json::Value;
use std::collections::{BTreeMap, BTreeSet};
use weft_api::kinds::{Kind, Meaning};
use weft_api::sync::{FieldError, Version};
use weft_model::ServiceName;

/// Objects in one center.
pub(crate) const OBJECTS_MAX: usize = 20_000;

/// Former states kept of one object.
pub(crate) const HISTORY_PER_OBJECT_MAX: usize = 50;

/// Former states kept of all objects.
pub(crate) const HISTORY_MAX: usize = 5_000;

/// Which object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ObjectKey {
    pub(crate) kind: Kind,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// An object as the center holds it.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Stored {
    pub(crate) key: ObjectKey,
    pub(crate) labels: BTreeMap<String, String>,
    /// As it was written.
    pub(crate) spec: Value,
    /// +1 with each change, also over a deletion.
    pub(crate) generation: u64,
    /// The version of its last change.
    pub(crate) version: Version,
    pub(crate) created_ms: u64,
    /// What it means; an object kept by an older weft may have become invalid.
    pub(crate) meaning: Result<Meaning, FieldError>,
}

/// What was done to an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deed {
    Created,
    Changed,
    Deleted,
}

impl Deed {
    const ALL: [(Self, &'static str); 3] = [
        (Self::Created, "created"),
        (Self::Changed, "changed"),
        (Self::Deleted, "deleted"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(deed, _)| *deed == self)
            .map_or("", |(_, name)| name)
    }

    fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(deed, _)| *deed)
    }
}

/// One change of an object: what it became, who did it and when.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Past {
    pub(crate) key: ObjectKey,
    pub(crate) deed: Deed,
    pub(crate) generation: u64,
    pub(crate) labels: BTreeMap<String, String>,
    pub(crate) spec: Value,
    /// Who said so; not proven.
    pub(crate) author: String,
    pub(crate) at_ms: u64,
}

/// Where a change stands in the history: epoch, revision, place in its set.
pub(crate) type PastKey = (u64, u64, u32);

/// All that is declared.
#[derive(Clone, Debug, Default)]
pub(crate) struct Declared {
    objects: BTreeMap<ObjectKey, Stored>,
    history: BTreeMap<PastKey, Past>,
    /// Declared instances whose id a sidecar has, by service and id.
    given_way: BTreeSet<(ServiceName, String)>,
    recent: RecentChanges,
}

impl Declared {
    /// What a store holds. Rows that cannot be read are left alone and named.
    pub(crate) fn load(rows: &Rows) -> (Self, Vec<String>) {
        let mut declared = Self::default();
        let mut unread = Vec::new();
        for ((table, key), value) in rows {
            let read = match table {
                Table::Objects => row::object(value).map(|stored| {
                    declared.objects.insert(stored.key.clone(), stored);
                }),
                Table::History => row::past_key(key).zip(row::past(value)).map(|(at, past)| {
                    declared.history.insert(at, past);
                }),
                Table::Meta | Table::Instances => continue,
            };
            if read.is_none() {
                unread.push(format!("{}/{key}", table.name()));
            }
        }
        (declared, unread)
    }

    /// The version at which whoever follows changes may begin: that of the store.
    pub(crate) fn starts_at(&mut self, version: Version) {
        self.recent = RecentChanges::starting(version);
    }

    /// The last changes.
    pub(crate) fn recent(&self) -> &RecentChanges {
        &self.recent
    }

    /// Whether both hold the same objects and the same history.
    #[cfg(test)]
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        self.objects == other.objects && self.history == other.history
    }

    /// The object with this key.
    pub(crate) fn object(&self, key: &ObjectKey) -> Option<&Stored> {
        self.objects.get(key)
    }

    /// All objects of a kind in a namespace.
    pub(crate) fn objects(&self, kind: Kind, namespace: &str) -> impl Iterator<Item = &Stored> {
        let own =
            move |stored: &&Stored| stored.key.kind == kind && stored.key.namespace == namespace;
        self.objects.values().filter(own)
    }

    /// The changes of an object, the oldest first.
    pub(crate) fn history(&self, key: &ObjectKey) -> impl Iterator<Item = &Past> {
        let key = key.clone();
        self.history.values().filter(move |past| past.key == key)
    }

    /// The declared instances that give way to those of sidecars: all of them.
    pub(crate) fn gave_way(&mut self, given_way: BTreeSet<(ServiceName, String)>) {
        self.given_way = given_way;
    }

    /// Takes what has become durable.
    pub(crate) fn take(&mut self, plan: plan::Plan) {
        self.recent.take(&plan);
        for outcome in plan.outcomes {
            match (outcome.deed, outcome.after) {
                (Some(Deed::Deleted), _) => {
                    self.objects.remove(&outcome.key);
                }
                (Some(_), Some(after)) => {
                    self.objects.insert(outcome.key, after);
                }
                _ => {}
            }
        }
        self.history.extend(plan.history);
        for at in plan.forgotten {
            self.history.remove(&at);
        }
    }
}

#[cfg(test)]
mod tests;
