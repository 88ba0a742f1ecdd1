//! Which removals are believed at once, and what is kept of the others for how long.

use super::*;

#[test]
fn more_than_half_is_massive() {
    for (before, taken, massive) in [
        (0, 0, false),
        (1, 0, false),
        (1, 1, true),
        (2, 1, false),
        (2, 2, true),
        (3, 1, false),
        (3, 2, true),
        (10, 5, false),
        (10, 6, true),
        (10_000, 5_000, false),
        (10_000, 5_001, true),
        (10_000, 10_000, true),
    ] {
        assert_eq!(
            is_massive(Removal { before, taken }),
            massive,
            "{taken} of {before}"
        );
    }
}

#[test]
fn who_answers_is_kept_for_half_an_hour_and_who_does_not_is_not() {
    let almost = HELD_MAX.saturating_sub(Duration::from_millis(1));
    for (answers, held_for, kept) in [
        (true, Duration::ZERO, true),
        (true, Duration::from_secs(600), true),
        (true, almost, true),
        (true, HELD_MAX, false),
        (true, HELD_MAX * 2, false),
        (false, Duration::ZERO, false),
        (false, almost, false),
    ] {
        assert_eq!(is_kept(answers, held_for), kept, "{answers} {held_for:?}");
    }
}
