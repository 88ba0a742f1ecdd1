//! The table of limits is whole.

use super::*;
use std::collections::HashSet;

#[test]
fn every_limit_has_its_own_name_and_a_value() {
    let names: HashSet<&str> = Limit::ALL.iter().map(|limit| limit.name()).collect();
    assert_eq!(names.len(), Limit::ALL.len());
    for limit in Limit::ALL {
        assert!(limit.default() > 0, "{}", limit.name());
        assert!(!limit.sentence().ends_with('.'), "{}", limit.name());
    }
}
