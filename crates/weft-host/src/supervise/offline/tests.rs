//! The later word counts, whoever said it.

use super::*;

fn told(offline: Offline) -> Option<(bool, u64)> {
    match offline.message() {
        Some(ToSidecar::SetOffline {
            offline,
            changed_ms,
        }) => Some((offline, changed_ms)),
        _ => None,
    }
}

#[test]
fn a_sidecar_is_told_nothing_until_somebody_said_something() {
    assert_eq!(told(Offline::default()), None);
}

#[test]
fn a_word_of_the_center_counts_only_when_it_is_later() {
    let mut offline = Offline::default();
    offline.said_here(true, 1000);
    offline.heard(false, 999);
    offline.heard(false, 1000);
    assert_eq!(told(offline), Some((true, 1000)));
    offline.heard(false, 1001);
    assert_eq!(told(offline), Some((false, 1001)));
}

#[test]
fn a_person_is_heard_even_when_the_clock_went_back() {
    let mut offline = Offline::default();
    offline.heard(true, 5000);
    offline.said_here(false, 10);
    assert_eq!(told(offline), Some((false, 5001)));
}
