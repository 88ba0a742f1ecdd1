//! What is shown of two texts.

use super::*;

#[test]
fn only_what_differs_has_a_sign() {
    let text = |lines: &[&str]| -> Vec<String> { lines.iter().map(ToString::to_string).collect() };
    let before = text(&["a", "b", "c", "d"]);
    let after = text(&["a", "c", "x", "d"]);
    let expected = [(' ', "a"), ('-', "b"), (' ', "c"), ('+', "x"), (' ', "d")];
    assert_eq!(lines(&before, &after), expected);
    assert_eq!(lines(&[], &after[..1]), [('+', "a")]);
    assert_eq!(lines(&before[..1], &[]), [('-', "a")]);
}
