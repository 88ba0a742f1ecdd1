//! A center, its sidecars, what is on its way between them, and what happens to them.

use bytes::Bytes;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};
use weft_api::sync::{self, from_sidecar};
use weft_center::simulation::{Center, Disk, Stream};
use weft_proxy::simulation::{Known, Sidecar};

const SERVICES: [&str; 3] = ["orders", "stock", "web"];

/// The longest way of a message.
const DELAY_MAX_MS: u64 = 400;

/// Quiet, until everybody must know what is true: longer than anything is held unconfirmed.
const QUIET_MS: u64 = 200_000;

/// The instances of a service that take calls: id and incarnation. One that is drained, or out of use, is none.
type View = BTreeMap<String, u64>;

/// What a sidecar held of a service: how many the center vouches for, and those that it may call.
type Held = (usize, Option<BTreeMap<String, Known>>);

#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) updates: u64,
    pub(crate) center_crashes: u64,
    pub(crate) clean_stops: u64,
    pub(crate) restores: u64,
    pub(crate) lost_streams: u64,
    pub(crate) restarts: u64,
    pub(crate) turned_away: u64,
    /// Instances that left with more than half of their service.
    pub(crate) mass_removals: u64,
}

impl Counts {
    pub(crate) fn add(&mut self, other: &Self) {
        self.updates += other.updates;
        self.center_crashes += other.center_crashes;
        self.clean_stops += other.clean_stops;
        self.restores += other.restores;
        self.lost_streams += other.lost_streams;
        self.restarts += other.restarts;
        self.turned_away += other.turned_away;
        self.mass_removals += other.mass_removals;
    }
}

struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) % end.max(1)
    }
}

/// A stream with what is on its way: each direction in order, with the time at which it arrives.
struct Link {
    stream: Stream,
    up: VecDeque<(u64, from_sidecar::Kind)>,
    down: VecDeque<(u64, Bytes)>,
}

/// A sidecar with its instance.
struct Place {
    sidecar: Sidecar,
    service: &'static str,
    id: String,
    incarnation: u64,
    draining: bool,
    /// It has said goodbye and is no more.
    gone: bool,
    saved: Option<Vec<u8>>,
    link: Option<Link>,
    /// What the app has called, in all its time.
    calls: BTreeSet<&'static str>,
}

pub(crate) struct World {
    random: Random,
    start: Instant,
    now_ms: u64,
    disk: Disk,
    center: Option<Center>,
    backup: Option<String>,
    places: Vec<Place>,
    /// What the center had, of each service, at any time.
    had: BTreeSet<(&'static str, View)>,
    /// The version at which that was looked at last.
    noted: (u64, u64),
    /// The longest step of time.
    step_max_ms: u64,
    /// By epoch the last revision that was durable.
    durable: BTreeMap<u64, u64>,
    is_told: bool,
    pub(crate) counts: Counts,
}

impl World {
    pub(crate) fn new(seed: u64, is_told: bool) -> Self {
        let mut random = Random(seed);
        let count = 4 + random.below(6);
        let places = (0..count).map(|number| {
            let service = SERVICES[number as usize % SERVICES.len()];
            let id = format!("{service}-{number}");
            Place {
                sidecar: Sidecar::start(service, &id, None),
                service,
                id,
                incarnation: 1,
                draining: false,
                gone: false,
                saved: None,
                link: None,
                calls: BTreeSet::new(),
            }
        });
        Self {
            places: places.collect(),
            random,
            start: start(),
            now_ms: 1_000,
            disk: Disk::default(),
            center: None,
            backup: None,
            had: BTreeSet::new(),
            noted: (0, 0),
            step_max_ms: 200,
            durable: BTreeMap::new(),
            is_told,
            counts: Counts::default(),
        }
    }

    fn now(&self) -> Instant {
        self.start + Duration::from_millis(self.now_ms)
    }

    fn after(&self) -> Duration {
        Duration::from_millis(self.now_ms)
    }

    fn tell(&self, what: &str) {
        if self.is_told {
            println!("{:>8} ms: {what}", self.now_ms);
        }
    }

    pub(crate) fn step(&mut self) {
        self.happen();
        self.go_on();
    }

    /// Nothing happens any more; then everybody knows what is true.
    pub(crate) fn settle(&mut self) {
        if self.center.is_none() {
            self.start_center();
        }
        self.step_max_ms = 2_000;
        let until_ms = self.now_ms + QUIET_MS;
        while self.now_ms < until_ms {
            self.go_on();
        }
        let center = self.center.as_ref().unwrap();
        for place in self.places.iter().filter(|place| !place.gone) {
            for service in &place.calls {
                let truth = view(center, service);
                let known = place.sidecar.service(service).unwrap_or_default();
                let known: View = known
                    .into_iter()
                    .map(|(id, known)| (id, known.incarnation))
                    .collect();
                assert_eq!(known, truth, "{} of {service} after quiet", place.id);
            }
            let known = center.instances(place.service);
            assert!(known.contains_key(&place.id), "{} is not known", place.id);
        }
    }

    // What happens.

    fn happen(&mut self) {
        let at = self.random.below(self.places.len() as u64) as usize;
        match self.random.below(60) {
            0..3 => self.lose_stream(at),
            3 => self.restart_sidecar(at),
            4..6 => self.restart_app(at),
            6 => self.drain(at),
            7 => self.leave(at),
            8..12 => self.call(at),
            12 => self.crash_center(),
            13 => self.stop_center(),
            14..22 if self.center.is_none() => self.start_center(),
            22 => self.backup = Some(self.disk.backup()),
            23 => self.restore(),
            24 => self.set_offline(at),
            25..27 => {
                let place = &mut self.places[at];
                place.saved = place.sidecar.saved(self.now_ms).or(place.saved.take());
            }
            _ => {}
        }
    }

    fn lose_stream(&mut self, at: usize) {
        let now = self.now();
        let Some(link) = self.places[at].link.take() else {
            return;
        };
        self.counts.lost_streams += 1;
        self.tell(&format!("{} loses its stream", self.places[at].id));
        self.places[at].sidecar.disconnected();
        if let Some(center) = &mut self.center {
            center.lost(link.stream, now);
        }
        self.note();
    }

    fn restart_sidecar(&mut self, at: usize) {
        self.lose_stream(at);
        self.counts.restarts += 1;
        let place = &mut self.places[at];
        place.sidecar = Sidecar::start(place.service, &place.id, place.saved.as_deref());
        let calls: Vec<_> = place.calls.iter().copied().collect();
        for service in calls {
            self.name(at, service);
        }
    }

    fn restart_app(&mut self, at: usize) {
        self.places[at].incarnation += 1;
        self.register(at);
    }

    fn drain(&mut self, at: usize) {
        self.places[at].draining = !self.places[at].draining;
        self.register(at);
    }

    /// The instance leaves for good, or comes back as a new one.
    fn leave(&mut self, at: usize) {
        let place = &mut self.places[at];
        if place.gone {
            place.gone = false;
            place.incarnation += 1;
            place.sidecar = Sidecar::start(place.service, &place.id, None);
            place.calls.clear();
            return;
        }
        let Some(link) = place.link.take() else {
            return;
        };
        place.gone = true;
        place.saved = None;
        let now = self.now();
        self.tell(&format!("{} says goodbye", self.places[at].id));
        if let Some(center) = &mut self.center {
            let goodbye = sync::Goodbye::default();
            center.hear(link.stream, from_sidecar::Kind::Goodbye(goodbye), now);
        }
        self.note();
    }

    fn call(&mut self, at: usize) {
        let service = SERVICES[self.random.below(3) as usize];
        if self.places[at].calls.insert(service) {
            self.name(at, service);
        }
    }

    fn name(&mut self, at: usize, service: &str) {
        let (start, after) = (self.start, self.after());
        self.places[at].sidecar.call(service, start, after);
    }

    fn set_offline(&mut self, at: usize) {
        let (now, offline) = (self.now(), self.random.below(2) == 0);
        let (service, id) = (self.places[at].service, self.places[at].id.clone());
        let now_ms = self.now_ms;
        if let Some(center) = &mut self.center {
            center.set_offline(service, &id, offline, now_ms, now);
        }
        self.note();
    }

    fn crash_center(&mut self) {
        if self.center.take().is_some() {
            self.counts.center_crashes += 1;
            self.tell("the center crashes");
            self.lose_all();
        }
    }

    fn stop_center(&mut self) {
        if let Some(center) = self.center.take() {
            self.counts.clean_stops += 1;
            self.tell("the center stops");
            let version = center.version();
            center.stop().unwrap();
            self.durable.insert(version.epoch, version.revision);
            self.lose_all();
        }
    }

    fn lose_all(&mut self) {
        for place in &mut self.places {
            if place.link.take().is_some() {
                place.sidecar.disconnected();
            }
        }
    }

    fn start_center(&mut self) {
        let center = Center::start(&self.disk, self.now_ms, self.now()).unwrap();
        self.tell(&format!("a center starts at {:?}", center.version()));
        self.center = Some(center);
        self.note();
    }

    fn restore(&mut self) {
        let Some(backup) = self.backup.clone() else {
            return;
        };
        self.crash_center();
        self.counts.restores += 1;
        self.tell("a backup is restored");
        self.disk.restore(&backup, self.now_ms).unwrap();
    }

    fn record(place: &Place) -> sync::Instance {
        let state = if place.draining {
            sync::InstanceState::Draining
        } else {
            sync::InstanceState::Ready
        };
        sync::Instance {
            namespace: "default".to_owned(),
            service: place.service.to_owned(),
            id: place.id.clone(),
            incarnation: place.incarnation,
            address: "10.0.0.1".to_owned(),
            inbound_port: 9982,
            weight: 100,
            state: state.into(),
            ports: vec![sync::Port {
                name: "http".to_owned(),
                protocol: "http".to_owned(),
                number: 80,
                ..sync::Port::default()
            }],
            ..sync::Instance::default()
        }
    }

    fn register(&mut self, at: usize) {
        let record = Self::record(&self.places[at]);
        let register = sync::Register {
            instance: Some(record),
        };
        self.say(at, [from_sidecar::Kind::Register(register)]);
    }

    // What goes on.

    fn say(&mut self, at: usize, kinds: impl IntoIterator<Item = from_sidecar::Kind>) {
        let arrives_ms = self.now_ms + self.random.below(DELAY_MAX_MS);
        let Some(link) = &mut self.places[at].link else {
            return;
        };
        for kind in kinds {
            let after = link.up.back().map_or(0, |(at, _)| *at);
            link.up.push_back((arrives_ms.max(after), kind));
        }
    }

    fn go_on(&mut self) {
        self.now_ms += 10 + self.random.below(self.step_max_ms);
        let now = self.now();
        if let Some(center) = &mut self.center {
            center.tick(now);
        }
        self.note();
        if self.random.below(3) != 0
            && let Some(center) = &mut self.center
        {
            center.commit();
            let durable = center.durable();
            self.durable.insert(durable.epoch, durable.revision);
        }
        for at in 0..self.places.len() {
            self.connect(at);
            self.hear(at);
            self.note();
            self.carry(at);
        }
    }

    /// Remembers what the center has now.
    fn note(&mut self) {
        if let Some(center) = &self.center {
            note(&mut self.had, &mut self.noted, center);
        }
    }

    fn connect(&mut self, at: usize) {
        let place = &mut self.places[at];
        if place.link.is_some() || place.gone || self.random.below(4) != 0 {
            return;
        }
        let Some(center) = &mut self.center else {
            return;
        };
        match center.connect(&place.sidecar.hello()) {
            Ok(stream) => {
                let (up, down) = (VecDeque::new(), VecDeque::new());
                place.link = Some(Link { stream, up, down });
                self.register(at);
            }
            Err(_) => self.counts.turned_away += 1,
        }
    }

    /// What a sidecar said comes to the center, and what the center has to say leaves it.
    fn hear(&mut self, at: usize) {
        let (now, now_ms) = (self.now(), self.now_ms);
        if let Some(subscribe) = self.places[at]
            .link
            .is_some()
            .then(|| self.places[at].sidecar.subscribe())
            .flatten()
        {
            self.say(at, [from_sidecar::Kind::Subscribe(subscribe)]);
        }
        let arrives_ms = now_ms + self.random.below(DELAY_MAX_MS);
        let (Some(center), Some(link)) = (&mut self.center, &mut self.places[at].link) else {
            return;
        };
        while let Some((_, kind)) = link.up.pop_front_if(|(at, _)| *at <= now_ms) {
            center.hear(link.stream, kind, now);
            note(&mut self.had, &mut self.noted, center);
        }
        for bytes in center.tell(link.stream) {
            let after = link.down.back().map_or(0, |(at, _)| *at);
            link.down.push_back((arrives_ms.max(after), bytes));
        }
    }

    /// What the center said comes to the sidecar.
    fn carry(&mut self, at: usize) {
        let (start, after, now_ms) = (self.start, self.after(), self.now_ms);
        let answering = self.places.iter().filter(|place| !place.gone);
        let answering: BTreeSet<String> = answering.map(|place| place.id.clone()).collect();
        self.places[at].sidecar.is_answered_by(answering);
        loop {
            let place = &mut self.places[at];
            let link = place.link.as_mut();
            let arrived = link.and_then(|link| link.down.pop_front_if(|(at, _)| *at <= now_ms));
            let Some((_, bytes)) = arrived else { break };
            let before = place.sidecar.version();
            let known = SERVICES.map(|service| {
                let count = place.sidecar.vouched(service);
                (count, place.sidecar.service(service))
            });
            let said = place.sidecar.take(&bytes, start, after).unwrap();
            self.updated(at, before, false);
            self.held(at, &known);
            for kind in &said {
                assert!(!matches!(kind, from_sidecar::Kind::Nack(_)), "{kind:?}");
            }
            self.say(at, said);
        }
        let before = self.places[at].sidecar.version();
        let has_ticked = self.places[at].sidecar.tick(start, after);
        self.updated(at, before, has_ticked);
    }

    // What must hold.

    /// An update that took more than half of a service away took nobody who answers.
    fn held(&mut self, at: usize, before: &[Held; 3]) {
        let place = &self.places[at];
        for (service, (count, before)) in SERVICES.into_iter().zip(before) {
            let (Some(before), Some(after)) = (before, place.sidecar.service(service)) else {
                continue;
            };
            if place.sidecar.vouched(service) * 2 >= *count {
                continue;
            }
            let present = self.center.as_ref().map(|center| center.instances(service));
            let vouched = before.iter().filter(|(_, known)| !known.unconfirmed);
            for (id, _) in vouched.filter(|(id, _)| !after.contains_key(*id)) {
                // One that the center still knows is out of use, not gone.
                let is_gone = present.as_ref().is_some_and(|all| !all.contains_key(id));
                let answers = self.places.iter().any(|p| p.id == *id && !p.gone);
                assert!(
                    !is_gone || !answers,
                    "{} let go of {id}, which answers",
                    place.id
                );
                self.counts.mass_removals += 1;
            }
        }
    }

    fn updated(&mut self, at: usize, before: (u64, u64), has_ticked: bool) {
        let place = &self.places[at];
        let version = place.sidecar.version();
        let id = &place.id;
        assert!(
            version >= before,
            "{id} goes back from {before:?} to {version:?}"
        );
        if version == before && !has_ticked {
            return;
        }
        self.counts.updates += u64::from(version != before);
        let durable = self.durable.get(&version.0).copied().unwrap_or(0);
        let was_durable = version == before || version.1 <= durable;
        assert!(
            was_durable,
            "{id} was told {version:?}, durable is {durable}"
        );
        for service in SERVICES {
            let Some(known) = place.sidecar.service(service) else {
                continue;
            };
            let was_so = self.had.iter().any(|(own, had)| {
                *own == service
                    && had.iter().all(|(id, incarnation)| {
                        let known = known.get(id);
                        known.is_some_and(|known| known.incarnation == *incarnation)
                    })
                    && known
                        .iter()
                        .all(|(id, known)| known.unconfirmed || had.contains_key(id))
            });
            let had = self.had.iter().filter(|(own, _)| *own == service);
            assert!(
                was_so,
                "at {} ms {id} knows of {service} what never was: {known:?}; there were {:?}",
                self.now_ms,
                had.collect::<Vec<_>>()
            );
        }
    }
}

/// Remembers what the center has, if it is another version than the one that was looked at last.
fn note(had: &mut BTreeSet<(&'static str, View)>, noted: &mut (u64, u64), center: &Center) {
    let version = center.version();
    let version = (version.epoch, version.revision);
    if std::mem::replace(noted, version) != version {
        had.extend(SERVICES.map(|service| (service, view(center, service))));
    }
}

fn view(center: &Center, service: &str) -> View {
    let instances = center.instances(service).into_iter();
    let in_use = instances
        .filter(|(_, record)| record.state() != sync::InstanceState::Draining && !record.offline);
    in_use
        .map(|(id, record)| (id, record.incarnation))
        .collect()
}

/// Where virtual time begins; only spans from it count.
#[expect(
    clippy::disallowed_methods,
    reason = "an Instant can be had from the clock only; nothing depends on which"
)]
fn start() -> Instant {
    Instant::now()
}
