//! Each change is told with a higher sequence; a new app warms up, an old one does not; overload must last.

use super::*;
use crate::context::APP_IS_NEW;

const UP: AppState = AppState::Up { incarnation: 1 };

#[test]
fn each_change_has_a_higher_sequence() {
    let first = initial();
    let (health, told) = watch::channel(first);
    change(&health, HealthState::Ready);
    assert_eq!(*told.borrow(), first);
    change(&health, HealthState::AppDead);
    assert_eq!(told.borrow().sequence, first.sequence + 1);
    say(&health, HealthState::Warming, 10);
    say(&health, HealthState::Warming, 10);
    say(&health, HealthState::Warming, 15);
    assert_eq!(
        *told.borrow(),
        OwnHealth {
            sequence: first.sequence + 3,
            state: HealthState::Warming,
            share: 15,
        }
    );
}

#[test]
fn the_worst_is_told() {
    for (app, is_offline, share, is_overloaded, told) in [
        (UP, false, 100, false, (HealthState::Ready, 100)),
        (UP, false, 40, false, (HealthState::Warming, 40)),
        (UP, false, 40, true, (HealthState::Overloaded, 40)),
        (UP, false, 100, true, (HealthState::Overloaded, 50)),
        (UP, true, 40, true, (HealthState::Draining, 100)),
        (AppState::Dead, true, 0, true, (HealthState::AppDead, 100)),
        (
            AppState::Unknown,
            false,
            10,
            false,
            (HealthState::Ready, 100),
        ),
        (
            AppState::Unknown,
            true,
            10,
            false,
            (HealthState::Draining, 100),
        ),
    ] {
        assert_eq!(word(app, is_offline, share, is_overloaded), told, "{app:?}");
    }
}

#[test]
fn a_share_grows_in_few_steps_from_little_to_all() {
    let warm_up = warm_up(0);
    assert_eq!(warm_up, Duration::from_secs(30));
    let shares: Vec<u32> = (0..=310)
        .map(|tenths| warm_share(tenths * 100, warm_up))
        .collect();
    assert_eq!((shares[0], shares[300]), (10, 100));
    assert!((50..=55).contains(&shares[150]), "{}", shares[150]);
    assert!(shares.is_sorted());
    let mut steps = shares;
    steps.dedup();
    assert!(steps.len() <= 20, "{steps:?}");
    assert_eq!(warm_share(u64::MAX, warm_up), 100);
    assert_eq!(warm_share(5, Duration::ZERO), 100);
}

#[test]
fn an_app_that_came_up_is_new_and_one_that_was_there_is_as_old_as_it_is() {
    let age = |looks: &[(AppState, i64, i64)], now_ms| {
        let mut app = Age::default();
        for (state, since, now) in looks {
            app.look(*state, *since, *now);
        }
        app.of_ms(now_ms)
    };
    let again = AppState::Up { incarnation: 2 };
    let none = AppState::Unknown;
    // Nobody says when it was started.
    assert_eq!(
        age(&[(none, APP_IS_OLD, 0), (UP, APP_IS_OLD, 50)], 60),
        u64::MAX
    );
    // Its start was said; it answered later.
    assert_eq!(
        age(&[(none, APP_IS_OLD, 0), (UP, APP_IS_NEW, 9_000)], 9_500),
        500
    );
    // This sidecar is the successor of another.
    assert_eq!(
        age(&[(none, APP_IS_OLD, 0), (UP, -7_000, 40)], 1_000),
        8_000
    );
    // It was seen dead, and is back; it was started anew.
    let back = [
        (UP, -7_000, 40),
        (AppState::Dead, -7_000, 50),
        (UP, -7_000, 60),
    ];
    assert_eq!(age(&back, 100), 40);
    assert_eq!(age(&[(UP, -7_000, 40), (again, APP_IS_NEW, 50)], 100), 50);
    assert_eq!(age(&back[..2], 100), 0);
}

#[test]
fn overload_begins_when_signs_last_and_ends_when_they_are_away_for_longer() {
    let mut overload = Overload::default();
    let mut looks = |signs: &[bool]| {
        for sign in signs {
            overload.look(*sign);
        }
        overload.is_on
    };
    assert!(!looks(&[true, false, true, false]));
    assert!(looks(&[true, true]));
    assert!(looks(&[false; 7]));
    assert!(looks(&[true]));
    assert!(looks(&[false; 7]));
    assert!(!looks(&[false]));
}

#[test]
fn a_late_worker_and_too_many_calls_are_signs() {
    let worker = |swept_ms: u64, inbound_calls: u64| {
        let vitals = Vitals::default();
        vitals.swept_ms.store(swept_ms, Relaxed);
        vitals.inbound_calls.store(inbound_calls, Relaxed);
        Arc::new(vitals)
    };
    assert!(!is_overloaded(
        &[worker(1_000, 4), worker(900, 5)],
        10,
        1_100
    ));
    assert!(is_overloaded(
        &[worker(1_000, 5), worker(900, 5)],
        10,
        1_100
    ));
    assert!(is_overloaded(
        &[worker(1_000, 0), worker(700, 0)],
        10,
        1_100
    ));
    assert!(!is_overloaded(&[worker(0, 0)], 10, 1_100), "not yet begun");
}
