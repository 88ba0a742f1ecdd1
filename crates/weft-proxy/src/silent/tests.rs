//! Who is silent and new is waited for, nobody else.

use super::*;

#[test]
fn only_what_is_silent_and_new_counts() {
    let silent = Rc::new(Silent::default());
    assert!(!silent.any_new(0));
    let old = silent.begin(1_000);
    assert!(silent.any_new(1_000 + NEW_FOR_MS - 1));
    assert!(!silent.any_new(1_000 + NEW_FOR_MS));
    let new = silent.begin(2_000);
    assert!(silent.any_new(2_100));
    drop(new);
    // The other one might be the new one for all that is known: a moment longer does no harm.
    assert!(silent.any_new(2_100));
    drop(old);
    assert!(!silent.any_new(2_100));
}
