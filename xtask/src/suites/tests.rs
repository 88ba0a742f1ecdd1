//! Tests of the counting.

use super::{Tally, counted, failed_test};

#[test]
fn results_of_cargo_test_are_summed() {
    let line = "test result: FAILED. 12 passed; 3 failed; 0 ignored; 0 measured; 0 filtered out";
    assert_eq!(
        counted(line),
        Some(Tally {
            passed: 12,
            failed: 3
        })
    );
    assert_eq!(counted("test a ... ok"), None);
    let sum = Tally {
        passed: 12,
        failed: 3,
    }
    .plus(Tally::one(true))
    .plus(Tally::one(false));
    assert_eq!(sum.line(), "13 passed, 4 failed");
}

#[test]
fn a_test_that_failed_is_named() {
    let failed = "test routing::calls_go_to_every_instance ... FAILED";
    assert_eq!(
        failed_test(failed),
        Some("routing::calls_go_to_every_instance")
    );
    assert_eq!(failed_test("test a ... ok"), None);
    assert_eq!(failed_test("test result: FAILED. 1 passed"), None);
}
