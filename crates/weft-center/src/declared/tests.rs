//! Sets of wishes: what they become, what is refused, what is remembered, who wins.

use super::plan::{Fault, Finding, Occasion, Plan, Wish};
use super::*;
use crate::reply::resource_version;
use crate::store::Change;
use serde_json::json;
use weft_api::kinds::{API_VERSION, Object};

/// What is declared, with its rows as a store would hold them.
#[derive(Default)]
struct World {
    declared: Declared,
    rows: Rows,
    revision: u64,
}

impl World {
    fn plan(&self, wishes: Vec<Wish>) -> Result<Plan, Vec<Finding>> {
        let version = Version {
            epoch: 7,
            revision: self.revision + 1,
        };
        let when = Occasion {
            author: "ann@host",
            at_ms: 1_000 * (self.revision + 1),
            version,
        };
        self.declared.plan(wishes, when)
    }

    fn take(&mut self, wishes: Vec<Wish>) {
        let plan = self.plan(wishes).unwrap();
        self.revision += plan.revisions();
        for Change { table, key, value } in plan.changes() {
            match value {
                Some(value) => self.rows.insert((table, key), value),
                None => self.rows.remove(&(table, key)),
            };
        }
        self.declared.take(plan);
        self.check();
    }

    /// What a center that starts anew reads is what this one knows.
    fn check(&self) {
        let (read, unread) = Declared::load(&self.rows);
        assert!(unread.is_empty(), "{unread:?}");
        assert_eq!(read.objects, self.declared.objects);
        assert_eq!(read.history, self.declared.history);
    }

    fn status(&self, kind: Kind, name: &str) -> (String, String) {
        let stored = self.declared.object(&ObjectKey::new(kind, "default", name));
        let status = self.declared.status(stored.unwrap());
        let text = |field: &str| status[field].as_str().unwrap().to_owned();
        (text("state"), text("reason"))
    }

    fn version(&self, kind: Kind, name: &str) -> String {
        let stored = self.declared.object(&ObjectKey::new(kind, "default", name));
        resource_version(stored.unwrap().version)
    }
}

fn object(kind: Kind, metadata: &Value, spec: &Value) -> Box<Object> {
    let value = json!({
        "apiVersion": API_VERSION, "kind": kind.name(), "metadata": metadata, "spec": spec,
    });
    Box::new(Object::from_json(&value, "").unwrap())
}

fn service(name: &str, port: u16) -> Wish {
    let spec = json!({ "ports": [{ "port": port }] });
    Wish::Put(object(Kind::MeshService, &json!({ "name": name }), &spec))
}

fn policy(name: &str, target: &Value, priority: i32) -> Wish {
    let spec = json!({ "targetRefs": [target], "priority": priority });
    Wish::Put(object(
        Kind::LifecyclePolicy,
        &json!({ "name": name }),
        &spec,
    ))
}

fn gone(name: &str) -> Wish {
    Wish::Delete(ObjectKey::new(Kind::MeshService, "default", name), None)
}

#[test]
fn the_same_again_changes_nothing() {
    let mut world = World::default();
    world.take(vec![service("a", 1)]);
    let plan = world.plan(vec![service("a", 1)]).unwrap();
    assert!(plan.is_empty() && plan.changes().is_empty());
}

#[test]
fn one_fault_refuses_the_whole_set_and_every_fault_is_told() {
    let mut world = World::default();
    world.take(vec![service("a", 1)]);
    let findings = world.plan(vec![service("b", 1), gone("x"), service("b", 2), gone("y")]);
    let findings = findings.unwrap_err();
    let found: Vec<_> = findings
        .iter()
        .map(|finding| (finding.index, finding.fault))
        .collect();
    let expected = [
        (1, Fault::NotFound),
        (2, Fault::Invalid),
        (3, Fault::NotFound),
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_write_on_an_old_version_is_refused() {
    let mut world = World::default();
    world.take(vec![service("a", 1)]);
    let old = world.version(Kind::MeshService, "a");
    let write = |version: &str, port: u16| {
        let metadata = json!({ "name": "a", "resourceVersion": version });
        let spec = json!({ "ports": [{ "port": port }] });
        vec![Wish::Put(object(Kind::MeshService, &metadata, &spec))]
    };
    world.take(write(&old, 2));
    let findings = world.plan(write(&old, 3)).unwrap_err();
    assert_eq!(findings[0].fault, Fault::Conflict);
    assert_eq!(findings[0].field, "metadata.resourceVersion");
    let present = world.version(Kind::MeshService, "a");
    assert!(world.plan(write(&present, 3)).is_ok());
    assert!(world.plan(write("9.9", 3)).is_err());
}

#[test]
fn what_must_be_new_is_refused_when_it_is_there() {
    let mut world = World::default();
    let create = || {
        let spec = json!({ "ports": [{ "port": 1 }] });
        vec![Wish::Create(object(
            Kind::MeshService,
            &json!({ "name": "a" }),
            &spec,
        ))]
    };
    world.take(create());
    assert_eq!(
        world.plan(create()).unwrap_err()[0].fault,
        Fault::AlreadyExists
    );
}

#[test]
fn generations_grow_over_a_deletion_and_the_history_keeps_all() {
    let mut world = World::default();
    world.take(vec![service("a", 1)]);
    world.take(vec![service("a", 2)]);
    world.take(vec![gone("a")]);
    world.take(vec![service("a", 3)]);
    let key = ObjectKey::new(Kind::MeshService, "default", "a");
    let history = world.declared.history(&key);
    let history: Vec<_> = history
        .map(|past| (past.generation, past.deed.name()))
        .collect();
    let expected = [
        (1, "created"),
        (2, "changed"),
        (3, "deleted"),
        (4, "created"),
    ];
    assert_eq!(history, expected);
    assert_eq!(world.declared.object(&key).unwrap().generation, 4);
}

#[test]
fn the_history_has_a_limit_for_each_object_and_for_all() {
    let mut world = World::default();
    for round in 0..HISTORY_PER_OBJECT_MAX as u16 + 10 {
        world.take(vec![service("a", round + 1)]);
    }
    let key = ObjectKey::new(Kind::MeshService, "default", "a");
    assert_eq!(world.declared.history(&key).count(), HISTORY_PER_OBJECT_MAX);
    let oldest = world.declared.history(&key).next().unwrap().generation;
    assert_eq!(oldest, 11);
    for round in 1..7 {
        let set = (0..1_000).map(|index| service(&format!("s{index}"), round));
        world.take(set.collect());
        assert!(world.declared.history.len() <= HISTORY_MAX);
    }
    assert_eq!(world.declared.history.len(), HISTORY_MAX);
}

#[test]
fn two_instances_at_one_address_are_refused() {
    let at = |name: &str, address: &str| {
        let spec = json!({ "service": "a", "address": address, "ports": [{ "port": 80 }] });
        Wish::Put(object(Kind::Workload, &json!({ "name": name }), &spec))
    };
    let mut world = World::default();
    world.take(vec![at("one", "10.0.0.1")]);
    let findings = world.plan(vec![at("two", "10.0.0.1")]).unwrap_err();
    assert_eq!(findings[0].field, "spec.address");
    // The one that has it moves away in the same set.
    world.take(vec![at("two", "10.0.0.1"), at("one", "10.0.0.2")]);
}

#[test]
fn the_more_specific_policy_wins_then_the_higher_then_the_older() {
    let mut world = World::default();
    let spec = json!({ "ports": [{ "port": 1 }] });
    let labelled = json!({ "name": "orders", "labels": { "tier": "a" } });
    world.take(vec![Wish::Put(object(Kind::MeshService, &labelled, &spec))]);
    let by_label = json!({ "kind": "MeshService", "labels": { "tier": "a" } });
    let by_name = json!({ "kind": "MeshService", "name": "orders" });
    let accepted = ("Accepted".to_owned(), "Valid".to_owned());

    world.take(vec![policy("label", &by_label, 100)]);
    assert_eq!(world.status(Kind::LifecyclePolicy, "label"), accepted);
    world.take(vec![policy("name", &by_name, 0)]);
    assert_eq!(world.status(Kind::LifecyclePolicy, "label").0, "Overridden");
    assert_eq!(world.status(Kind::LifecyclePolicy, "name"), accepted);
    world.take(vec![policy("younger", &by_name, 0)]);
    assert_eq!(
        world.status(Kind::LifecyclePolicy, "younger").0,
        "Overridden"
    );
    world.take(vec![policy("higher", &by_name, 1)]);
    assert_eq!(world.status(Kind::LifecyclePolicy, "name").0, "Overridden");
    assert_eq!(world.status(Kind::LifecyclePolicy, "higher"), accepted);
}

#[test]
fn an_object_that_this_weft_cannot_accept_is_kept_and_called_invalid() {
    let mut world = World::default();
    world.take(vec![service("a", 1)]);
    for value in world.rows.values_mut() {
        let text = String::from_utf8(value.clone()).unwrap();
        *value = text.replace("\"port\":1", "\"port\":0").into_bytes();
    }
    world.declared = Declared::load(&world.rows).0;
    assert_eq!(world.status(Kind::MeshService, "a").0, "Invalid");
    // Written anew it is valid again.
    world.take(vec![service("a", 2)]);
    assert_eq!(world.status(Kind::MeshService, "a").0, "Accepted");
}

#[test]
fn any_course_of_changes_is_read_back_as_it_was() {
    // A small generator of our own: the course is the same each time.
    let mut seed = 0x1234_5678_u64;
    let mut next = move |below: u64| {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (seed >> 33) % below
    };
    let mut world = World::default();
    for _ in 0..300 {
        let name = format!("s{}", next(5));
        let wish = if next(3) == 0 {
            gone(&name)
        } else {
            service(&name, next(9) as u16 + 1)
        };
        let before = world.declared.history.len();
        match world.plan(vec![wish.clone()]) {
            Err(findings) => assert_eq!(findings[0].fault, Fault::NotFound),
            Ok(plan) if plan.is_empty() => {}
            Ok(_) => {
                world.take(vec![wish]);
                assert!(world.declared.history.len() > before || before > HISTORY_PER_OBJECT_MAX);
            }
        }
    }
}

/// Rows of every table, as format 1 has them.
const GOLDEN: &str = include_str!("../../golden/store-v1.jsonl");

#[test]
fn rows_of_the_first_format_are_read_and_written_as_they_were() {
    let rows = crate::store::backup::read(GOLDEN).unwrap();
    assert_eq!(crate::store::backup::written(&rows), GOLDEN);
    let (declared, unread) = Declared::load(&rows);
    assert!(unread.is_empty());
    assert_eq!((declared.objects.len(), declared.history.len()), (2, 3));
    let row = |table, key: String| rows.get(&(table, key)).cloned();
    for stored in declared.objects.values() {
        let key = row::object_key(&stored.key);
        assert_eq!(row(Table::Objects, key), Some(row::of_object(stored)));
    }
    for (at, past) in &declared.history {
        let key = row::of_past_key(*at);
        assert_eq!(row(Table::History, key), Some(row::of_past(past)));
    }
    let key = ObjectKey::new(Kind::MeshService, "default", "a");
    let stored = declared.object(&key).unwrap();
    assert_eq!((stored.generation, stored.version.revision), (2, 2));
    let record = weft_api::sync::Instance {
        namespace: "default".into(),
        service: "a".into(),
        id: "a-1".into(),
        incarnation: 1,
        address: "10.0.0.1".into(),
        inbound_port: 9982,
        weight: 100,
        ..weft_api::sync::Instance::default()
    };
    let name = ServiceName::new("default", "a");
    let bytes = weft_api::sync::frame::instance_bytes(&record);
    let change = crate::instance_rows::change(&name, "a-1", Some(&bytes));
    assert_eq!(row(change.table, change.key), change.value);
    let (records, unread) = crate::instance_rows::records(&rows);
    assert_eq!((records, unread.len()), (vec![record], 0));
}
