//! When a sidecar counts as hanging.

use super::*;

/// How long until it hangs, asked on time.
fn hangs_after(watchdog: &mut Watchdog, from: Instant) -> Duration {
    let mut now = from;
    while watchdog.act(now) != Watch::Hangs {
        now += ASK_EVERY;
    }
    now.saturating_duration_since(from)
}

#[test]
fn silence_is_noticed_within_two_seconds_with_the_workers_share() {
    let from = crate::clock::now();
    let mut watchdog = Watchdog::new(from);
    watchdog.answered();
    let took = hangs_after(&mut watchdog, from);
    assert!(took <= Duration::from_millis(1250), "{took:?}");
}

#[test]
fn a_start_may_take_longer() {
    let from = crate::clock::now();
    let took = hangs_after(&mut Watchdog::new(from), from);
    assert!(took >= Duration::from_secs(8), "{took:?}");
}

#[test]
fn an_agent_that_was_stopped_itself_asks_again_before_it_judges() {
    let from = crate::clock::now();
    let mut watchdog = Watchdog::new(from);
    watchdog.answered();
    let later = from + Duration::from_mins(1);
    assert_eq!(watchdog.act(later), Watch::Ask);
    assert_eq!(watchdog.act(later), Watch::Wait);
}
