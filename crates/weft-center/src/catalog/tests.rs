//! The state of the mesh after what happened, with a clock that the test moves.

use super::*;
use crate::clock;
use weft_api::sync::InstanceState;
use weft_model::Family;
use weft_model::key::key_hash;

/// A catalog with a clock that a test moves.
pub(super) struct World {
    pub(super) catalog: Catalog,
    pub(super) now: Instant,
    pub(super) opened: u64,
}

impl World {
    pub(super) fn new() -> Self {
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

    pub(super) fn pass(&mut self, span: Duration) -> bool {
        self.now += span;
        self.catalog.tick(self.now)
    }

    pub(super) fn connect(&mut self, service: &str, id: &str) -> StreamId {
        self.opened += 1;
        let stream = StreamId(self.opened);
        let name = ServiceName::new("default", service);
        self.catalog.connected(stream, name, id.into(), None);
        stream
    }

    pub(super) fn join(&mut self, service: &str, id: &str) -> StreamId {
        let stream = self.connect(service, id);
        self.catalog
            .register(stream, record(service, id), self.now)
            .unwrap();
        stream
    }

    fn states(&self, service: &str) -> Vec<(String, InstanceState)> {
        let place = self.catalog.service(&ServiceName::new("default", service));
        let instances = place.into_iter().flat_map(|place| &place.instances);
        instances
            .map(|(id, entry)| (id.clone(), entry.record.state()))
            .collect()
    }

    pub(super) fn revision(&self) -> u64 {
        self.catalog.version().revision
    }
}

pub(super) fn record(service: &str, id: &str) -> sync::Instance {
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

pub(super) fn host(service: &str) -> u64 {
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
fn a_service_without_instances_keeps_its_names_for_ten_minutes() {
    let mut world = World::new();
    let stream = world.join("orders", "a");
    world.catalog.goodbye(stream, world.now);
    let held = world.revision();
    world.pass(Duration::from_secs(599));
    assert!(world.catalog.keys.all().contains(&host("orders")));
    world.pass(Duration::from_secs(1));
    let (_, removed) = world.catalog.keys.difference(held);
    assert!(removed.contains(&host("orders")));
    assert!(world.catalog.keys.all().is_empty());
    assert_eq!(world.catalog.due_at(), Some(world.now + MERGE));
    assert_eq!(world.catalog.services().count(), 0);
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
    let is_known = |world: &World| world.catalog.keys.all().contains(&key);
    world.catalog.goodbye(streams[0], world.now);
    world.pass(EMPTY_SERVICE_KEPT);
    assert!(is_known(&world));
    world.catalog.goodbye(streams[1], world.now);
    world.pass(EMPTY_SERVICE_KEPT);
    assert!(!is_known(&world));
}

#[test]
fn one_change_costs_the_same_in_a_large_mesh_as_in_a_small_one() {
    // Counted, not timed: what one change touches must not grow with what there is.
    let cost = |services: u64, instances: u64, sidecars: u64| {
        let mut world = World::new();
        let mut streams = Vec::new();
        for number in 0..instances {
            let service = format!("s{}", number % services);
            let stream = world.connect(&service, &format!("i{number}"));
            let mut own = record(&service, &format!("i{number}"));
            own.address = format!("10.0.{}.{}", number / 250, number % 250);
            world.catalog.register(stream, own, world.now).unwrap();
            streams.push(stream);
        }
        for (number, stream) in streams.iter().take(sidecars as usize).enumerate() {
            let used = host(&format!("s{}", number as u64 % services));
            let subscribe = sync::Subscribe {
                keys: vec![used],
                sequence: 1,
                ..sync::Subscribe::default()
            };
            world.catalog.subscribe(*stream, &subscribe).unwrap();
        }
        world.pass(MERGE);
        for stream in &streams {
            world.catalog.take_parcels(*stream);
        }
        world.catalog.work = Work::default();
        let mut changed = record("s1", "i1");
        changed.address = "10.0.0.1".into();
        changed.weight = 7;
        world
            .catalog
            .register(streams[1], changed, world.now)
            .unwrap();
        world.pass(MERGE);
        world.catalog.work
    };
    let small = cost(2, 4, 4);
    let expect = Work {
        services_touched: 1,
        instances_encoded: 1,
        deltas_made: 1,
        keys_touched: 0,
        streams_told: 2,
    };
    assert_eq!(small, expect);
    assert_eq!(cost(500, 5_000, 1_000), expect);
}

#[test]
fn deadlines_come_in_their_order_however_many_there_are() {
    let mut world = World::new();
    let streams: Vec<_> = (0..300)
        .map(|number| world.join("orders", &format!("i{number}")))
        .collect();
    for stream in streams {
        world.catalog.broken(stream, world.now);
        world.pass(Duration::from_millis(10));
    }
    world.pass(Duration::from_secs(57));
    assert_eq!(
        world.states("orders").len(),
        299,
        "the first is due, the second is not"
    );
    let is_second = |due: &(Instant, Due)| matches!(&due.1, Due::Drop(_, id) if id == "i1");
    assert!(world.catalog.deadlines.first().is_some_and(is_second));
    world.pass(Duration::from_secs(3));
    assert_eq!(world.states("orders"), []);
    let left: Vec<_> = world.catalog.deadlines.iter().map(|(_, due)| due).collect();
    assert!(matches!(left.as_slice(), [Due::Forget(_)]), "{left:?}");
}

fn heard(service: &str, id: &str, state: &str, silent_ms: u32) -> sync::PeerReport {
    sync::PeerReport {
        full: false,
        peers: vec![sync::PeerHealth {
            namespace: String::new(),
            service: service.into(),
            instance: id.into(),
            incarnation: 1,
            state: state.into(),
            silent_ms,
        }],
    }
}

#[test]
fn a_peer_that_hears_an_instance_keeps_it_and_nothing_else_does() {
    let table = [
        ("ready", 0, true),
        ("warming", 6_000, true),
        ("overloaded", 10, true),
        ("ready", 6_001, false),
        ("suspect", 0, false),
        ("unreachable", 0, false),
        ("draining", 0, false),
        ("app dead", 0, false),
        ("of a later version", 0, false),
        ("", 0, false),
    ];
    for (state, silent_ms, stays) in table {
        let mut world = World::new();
        let web = world.join("web", "w");
        let orders = world.join("orders", "a");
        world
            .catalog
            .peers_reported(web, heard("orders", "a", state, silent_ms));
        world.catalog.broken(orders, world.now);
        world.pass(UNCONFIRMED_KEPT);
        assert_eq!(
            !world.states("orders").is_empty(),
            stays,
            "{state} {silent_ms}"
        );
        // It stays as long as it is heard, and not longer.
        world.pass(Duration::from_mins(5));
        assert_eq!(
            !world.states("orders").is_empty(),
            stays,
            "{state} {silent_ms}"
        );
        world
            .catalog
            .peers_reported(web, heard("orders", "a", "suspect", 7_000));
        world.pass(Duration::from_secs(6));
        assert_eq!(world.states("orders"), [], "{state} {silent_ms}");
    }
}

#[test]
fn what_a_sidecar_said_of_others_ends_with_its_stream_and_with_them() {
    let mut world = World::new();
    let web = world.join("web", "w");
    let other = world.join("web", "x");
    let orders = world.join("orders", "a");
    for stream in [web, other] {
        world
            .catalog
            .peers_reported(stream, heard("orders", "a", "ready", 0));
    }
    let seen = |world: &World| {
        let place = world
            .catalog
            .service(&ServiceName::new("default", "orders"));
        place
            .and_then(|place| place.instances.get("a"))
            .map(|entry| entry.seen.len())
    };
    assert_eq!(seen(&world), Some(2));
    world.catalog.broken(other, world.now);
    assert_eq!(seen(&world), Some(1));
    let all_anew = sync::PeerReport {
        full: true,
        peers: Vec::new(),
    };
    world.catalog.peers_reported(web, all_anew);
    assert_eq!(seen(&world), Some(0));
    world
        .catalog
        .peers_reported(web, heard("orders", "a", "ready", 0));
    world.catalog.goodbye(orders, world.now);
    assert!(world.catalog.sidecars[&web].reported.is_empty());
}

#[test]
fn a_sidecar_says_so_much_of_others_and_no_more() {
    let mut world = World::new();
    let web = world.join("web", "w");
    for number in 0..=PEERS_PER_SIDECAR_MAX {
        world.join("orders", &format!("i{number}"));
    }
    let rows = (0..=PEERS_PER_SIDECAR_MAX)
        .flat_map(|number| heard("orders", &format!("i{number}"), "ready", 0).peers);
    let report = sync::PeerReport {
        full: true,
        peers: rows.collect(),
    };
    assert_eq!(world.catalog.peers_reported(web, report), 1);
    assert_eq!(
        world.catalog.sidecars[&web].reported.len(),
        PEERS_PER_SIDECAR_MAX
    );
}

#[test]
fn of_two_words_about_being_out_of_use_the_later_counts() {
    let word = |offline, changed_ms| sync::SetOffline {
        offline,
        changed_ms,
    };
    let mut world = World::new();
    let name = ServiceName::new("default", "orders");
    let stream = world.join("orders", "a");
    let entry = world
        .catalog
        .set_offline(&name, "a", word(true, 50), world.now);
    assert!(entry.unwrap().record.offline);
    let said = |parcels: Vec<Parcel>| -> Vec<_> {
        let messages = publish::tests::messages(&parcels);
        let words = messages.into_iter().filter_map(|kind| match kind {
            sync::from_center::Kind::SetOffline(word) => Some(word),
            _ => None,
        });
        words.collect()
    };
    assert_eq!(said(world.catalog.take_parcels(stream)), [word(true, 50)]);
    // (what the sidecar knows, what is true then, whether it is told)
    let table = [
        (false, 0, true, 50, true),
        (true, 50, true, 50, false),
        (false, 60, false, 60, false),
        (true, 50, false, 60, true),
    ];
    for (offline, changed_ms, is_offline, since, is_told) in table {
        let own = sync::Instance {
            offline,
            offline_changed_ms: changed_ms,
            ..record("orders", "a")
        };
        world.catalog.register(stream, own, world.now).unwrap();
        let entry = &world.catalog.service(&name).unwrap().instances["a"];
        let known = (entry.record.offline, entry.record.offline_changed_ms);
        assert_eq!(known, (is_offline, since), "{offline} {changed_ms}");
        let told = said(world.catalog.take_parcels(stream));
        assert_eq!(told.len(), usize::from(is_told), "{offline} {changed_ms}");
    }
    // A clock that went back does not make a word older than the one before.
    let entry = world
        .catalog
        .set_offline(&name, "a", word(true, 10), world.now);
    assert_eq!(entry.unwrap().record.offline_changed_ms, 61);
    assert!(
        world
            .catalog
            .set_offline(&name, "b", word(true, 99), world.now)
            .is_none()
    );
}

fn plain(service: &str, id: &str) -> sync::Instance {
    sync::Instance {
        address: "10.0.0.9".into(),
        incarnation: 0,
        inbound_port: 0,
        check: Some(sync::Check {
            kind: "tcp".into(),
            port: 8080,
            ..sync::Check::default()
        }),
        state: InstanceState::Ready as i32,
        ..record(service, id)
    }
}

#[test]
fn a_declared_instance_gives_way_to_a_registered_one_and_comes_back() {
    let mut world = World::new();
    let name = ServiceName::new("default", "orders");
    world
        .catalog
        .declare_instance(plain("orders", "a"), world.now);
    assert_eq!(world.states("orders"), [("a".into(), InstanceState::Ready)]);
    assert_eq!(world.catalog.instances, 0, "it takes nobody's place");
    world.pass(Duration::from_hours(1));
    assert_eq!(world.states("orders").len(), 1, "nobody has to confirm it");
    let stream = world.join("orders", "a");
    let gave_way = BTreeSet::from([(name.clone(), "a".to_owned())]);
    assert_eq!(world.catalog.take_overridden(), Some(gave_way.clone()));
    // Declared anew while the other is there: it waits.
    world
        .catalog
        .declare_instance(plain("orders", "a"), world.now);
    assert_eq!(world.catalog.take_overridden(), Some(gave_way));
    let entry = |world: &World| world.catalog.service(&name).unwrap().instances["a"].clone();
    assert_eq!(entry(&world).owner, Owner::Sidecar(stream));
    world.catalog.goodbye(stream, world.now);
    assert_eq!(entry(&world).owner, Owner::Person);
    assert_eq!(entry(&world).record.address, "10.0.0.9");
    assert_eq!(world.catalog.take_overridden(), Some(BTreeSet::new()));
    world.catalog.undeclare_instance(&name, "a", world.now);
    assert_eq!(world.states("orders"), []);
    assert_eq!(world.catalog.take_overridden(), None);
}

#[test]
fn a_declared_service_has_its_names_without_any_instance() {
    let mut world = World::new();
    let name = ServiceName::new("default", "stock");
    let ports = vec![sync::Port {
        name: "motan".into(),
        protocol: "motan".into(),
        number: 8001,
        interface: "a.b.Stock".into(),
        ..sync::Port::default()
    }];
    let rpc = key_hash(Family::Rpc, "a.b.Stock", "", "", "default");
    let names = |world: &World| -> BTreeSet<u64> { world.catalog.keys.all().into_iter().collect() };
    world.catalog.declare_service(&name, Some(ports), world.now);
    assert_eq!(names(&world), BTreeSet::from([host("stock"), rpc]));
    let stream = world.join("stock", "a");
    world.catalog.goodbye(stream, world.now);
    world.pass(Duration::from_hours(1));
    assert_eq!(names(&world), BTreeSet::from([host("stock"), rpc]));
    world.catalog.declare_service(&name, None, world.now);
    assert_eq!(names(&world), BTreeSet::from([host("stock")]));
    world.pass(EMPTY_SERVICE_KEPT);
    assert_eq!(names(&world), BTreeSet::new());
}

#[test]
fn what_the_store_remembers_is_what_was_kept() {
    let mut world = World::new();
    let name = ServiceName::new("default", "orders");
    world
        .catalog
        .declare_instance(plain("orders", "p"), world.now);
    world
        .catalog
        .declare_instance(plain("orders", "q"), world.now);
    world.join("orders", "a");
    let word = sync::SetOffline {
        offline: true,
        changed_ms: 5,
    };
    for id in ["a", "p"] {
        world.catalog.set_offline(&name, id, word, world.now);
    }
    let note = world.catalog.names_note();
    let told = world.catalog.version();
    let rows = world.catalog.take_unsaved();
    let kept: Vec<_> = rows.iter().filter(|(.., bytes)| bytes.is_some()).collect();
    assert_eq!(kept.len(), 2, "the other declared one has its own row");
    let entry = |world: &World, id: &str| {
        let place = world
            .catalog
            .service(&ServiceName::new("default", "orders"));
        place.unwrap().instances[id].record.clone()
    };
    let instances = vec![entry(&world, "a"), entry(&world, "p")];
    let mut next = World::new();
    next.catalog = Catalog::new(told, Times::default());
    let remembered = Remembered {
        instances,
        services: Vec::new(),
        plain: vec![plain("orders", "p"), plain("orders", "q")],
        names: Some(note),
    };
    next.catalog.restore(remembered, next.now);
    let states: Vec<_> = next
        .states("orders")
        .into_iter()
        .map(|(_, state)| state)
        .collect();
    assert_eq!(
        states,
        [
            InstanceState::Unconfirmed,
            InstanceState::Ready,
            InstanceState::Ready
        ]
    );
    let offline: Vec<_> = ["a", "p", "q"].map(|id| entry(&next, id).offline).into();
    assert_eq!(offline, [true, true, false]);
    assert_eq!(
        next.catalog.complete_from, told.revision,
        "the names are the same"
    );
}
