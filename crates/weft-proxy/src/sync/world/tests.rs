//! What a sidecar holds after what it was told, with a clock that the test moves.

use super::taken::LOOK_EVERY;
use super::used::*;
use super::*;
use crate::clock;
use std::sync::Mutex;
use weft_api::saved::Found;
use weft_model::Key;
use weft_policy::removal::HELD_MAX;

/// A world with a clock that a test moves, and the center it follows.
struct Told {
    world: World,
    now: Instant,
    /// Milliseconds since 1970, and since the start of the process.
    unix_ms: u64,
    /// Of the last Subscribe.
    subscribed: u64,
    epoch: u64,
    revision: u64,
}

impl Told {
    fn new() -> Self {
        let mut told = Self {
            world: World::default(),
            now: clock::now(),
            unix_ms: 1_000_000_000,
            subscribed: 0,
            epoch: 0,
            revision: 0,
        };
        told.meet("store-1", 1);
        told
    }

    /// A center with this store is at the other end now.
    fn meet(&mut self, store_id: &str, epoch: u64) {
        self.world.disconnected();
        self.subscribed = 0;
        self.epoch = epoch;
        let hello = sync::CenterHello {
            store_id: store_id.into(),
            version: Some(sync::Version { epoch, revision: 0 }),
            ..sync::CenterHello::default()
        };
        self.world.connected(&hello, "center:1");
    }

    /// A batch that says everything.
    fn full(&mut self, services: &[(&str, &[&str])]) {
        self.revision += 1;
        for (service, ids) in services {
            self.call(service);
            let delta = sync::Delta {
                full: true,
                ..delta(service, ids, &[])
            };
            self.world.stage(&delta.into()).unwrap();
        }
        let added = services.iter().map(|(service, _)| host(service)).collect();
        let names = sync::NameSet {
            full: true,
            added,
            ..self.names()
        };
        assert_eq!(self.world.commit(&names, self.moment()), Ok(true));
    }

    /// Callers name this service.
    fn call(&mut self, service: &str) {
        self.world
            .name([Key::of_host(service, "default")], self.moment());
        self.subscribe();
    }

    /// The Subscribe that is due.
    fn subscribe(&mut self) -> Option<sync::Subscribe> {
        let subscribe = self.world.subscribe();
        if let Some(said) = &subscribe {
            self.subscribed = said.sequence;
        }
        subscribe
    }

    fn moment(&self) -> Moment {
        Moment {
            instant: self.now,
            clock_ms: self.unix_ms,
            unix_ms: self.unix_ms,
        }
    }

    /// A batch that says what changed.
    fn change(&mut self, service: &str, upserted: &[&str], removed: &[&str]) {
        self.revision += 1;
        self.call(service);
        self.world
            .stage(&delta(service, upserted, removed).into())
            .unwrap();
        let names = sync::NameSet {
            added: vec![host(service)],
            ..self.names()
        };
        assert_eq!(self.world.commit(&names, self.moment()), Ok(true));
    }

    fn names(&self) -> sync::NameSet {
        let version = sync::Version {
            epoch: self.epoch,
            revision: self.revision,
        };
        sync::NameSet {
            version: Some(version),
            subscribed: self.subscribed,
            ..sync::NameSet::default()
        }
    }

    fn pass(&mut self, span: Duration) -> bool {
        self.now += span;
        self.unix_ms += span.as_millis() as u64;
        self.world.tick(self.now)
    }

    /// `service/id state` of each instance, sorted; of a service without instances the last that left.
    fn seen(&self) -> Vec<String> {
        let draft = &self.world.draft;
        let mut seen = Vec::new();
        for service in draft.services() {
            let instances = draft.instances(service);
            seen.extend(instances.map(|it| format!("{service}/{} {:?}", it.id, it.state)));
            let departed = draft.departed().find(|left| left.service == *service);
            seen.extend(departed.map(|it| format!("{service}/{} Draining", it.id)));
        }
        seen.sort();
        seen
    }
}

fn delta(service: &str, upserted: &[&str], removed: &[&str]) -> sync::Delta {
    sync::Delta {
        namespace: "default".into(),
        service: service.into(),
        upserted: upserted.iter().map(|id| record(service, id)).collect(),
        removed: removed.iter().map(|id| (*id).to_owned()).collect(),
        ..sync::Delta::default()
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
        state: sync::InstanceState::Ready as i32,
        ..sync::Instance::default()
    }
}

fn host(service: &str) -> u64 {
    key_hash(Family::Host, service, "", "", "default")
}

#[test]
fn a_batch_is_used_when_its_names_have_come_and_not_before() {
    let mut told = Told::new();
    assert!(!told.world.is_synced());
    told.world
        .stage(&delta("orders", &["a"], &[]).into())
        .unwrap();
    assert_eq!(told.seen(), Vec::<String>::new());
    told.revision = 4;
    let names = sync::NameSet {
        full: true,
        ..told.names()
    };
    assert_eq!(told.world.commit(&names, told.moment()), Ok(true));
    assert_eq!(told.seen(), ["orders/a Ready"]);
    assert!(told.world.is_synced());
    assert_eq!(
        told.world.version(),
        Version {
            epoch: 1,
            revision: 4
        }
    );
}

#[test]
fn a_batch_that_broke_off_is_forgotten() {
    let mut told = Told::new();
    told.full(&[("orders", &["a"])]);
    told.world
        .stage(&delta("orders", &["b"], &[]).into())
        .unwrap();
    told.meet("store-1", 1);
    told.change("web", &["w"], &[]);
    assert_eq!(told.seen(), ["orders/a Ready", "web/w Ready"]);
}

#[test]
fn differences_add_and_remove() {
    let mut told = Told::new();
    told.full(&[("orders", &["a", "b"])]);
    told.change("orders", &["c"], &["a"]);
    assert_eq!(told.seen(), ["orders/b Ready", "orders/c Ready"]);
}

#[test]
fn a_field_at_fault_refuses_the_whole_batch_and_all_later_differences() {
    let mut told = Told::new();
    told.full(&[("orders", &["a"])]);
    let mut wrong = delta("orders", &["b", "c"], &[]);
    wrong.upserted[1].address = "nowhere".into();
    let refused = told.world.stage(&wrong.into()).unwrap_err();
    assert_eq!(refused.field, "instances[1].address");
    told.world.stage(&delta("web", &["w"], &[]).into()).unwrap();
    told.revision += 1;
    assert_eq!(
        told.world.commit(&told.names(), told.moment()),
        Ok(false),
        "it was refused before"
    );
    assert_eq!(told.seen(), ["orders/a Ready"]);
    assert_eq!(told.world.version().revision, 1);

    told.revision += 1;
    let later = told.world.commit(&told.names(), told.moment()).unwrap_err();
    assert_eq!(later.field, "full");
    told.full(&[("orders", &["a", "b"])]);
    assert_eq!(told.seen(), ["orders/a Ready", "orders/b Ready"]);
}

#[test]
fn an_instance_of_another_service_is_refused() {
    let mut told = Told::new();
    let mut wrong = delta("orders", &["a"], &[]);
    wrong.upserted[0].service = "web".into();
    assert_eq!(
        told.world.stage(&wrong.into()).unwrap_err().field,
        "instances[0].service"
    );
}

#[test]
fn revisions_of_a_store_only_grow() {
    let mut told = Told::new();
    told.revision = 9;
    told.full(&[("orders", &["a"])]);
    told.revision = 3;
    let names = sync::NameSet {
        full: true,
        ..told.names()
    };
    let refused = told.world.commit(&names, told.moment()).unwrap_err();
    assert_eq!(refused.field, "version.revision");
    assert_eq!(told.seen(), ["orders/a Ready"]);
}

#[test]
fn the_first_names_of_a_store_must_be_full() {
    let mut told = Told::new();
    let refused = told.world.commit(&told.names(), told.moment()).unwrap_err();
    assert_eq!(refused.field, "full");
    told.full(&[("orders", &["a"])]);
    told.meet("store-2", 2);
    let refused = told.world.commit(&told.names(), told.moment()).unwrap_err();
    assert_eq!(refused.field, "full");
    assert_eq!(told.seen(), ["orders/a Ready"]);
}

#[test]
fn a_center_that_starts_anew_and_empty_does_not_wipe_what_is_known() {
    let mut told = Told::new();
    told.full(&[("orders", &["a", "b"]), ("web", &["w"])]);
    told.meet("store-2", 2);
    told.revision = 0;
    told.full(&[("web", &["w"])]);
    assert_eq!(
        told.seen(),
        [
            "orders/a Unconfirmed",
            "orders/b Unconfirmed",
            "web/w Ready"
        ]
    );

    told.pass(Duration::from_secs(30));
    told.change("orders", &["a"], &[]);
    assert_eq!(
        told.seen(),
        ["orders/a Ready", "orders/b Unconfirmed", "web/w Ready"]
    );

    assert!(!told.pass(Duration::from_millis(29_999)));
    assert_eq!(
        told.world.due_at(),
        Some(told.now + Duration::from_millis(1))
    );
    assert!(told.pass(Duration::from_millis(1)));
    assert_eq!(told.seen(), ["orders/a Ready", "web/w Ready"]);
    assert_eq!(told.world.due_at(), None);
}

#[test]
fn the_hold_does_not_run_while_no_center_is_there() {
    let mut told = Told::new();
    told.full(&[("orders", &["a"])]);
    told.meet("store-2", 2);
    told.revision = 0;
    told.full(&[]);
    told.pass(Duration::from_secs(59));
    told.world.disconnected();
    assert!(!told.pass(Duration::from_hours(1)));
    assert_eq!(told.seen(), ["orders/a Unconfirmed"]);
    told.meet("store-2", 2);
    told.full(&[]);
    assert_eq!(
        told.seen(),
        ["orders/a Unconfirmed"],
        "the same center still does not know it"
    );
    assert!(!told.pass(Duration::from_secs(59)));
    assert!(told.pass(Duration::from_secs(1)));
    assert_eq!(told.seen(), Vec::<String>::new());
}

#[test]
fn a_third_center_within_the_hold_starts_it_again() {
    let mut told = Told::new();
    told.full(&[("orders", &["a"])]);
    for epoch in 2..5 {
        told.meet("store-2", epoch);
        told.revision = 0;
        told.full(&[]);
        told.pass(Duration::from_secs(50));
    }
    assert_eq!(told.seen(), ["orders/a Unconfirmed"]);
}

#[test]
fn a_goodbye_heard_by_the_new_center_ends_the_hold_of_an_instance() {
    let mut told = Told::new();
    told.full(&[("orders", &["a", "b"])]);
    told.meet("store-2", 2);
    told.revision = 0;
    told.full(&[("orders", &["a"])]);
    told.change("orders", &[], &["b"]);
    assert_eq!(told.seen(), ["orders/a Ready"]);
}

#[test]
fn what_the_same_store_leaves_out_of_a_full_batch_is_gone() {
    let mut told = Told::new();
    told.full(&[("orders", &["a", "b"]), ("web", &["w"])]);
    told.meet("store-1", 1);
    told.full(&[("orders", &["b"])]);
    assert_eq!(told.seen(), ["orders/b Ready"]);
}

#[test]
fn a_service_whose_last_instance_left_stays_known_while_its_name_is() {
    let mut told = Told::new();
    told.full(&[("orders", &["a"]), ("web", &["w"])]);
    told.change("orders", &[], &["a"]);
    assert_eq!(told.seen(), ["orders/a Draining", "web/w Ready"]);
    told.revision += 1;
    let names = sync::NameSet {
        removed: vec![host("orders")],
        ..told.names()
    };
    assert_eq!(told.world.commit(&names, told.moment()), Ok(true));
    assert_eq!(told.seen(), ["web/w Ready"]);
}

#[test]
fn a_service_that_comes_back_has_no_departed_instance() {
    let mut told = Told::new();
    told.full(&[("orders", &["a"])]);
    told.change("orders", &[], &["a"]);
    told.change("orders", &["b"], &[]);
    assert_eq!(told.seen(), ["orders/b Ready"]);
    told.change("orders", &[], &["b"]);
    assert_eq!(told.seen(), ["orders/b Draining"]);
}

#[test]
fn the_names_of_a_version_other_than_the_hello_are_refused() {
    let mut told = Told::new();
    told.epoch = 5;
    let names = sync::NameSet {
        full: true,
        ..told.names()
    };
    assert_eq!(
        told.world.commit(&names, told.moment()).unwrap_err().field,
        "version.epoch"
    );
}

#[test]
fn what_is_held_is_told_to_the_next_center() {
    let mut told = Told::new();
    assert_eq!(told.world.held(), (String::new(), None));
    told.full(&[("orders", &["a"])]);
    let version = sync::Version {
        epoch: 1,
        revision: 1,
    };
    assert_eq!(told.world.held(), ("store-1".to_owned(), Some(version)));
}

/// Instances whose ids are in the set answer.
fn answering(told: &mut Told, ids: &[&str]) -> Arc<Mutex<HashSet<String>>> {
    let set: HashSet<String> = ids.iter().map(|id| (*id).to_owned()).collect();
    let shared = Arc::new(Mutex::new(set));
    let asked = Arc::clone(&shared);
    told.world.ask(Box::new(move |instance, _| {
        asked.lock().unwrap().contains(instance.id.as_str())
    }));
    shared
}

#[test]
fn of_a_mass_removal_those_that_answer_are_kept_until_they_no_longer_do() {
    let mut told = Told::new();
    let alive = answering(&mut told, &["a", "b"]);
    told.full(&[("orders", &["a", "b", "c"]), ("web", &["w"])]);
    told.change("orders", &[], &["a", "b", "c"]);
    assert_eq!(
        told.seen(),
        [
            "orders/a Unconfirmed",
            "orders/b Unconfirmed",
            "web/w Ready"
        ]
    );
    assert_eq!(
        told.world.take_notes(),
        [
            "the center took 3 of 3 instances of service \"orders\" away; 2 of them answer and are kept while they \
             do, 30 min at the most"
        ]
    );
    assert!(!told.pass(LOOK_EVERY), "both still answer");
    alive.lock().unwrap().remove("a");
    assert!(told.pass(LOOK_EVERY));
    assert_eq!(told.seen(), ["orders/b Unconfirmed", "web/w Ready"]);
    told.change("orders", &["b"], &[]);
    assert_eq!(told.seen(), ["orders/b Ready", "web/w Ready"]);
    assert!(!told.pass(Duration::from_hours(1)));
    assert_eq!(told.world.due_at(), None);
}

#[test]
fn half_of_a_service_may_go_at_once_though_it_answers() {
    let mut told = Told::new();
    answering(&mut told, &["a", "b", "c", "d"]);
    told.full(&[("orders", &["a", "b", "c", "d"])]);
    told.change("orders", &[], &["a", "b"]);
    assert_eq!(told.seen(), ["orders/c Ready", "orders/d Ready"]);
}

#[test]
fn replacing_all_instances_at_once_is_no_mass_removal() {
    let mut told = Told::new();
    answering(&mut told, &["a", "b"]);
    told.full(&[("orders", &["a", "b"])]);
    told.change("orders", &["c", "d"], &["a", "b"]);
    assert_eq!(told.seen(), ["orders/c Ready", "orders/d Ready"]);
}

#[test]
fn a_full_batch_that_leaves_most_out_is_a_mass_removal() {
    let mut told = Told::new();
    answering(&mut told, &["a", "w"]);
    told.full(&[("orders", &["a", "b"]), ("web", &["w"])]);
    told.full(&[]);
    assert_eq!(told.seen(), ["orders/a Unconfirmed", "web/w Unconfirmed"]);
}

#[test]
fn what_is_kept_goes_after_half_an_hour_at_the_latest() {
    let mut told = Told::new();
    answering(&mut told, &["a"]);
    told.full(&[("orders", &["a"])]);
    told.change("orders", &[], &["a"]);
    assert!(!told.pass(HELD_MAX.saturating_sub(Duration::from_secs(1))));
    assert_eq!(told.seen(), ["orders/a Unconfirmed"]);
    assert!(told.pass(Duration::from_secs(1)));
    assert_eq!(told.seen(), ["orders/a Draining"], "the name is known");
}

#[test]
fn what_a_new_center_never_heard_of_is_kept_beyond_the_hold_while_it_answers() {
    let mut told = Told::new();
    let alive = answering(&mut told, &["a"]);
    told.full(&[("orders", &["a", "b"])]);
    told.meet("store-2", 2);
    told.full(&[("orders", &[])]);
    assert!(told.pass(UNCONFIRMED_HOLD));
    assert_eq!(told.seen(), ["orders/a Unconfirmed"]);
    alive.lock().unwrap().clear();
    assert!(told.pass(LOOK_EVERY));
    assert_eq!(told.seen(), ["orders/a Draining"]);
}

#[test]
fn a_world_comes_back_from_the_disk_as_it_was() {
    let mut told = Told::new();
    told.full(&[("orders", &["a", "b"]), ("web", &["w"])]);
    told.meet("store-2", 2);
    told.full(&[("orders", &["a"])]);
    told.change("gone", &["g"], &[]);
    told.change("gone", &[], &["g"]);
    let picture = WorldPicture::of(&told.world).unwrap();
    let saved = picture.to_saved(1);
    let back = World::try_from(Found::from(saved.clone())).unwrap();
    assert_eq!(back.held(), told.world.held());
    assert_eq!(back.draft.names().len(), told.world.draft.names().len());
    assert_eq!(WorldPicture::of(&back).unwrap().to_saved(1), saved);
    let seen = told.seen();
    told.world = back;
    assert_eq!(told.seen(), seen);
    // The hold begins anew at the first word of a center.
    told.meet("store-2", 2);
    told.change("web", &[], &[]);
    assert!(told.pass(UNCONFIRMED_HOLD));
    assert_eq!(
        told.seen(),
        ["gone/g Draining", "orders/a Ready", "web/w Draining"]
    );
}

#[test]
fn a_saved_world_with_a_field_at_fault_is_refused_by_name() {
    let mut told = Told::new();
    told.full(&[("orders", &["a"])]);
    let saved = WorldPicture::of(&told.world).unwrap().to_saved(1);
    let mut wrong = saved.clone();
    wrong.instances[0].address = "nowhere".into();
    let error = World::try_from(Found::from(wrong)).err().unwrap();
    assert_eq!(error.field, "instances[0].address");
    let mut wrong = saved.clone();
    wrong.version = None;
    assert_eq!(
        World::try_from(Found::from(wrong)).err().unwrap().field,
        "version"
    );
    let mut wrong = saved;
    wrong.names = vec![0; NAMES_MAX + 1];
    assert_eq!(
        World::try_from(Found::from(wrong)).err().unwrap().field,
        "names"
    );
    assert!(WorldPicture::of(&World::default()).is_none());
}

#[test]
fn another_store_is_refused_only_where_the_remembered_one_may_still_live() {
    let mut told = Told::new();
    let epoch = 1;
    let hello = |store: &str| sync::CenterHello {
        store_id: store.into(),
        version: Some(sync::Version { epoch, revision: 0 }),
        ..sync::CenterHello::default()
    };
    let both = ["center:1".to_owned(), "center:2".to_owned()];
    let refused = |world: &World, store: &str, center: &str, configured: &[String]| {
        world.refusal(&hello(store), center, configured).is_some()
    };
    assert!(
        !refused(&told.world, "store-2", "center:2", &both),
        "nothing is remembered yet"
    );
    told.full(&[("orders", &["a"])]);
    for (store, center, configured, expect) in [
        ("store-2", "center:2", &both[..], true),
        ("store-1", "center:2", &both[..], false),
        ("store-2", "center:1", &both[..], false),
        ("store-2", "center:2", &both[1..], false),
    ] {
        let found = refused(&told.world, store, center, configured);
        assert_eq!(found, expect, "{store} at {center} of {configured:?}");
    }
    let failure = told.world.refusal(&hello("store-2"), "center:2", &both);
    assert_eq!(
        failure.unwrap().to_string(),
        "the center has another store than the one this sidecar follows: center:2 has store store-2, the snapshot \
         in use is of store store-1 at center:1 (WFT-1406)"
    );
}

#[test]
fn an_older_copy_of_the_store_is_refused_wherever_it_is() {
    let mut told = Told::new();
    told.full(&[("orders", &["a"])]);
    let (store, _) = told.world.held.clone().unwrap();
    for (epoch, expect) in [
        (store.epoch - 1, true),
        (store.epoch, false),
        (store.epoch + 1, false),
    ] {
        let hello = sync::CenterHello {
            store_id: store.id.clone(),
            version: Some(sync::Version { epoch, revision: 9 }),
            ..sync::CenterHello::default()
        };
        let here = told.world.center.to_string();
        let refusal = told
            .world
            .refusal(&hello, &here, std::slice::from_ref(&here));
        assert_eq!(refusal.is_some(), expect, "epoch {epoch}");
    }
}

fn has(subscribe: &sync::Subscribe, services: &[&str], fresh: &[&str]) -> bool {
    let hashes = |of: &[&str]| {
        of.iter()
            .map(|service| host(service))
            .collect::<HashSet<_>>()
    };
    let said = |of: &[u64]| of.iter().copied().collect::<HashSet<_>>();
    said(&subscribe.keys) == hashes(services) && said(&subscribe.fresh) == hashes(fresh)
}

impl Told {
    fn is_subscribed(&self, service: &str) -> bool {
        let view = self.world.draft.view();
        view.service("default", service)
            .is_some_and(|service| service.subscribed)
    }

    /// A batch in which nothing changed.
    fn nothing(&mut self) {
        self.revision += 1;
        assert_eq!(self.world.commit(&self.names(), self.moment()), Ok(true));
    }

    fn sweep(&mut self, span: Duration) -> bool {
        self.pass(span);
        let now = self.moment();
        self.world.sweep(now)
    }
}

#[test]
fn what_callers_name_is_subscribed_and_answered_by_the_batch_that_says_so() {
    let mut told = Told::new();
    let first = told.subscribe().unwrap();
    assert!(
        has(&first, &[], &[]),
        "also a sidecar that calls nobody says so"
    );
    told.full(&[]);
    assert!(!told.world.take_answers());
    told.world
        .name([Key::of_host("orders", "default")], told.moment());
    let second = told.subscribe().unwrap();
    assert!(has(&second, &["orders"], &["orders"]));
    assert_eq!(second.sequence, first.sequence + 1);
    assert!(told.subscribe().is_none(), "it was said");
    // A batch that was under way does not answer it.
    told.subscribed = first.sequence;
    told.nothing();
    assert!(!told.world.publish().is_answered(host("orders")));
    told.subscribed = second.sequence;
    told.world
        .stage(&delta("orders", &["a"], &[]).into())
        .unwrap();
    told.nothing();
    assert!(told.world.take_answers());
    let snapshot = told.world.publish();
    assert!(snapshot.is_answered(host("orders")));
    assert!(snapshot.service("default", "orders").unwrap().subscribed);
    // What is held is not asked for anew, on this stream and on the next.
    told.call("web");
    told.meet("store-1", 1);
    let again = told.subscribe().unwrap();
    assert!(has(&again, &["orders", "web"], &["web"]));
    assert_eq!(again.sequence, 1);
}

#[test]
fn a_key_of_which_nothing_was_told_is_none() {
    let mut told = Told::new();
    told.full(&[]);
    told.call("orders");
    told.nothing();
    let snapshot = told.world.publish();
    assert!(snapshot.is_answered(host("orders")));
    assert!(snapshot.service("default", "orders").is_none());
}

#[test]
fn a_service_without_instances_is_told_by_an_empty_change() {
    let mut told = Told::new();
    told.full(&[]);
    told.change("orders", &[], &[]);
    let snapshot = told.world.publish();
    assert!(
        snapshot
            .service("default", "orders")
            .unwrap()
            .members
            .is_empty()
    );
}

#[test]
fn a_service_that_is_idle_is_given_up_and_its_last_instances_stay_for_a_day() {
    let mut told = Told::new();
    told.full(&[("orders", &["a"]), ("web", &["w"])]);
    told.sweep(Duration::from_mins(5));
    let snapshot = told.world.publish();
    let orders = snapshot.service("default", "orders").unwrap();
    assert!(orders.usage.call(told.unix_ms));
    assert!(told.sweep(IDLE.saturating_sub(Duration::from_mins(5))));
    let subscribe = told.subscribe().unwrap();
    assert!(
        has(&subscribe, &["orders"], &[]),
        "web was not called for ten minutes"
    );
    assert!(told.is_subscribed("orders") && !told.is_subscribed("web"));
    assert_eq!(told.seen(), ["orders/a Ready", "web/w Ready"]);

    // Another store, or a full batch, is not asked about it and says nothing of it.
    told.meet("store-1", 1);
    told.full(&[("orders", &["a"])]);
    told.meet("store-2", 2);
    told.full(&[("orders", &["a"])]);
    told.pass(UNCONFIRMED_HOLD);
    assert_eq!(told.seen(), ["orders/a Ready", "web/w Ready"]);

    // Web was heard of a day ago, orders were called five minutes later.
    assert!(told.sweep(STALE_KEPT.saturating_sub(IDLE + UNCONFIRMED_HOLD)));
    assert_eq!(told.seen(), ["orders/a Ready"]);
    assert!(!told.is_subscribed("orders"));
    assert!(!told.sweep(Duration::from_mins(4)));
    assert!(told.sweep(Duration::from_mins(1)));
    assert_eq!(told.seen(), Vec::<String>::new());
}

#[test]
fn a_service_that_is_called_again_is_asked_for_anew_and_what_is_told_counts() {
    let mut told = Told::new();
    told.full(&[("orders", &["a", "b"]), ("web", &["w"])]);
    told.sweep(IDLE);
    told.subscribe();
    told.call("orders");
    assert!(!told.is_subscribed("orders"), "not before it is answered");
    told.change("orders", &["b", "c"], &[]);
    assert!(told.is_subscribed("orders"));
    // An answer without a word of the service: it is none any more.
    told.call("web");
    told.nothing();
    let seen = told.seen();
    assert!(!seen.contains(&"web/w Ready".to_owned()), "{seen:?}");
}

#[test]
fn an_address_stands_for_its_service_once_that_is_known() {
    let mut told = Told::new();
    told.full(&[]);
    let address = "127.0.0.1:8080".parse().unwrap();
    told.world.name([Key::of_address(address)], told.moment());
    let subscribe = told.subscribe().unwrap();
    assert_eq!(subscribe.fresh, [Key::of_address(address).hash64()]);
    let mut change = delta("orders", &["a"], &[]);
    change.upserted[0].ports.push(sync::Port {
        name: "http".into(),
        protocol: "http".into(),
        number: 8080,
        ..sync::Port::default()
    });
    told.world.stage(&change.into()).unwrap();
    told.nothing();
    assert!(told.is_subscribed("orders"));
    let subscribe = told.subscribe().unwrap();
    assert!(has(&subscribe, &["orders"], &[]), "{subscribe:?}");
}

#[test]
fn an_interface_keeps_every_service_that_serves_it() {
    let mut told = Told::new();
    told.full(&[]);
    told.world
        .name([Key::of_interface("a.Stock", "default")], told.moment());
    told.subscribe();
    for service in ["one", "two"] {
        let mut change = delta(service, &[service], &[]);
        change.upserted[0].ports.push(sync::Port {
            name: "motan".into(),
            protocol: "motan".into(),
            number: 8001,
            interface: "a.Stock".into(),
            ..sync::Port::default()
        });
        told.world.stage(&change.into()).unwrap();
    }
    told.nothing();
    assert!(told.is_subscribed("one") && told.is_subscribed("two"));
    let snapshot = told.world.publish();
    assert!(
        snapshot
            .service("default", "one")
            .unwrap()
            .usage
            .call(told.unix_ms + 60_000)
    );
    told.pass(Duration::from_mins(1));
    told.sweep(IDLE.saturating_sub(Duration::from_secs(1)));
    assert!(told.is_subscribed("one") && told.is_subscribed("two"));
    told.sweep(Duration::from_secs(1));
    assert!(!told.is_subscribed("one") && !told.is_subscribed("two"));
}

#[test]
fn what_is_used_and_since_when_comes_back_from_the_disk() {
    let mut told = Told::new();
    told.full(&[("orders", &["a"]), ("web", &["w"])]);
    told.call("far");
    let saved = WorldPicture::of(&told.world).unwrap().to_saved(1);
    assert_eq!((saved.used.len(), saved.last_uses.len()), (3, 2));
    told.world = World::try_from(Found::from(saved)).unwrap();
    assert!(told.is_subscribed("orders") && told.is_subscribed("web"));
    told.meet("store-1", 1);
    let subscribe = told.subscribe().unwrap();
    assert!(has(&subscribe, &["far", "orders", "web"], &["far"]));
    assert!(!told.sweep(IDLE.saturating_sub(Duration::from_secs(1))));
    assert!(told.sweep(Duration::from_secs(1)));
    let saved = WorldPicture::of(&told.world).unwrap().to_saved(1);
    assert!(saved.used.is_empty());
    told.world = World::try_from(Found::from(saved)).unwrap();
    assert_eq!(told.seen(), ["orders/a Ready", "web/w Ready"]);
    assert!(!told.is_subscribed("orders"));
    assert!(told.sweep(STALE_KEPT));
    assert_eq!(told.seen(), Vec::<String>::new());
}

#[test]
fn a_change_of_one_service_touches_no_other() {
    let mut told = Told::new();
    told.full(&[("orders", &["a", "b"]), ("web", &["w"])]);
    let first = told.world.publish();
    told.change("orders", &["a", "c"], &[]);
    let second = told.world.publish();
    let of =
        |snapshot: &Snapshot, service| Arc::clone(snapshot.service("default", service).unwrap());
    assert!(Arc::ptr_eq(&of(&first, "web"), &of(&second, "web")));
    assert!(!Arc::ptr_eq(&of(&first, "orders"), &of(&second, "orders")));
    // The same again changes nothing at all.
    told.full(&[("orders", &["a", "b", "c"]), ("web", &["w"])]);
    let third = told.world.publish();
    assert!(Arc::ptr_eq(&of(&second, "orders"), &of(&third, "orders")));
    assert_eq!(third.generation, second.generation + 1);
}
