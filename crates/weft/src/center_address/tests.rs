//! Tests of the order in which a center is looked for.

use super::*;

#[test]
fn the_option_wins_over_the_variable_and_the_variable_over_the_file() {
    let file = || Some("http://127.0.0.1:9703".to_owned());
    let option = ["127.0.0.1:9701".to_owned()];
    let variable = Some("http://127.0.0.1:9702, b:1".to_owned());
    let check = |found: Result<Vec<String>, Failure>, expected: &[&str]| {
        assert_eq!(found.unwrap(), expected);
    };
    check(chosen(&option, variable.clone(), file), &["127.0.0.1:9701"]);
    check(chosen(&[], variable, file), &["127.0.0.1:9702", "b:1"]);
    check(chosen(&[], Some(String::new()), file), &["127.0.0.1:9703"]);
    check(chosen(&[], None, || None), &[]);
}

#[test]
fn a_variable_that_is_no_address_is_an_error() {
    assert!(chosen(&[], Some("https://x".into()), || None).is_err());
}
