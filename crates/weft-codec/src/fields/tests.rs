//! Fields keep order, repetition and case.

use super::*;

fn list(fields: &Fields) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    fields
        .iter()
        .map(|(name, value)| (text(name), text(value)))
        .collect()
}

#[test]
fn order_repetition_and_case_are_kept() {
    let mut fields = Fields::new();
    fields.push(b"A", b"1");
    let path = fields.store(b"/x");
    fields.push(b"b", b"");
    fields.push(b"a", b"2");
    assert_eq!(fields.bytes(path), b"/x");
    assert_eq!(fields.first("a"), Some(&b"1"[..]));
    assert_eq!(fields.last_exact("a"), Some(&b"2"[..]));
    assert_eq!(fields.len(), 3);
    fields.set("A", b"3");
    assert_eq!(
        list(&fields),
        [("b".into(), String::new()), ("A".into(), "3".into())]
    );
    fields.clear();
    assert!(fields.is_empty());
    assert_eq!(fields.bytes(path), b"");
}
