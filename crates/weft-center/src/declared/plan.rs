//! What a set of wishes would change, or every fault in it: nothing is taken unless all of it can be.
//!
//! Never in here: the store, the clock.

use super::{Declared, Deed, HISTORY_MAX, HISTORY_PER_OBJECT_MAX, OBJECTS_MAX, ObjectKey, Past};
use super::{PastKey, Stored, row};
use crate::reply::resource_version;
use crate::store::{Change, Table};
use std::collections::BTreeMap;
use std::net::IpAddr;
use weft_api::kinds::{Kind, Meaning, Object};
use weft_api::sync::Version;

/// One thing that somebody wants.
#[derive(Clone, Debug)]
pub(crate) enum Wish {
    /// The object shall be like this.
    Put(Box<Object>),
    /// The object shall be like this, and new.
    Create(Box<Object>),
    /// The object shall go; with a version: only if it is still that one.
    Delete(ObjectKey, Option<String>),
}

/// Why a wish cannot be granted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fault {
    Invalid,
    Conflict,
    AlreadyExists,
    NotFound,
    Full,
}

/// A fault, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Finding {
    /// The place of the wish in its set.
    pub(crate) index: usize,
    pub(crate) fault: Fault,
    pub(crate) field: String,
    pub(crate) reason: String,
}

/// What becomes of one wish.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) key: ObjectKey,
    /// None: it is so already.
    pub(crate) deed: Option<Deed>,
    pub(crate) before: Option<Stored>,
    pub(crate) after: Option<Stored>,
}

/// What becomes of a set.
#[derive(Clone, Debug, Default)]
pub(crate) struct Plan {
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) history: BTreeMap<PastKey, Past>,
    pub(crate) forgotten: Vec<PastKey>,
}

impl Plan {
    /// How many revisions it takes: each change has its own.
    pub(crate) fn revisions(&self) -> u64 {
        self.history.len() as u64
    }

    /// Whether all is so already.
    pub(crate) fn is_empty(&self) -> bool {
        self.outcomes.iter().all(|outcome| outcome.deed.is_none())
    }

    /// The rows to commit.
    pub(crate) fn changes(&self) -> Vec<Change> {
        let mut changes = Vec::new();
        for outcome in &self.outcomes {
            let key = row::object_key(&outcome.key);
            match (outcome.deed, &outcome.after) {
                (Some(Deed::Deleted), _) => changes.push(Change::remove(Table::Objects, key)),
                (Some(_), Some(after)) => {
                    changes.push(Change::put(Table::Objects, key, row::of_object(after)));
                }
                _ => {}
            }
        }
        for (at, past) in &self.history {
            let key = row::of_past_key(*at);
            changes.push(Change::put(Table::History, key, row::of_past(past)));
        }
        for at in &self.forgotten {
            changes.push(Change::remove(Table::History, row::of_past_key(*at)));
        }
        changes
    }
}

/// Who wants it, when, and the version of its first change.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Occasion<'a> {
    pub(crate) author: &'a str,
    pub(crate) at_ms: u64,
    pub(crate) version: Version,
}

impl Declared {
    /// What these wishes would change, or all that is wrong with them.
    pub(crate) fn plan(&self, wishes: Vec<Wish>, when: Occasion<'_>) -> Result<Plan, Vec<Finding>> {
        let mut findings = Vec::new();
        let mut plan = Plan::default();
        let mut seen: BTreeMap<ObjectKey, usize> = BTreeMap::new();
        let mut next = when;
        for (index, wish) in wishes.into_iter().enumerate() {
            let key = wish.key();
            if let Some(first) = seen.insert(key.clone(), index) {
                let reason = format!(
                    "{} \"{}\" is in this set twice, the first time as number {}",
                    key.kind.name(),
                    key.name,
                    first + 1
                );
                findings.push(finding(index, Fault::Invalid, "metadata.name", reason));
                continue;
            }
            match self.outcome(wish, key, next) {
                Ok(outcome) => {
                    next.version.revision += u64::from(outcome.deed.is_some());
                    plan.outcomes.push(outcome);
                }
                Err((fault, field, reason)) => findings.push(finding(index, fault, field, reason)),
            }
        }
        findings.extend(self.same_addresses(&plan));
        let count = |deed| {
            plan.outcomes
                .iter()
                .filter(|o| o.deed == Some(deed))
                .count()
        };
        let objects = self.objects.len() + count(Deed::Created);
        if objects > OBJECTS_MAX + count(Deed::Deleted) {
            let reason = format!("{objects} objects are more than the {OBJECTS_MAX} of a center");
            findings.push(finding(0, Fault::Full, "", reason));
        }
        if !findings.is_empty() {
            findings.sort_by_key(|finding| finding.index);
            return Err(findings);
        }
        self.remember(&mut plan, when);
        Ok(plan)
    }

    fn outcome(
        &self,
        wish: Wish,
        key: ObjectKey,
        when: Occasion<'_>,
    ) -> Result<Outcome, (Fault, &'static str, String)> {
        let before = self.objects.get(&key).cloned();
        let (object, must_be_new, expected) = match wish {
            Wish::Put(object) => {
                let expected = object.metadata.resource_version.clone();
                (Some(object), false, expected)
            }
            Wish::Create(object) => (Some(object), true, None),
            Wish::Delete(_, expected) => (None, false, expected),
        };
        let called = format!(
            "{} \"{}\" in namespace \"{}\"",
            key.kind.name(),
            key.name,
            key.namespace
        );
        if must_be_new && before.is_some() {
            let reason = format!("{called} exists already; use PUT, or weft apply, to change it");
            return Err((Fault::AlreadyExists, "metadata.name", reason));
        }
        if let Some(expected) = expected.filter(|expected| !expected.is_empty()) {
            let found = before
                .as_ref()
                .map(|before| resource_version(before.version));
            if found.as_deref() != Some(expected.as_str()) {
                let found = found.unwrap_or_else(|| "gone".to_owned());
                let reason = format!(
                    "{called} has changed since you read it: you hold {expected}, it is {found}; read it again, \
                     or leave out resourceVersion to overwrite"
                );
                return Err((Fault::Conflict, "metadata.resourceVersion", reason));
            }
        }
        let Some(object) = object else {
            return match before {
                None => Err((
                    Fault::NotFound,
                    "metadata.name",
                    format!("there is no {called}"),
                )),
                before => Ok(Outcome {
                    key,
                    deed: Some(Deed::Deleted),
                    before,
                    after: None,
                }),
            };
        };
        let is_so = before.as_ref().is_some_and(|before| {
            before.spec == object.spec
                && before.labels == object.metadata.labels
                && before.meaning.is_ok()
        });
        if is_so {
            return Ok(Outcome {
                key,
                deed: None,
                after: before.clone(),
                before,
            });
        }
        let after = Stored {
            key: key.clone(),
            labels: object.metadata.labels,
            spec: object.spec,
            generation: self.last_generation(&key) + 1,
            version: when.version,
            created_ms: before
                .as_ref()
                .map_or(when.at_ms, |before| before.created_ms),
            meaning: Ok(object.meaning),
        };
        let deed = if before.is_some() {
            Deed::Changed
        } else {
            Deed::Created
        };
        Ok(Outcome {
            key,
            deed: Some(deed),
            before,
            after: Some(after),
        })
    }

    fn last_generation(&self, key: &ObjectKey) -> u64 {
        let present = self.objects.get(key).map(|stored| stored.generation);
        let past = self.history(key).map(|past| past.generation).max();
        present.max(past).unwrap_or(0)
    }

    /// Two instances without a sidecar at one address and port are a slip of the pen.
    fn same_addresses(&self, plan: &Plan) -> Vec<Finding> {
        let mut owners: BTreeMap<(IpAddr, u16), &ObjectKey> = BTreeMap::new();
        for stored in self.objects.values() {
            let is_replaced = plan
                .outcomes
                .iter()
                .any(|outcome| outcome.key == stored.key);
            if let (false, Ok(Meaning::Instance(own))) = (is_replaced, &stored.meaning) {
                owners.extend(
                    own.ports
                        .iter()
                        .map(|port| ((own.address, port.number), &stored.key)),
                );
            }
        }
        let mut findings = Vec::new();
        for (index, outcome) in plan.outcomes.iter().enumerate() {
            let after = outcome.after.as_ref().map(|after| &after.meaning);
            let Some(Ok(Meaning::Instance(own))) = after else {
                continue;
            };
            for port in &own.ports {
                let place = (own.address, port.number);
                match owners.insert(place, &outcome.key) {
                    Some(other) if *other != outcome.key => {
                        let reason = format!(
                            "{}:{} belongs to \"{}\" of namespace \"{}\" already",
                            place.0, place.1, other.name, other.namespace
                        );
                        findings.push(finding(index, Fault::Invalid, "spec.address", reason));
                        break;
                    }
                    _ => {}
                }
            }
        }
        findings
    }

    /// Adds what is done to the history and takes the oldest away.
    fn remember(&self, plan: &mut Plan, when: Occasion<'_>) {
        let mut per_object: BTreeMap<&ObjectKey, Vec<PastKey>> = BTreeMap::new();
        for (at, past) in &self.history {
            per_object.entry(&past.key).or_default().push(*at);
        }
        let mut revision = when.version.revision;
        for outcome in &plan.outcomes {
            let Some(deed) = outcome.deed else { continue };
            let Some(state) = outcome.after.as_ref().or(outcome.before.as_ref()) else {
                continue;
            };
            let generation = match deed {
                Deed::Deleted => self.last_generation(&outcome.key) + 1,
                Deed::Created | Deed::Changed => state.generation,
            };
            let past = Past {
                key: outcome.key.clone(),
                deed,
                generation,
                labels: state.labels.clone(),
                spec: state.spec.clone(),
                author: when.author.to_owned(),
                at_ms: when.at_ms,
            };
            plan.history.insert((when.version.epoch, revision, 0), past);
            revision += 1;
            let own = per_object.get(&outcome.key).map_or(&[][..], Vec::as_slice);
            let surplus = (own.len() + 1).saturating_sub(HISTORY_PER_OBJECT_MAX);
            plan.forgotten.extend(&own[..surplus.min(own.len())]);
        }
        let kept = self.history.len() + plan.history.len() - plan.forgotten.len();
        let surplus = kept.saturating_sub(HISTORY_MAX);
        let oldest = self
            .history
            .keys()
            .filter(|at| !plan.forgotten.contains(at));
        let oldest: Vec<PastKey> = oldest.take(surplus).copied().collect();
        plan.forgotten.extend(oldest);
    }
}

impl Wish {
    pub(crate) fn key(&self) -> ObjectKey {
        match self {
            Self::Put(object) | Self::Create(object) => ObjectKey::of(object),
            Self::Delete(key, _) => key.clone(),
        }
    }
}

impl ObjectKey {
    pub(crate) fn of(object: &Object) -> Self {
        Self::new(
            object.kind,
            &object.metadata.namespace,
            &object.metadata.name,
        )
    }

    pub(crate) fn new(kind: Kind, namespace: &str, name: &str) -> Self {
        Self {
            kind,
            namespace: namespace.to_owned(),
            name: name.to_owned(),
        }
    }
}

fn finding(index: usize, fault: Fault, field: &str, reason: String) -> Finding {
    Finding {
        index,
        fault,
        field: field.to_owned(),
        reason,
    }
}
