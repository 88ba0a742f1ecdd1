//! What clients count.

use super::*;

const AT: fn(Instant, u64) -> Instant = |begin, ms| begin + Duration::from_millis(ms);

#[test]
fn the_longest_gap_is_that_of_the_protocol_that_fared_worse_and_counts_once() {
    let begin = now();
    let mut counts = Counts::default();
    for ms in [0, 10, 20, 30] {
        counts.answer(Protocol::Http1, "app".to_owned(), AT(begin, ms));
    }
    for ms in [0, 30] {
        counts.answer(Protocol::Motan2, "app".to_owned(), AT(begin, ms));
    }
    let longest = counts.take_longest_gap(AT(begin, 35));
    assert_eq!(longest, Duration::from_millis(30));
    let since = counts.take_longest_gap(AT(begin, 40));
    assert_eq!(since, Duration::from_millis(5));
    assert_eq!(counts.answered_by.get("app"), Some(&6));
}

#[test]
fn a_gap_that_still_goes_on_counts() {
    let begin = now();
    let mut counts = Counts::default();
    counts.answer(Protocol::Http1, "app".to_owned(), begin);
    let longest = counts.take_longest_gap(AT(begin, 70));
    assert_eq!(longest, Duration::from_millis(70));
}
