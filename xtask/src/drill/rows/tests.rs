//! What passes in which form.

use super::Rows;

#[test]
fn a_count_gates_exactly_in_both_forms() {
    for full in [false, true] {
        let mut rows = Rows::new(full);
        rows.count("failed", 0.0, 0.0);
        assert!(rows.clone().print("drill test", 0.0, false));
        rows.count("failed more", 1.0, 0.0);
        assert!(!rows.print("drill test", 0.0, false));
    }
}

#[test]
fn a_time_gates_at_five_times_its_limit_in_the_short_form_only() {
    let pass = |full, value| {
        let mut rows = Rows::new(full);
        rows.time("gap ms", value, 100.0);
        rows.print("drill test", 0.0, true)
    };
    assert!(pass(false, 500.0));
    assert!(!pass(false, 501.0));
    assert!(pass(true, 100.0));
    assert!(!pass(true, 101.0));
}

#[test]
fn rounds_of_a_time_are_held_to_their_median() {
    let mut rows = Rows::new(true);
    for value in [10.0, 900.0, 20.0, 30.0, 40.0] {
        rows.time("gap ms", value, 100.0);
    }
    let rows = rows.with_times();
    let row = rows.figures.first().expect("the row of times");
    assert!((row.value - 30.0).abs() < f64::EPSILON);
    let json = rows.json("drill test", 1.0, true);
    assert_eq!(json["rows"][0]["limit"], 100.0);
    assert_eq!(json["rows"][0]["pass"], true);
}

#[test]
fn what_is_only_shown_never_fails() {
    let mut rows = Rows::new(true);
    rows.shown("nginx failed", 1000.0);
    assert!(rows.print("drill test", 0.0, false));
}

#[test]
fn a_row_that_is_known_to_fail_fails_the_full_form_alone() {
    for full in [false, true] {
        let mut rows = Rows::new(full);
        rows.known(&["memory, KiB"]);
        rows.count("memory, KiB", 2.0, 1.0);
        let json = rows.json("drill test", 0.0, true);
        assert_eq!(json["rows"][0]["pass"], false);
        assert_eq!(json["rows"][0]["known"], true);
        assert_eq!(rows.print("drill test", 0.0, true), !full);
    }
}
