//! What streams are told: by a model of a sidecar that takes it as the contract says.

use super::super::tests::{World, host, record};
use super::super::{EMPTY_SERVICE_KEPT, KEYS_PER_SIDECAR_MAX, MERGE, REMOVALS_KEPT_MAX, Refused};
use super::*;
use crate::names::{host_key, instance_keys};
use std::time::Duration;
use weft_api::grpc;
use weft_model::key::key_hash;
use weft_model::{Family, ServiceName};

/// The messages in these parcels.
pub(in crate::catalog) fn messages(parcels: &[Parcel]) -> Vec<from_center::Kind> {
    let mut decoder = grpc::Decoder::new(grpc::MESSAGE_BYTES_MAX);
    let mut kinds = Vec::new();
    for parcel in parcels {
        decoder.push(&parcel.bytes);
        while let Some(message) = decoder.next::<sync::FromCenter>().unwrap() {
            kinds.push(message.kind.unwrap());
        }
    }
    assert_eq!(decoder.pending(), 0);
    kinds
}

/// A sidecar that does what the contract says.
#[derive(Default)]
struct Mirror {
    stream: Option<StreamId>,
    keys: BTreeSet<u64>,
    /// The keys of which it holds all, as of its version.
    followed: BTreeSet<u64>,
    all: bool,
    sequence: u64,
    services: BTreeMap<ServiceName, BTreeMap<String, sync::Instance>>,
    names: BTreeSet<u64>,
    version: Option<sync::Version>,
    subscribed: u64,
    staged: Vec<sync::Delta>,
    /// Deltas and sets of names that came.
    deltas: usize,
    fulls: usize,
    sets: usize,
}

impl Mirror {
    fn connect(&mut self, world: &mut World, service: &str, id: &str) {
        world.opened += 1;
        let stream = StreamId(world.opened);
        let name = ServiceName::new("default", service);
        let held = self.version.map(|version| version.revision);
        world.catalog.connected(stream, name, id.into(), held);
        self.stream = Some(stream);
        self.staged.clear();
        self.sequence = 0;
    }

    fn use_keys(&mut self, world: &mut World, keys: &[u64]) {
        self.keys = keys.iter().copied().collect();
        self.followed.retain(|key| self.keys.contains(key));
        self.subscribe(world);
    }

    fn subscribe(&mut self, world: &mut World) {
        self.sequence += 1;
        let subscribe = sync::Subscribe {
            keys: self.keys.iter().copied().collect(),
            all: self.all,
            sequence: self.sequence,
            fresh: self.keys.difference(&self.followed).copied().collect(),
        };
        let stream = self.stream.unwrap();
        world.catalog.subscribe(stream, &subscribe).unwrap();
    }

    fn take(&mut self, world: &mut World) {
        let parcels = world.catalog.take_parcels(self.stream.unwrap());
        for kind in messages(&parcels) {
            match kind {
                from_center::Kind::Delta(delta) => {
                    self.deltas += 1;
                    self.fulls += usize::from(delta.full);
                    self.staged.push(delta);
                }
                from_center::Kind::Names(names) => self.commit(&names),
                _ => {}
            }
        }
        assert!(self.staged.is_empty(), "names end a batch");
    }

    fn commit(&mut self, names: &sync::NameSet) {
        self.sets += 1;
        let version = names.version.unwrap();
        if let Some(before) = self.version {
            assert!(version.revision >= before.revision, "time goes back");
        }
        self.version = Some(version);
        assert!(names.subscribed >= self.subscribed || self.sequence == names.subscribed);
        self.subscribed = names.subscribed;
        if names.full {
            self.services.clear();
            self.names.clear();
        }
        let staged = std::mem::take(&mut self.staged);
        let came: BTreeSet<String> = staged
            .iter()
            .filter(|delta| delta.full)
            .map(|delta| delta.service.clone())
            .collect();
        for delta in staged {
            assert_eq!(delta.version, names.version);
            let name = ServiceName::new(&delta.namespace, &delta.service);
            let own = self.services.entry(name).or_default();
            if delta.full {
                own.clear();
            }
            for id in &delta.removed {
                own.remove(id);
            }
            for instance in delta.upserted {
                own.insert(instance.id.clone(), instance);
            }
        }
        for hash in &names.removed {
            self.names.remove(hash);
        }
        self.names.extend(&names.added);
        if names.subscribed == self.sequence {
            // Of a key that it did not follow all came: what else has it is left of earlier days.
            let fresh: BTreeSet<u64> = self.keys.difference(&self.followed).copied().collect();
            self.services.retain(|name, instances| {
                let records = instances.values();
                let mut keys: BTreeSet<u64> = records
                    .flat_map(|record| instance_keys(name, record))
                    .collect();
                keys.insert(host_key(name));
                keys.is_disjoint(&fresh) || came.contains(&*name.name)
            });
            self.followed.clone_from(&self.keys);
        }
    }

    /// What it uses is what is true.
    fn check(&self, world: &World, why: &str) {
        let names: BTreeSet<u64> = world.catalog.keys.all().into_iter().collect();
        assert_eq!(self.names, names, "{why}");
        for (name, place) in world.catalog.services() {
            let is_used = self.keys.iter().any(|key| place.keys.contains_key(key));
            if !is_used && !self.all {
                continue;
            }
            let held = self.services.get(name).cloned().unwrap_or_default();
            let records = place.instances.iter();
            let records = records.map(|(id, entry)| (id.clone(), entry.record.clone()));
            assert_eq!(held, records.collect(), "{why}: {name}");
        }
        for (name, instances) in &self.services {
            let place = world.catalog.service(name);
            let is_used = |record| {
                let own = instance_keys(name, record);
                own.iter().any(|key| self.keys.contains(key))
            };
            for (id, _) in instances.iter().filter(|(_, record)| is_used(record)) {
                let is_there = place.is_some_and(|place| place.instances.contains_key(id));
                assert!(is_there, "{why}: {id} of {name} is no more");
            }
        }
    }
}

fn version(world: &World) -> u64 {
    world.catalog.version().revision
}

#[test]
fn deltas_come_only_of_services_that_have_a_used_key() {
    let mut world = World::new();
    let mut mirror = Mirror::default();
    world.join("orders", "a");
    world.join("stock", "s");
    mirror.connect(&mut world, "web", "w");
    mirror.take(&mut world);
    assert_eq!(mirror.sets, 0, "nothing is said before Subscribe");
    mirror.use_keys(&mut world, &[host("orders")]);
    mirror.take(&mut world);
    let services: Vec<_> = mirror.services.keys().map(ToString::to_string).collect();
    assert_eq!(services, ["orders"]);
    assert_eq!((mirror.deltas, mirror.subscribed), (1, 1));
    mirror.check(&world, "after the first");

    world.join("stock", "t");
    world.join("orders", "b");
    world.pass(MERGE);
    mirror.take(&mut world);
    assert_eq!(mirror.deltas, 2, "one more of orders, none of stock");
    mirror.check(&world, "after a change of both");
}

#[test]
fn each_subscribe_is_answered_even_when_there_is_nothing_to_say() {
    let mut world = World::new();
    let mut mirror = Mirror::default();
    mirror.connect(&mut world, "web", "w");
    for (sequence, keys) in [
        (1, vec![]),
        (2, vec![host("nobody")]),
        (3, vec![host("nobody")]),
    ] {
        mirror.use_keys(&mut world, &keys);
        mirror.take(&mut world);
        assert_eq!(
            (mirror.subscribed, mirror.sets as u64),
            (sequence, sequence)
        );
    }
    assert_eq!(mirror.deltas, 0);
}

#[test]
fn a_key_that_is_added_brings_all_of_its_service_and_one_that_is_dropped_stops_it() {
    let mut world = World::new();
    let mut mirror = Mirror::default();
    for id in ["a", "b", "c"] {
        world.join("orders", id);
    }
    world.join("stock", "s");
    mirror.connect(&mut world, "web", "w");
    mirror.use_keys(&mut world, &[host("stock")]);
    mirror.take(&mut world);
    mirror.use_keys(&mut world, &[host("orders"), host("stock")]);
    mirror.take(&mut world);
    assert_eq!(
        (mirror.deltas, mirror.fulls),
        (2, 2),
        "stock is not told again"
    );
    mirror.check(&world, "both");
    mirror.use_keys(&mut world, &[host("orders")]);
    mirror.take(&mut world);
    world.join("stock", "t");
    world.pass(MERGE);
    let before = mirror.deltas;
    mirror.take(&mut world);
    assert_eq!(mirror.deltas, before);
    // And again: it is behind in stock, and is told all of it, asked or not.
    mirror.use_keys(&mut world, &[host("orders"), host("stock")]);
    mirror.take(&mut world);
    mirror.check(&world, "stock again");
}

#[test]
fn whoever_uses_nothing_of_what_changed_is_told_nothing_until_long_after() {
    let mut world = World::new();
    let mut mirror = Mirror::default();
    world.join("orders", "a");
    let stock = world.join("stock", "s");
    mirror.connect(&mut world, "web", "w");
    mirror.use_keys(&mut world, &[host("orders")]);
    mirror.take(&mut world);
    let sets = mirror.sets;
    let mut weight = 0;
    let mut change = |world: &mut World| {
        weight += 1;
        let changed = sync::Instance {
            weight,
            ..record("stock", "s")
        };
        world.catalog.register(stock, changed, world.now).unwrap();
        world.pass(MERGE);
    };
    change(&mut world);
    mirror.take(&mut world);
    assert_eq!(mirror.sets, sets, "the names are the same too");
    for _ in 0..QUIET_REVISIONS_MAX {
        change(&mut world);
        mirror.take(&mut world);
    }
    assert_eq!(mirror.sets, sets + 1, "it is told the version, once");
    change(&mut world);
    let said = world.catalog.last_version(mirror.stream.unwrap());
    let said = messages(&[said.unwrap()]);
    let from_center::Kind::Names(names) = &said[0] else {
        panic!("{said:?}")
    };
    assert_eq!(names.version.unwrap().revision, version(&world));
}

#[test]
fn a_service_that_gains_a_used_key_is_told_whole() {
    let mut world = World::new();
    let mut mirror = Mirror::default();
    let rpc = key_hash(Family::Rpc, "a.b.Stock", "", "", "default");
    world.join("stock", "old");
    mirror.connect(&mut world, "web", "w");
    mirror.use_keys(&mut world, &[rpc]);
    mirror.take(&mut world);
    assert!(mirror.services.is_empty());
    let stream = world.connect("stock", "new");
    let mut own = record("stock", "new");
    own.ports[0].protocol = "motan".into();
    own.ports[0].interface = "a.b.Stock".into();
    world.catalog.register(stream, own, world.now).unwrap();
    world.pass(MERGE);
    mirror.take(&mut world);
    mirror.check(&world, "gained");
    assert_eq!(
        mirror.services[&ServiceName::new("default", "stock")].len(),
        2
    );
    // The one with the key goes, and with it the key: that is the last that is told of the service.
    world.catalog.goodbye(stream, world.now);
    world.pass(MERGE);
    mirror.take(&mut world);
    mirror.check(&world, "lost");
    let before = mirror.deltas;
    world.join("stock", "third");
    world.pass(MERGE);
    mirror.take(&mut world);
    assert_eq!(mirror.deltas, before);
}

#[test]
fn whoever_comes_back_is_told_the_difference_and_all_of_what_is_new_to_it() {
    let mut world = World::new();
    let mut mirror = Mirror::default();
    let orders = world.join("orders", "a");
    world.join("orders", "b");
    world.join("stock", "s");
    world.join("quiet", "q");
    mirror.connect(&mut world, "web", "w");
    mirror.use_keys(&mut world, &[host("orders"), host("quiet")]);
    mirror.take(&mut world);
    world.catalog.broken(mirror.stream.unwrap(), world.now);
    world.catalog.goodbye(orders, world.now);
    world.join("orders", "c");
    world.pass(MERGE);
    mirror.connect(&mut world, "web", "w");
    (mirror.deltas, mirror.fulls) = (0, 0);
    mirror.use_keys(&mut world, &[host("orders"), host("quiet"), host("stock")]);
    mirror.take(&mut world);
    assert_eq!(
        (mirror.deltas, mirror.fulls),
        (2, 1),
        "orders' difference, all of stock"
    );
    mirror.check(&world, "back");
}

#[test]
fn a_revision_that_nobody_can_tell_a_difference_from_is_answered_with_all_that_is_used() {
    let mut world = World::new();
    world.join("orders", "stays");
    world.join("stock", "s");
    let old = version(&world);
    for number in 0..=REMOVALS_KEPT_MAX {
        let stream = world.join("orders", &format!("i{number}"));
        world.catalog.goodbye(stream, world.now);
    }
    let present = version(&world);
    for (held, fulls) in [
        (Some(old), 1),
        (Some(present + 1), 1),
        (None, 1),
        (Some(present), 0),
    ] {
        let mut mirror = Mirror::default();
        mirror.connect(&mut world, "web", "w");
        let stream = mirror.stream.unwrap();
        world
            .catalog
            .sidecars
            .get_mut(&stream)
            .unwrap()
            .feed
            .progress = Progress::Silent { held };
        let subscribe = sync::Subscribe {
            keys: vec![host("orders")],
            ..sync::Subscribe::default()
        };
        world.catalog.subscribe(stream, &subscribe).unwrap();
        mirror.keys.insert(host("orders"));
        mirror.take(&mut world);
        assert_eq!(mirror.fulls, fulls, "{held:?}");
    }
    assert_eq!(world.catalog.removals.len(), REMOVALS_KEPT_MAX);
}

#[test]
fn a_stream_that_takes_nothing_costs_little_and_catches_up() {
    let mut world = World::new();
    let mut mirror = Mirror::default();
    let orders = world.join("orders", "a");
    mirror.connect(&mut world, "web", "w");
    mirror.use_keys(&mut world, &[host("orders")]);
    mirror.take(&mut world);
    for weight in 0..2 * INBOX_MAX as u32 {
        let changed = sync::Instance {
            weight,
            ..record("orders", "a")
        };
        world.catalog.register(orders, changed, world.now).unwrap();
        world.pass(MERGE);
        let feed = &world.catalog.sidecars[&mirror.stream.unwrap()].feed;
        assert!(feed.inbox.len() <= INBOX_MAX);
    }
    let before = mirror.deltas;
    mirror.take(&mut world);
    assert_eq!(
        mirror.deltas,
        before + 1,
        "one difference instead of all that it missed"
    );
    mirror.check(&world, "caught up");
}

#[test]
fn a_refusal_is_answered_with_everything_at_the_next_change_and_not_before() {
    let mut world = World::new();
    let mut mirror = Mirror::default();
    world.join("orders", "a");
    mirror.connect(&mut world, "web", "w");
    mirror.use_keys(&mut world, &[host("orders")]);
    mirror.take(&mut world);
    world
        .catalog
        .nacked(mirror.stream.unwrap(), sync::Nack::default());
    world.pass(MERGE);
    let sets = mirror.sets;
    mirror.take(&mut world);
    assert_eq!(mirror.sets, sets);
    mirror.fulls = 0;
    world.join("orders", "b");
    world.pass(MERGE);
    mirror.take(&mut world);
    assert_eq!(mirror.fulls, 1);
    mirror.check(&world, "after the refusal");
}

#[test]
fn the_bytes_of_one_change_are_shared_by_all_who_use_it() {
    let mut world = World::new();
    // More than is worth copying.
    let zone = "z".repeat(20 * 1024);
    let stream = world.join("orders", "a");
    let mut mirrors: Vec<Mirror> = Vec::new();
    for number in 0..50 {
        let mut mirror = Mirror::default();
        mirror.connect(&mut world, "web", &format!("w{number}"));
        mirror.use_keys(&mut world, &[host("orders")]);
        mirror.take(&mut world);
        mirrors.push(mirror);
    }
    let mut large = record("orders", "a");
    large.zone = zone;
    world.catalog.register(stream, large, world.now).unwrap();
    world.pass(MERGE);
    let taken: Vec<_> = mirrors
        .iter()
        .map(|mirror| world.catalog.take_parcels(mirror.stream.unwrap()))
        .collect();
    for parcels in &taken {
        let (parcel, first) = (&parcels[0].bytes, &taken[0][0].bytes);
        assert!(parcel.len() > 20 * 1024);
        assert_eq!(parcel.as_ptr(), first.as_ptr(), "it was encoded again");
    }
}

#[test]
fn many_streams_are_told_of_names_together_and_at_a_pace() {
    let mut world = World::new();
    let streams = 3_000;
    let mut mirrors: Vec<Mirror> = Vec::new();
    for number in 0..streams {
        let mut mirror = Mirror::default();
        mirror.connect(&mut world, "web", &format!("w{number}"));
        mirror.use_keys(&mut world, &[]);
        mirror.take(&mut world);
        mirrors.push(mirror);
    }
    mirrors[0].use_keys(&mut world, &[host("s0"), host("s1"), host("s2")]);
    mirrors[0].take(&mut world);
    let wait = NAMES_PACE * streams;
    assert!(wait > 2 * MERGE, "{wait:?}");
    world.pass(wait);
    let told = |world: &mut World, mirrors: &mut Vec<Mirror>| {
        let before: usize = mirrors.iter().map(|mirror| mirror.sets).sum();
        for mirror in &mut *mirrors {
            mirror.take(world);
        }
        mirrors.iter().map(|mirror| mirror.sets).sum::<usize>() - before
    };
    told(&mut world, &mut mirrors);
    // The first change goes out at once; the next two wait, but not for whoever uses them.
    let mut counts = Vec::new();
    for service in ["s0", "s1", "s2"] {
        world.join(service, "a");
        world.pass(MERGE);
        counts.push(told(&mut world, &mut mirrors));
    }
    assert_eq!(counts, [streams as usize, 1, 1]);
    let due = world.catalog.due_at().unwrap();
    assert!(due <= world.now + wait, "nobody waits longer than that");
    world.pass(due.saturating_duration_since(world.now));
    assert_eq!(told(&mut world, &mut mirrors), streams as usize - 1);
    assert_eq!(world.catalog.due_at(), None);
    for mirror in &mirrors {
        mirror.check(&world, "in the end");
    }
}

#[test]
fn so_many_keys_and_no_more() {
    let mut world = World::new();
    let stream = world.connect("web", "w");
    let mut subscribe = sync::Subscribe {
        keys: (0..KEYS_PER_SIDECAR_MAX as u64).collect(),
        ..sync::Subscribe::default()
    };
    assert_eq!(world.catalog.subscribe(stream, &subscribe), Ok(()));
    subscribe.keys.push(u64::MAX);
    let refused = Refused::Keys(KEYS_PER_SIDECAR_MAX + 1);
    assert_eq!(world.catalog.subscribe(stream, &subscribe), Err(refused));
}

#[test]
fn nothing_is_left_of_a_stream_that_went() {
    let mut world = World::new();
    world.join("orders", "a");
    for number in 0..20 {
        let mut mirror = Mirror {
            all: number % 2 == 0,
            ..Mirror::default()
        };
        mirror.connect(&mut world, "web", "w");
        mirror.use_keys(&mut world, &[host("orders"), host("nobody")]);
        mirror.take(&mut world);
        world.catalog.broken(mirror.stream.unwrap(), world.now);
    }
    let feeds = &world.catalog.feeds;
    assert!(feeds.by_key.is_empty() && feeds.all.is_empty() && feeds.quiet.is_empty());
    assert_eq!(world.catalog.sidecars.len(), 1);
    let orders = world
        .catalog
        .service(&ServiceName::new("default", "orders"));
    assert!(orders.unwrap().streams.is_empty());
}

/// Xorshift: the same steps for the same seed.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % bound
    }
}

/// One random step of the mesh.
fn happen(world: &mut World, random: &mut Random, streams: &mut Vec<StreamId>) {
    match random.below(8) {
        0..=2 => {
            let (service, id) = (
                format!("s{}", random.below(3)),
                format!("i{}", random.below(5)),
            );
            let stream = world.connect(&service, &id);
            let mut own = record(&service, &id);
            own.address = format!("10.0.0.{}", random.below(4));
            if random.below(2) == 0 {
                own.ports[0].protocol = "motan".into();
                own.ports[0].interface = format!("a.I{}", random.below(3));
            }
            world.catalog.register(stream, own, world.now).unwrap();
            streams.push(stream);
        }
        3 if !streams.is_empty() => {
            let stream = streams.swap_remove(random.below(streams.len() as u64) as usize);
            world.catalog.broken(stream, world.now);
        }
        4 if !streams.is_empty() => {
            let stream = streams.swap_remove(random.below(streams.len() as u64) as usize);
            world.catalog.goodbye(stream, world.now);
        }
        5 => {
            let name = ServiceName::new("default", &format!("s{}", random.below(3)));
            let port = sync::Port {
                protocol: "motan".into(),
                number: 1,
                interface: format!("a.I{}", random.below(3)),
                ..sync::Port::default()
            };
            let ports = (random.below(2) == 0).then(|| vec![port]);
            world.catalog.declare_service(&name, ports, world.now);
        }
        6 => {
            world.pass(EMPTY_SERVICE_KEPT / 3);
        }
        _ => {
            world.pass(Duration::from_millis(60));
        }
    }
}

fn used(random: &mut Random) -> Vec<u64> {
    let mut all: Vec<u64> = (0..3).map(|number| host(&format!("s{number}"))).collect();
    all.extend((0..3).map(|number| {
        let interface = format!("a.I{number}");
        key_hash(Family::Rpc, &interface, "", "", "default")
    }));
    all.extend((0..4).map(|number| {
        let place = format!("10.0.0.{number}:8080");
        key_hash(Family::Address, &place, "", "", "")
    }));
    all.retain(|_| random.below(3) == 0);
    all
}

#[test]
fn whatever_happens_in_whatever_order_each_sidecar_ends_with_what_is_true() {
    for seed in 1..=150_u64 {
        let mut random = Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15));
        let mut world = World::new();
        let mut streams = Vec::new();
        let mut mirrors: Vec<Mirror> = (0..4).map(|_| Mirror::default()).collect();
        mirrors[3].all = true;
        for (number, mirror) in mirrors.iter_mut().enumerate() {
            mirror.connect(&mut world, "web", &format!("w{number}"));
        }
        for _ in 0..120 {
            happen(&mut world, &mut random, &mut streams);
            if random.below(4) == 0 {
                // As if there were many streams: names wait.
                let turn_at = world.now + Duration::from_millis(300);
                world.catalog.feeds.names_turn_at = Some(turn_at);
            }
            let number = random.below(4) as usize;
            let mirror = &mut mirrors[number];
            match random.below(10) {
                0 | 1 if !mirror.all => {
                    let keys = used(&mut random);
                    mirror.use_keys(&mut world, &keys);
                }
                2 => {
                    world.catalog.broken(mirror.stream.unwrap(), world.now);
                    mirror.connect(&mut world, "web", &format!("w{number}"));
                    mirror.subscribe(&mut world);
                }
                3 => {
                    let stream = mirror.stream.unwrap();
                    world.catalog.nacked(stream, sync::Nack::default());
                }
                4..=7 => mirror.take(&mut world),
                _ => {}
            }
        }
        for mirror in &mut mirrors {
            mirror.subscribe(&mut world);
        }
        world.pass(MERGE);
        world.pass(Duration::from_millis(300));
        for (number, mirror) in mirrors.iter_mut().enumerate() {
            mirror.take(&mut world);
            mirror.check(&world, &format!("seed {seed}, sidecar {number}"));
            assert_eq!(mirror.subscribed, mirror.sequence);
        }
    }
}
