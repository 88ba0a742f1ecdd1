//! The state of the mesh after what happened, with a clock that the test moves.

use super::*;
use crate::clock;
use weft_api::sync::InstanceState;
use weft_model::Family;
use weft_model::key::key_hash;

/// A catalog with a clock that a test moves.
struct World {
    catalog: Catalog,
    now: Instant,
    opened: u64,
}

impl World {
    fn new() -> Self {
        Self {
            catalog: Catalog::new(
                sync::Version {
                    epoch: 7,
                    revision: 0,
                },
                Times::default(),
            ),
            now: clock::now(),
            opened: 0,
        }
    }

    fn pass(&mut self, span: Duration) -> bool {
        self.now += span;
        self.catalog.tick(self.now)
    }

    fn connect(&mut self, service: &str, id: &str) -> StreamId {
        self.opened += 1;
        let stream = StreamId(self.opened);
        self.catalog
            .connected(stream, ServiceName::new("default", service), id.into());
        stream
    }

    fn join(&mut self, service: &str, id: &str) -> StreamId {
        let stream = self.connect(service, id);
        self.catalog
            .register(stream, record(service, id), self.now)
            .unwrap();
        stream
    }

    fn states(&self, service: &str) -> Vec<(String, InstanceState)> {
        let place = self
            .catalog
            .services
            .get(&ServiceName::new("default", service));
        let instances = place.into_iter().flat_map(|place| &place.instances);
        instances
            .map(|(id, entry)| (id.clone(), entry.record.state()))
            .collect()
    }

    fn revision(&self) -> u64 {
        self.catalog.version().revision
    }
}

fn record(service: &str, id: &str) -> sync::Instance {
    sync::Instance {
        namespace: "default".into(),
        service: service.into(),
        id: id.into(),
        incarnation: 1,
        address: "127.0.0.1".into(),
        inbound_port: 9982,
        ports: vec![sync::Port {
            name: "http".into(),
            protocol: "http".into(),
            number: 8080,
            ..sync::Port::default()
        }],
        weight: 100,
        ..sync::Instance::default()
    }
}

fn host(service: &str) -> u64 {
    key_hash(Family::Host, service, "", "", "default")
}

#[test]
fn a_registered_instance_is_ready_and_takes_one_revision() {
    let mut world = World::new();
    world.join("orders", "a");
    assert_eq!(world.states("orders"), [("a".into(), InstanceState::Ready)]);
    assert_eq!(world.revision(), 1);
}

#[test]
fn the_same_record_again_changes_nothing() {
    let mut world = World::new();
    let stream = world.join("orders", "a");
    world
        .catalog
        .register(stream, record("orders", "a"), world.now)
        .unwrap();
    assert_eq!(world.revision(), 1);
}

#[test]
fn a_record_of_another_instance_is_refused() {
    let mut world = World::new();
    let stream = world.connect("orders", "a");
    let taken = world
        .catalog
        .register(stream, record("orders", "b"), world.now);
    assert_eq!(taken, Err(Refused::NotYours));
    assert_eq!(world.revision(), 0);
}

#[test]
fn a_broken_stream_leaves_the_instance_unconfirmed_for_60_s_and_then_drops_it() {
    let mut world = World::new();
    let stream = world.join("orders", "a");
    world.catalog.broken(stream, world.now);
    assert_eq!(
        world.states("orders"),
        [("a".into(), InstanceState::Unconfirmed)]
    );
    world.pass(Duration::from_millis(59_999));
    assert_eq!(world.states("orders").len(), 1);
    assert_eq!(
        world.catalog.due_at(),
        Some(world.now + Duration::from_millis(1))
    );
    world.pass(Duration::from_millis(1));
    assert_eq!(world.states("orders"), []);
    assert!(world.pass(MERGE), "the removal is pushed");
}

#[test]
fn a_sidecar_that_comes_back_confirms_its_instance() {
    let mut world = World::new();
    let stream = world.join("orders", "a");
    world.catalog.broken(stream, world.now);
    world.pass(Duration::from_secs(59));
    world.join("orders", "a");
    world.pass(Duration::from_mins(5));
    assert_eq!(world.states("orders"), [("a".into(), InstanceState::Ready)]);
}

#[test]
fn the_end_of_an_old_stream_does_not_touch_an_instance_that_has_a_newer_one() {
    let mut world = World::new();
    let old = world.join("orders", "a");
    world.join("orders", "a");
    let revision = world.revision();
    world.catalog.broken(old, world.now);
    assert_eq!(world.states("orders"), [("a".into(), InstanceState::Ready)]);
    assert_eq!(world.revision(), revision);
}

#[test]
fn a_goodbye_removes_at_once() {
    let mut world = World::new();
    let stream = world.join("orders", "a");
    world.join("orders", "b");
    world.catalog.goodbye(stream, world.now);
    assert_eq!(world.states("orders"), [("b".into(), InstanceState::Ready)]);
}

#[test]
fn a_draining_instance_stays_draining_when_its_stream_breaks() {
    let mut world = World::new();
    let stream = world.connect("orders", "a");
    let mut leaving = record("orders", "a");
    leaving.set_state(InstanceState::Draining);
    world.catalog.register(stream, leaving, world.now).unwrap();
    world.catalog.broken(stream, world.now);
    assert_eq!(
        world.states("orders"),
        [("a".into(), InstanceState::Draining)]
    );
}

#[test]
fn changes_wait_for_others_50_ms_from_the_first_of_them() {
    let mut world = World::new();
    world.join("orders", "a");
    assert!(!world.pass(Duration::from_millis(30)));
    world.join("orders", "b");
    assert!(!world.pass(Duration::from_millis(19)));
    world.join("orders", "c");
    assert!(
        world.pass(Duration::from_millis(1)),
        "later changes do not put it off"
    );
    assert!(!world.pass(MERGE), "there is nothing new");
}

#[test]
fn whoever_holds_nothing_is_sent_everything() {
    let mut world = World::new();
    world.join("orders", "a");
    world.join("web", "b");
    let changes = world.catalog.changes_since(None);
    let services: Vec<_> = changes
        .deltas
        .iter()
        .map(|delta| delta.service.as_str())
        .collect();
    assert_eq!(services, ["orders", "web"]);
    assert!(
        changes
            .deltas
            .iter()
            .all(|delta| delta.full && delta.upserted.len() == 1)
    );
    assert!(changes.names.full);
    assert!(changes.names.added.contains(&host("orders")));
    assert_eq!(
        changes.names.version,
        Some(sync::Version {
            epoch: 7,
            revision: 2
        })
    );
}

#[test]
fn whoever_holds_a_revision_is_sent_what_changed_since() {
    let mut world = World::new();
    world.join("web", "w");
    let orders = world.join("orders", "a");
    let held = world.revision();
    world.join("orders", "b");
    world.catalog.goodbye(orders, world.now);
    let changes = world.catalog.changes_since(Some(held));
    let [delta] = changes.deltas.as_slice() else {
        panic!("one service changed: {changes:?}")
    };
    assert_eq!((delta.service.as_str(), delta.full), ("orders", false));
    assert_eq!(delta.upserted.len(), 1);
    assert_eq!(delta.removed, ["a"]);
    assert!(!changes.names.full);
    assert_eq!(
        (changes.names.added.len(), changes.names.removed.len()),
        (0, 0)
    );
}

#[test]
fn an_instance_that_left_and_came_back_is_not_reported_as_removed() {
    let mut world = World::new();
    let stream = world.join("orders", "a");
    let held = world.revision();
    world.catalog.goodbye(stream, world.now);
    world.join("orders", "a");
    let changes = world.catalog.changes_since(Some(held));
    assert_eq!(changes.deltas[0].removed, Vec::<String>::new());
    assert_eq!(changes.deltas[0].upserted.len(), 1);
}

#[test]
fn a_revision_of_the_future_is_answered_with_everything() {
    let mut world = World::new();
    world.join("orders", "a");
    assert!(world.catalog.changes_since(Some(99)).names.full);
}

#[test]
fn removals_that_are_no_longer_remembered_are_answered_with_everything() {
    let mut world = World::new();
    world.join("orders", "stays");
    let held = world.revision();
    for number in 0..=REMOVALS_KEPT_MAX {
        let stream = world.join("orders", &format!("i{number}"));
        world.catalog.goodbye(stream, world.now);
    }
    assert!(world.catalog.changes_since(Some(held)).names.full);
    assert!(
        !world
            .catalog
            .changes_since(Some(world.revision()))
            .names
            .full
    );
    assert_eq!(world.catalog.removed_instances.len(), REMOVALS_KEPT_MAX);
}

#[test]
fn a_service_without_instances_keeps_its_names_for_ten_minutes() {
    let mut world = World::new();
    let stream = world.join("orders", "a");
    world.catalog.goodbye(stream, world.now);
    let held = world.revision();
    world.pass(Duration::from_secs(599));
    assert!(
        world
            .catalog
            .changes_since(None)
            .names
            .added
            .contains(&host("orders"))
    );
    world.pass(Duration::from_secs(1));
    let changes = world.catalog.changes_since(Some(held));
    assert!(changes.names.removed.contains(&host("orders")));
    assert!(world.catalog.changes_since(None).names.added.is_empty());
    assert_eq!(world.catalog.due_at(), Some(world.now + MERGE));
}

#[test]
fn a_key_that_two_services_share_stays_until_both_are_gone() {
    let mut world = World::new();
    let mut streams = Vec::new();
    for service in ["one", "two"] {
        let stream = world.connect(service, service);
        let mut shared = record(service, service);
        shared.ports[0].protocol = "motan".into();
        shared.ports[0].interface = "a.b.Stock".into();
        world.catalog.register(stream, shared, world.now).unwrap();
        streams.push(stream);
    }
    let key = key_hash(Family::Rpc, "a.b.Stock", "", "", "default");
    let is_known = |world: &World| world.catalog.changes_since(None).names.added.contains(&key);
    world.catalog.goodbye(streams[0], world.now);
    world.pass(EMPTY_SERVICE_KEPT);
    assert!(is_known(&world));
    world.catalog.goodbye(streams[1], world.now);
    world.pass(EMPTY_SERVICE_KEPT);
    assert!(!is_known(&world));
}

#[test]
fn any_mixture_of_differences_leads_to_what_everything_says() {
    // A sidecar that applies differences at arbitrary moments must hold what a new one is sent.
    for seed in 1..=200_u64 {
        let mut random = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let mut next = |below: u64| {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random % below
        };
        let mut world = World::new();
        let mut streams: Vec<StreamId> = Vec::new();
        let mut held = BTreeMap::new();
        let mut names = BTreeSet::new();
        let mut revision = None;
        for _ in 0..60 {
            match next(6) {
                0..=2 => {
                    let (service, id) = (format!("s{}", next(3)), format!("i{}", next(4)));
                    streams.push(world.join(&service, &id));
                }
                3 if !streams.is_empty() => {
                    let stream = streams.swap_remove(next(streams.len() as u64) as usize);
                    world.catalog.broken(stream, world.now);
                }
                4 if !streams.is_empty() => {
                    let stream = streams.swap_remove(next(streams.len() as u64) as usize);
                    world.catalog.goodbye(stream, world.now);
                }
                _ => {
                    world.pass(Duration::from_secs(next(300)));
                    let changes = world.catalog.changes_since(revision);
                    revision = apply(&changes, &mut held, &mut names);
                }
            }
        }
        apply(
            &world.catalog.changes_since(revision),
            &mut held,
            &mut names,
        );
        let (mut all, mut all_names) = (BTreeMap::new(), BTreeSet::new());
        apply(&world.catalog.changes_since(None), &mut all, &mut all_names);
        assert_eq!((held, names), (all, all_names), "seed {seed}");
    }
}

type Held = BTreeMap<(String, String), sync::Instance>;

fn apply(changes: &Changes, held: &mut Held, names: &mut BTreeSet<u64>) -> Option<u64> {
    if changes.names.full {
        held.clear();
        names.clear();
    }
    for delta in &changes.deltas {
        for id in &delta.removed {
            held.remove(&(delta.service.clone(), id.clone()));
        }
        for instance in &delta.upserted {
            held.insert(
                (delta.service.clone(), instance.id.clone()),
                instance.clone(),
            );
        }
    }
    for hash in &changes.names.removed {
        names.remove(hash);
    }
    names.extend(&changes.names.added);
    changes.names.version.map(|version| version.revision)
}
