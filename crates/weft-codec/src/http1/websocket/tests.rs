//! The words of RFC 6455.

use super::{websocket_accept, websocket_key};

#[test]
fn the_answer_is_that_of_rfc_6455_and_what_is_no_key_has_none() {
    let answer = websocket_accept(b"dGhlIHNhbXBsZSBub25jZQ==");
    assert_eq!(answer.unwrap(), b"s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_eq!(websocket_accept(b"short"), None);
    assert_eq!(websocket_key(0), b"AAAAAAAAAAAAAAAAAAAAAA==");
    assert!(websocket_accept(&websocket_key(7)).is_some());
}
