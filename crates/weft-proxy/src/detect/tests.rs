//! Every prefix is told apart at every split.

use super::*;

const STARTS: &[(&[u8], ProtocolId)] = &[
    (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", ProtocolId::Http1),
    (b"POST /a?b=c HTTP/1.1\r\n", ProtocolId::Http1),
    (b"PRIVATE / HTTP/1.1\r\n", ProtocolId::Http1),
    (weft_codec::sniff::HTTP2_PREFACE, ProtocolId::H2),
    (b"\xf1\xf1\x00\x08\x30", ProtocolId::Motan2),
];

#[test]
fn every_prefix_is_told_at_every_split_and_never_taken_for_another() {
    for (start, protocol) in STARTS {
        let mut decided = false;
        for len in 1..=start.len() {
            match verdict(&start[..len]) {
                Verdict::Known(known) => {
                    assert_eq!(known, *protocol, "{:?} at {len}", &start[..len]);
                    decided = true;
                }
                Verdict::Only(only) => assert_eq!(only, *protocol, "{:?} at {len}", &start[..len]),
                Verdict::Several => assert!(!decided, "undecided again at {len}"),
                Verdict::Unknown => panic!("{:?} is nobody's at {len}", &start[..len]),
            }
        }
        assert!(decided, "{start:?} was never decided");
    }
}

#[test]
fn bytes_of_no_protocol_are_told_at_once() {
    for bytes in [
        &b"\x16\x03\x01"[..],
        b"\0",
        b"\xda\xbb",
        b"\xf1\x00",
        b"(nothing) / HTTP/1.1",
    ] {
        assert_eq!(verdict(bytes), Verdict::Unknown, "{bytes:?}");
    }
}
