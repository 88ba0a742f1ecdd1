//! Which removals are believed at once, and what is kept of the others for how long.

use super::*;

#[test]
fn more_than_half_is_massive() {
    for (before, after, massive) in [
        (0, 0, false),
        (0, 7, false),
        (1, 1, false),
        (1, 0, true),
        (2, 1, false),
        (2, 0, true),
        (3, 2, false),
        (3, 1, true),
        (10, 5, false),
        (10, 4, true),
        (10, 10, false),
        (10_000, 5_000, false),
        (10_000, 4_999, true),
        (10_000, 0, true),
    ] {
        assert_eq!(
            is_massive(Removal { before, after }),
            massive,
            "from {before} to {after}"
        );
    }
}

#[test]
fn who_answers_is_kept_for_half_an_hour_and_who_does_not_is_not() {
    let almost = HELD_MAX.saturating_sub(Duration::from_millis(1));
    for (answers, held_for, kept) in [
        (true, Duration::ZERO, true),
        (true, Duration::from_mins(10), true),
        (true, almost, true),
        (true, HELD_MAX, false),
        (true, HELD_MAX * 2, false),
        (false, Duration::ZERO, false),
        (false, almost, false),
    ] {
        assert_eq!(is_kept(answers, held_for), kept, "{answers} {held_for:?}");
    }
}
