//! What the center is told of peers: all once, then what changed.

use super::*;
use std::sync::Arc;
use weft_model::InstanceState;
use weft_model::instance::{HealthState, Shape};
use weft_model::snapshot::{Draft, Version};

fn instance(id: &str) -> Arc<Instance> {
    Arc::new(Instance {
        id: InstanceId::new(id),
        incarnation: 3,
        address: [10, 0, 0, 1].into(),
        inbound_port: 9982,
        state: InstanceState::Ready,
        weight: 100,
        shape: Arc::new(Shape {
            service: ServiceName::new("default", "orders"),
            ports: Vec::new(),
            labels: Vec::new(),
            zone: "".into(),
            idempotent: Vec::new(),
            check: None,
        }),
    })
}

/// (id, state, silent)
type Row = (String, String, u32);

struct World {
    draft: Draft,
    snapshot: Snapshot,
    peers: Peers,
}

impl World {
    fn of(ids: &[&str]) -> Self {
        let mut draft = Draft::default();
        let orders = ServiceName::new("default", "orders");
        for id in ids {
            draft.edit(&orders).put(instance(id));
        }
        let snapshot = draft.publish(Version::default(), true);
        Self {
            draft,
            snapshot,
            peers: Peers::default(),
        }
    }

    fn load(&self, id: &str) -> Arc<InstanceLoad> {
        let orders = self.snapshot.service("default", "orders").unwrap();
        let mut members = orders.members.iter();
        let member = members.find(|member| member.instance.id.as_str() == id);
        Arc::clone(&member.unwrap().load)
    }

    /// Whether it is all there is, and the rows, sorted; none when nothing is told.
    fn told(&mut self, now_ms: u64) -> Option<(bool, Vec<Row>)> {
        let report = self.peers.report(&self.snapshot, now_ms)?;
        let rows = report.peers.into_iter();
        let mut rows: Vec<_> = rows
            .map(|row| (row.instance, row.state, row.silent_ms))
            .collect();
        rows.sort();
        Some((report.full, rows))
    }
}

fn one(id: &str, state: &str, silent_ms: u32) -> Vec<Row> {
    vec![(id.to_owned(), state.to_owned(), silent_ms)]
}

#[test]
fn only_who_was_met_is_told_and_only_when_it_changes() {
    let mut world = World::of(&["a", "b"]);
    assert_eq!(world.told(1_000), None);
    world.load("a").heard_ms.store(900, Relaxed);
    assert_eq!(world.told(1_000), Some((true, one("a", "ready", 100))));
    world.load("a").heard_ms.store(2_900, Relaxed);
    assert_eq!(world.told(3_000), None);

    world.load("a").tell(3, 1, HealthState::Warming);
    assert_eq!(world.told(3_000), Some((false, one("a", "warming", 100))));
    world.load("a").suspects.store(1, Relaxed);
    assert_eq!(world.told(3_500), Some((false, one("a", "suspect", 600))));
    world.load("a").suspects.store(0, Relaxed);
    world.load("a").avoid_until(5_000);
    assert_eq!(
        world.told(4_000),
        Some((false, one("a", "unreachable", 1_100)))
    );
    assert_eq!(world.told(5_000), Some((false, one("a", "warming", 2_100))));
}

#[test]
fn one_that_falls_silent_is_told_as_such_once() {
    let mut world = World::of(&["a"]);
    world.load("a").heard_ms.store(1_000, Relaxed);
    assert!(world.told(1_100).is_some());
    assert_eq!(world.told(7_000), None);
    assert_eq!(world.told(7_001), Some((false, one("a", "ready", 6_001))));
    assert_eq!(world.told(60_000), None);
}

#[test]
fn one_that_left_is_told_with_no_state_and_forgotten() {
    let mut world = World::of(&["a", "b"]);
    world.load("a").heard_ms.store(1, Relaxed);
    world.load("b").heard_ms.store(1, Relaxed);
    assert_eq!(world.told(1).unwrap().1.len(), 2);
    let orders = ServiceName::new("default", "orders");
    world.draft.edit(&orders).remove(&InstanceId::new("a"));
    world.snapshot = world.draft.publish(Version::default(), true);
    assert_eq!(world.told(1), Some((false, one("a", "", 0))));
    assert_eq!(world.told(1), None);
}

#[test]
fn a_report_is_cut_and_the_rest_follows() {
    let ids: Vec<String> = (0..PEERS_MAX + 7).map(|at| format!("i{at}")).collect();
    let ids: Vec<&str> = ids.iter().map(String::as_str).collect();
    let mut world = World::of(&ids);
    for id in &ids {
        world.load(id).heard_ms.store(1, Relaxed);
    }
    assert_eq!(world.told(1).unwrap().1.len(), PEERS_MAX);
    let (full, rest) = world.told(1).unwrap();
    assert!(!full);
    assert_eq!(rest.len(), 7, "only those that are new");
    assert!(rest.iter().all(|(_, state, _)| state == "ready"));
    assert_eq!(world.told(1), None);
}
