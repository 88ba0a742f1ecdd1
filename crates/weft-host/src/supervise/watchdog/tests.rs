//! When a sidecar counts as hanging.

use super::*;
use crate::supervise::threads::Thread;

/// How long until it hangs, asked on time; none within a minute.
fn hangs_after(
    watchdog: &mut Watchdog,
    from: Instant,
    mut threads: impl FnMut(Duration) -> Vec<Thread>,
) -> Option<Duration> {
    let mut now = from;
    loop {
        let since = now.saturating_duration_since(from);
        if watchdog.act(now, || threads(since)) == Watch::Hangs {
            return Some(since);
        }
        if since > Duration::from_mins(1) {
            return None;
        }
        now += ASK_EVERY;
    }
}

/// A watchdog whose sidecar has answered.
fn answered() -> (Watchdog, Instant) {
    let from = crate::clock::now();
    let mut watchdog = Watchdog::new(from);
    watchdog.answered();
    (watchdog, from)
}

#[test]
fn silence_is_noticed_within_two_seconds_with_the_workers_share() {
    type Threads = fn(Duration) -> Vec<Thread>;
    let rows: [(&str, Threads); 4] = [
        ("the kernel tells nothing", |_| Vec::new()),
        ("stopped", |_| vec![Thread::asleep(1, Duration::ZERO)]),
        ("a worker turns round on a core of its own", |since| {
            vec![
                Thread::asleep(1, Duration::ZERO),
                Thread::busy(2, since, Duration::ZERO),
            ]
        }),
        ("a worker turns round on nine tenths of a core", |since| {
            vec![Thread::busy(2, since * 9 / 10, since / 10)]
        }),
    ];
    for (what, threads) in rows {
        let (mut watchdog, from) = answered();
        let took = hangs_after(&mut watchdog, from, threads).expect(what);
        assert!(took <= Duration::from_millis(1500), "{what}: {took:?}");
    }
}

#[test]
fn a_sidecar_that_is_kept_from_the_cores_does_not_hang() {
    let (mut watchdog, from) = answered();
    let starved = |_| {
        vec![
            Thread::asleep(1, Duration::ZERO),
            Thread::busy(2, Duration::ZERO, Duration::ZERO),
        ]
    };
    assert_eq!(hangs_after(&mut watchdog, from, starved), None);
}

#[test]
fn one_that_turns_round_with_a_tenth_of_a_core_hangs_when_it_has_had_enough_of_it() {
    let (mut watchdog, from) = answered();
    let threads = |since| vec![Thread::busy(2, since / 10, since * 9 / 10)];
    let took = hangs_after(&mut watchdog, from, threads).unwrap();
    let range = Duration::from_secs(7)..Duration::from_secs(9);
    assert!(range.contains(&took), "{took:?}");
}

#[test]
fn an_answer_ends_the_count() {
    let (mut watchdog, from) = answered();
    let mut now = from;
    for turn in 0..40 {
        now += ASK_EVERY;
        assert_ne!(watchdog.act(now, Vec::new), Watch::Hangs, "{turn}");
        if turn % 3 == 2 {
            watchdog.answered();
        }
    }
}

#[test]
fn a_start_may_take_longer() {
    let from = crate::clock::now();
    let took = hangs_after(&mut Watchdog::new(from), from, |_| Vec::new()).unwrap();
    assert!(took >= Duration::from_secs(8), "{took:?}");
}

#[test]
fn an_agent_that_was_stopped_itself_asks_again_before_it_judges() {
    let (mut watchdog, from) = answered();
    let mut now = from;
    // Asked, and once without an answer.
    for _ in 0..2 {
        now += ASK_EVERY;
        assert_eq!(watchdog.act(now, Vec::new), Watch::Ask);
    }
    let later = now + Duration::from_mins(1);
    assert_eq!(watchdog.act(later, Vec::new), Watch::Ask);
    assert_eq!(watchdog.act(later, Vec::new), Watch::Wait);
}
