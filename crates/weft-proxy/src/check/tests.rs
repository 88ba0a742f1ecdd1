//! One failure is none, two in a row are, one success mends; half of a service stays whatever fails.

use super::*;
use weft_model::instance::{CallerCheck, Instance, InstanceState, Shape};
use weft_model::snapshot::{Draft, Version};

fn instance(number: usize) -> Arc<Instance> {
    Arc::new(Instance {
        id: InstanceId::new(&format!("stock-{number}")),
        incarnation: 0,
        address: IpAddr::from([127, 0, 0, 1]),
        inbound_port: 0,
        state: InstanceState::Ready,
        weight: 100,
        shape: Arc::new(Shape {
            service: ServiceName::new("default", "stock"),
            ports: Vec::new(),
            labels: Vec::new(),
            zone: "".into(),
            idempotent: Vec::new(),
            check: Some(CallerCheck {
                check: Check::Tcp { port: 1 },
                interval: Duration::from_secs(5),
            }),
        }),
    })
}

fn put(draft: &mut Draft, number: usize) {
    let instance = instance(number);
    draft.edit(&instance.service).put(Arc::clone(&instance));
}

fn draft(count: usize) -> Draft {
    let mut draft = Draft::default();
    for number in 0..count {
        put(&mut draft, number);
    }
    draft
}

fn known(count: usize) -> (Checks, Snapshot) {
    let snapshot = draft(count).publish(Version::default(), true);
    let mut checks = Checks::new(3);
    checks.learn(&snapshot);
    (checks, snapshot)
}

fn id(number: usize) -> Id {
    (
        "default".into(),
        InstanceId::new(&format!("stock-{number}")),
    )
}

fn eligible(checks: &Checks, count: usize) -> Vec<bool> {
    let now = clock::now_ms();
    let is_eligible = |number| checks.watched[&id(number)].load.is_eligible(now);
    (0..count).map(is_eligible).collect()
}

#[test]
fn two_failures_in_a_row_take_an_instance_out_and_one_success_brings_it_back() {
    let (mut checks, snapshot) = known(2);
    checks.end(&id(0), false, &snapshot);
    assert_eq!(eligible(&checks, 2), [true, true]);
    checks.end(&id(0), true, &snapshot);
    checks.end(&id(0), false, &snapshot);
    assert_eq!(eligible(&checks, 2), [true, true], "not in a row");
    checks.end(&id(0), false, &snapshot);
    assert_eq!(eligible(&checks, 2), [false, true]);
    checks.end(&id(0), true, &snapshot);
    assert_eq!(eligible(&checks, 2), [true, true]);
    let heard = &checks.watched[&id(0)].load.heard_ms;
    assert!(heard.load(Relaxed) > 0, "a success is a sign of life");
    let heard = &checks.watched[&id(1)].load.heard_ms;
    assert_eq!(heard.load(Relaxed), 0);
}

#[test]
fn at_most_half_is_taken_out_and_the_next_when_one_is_back() {
    let (mut checks, snapshot) = known(3);
    for number in [0, 1, 2, 0, 1, 2, 0, 1, 2] {
        checks.end(&id(number), false, &snapshot);
    }
    assert_eq!(eligible(&checks, 3), [false, true, true]);
    checks.end(&id(0), true, &snapshot);
    checks.end(&id(2), false, &snapshot);
    assert_eq!(eligible(&checks, 3), [true, true, false]);
    let (mut checks, snapshot) = known(1);
    for _ in 0..5 {
        checks.end(&id(0), false, &snapshot);
    }
    assert_eq!(eligible(&checks, 1), [true]);
}

#[test]
fn checks_are_spread_bounded_and_never_doubled() {
    let (mut checks, snapshot) = known(100);
    let now = clock::now();
    let at_first = checks.due(now + FIRST_WITHIN / 2, 1_000).len();
    assert!((20..80).contains(&at_first), "{at_first} of 100");
    let rest = checks.due(now + FIRST_WITHIN * 2, 10);
    assert_eq!(rest.len(), 10);
    assert_eq!(
        checks.due(now + FIRST_WITHIN * 2, 1_000).len(),
        90 - at_first
    );
    assert!(checks.due(now + FIRST_WITHIN * 100, 1_000).is_empty());
    checks.end(&rest[0].id, true, &snapshot);
    let next = checks.watched[&rest[0].id]
        .next
        .saturating_duration_since(clock::now());
    let (least, most) = (Duration::from_millis(4_400), Duration::from_millis(5_500));
    assert!((least..=most).contains(&next), "{next:?}");
}

#[test]
fn what_was_found_out_stays_with_an_instance_that_stays() {
    let mut draft = draft(2);
    let before = draft.publish(Version::default(), true);
    let mut checks = Checks::new(3);
    checks.learn(&before);
    checks.end(&id(0), false, &before);
    checks.end(&id(0), false, &before);
    put(&mut draft, 2);
    let service = instance(1).service.clone();
    draft.edit(&service).remove(&InstanceId::new("stock-1"));
    let after = draft.publish(Version::default(), true);
    checks.learn(&after);
    assert_eq!(checks.watched.len(), 2);
    assert!(!checks.watched.contains_key(&id(1)));
    assert_eq!(checks.watched[&id(0)].failures, 2);
    assert!(!checks.watched[&id(0)].load.state().takes_calls());
}
