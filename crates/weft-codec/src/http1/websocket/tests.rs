//! Words of the RFCs.

use super::{base64, sha1, websocket_accept, websocket_key};

fn hex(bytes: [u8; 20]) -> String {
    let (start, end) = bytes.split_at(16);
    let start = u128::from_be_bytes(start.try_into().unwrap());
    let end = u32::from_be_bytes(end.try_into().unwrap());
    format!("{start:032x}{end:08x}")
}

#[test]
fn hashes_are_those_of_rfc_3174() {
    let long = "0123456701234567012345670123456701234567012345670123456701234567".repeat(10);
    for (message, hash) in [
        ("", "da39a3ee5e6b4b0d3255bfef95601890afd80709"),
        ("abc", "a9993e364706816aba3e25717850c26c9cd0d89d"),
        (
            "abcdbcdecdefdefgefghfghighijhijkijkljklmklmnlmnomnopnopq",
            "84983e441c3bd26ebaae4aa1f95129e5e54670f1",
        ),
        (long.as_str(), "dea356a2cddd90c7a7ecedc5ebb563934f460452"),
    ] {
        assert_eq!(hex(sha1(message.as_bytes())), hash, "{message}");
    }
}

#[test]
fn base64_pads() {
    for (bytes, text) in [
        ("", ""),
        ("f", "Zg=="),
        ("fo", "Zm8="),
        ("foo", "Zm9v"),
        ("foob", "Zm9vYg=="),
        ("foobar", "Zm9vYmFy"),
    ] {
        assert_eq!(base64(bytes.as_bytes()), text.as_bytes());
    }
}

#[test]
fn the_answer_is_that_of_rfc_6455_and_what_is_no_key_has_none() {
    let answer = websocket_accept(b"dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(answer.unwrap(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(websocket_accept(b"short"), None);
    assert_eq!(websocket_key(0).len(), 24);
    assert!(websocket_accept(&websocket_key(7)).is_some());
}
