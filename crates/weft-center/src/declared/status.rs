//! What an object counts: accepted, overridden by another, or invalid; and why.
//!
//! Of two policies for one service, the one that names it beats one that selects it by label; then the
//! higher priority; then the older.

use super::{Declared, ObjectKey, Stored};
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};
use weft_api::kinds::{Kind, Meaning};
use weft_model::ServiceName;
use weft_model::declared::{Lifecycle, PlainInstance, Target};

/// How specifically a policy means a service, its priority, and its age: the greatest wins.
type Rank = (bool, i32, std::cmp::Reverse<(u64, String)>);

impl Declared {
    /// The status of an object, as people see it.
    pub(crate) fn status(&self, stored: &Stored) -> Value {
        let (state, reason, message) = match &stored.meaning {
            Err(error) => ("Invalid", "SpecInvalid", error.to_string()),
            Ok(Meaning::Lifecycle(policy)) => self.policy_status(stored, policy),
            Ok(Meaning::Instance(own)) => self.instance_status(own),
            Ok(Meaning::Mesh(_) | Meaning::Service(_)) => ("Accepted", "Valid", String::new()),
        };
        json!({
            "state": state,
            "reason": reason,
            "message": message,
            "effect": stored.key.kind.effect(),
        })
    }

    fn instance_status(&self, own: &PlainInstance) -> (&'static str, &'static str, String) {
        let key = (own.service.clone(), own.id.to_string());
        if !self.given_way.contains(&key) {
            return ("Accepted", "Valid", String::new());
        }
        let message = format!(
            "a sidecar has registered an instance \"{}\" of \"{}\"; give this one another name",
            own.id, own.service
        );
        ("Overridden", "RegisteredBySidecar", message)
    }

    fn policy_status(
        &self,
        stored: &Stored,
        policy: &Lifecycle,
    ) -> (&'static str, &'static str, String) {
        if !policy.enabled {
            return ("Accepted", "SwitchedOff", "enabled is false".to_owned());
        }
        let mut winners: BTreeMap<ServiceName, &ObjectKey> = BTreeMap::new();
        for service in self.services_of(policy) {
            let winner = self.winner(&service).unwrap_or(&stored.key);
            winners.insert(service, winner);
        }
        let lost: Vec<String> = winners
            .iter()
            .filter(|(_, winner)| **winner != &stored.key)
            .map(|(service, winner)| {
                format!("\"{service}\" follows LifecyclePolicy \"{}\"", winner.name)
            })
            .collect();
        match lost.len() {
            0 if winners.is_empty() => (
                "Accepted",
                "NoTarget",
                "no declared service matches it yet".to_owned(),
            ),
            0 => ("Accepted", "Valid", String::new()),
            some if some == winners.len() => ("Overridden", "LessSpecificOrLower", lost.join(", ")),
            _ => ("Accepted", "PartlyOverridden", lost.join(", ")),
        }
    }

    /// The services that a policy means: those it names, and those declared that have its labels.
    fn services_of(&self, policy: &Lifecycle) -> BTreeSet<ServiceName> {
        let mut services = BTreeSet::new();
        for target in &policy.targets {
            match target {
                Target::Named(name) => {
                    services.insert(name.clone());
                }
                Target::Labelled { namespace, labels } => {
                    let declared = self.objects(Kind::MeshService, namespace);
                    let own = declared.filter(|stored| has_labels(stored, labels));
                    services.extend(own.map(|s| ServiceName::new(&s.key.namespace, &s.key.name)));
                }
            }
        }
        services
    }

    /// The policy that a service follows.
    fn winner(&self, service: &ServiceName) -> Option<&ObjectKey> {
        self.followed(service).map(|(key, _)| key)
    }

    /// The policy that a service follows, and what it says.
    pub(super) fn followed(&self, service: &ServiceName) -> Option<(&ObjectKey, &Lifecycle)> {
        let policies = self.objects(Kind::LifecyclePolicy, &service.namespace);
        policies
            .filter_map(|stored| {
                let Ok(Meaning::Lifecycle(policy)) = &stored.meaning else {
                    return None;
                };
                let rank = self.rank(stored, policy, service)?;
                Some((rank, (&stored.key, policy)))
            })
            .max_by(|(left, _), (right, _)| left.cmp(right))
            .map(|(_, followed)| followed)
    }

    fn rank(&self, stored: &Stored, policy: &Lifecycle, service: &ServiceName) -> Option<Rank> {
        let named = policy
            .targets
            .iter()
            .any(|target| matches!(target, Target::Named(name) if name == service));
        let meant = policy.enabled && (named || self.is_labelled(policy, service));
        let age = std::cmp::Reverse((stored.created_ms, stored.key.name.clone()));
        meant.then_some((named, policy.priority, age))
    }

    fn is_labelled(&self, policy: &Lifecycle, service: &ServiceName) -> bool {
        let key = ObjectKey::new(Kind::MeshService, &service.namespace, &service.name);
        let declared = self.objects.get(&key);
        policy.targets.iter().any(|target| match target {
            Target::Named(_) => false,
            Target::Labelled { namespace, labels } => {
                *namespace == service.namespace
                    && declared.is_some_and(|declared| has_labels(declared, labels))
            }
        })
    }
}

fn has_labels(stored: &Stored, labels: &[(Box<str>, Box<str>)]) -> bool {
    labels.iter().all(|(name, value)| {
        stored
            .labels
            .get(&**name)
            .is_some_and(|own| **own == **value)
    })
}
