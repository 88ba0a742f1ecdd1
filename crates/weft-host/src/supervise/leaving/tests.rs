//! When a drain is over.

use super::*;

const LIMIT: Duration = Duration::from_secs(25);
const SECOND: Duration = Duration::from_secs(1);

fn begin(limit: Duration) -> (Instant, Draining) {
    let now = clock::now();
    let grace = Duration::from_secs(30);
    (now, Draining::begin(now, limit, grace, Signal::TERM))
}

#[test]
fn a_drain_lasts_two_seconds_at_least_even_when_nothing_is_under_way() {
    let (now, mut draining) = begin(LIMIT);
    draining.is_drained = true;
    assert!(!draining.is_over(now + SECOND));
    assert!(draining.is_over(now + DRAIN_MIN));
}

#[test]
fn a_drain_with_calls_under_way_lasts_to_the_limit_and_not_longer() {
    let (now, draining) = begin(LIMIT);
    assert!(!draining.is_over(now + LIMIT.saturating_sub(SECOND)));
    assert!(draining.is_over(now + LIMIT));
}

#[test]
fn a_limit_of_nothing_is_over_at_once() {
    let (now, draining) = begin(Duration::ZERO);
    assert!(draining.is_over(now));
}
