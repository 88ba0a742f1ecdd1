//! Tests of the messages' bytes.

use super::{framed, read_number, read_text, take, write_number, write_text};
use bytes::BytesMut;

#[test]
fn messages_have_the_bytes_of_other_implementations() {
    // protoc --encode of `message Item { string name = 1; }` and `message Count { int32 count = 1; }`.
    assert_eq!(write_text("bread"), b"\x0a\x05bread");
    assert_eq!(read_text(b"\x0a\x05bread"), Some("bread"));
    assert_eq!(read_text(b"\x0a\x06bread"), None);
    assert_eq!(write_number(42), *b"\x08\x2a");
    assert_eq!(read_number(b"\x08\x2a"), Some(42));
    assert_eq!(read_number(b""), None);
}

#[test]
fn messages_are_taken_whole_however_they_come() {
    let bytes = [framed(b"one"), framed(b""), framed(b"three")].concat();
    let mut received = BytesMut::new();
    let mut taken = Vec::new();
    for byte in bytes {
        received.extend_from_slice(&[byte]);
        while let Some(message) = take(&mut received).unwrap() {
            taken.push(message);
        }
    }
    assert_eq!(taken, [&b"one"[..], b"", b"three"]);
}

#[test]
fn what_a_demo_app_cannot_read_is_refused() {
    assert!(take(&mut BytesMut::from(&b"\x01\0\0\0\x01x"[..])).is_err());
    assert!(take(&mut BytesMut::from(&b"\0\xff\xff\xff\xff"[..])).is_err());
}
