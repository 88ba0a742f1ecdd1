//! The repository keeps its own rules, and the rules catch what they are for.

use super::layers::allows;
use super::modules::declared_module;
use super::outside::licensed;
use super::source::{declared_type, has_token};
use super::tree::{Tree, rust_lines};

#[test]
fn the_repository_keeps_its_rules() {
    let tree = Tree::read().unwrap();
    let found = super::violations(&tree).unwrap();
    let told: Vec<String> = found.iter().map(ToString::to_string).collect();
    assert!(told.is_empty(), "{}", told.join("\n"));
}

#[test]
fn code_is_told_from_comments_and_texts() {
    let check = |text: &str, expect: &[&str]| {
        let code: Vec<String> = rust_lines(text).into_iter().map(|line| line.code).collect();
        assert_eq!(code, expect, "{text}");
    };
    check("let a = \"tokio\"; // tokio", &["let a = \"\"; "]);
    check("a /* tokio /* x */ y */ b", &["a  b"]);
    check("r#\"tokio \" \"# + 1", &["\"\" + 1"]);
    check("'\"' + \"x\"", &["' ' + \"\""]);
    check("fn a<'a>(b: &'a str) {}", &["fn a<'a>(b: &'a str) {}"]);
    check("'\\'' + 'x'", &["' ' + ' '"]);
    check("/*\ntokio\n*/ x", &["", "", " x"]);
    check("\"a\ntokio\" x", &["\"", "\" x"]);
    check("b\"a\\\"b\" c", &["b\"\" c"]);
}

#[test]
fn a_token_is_not_the_tail_of_a_longer_name() {
    assert!(has_token("use tokio::net", "tokio"));
    assert!(has_token("x.await?", ".await"));
    assert!(!has_token("offs::x", "fs::"));
    assert!(!has_token("let my_tokio = 1", "tokio"));
}

#[test]
fn the_layer_table_keeps_proxy_and_center_apart() {
    assert!(allows("weft-proxy", "weft-policy"));
    assert!(!allows("weft-proxy", "weft-center"));
    assert!(!allows("weft-center", "weft-proxy"));
    assert!(!allows("weft-center", "weft-codec"));
    assert!(!allows("weft-policy", "weft-codec"));
    assert!(!allows("weft-model", "weft-codec"));
    assert!(!allows("weft", "weft-test"));
    assert!(allows("weft-test", "weft-proxy"));
}

#[test]
fn a_licence_needs_one_side_of_or_and_both_sides_of_and() {
    assert!(licensed("MIT OR Apache-2.0"));
    assert!(licensed("Unlicense OR MIT"));
    assert!(licensed("MIT/Apache-2.0"));
    assert!(licensed("(MIT OR Apache-2.0) AND Unicode-3.0"));
    assert!(!licensed("GPL-3.0"));
    assert!(!licensed("MIT AND GPL-3.0"));
    assert!(!licensed(""));
}

#[test]
fn declarations_are_found_behind_any_visibility() {
    assert_eq!(
        declared_type("pub(crate) struct PoolManager<T> {"),
        Some("PoolManager")
    );
    assert_eq!(declared_type("enum Info {"), Some("Info"));
    assert_eq!(declared_type("let structure = 1;"), None);
    assert_eq!(declared_module("pub(crate) mod link;"), Some("link"));
    assert_eq!(declared_module("#[cfg(test)] mod tests;"), Some("tests"));
    assert_eq!(declared_module("mod inline {"), None);
}
