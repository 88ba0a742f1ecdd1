//! Prefixes are decided at the first byte that decides them, whatever the split.

use super::*;
use crate::motan2::motan2_prefix;

/// Of `bytes` cut at every length: `NeedMore` up to `decided`, `answer` from there.
fn check(prefix: fn(&[u8]) -> Prefix, bytes: &[u8], decided: usize, answer: Prefix) {
    for split in 0..=bytes.len() {
        let expected = if split < decided {
            Prefix::NeedMore
        } else {
            answer
        };
        assert_eq!(
            prefix(&bytes[..split]),
            expected,
            "{bytes:x?} cut at {split}"
        );
    }
}

#[test]
fn the_http2_preface_is_known_at_its_last_byte() {
    check(
        http2_prefix,
        HTTP2_PREFACE,
        HTTP2_PREFACE.len(),
        Prefix::Match,
    );
    let with_frame = [HTTP2_PREFACE, &[0, 0, 0, 4, 0, 0, 0, 0, 0]].concat();
    check(
        http2_prefix,
        &with_frame,
        HTTP2_PREFACE.len(),
        Prefix::Match,
    );
}

#[test]
fn a_preface_with_one_wrong_byte_is_refused_at_that_byte() {
    for wrong in 0..HTTP2_PREFACE.len() {
        let mut bytes = HTTP2_PREFACE.to_vec();
        bytes[wrong] ^= 0x20;
        check(http2_prefix, &bytes, wrong + 1, Prefix::Mismatch);
    }
}

#[test]
fn an_empty_constant_matches_at_once() {
    assert_eq!(constant_prefix(b"", b""), Prefix::Match);
    assert_eq!(constant_prefix(b"a", b""), Prefix::Match);
}

#[test]
fn motan2_is_known_at_its_fourth_byte_whatever_its_type_and_status() {
    for kind in 0..=0xff {
        for status in 0..8 {
            check(
                motan2_prefix,
                &[0xf1, 0xf1, kind, 0x08 | status, 0x30],
                4,
                Prefix::Match,
            );
        }
    }
}

#[test]
fn another_version_or_motan1_is_no_motan2() {
    for version in (0..32).filter(|version| *version != 1) {
        check(
            motan2_prefix,
            &[0xf1, 0xf1, 0x00, version << 3, 0x00],
            4,
            Prefix::Mismatch,
        );
    }
    // Motan1: byte 2 is 0, byte 3 says request or response.
    check(
        motan2_prefix,
        &[0xf1, 0xf1, 0x00, 0x00, 0x01],
        4,
        Prefix::Mismatch,
    );
    check(
        motan2_prefix,
        &[0xf1, 0xf1, 0x00, 0x01, 0x01],
        4,
        Prefix::Mismatch,
    );
}

#[test]
fn a_wrong_magic_is_no_motan2_at_that_byte() {
    check(
        motan2_prefix,
        &[0xf0, 0xf1, 0x00, 0x08],
        1,
        Prefix::Mismatch,
    );
    check(
        motan2_prefix,
        &[0xf1, 0xf0, 0x00, 0x08],
        2,
        Prefix::Mismatch,
    );
    check(motan2_prefix, b"GET / HTTP/1.1\r\n", 1, Prefix::Mismatch);
}
