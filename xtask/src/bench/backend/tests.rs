//! Tests of the backend's counting.

use super::heads;

#[test]
fn heads_are_counted_at_every_split() {
    let bytes = b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HTTP/1.1\r\n\r\n";
    for split in 0..bytes.len() {
        let mut matched = 0;
        let first = heads(&bytes[..split], &mut matched);
        assert_eq!(
            first + heads(&bytes[split..], &mut matched),
            2,
            "split at {split}"
        );
    }
}
