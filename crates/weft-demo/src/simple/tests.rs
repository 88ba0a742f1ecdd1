//! Tests against the vectors that Motan's own encoders made.

use super::*;

#[test]
fn strings_and_integers_have_the_bytes_of_other_implementations() {
    let string = |text: &str, expected: &[u8]| {
        let mut out = Vec::new();
        write_string(text, &mut out);
        assert_eq!(out, expected);
        assert_eq!(read_string(&out), Some(text));
    };
    string("Ray", b"\x01\x00\x00\x00\x03Ray");
    string("你", b"\x01\x00\x00\x00\x03\xe4\xbd\xa0");
    string("", b"\x01\x00\x00\x00\x00");
    let int = |value: i64, expected: &[u8]| {
        let mut out = Vec::new();
        write_int64(value, &mut out);
        assert_eq!(out, expected);
        assert_eq!(read_int64(&out), Some(value));
    };
    int(-3, b"\x09\x05");
    int(1 << 40, b"\x09\x80\x80\x80\x80\x80\x40");
    int(0, b"\x09\x00");
}

#[test]
fn integers_at_the_edges_come_back() {
    for value in [i64::MIN, i64::MAX, -1, 63, 64, -64, -65] {
        let mut out = Vec::new();
        write_int64(value, &mut out);
        assert_eq!(read_int64(&out), Some(value));
    }
}

#[test]
fn broken_bytes_are_none() {
    for bytes in [
        &b""[..],
        b"\x01",
        b"\x01\x00\x00\x00\x09x",
        b"\x09",
        b"\x09\xff",
        b"\x02",
    ] {
        assert_eq!(read_string(bytes), None);
        assert_eq!(read_int64(bytes), None);
    }
    assert_eq!(read_int64(&[&b"\x09"[..], &[0xff; 20]].concat()), None);
}
