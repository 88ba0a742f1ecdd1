//! Tests of the waits between deaths and successors.

use super::*;

#[test]
fn the_first_successor_starts_at_once_and_later_ones_wait_up_to_five_seconds() {
    let mut backoff = Backoff::default();
    let waits: Vec<u128> = (0..12)
        .map(|_| backoff.after_death(Duration::from_millis(3)).as_millis())
        .collect();
    assert_eq!(
        waits,
        [0, 20, 40, 80, 160, 320, 640, 1280, 2560, 5000, 5000, 5000]
    );
}

#[test]
fn a_sidecar_that_lived_long_is_forgiven_its_past() {
    let mut backoff = Backoff::default();
    for _ in 0..8 {
        backoff.after_death(Duration::ZERO);
    }
    assert_eq!(backoff.after_death(Duration::from_mins(1)), Duration::ZERO);
    assert_eq!(
        backoff.after_death(Duration::ZERO),
        Duration::from_millis(20)
    );
}

#[test]
fn a_sidecar_that_served_between_two_deaths_comes_back_at_once_each_time() {
    let mut backoff = Backoff::default();
    for _ in 0..5 {
        assert_eq!(
            backoff.after_death(Duration::from_millis(1600)),
            Duration::ZERO
        );
    }
}
