//! Tests of rows and their limits.

use super::{Row, median};

#[test]
fn the_median_of_an_even_count_is_the_middle_of_both() {
    assert!((median(vec![4.0, 1.0, 3.0, 2.0]) - 2.5).abs() < 1e-9);
    assert!((median(vec![3.0, 1.0, 2.0]) - 2.0).abs() < 1e-9);
    assert!(median(Vec::new()).abs() < 1e-9);
}

#[test]
fn a_ratio_is_the_median_of_the_paired_ratios() {
    let row = Row::rounds(
        "hop",
        vec![(1.0, Some(2.0)), (2.0, Some(8.0)), (1.0, Some(3.0))],
    )
    .ratio_at_least(3.0, 4.0);
    assert!((row.ratio().unwrap() - 3.0).abs() < 1e-9);
    assert!(row.pass());
}

#[test]
fn a_ratio_row_without_a_peer_is_only_shown() {
    let row = Row::rounds("hop", vec![(1.0, None)]).ratio_at_least(3.0, 4.0);
    assert!(row.pass());
    assert!(row.ratio().is_none());
}

#[test]
fn a_value_above_its_gate_fails() {
    assert!(!Row::at_most("pss mib", 12.1, 12.0, None).pass());
    assert!(Row::at_most("pss mib", 12.0, 12.0, None).pass());
}
