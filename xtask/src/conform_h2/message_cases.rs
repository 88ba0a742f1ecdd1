//! RFC 9113, section 8, and HPACK (4.3, RFC 7541) from a server's side: replies, fields, bodies.
//!
//! A malformed reply is a stream error of PROTOCOL_ERROR (8.1.1), and its caller gets none of it; what HPACK cannot
//! read is a connection error, because its table is lost.

use super::cases::{BODY, Caller, Case, Client, STREAM, good_reply};
use super::wire::{
    CANCEL, COMPRESSION_ERROR, CONTINUATION, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS,
    INTERNAL_ERROR, PROTOCOL_ERROR, STATUS_200, data, field, frame, headers,
};

const MALFORMED: Client = Client::ResetsStream(&[PROTOCOL_ERROR]);
const COMPRESSION: Client = Client::EndsConnection(&[COMPRESSION_ERROR]);

pub(super) fn all() -> Vec<Case> {
    [
        compression(),
        pseudo_fields(),
        forbidden_fields(),
        names_and_values(),
        interim(),
        bodies(),
        trailers(),
        sizes(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// A reply whose field section is this, with the usual body.
fn reply(section: &[u8]) -> Vec<u8> {
    [headers(STREAM, 0, section), data(STREAM, END_STREAM, BODY)].concat()
}

/// A reply of 200 with these fields too.
fn with(fields: &[u8]) -> Vec<u8> {
    reply(&[STATUS_200, fields].concat())
}

fn malformed(section: &'static str, name: &str, after: Vec<u8>) -> Case {
    Case::after(section, name, after, MALFORMED, Caller::Fails)
}

/// Malformed, and found when the stream is over already: there is nothing to reset.
fn malformed_and_over(section: &'static str, name: &str, after: Vec<u8>) -> Case {
    Case::after(section, name, after, Client::Any, Caller::Fails)
}

fn fine(section: &'static str, name: &str, after: Vec<u8>) -> Case {
    Case::after(section, name, after, Client::GoesOn, Caller::Gets(200))
}

/// 4.3, RFC 7541 2.3.3, 4.2, 5.1, 5.2, 6.3.
fn compression() -> Vec<Case> {
    let broken =
        |name, section: &[u8]| Case::after("4.3", name, with(section), COMPRESSION, Caller::Fails);
    vec![
        broken("index 0", &[0x80]),
        broken("an index beyond both tables", &[0xff, 0x80, 0x01]),
        broken(
            "a name's index beyond both tables",
            &[0x7f, 0x80, 0x01, 1, b'x'],
        ),
        broken(
            "a number without end",
            &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff],
        ),
        broken("a value that is cut", &[0, 1, b'a', 9, b'x']),
        broken("a name that is cut", &[0, 9, b'a']),
        broken("a table size beyond the setting", &[0x3f, 0xe2, 0xff, 0x03]),
        broken("a table size behind the first field", &[0x20]),
        broken(
            "Huffman with EOS in it",
            &[0, 1, b'a', 0x84, 0xff, 0xff, 0xff, 0xff],
        ),
        broken(
            "Huffman padded with zeros",
            &[0, 1, b'a', 0x81, 0x18 & 0xf8],
        ),
        broken(
            "Huffman padded with more than 7 bits",
            &[0, 1, b'a', 0x82, 0x1f, 0xff],
        ),
        fine(
            "4.3",
            "a table size of 0, then its fields",
            reply(&[&[0x20][..], STATUS_200].concat()),
        ),
        fine(
            "4.3",
            "a field that goes into the table",
            with(b"\x40\x03x-a\x01b\xbe"),
        ),
        fine(
            "4.3",
            "a field never to be indexed",
            with(b"\x10\x03x-a\x01b"),
        ),
    ]
}

/// 8.3, 8.3.2
fn pseudo_fields() -> Vec<Case> {
    let status = |value: &[u8]| reply(&field(b":status", value));
    let of = |name, after| malformed("8.3.2", name, after);
    vec![
        of("no :status", reply(&field(b"x-a", b"1"))),
        of("two :status", with(STATUS_200)),
        of("two :status that differ", with(&field(b":status", b"404"))),
        of(":status without value", status(b"")),
        of(":status of two digits", status(b"99")),
        of(":status of four digits", status(b"2000")),
        of(":status with a sign", status(b"+20")),
        of(":status with a letter", status(b"20x")),
        of(":status with a space", status(b"200 ")),
        malformed(
            "8.3",
            ":status behind a field",
            reply(&[&field(b"x-a", b"1")[..], STATUS_200].concat()),
        ),
        malformed(
            "8.3",
            "a pseudo-field of requests",
            with(&field(b":path", b"/")),
        ),
        malformed(
            "8.3",
            "an unknown pseudo-field",
            with(&field(b":what", b"1")),
        ),
    ]
}

/// 8.2.2
fn forbidden_fields() -> Vec<Case> {
    [
        (&b"connection"[..], &b"close"[..]),
        (b"transfer-encoding", b"chunked"),
        (b"keep-alive", b"timeout=5"),
        (b"proxy-connection", b"keep-alive"),
        (b"upgrade", b"websocket"),
        (b"te", b"gzip"),
    ]
    .into_iter()
    .map(|(name, value)| {
        let told = format!("the field {}", name.escape_ascii());
        malformed("8.2.2", &told, with(&field(name, value)))
    })
    .collect()
}

/// 8.2.1
fn names_and_values() -> Vec<Case> {
    let of =
        |name: &str, key: &[u8], value: &[u8]| malformed("8.2.1", name, with(&field(key, value)));
    vec![
        of("a name in capitals", b"X-A", b"1"),
        of("a name with a space", b"x a", b"1"),
        of("a name with a colon", b"x:a", b"1"),
        of("a name with a line feed", b"x\na", b"1"),
        of("a name with a byte of 0xff", b"x\xff", b"1"),
        of("an empty name", b"", b"1"),
        of("a value with CR LF", b"x-a", b"1\r\nx-b: 2"),
        of("a value with a line feed", b"x-a", b"1\n2"),
        of("a value with a zero", b"x-a", b"1\x002"),
        malformed_and_over(
            "8.2.1",
            "a value that begins with a space",
            with(&field(b"x-a", b" 1")),
        ),
        malformed_and_over(
            "8.2.1",
            "a value that ends with a tab",
            with(&field(b"x-a", b"1\t")),
        ),
    ]
}

/// 8.1, 8.6
fn interim() -> Vec<Case> {
    let hint = headers(STREAM, 0, &field(b":status", b"103"));
    let proceed = headers(STREAM, 0, &field(b":status", b"100"));
    vec![
        fine(
            "8.1",
            "103, then the reply",
            [hint.clone(), good_reply(STREAM)].concat(),
        ),
        fine(
            "8.1",
            "100 that nobody asked for",
            [proceed, good_reply(STREAM)].concat(),
        ),
        malformed_and_over(
            "8.1",
            "103 that ends the stream",
            headers(STREAM, END_STREAM, &field(b":status", b"103")),
        ),
        // It may be dropped as the interim reply that it is not: it must not be passed on.
        Case::after(
            "8.6",
            "101, which HTTP/2 does not have",
            [
                headers(STREAM, 0, &field(b":status", b"101")),
                good_reply(STREAM),
            ]
            .concat(),
            Client::Any,
            Caller::Clean,
        ),
        malformed(
            "8.1",
            "DATA behind 103",
            [hint, data(STREAM, END_STREAM, BODY)].concat(),
        ),
    ]
}

/// 8.1.1: what the content-length says.
fn bodies() -> Vec<Case> {
    let begins = |length: &[u8], flags: u8| {
        let section = [STATUS_200, &field(b"content-length", length)].concat();
        headers(STREAM, flags, &section)
    };
    let body = |bytes: &[u8]| data(STREAM, END_STREAM, bytes);
    let short = |name, after| Case::after("8.1.1", name, after, MALFORMED, Caller::IsCut);
    vec![
        fine(
            "8.1.1",
            "content-length that is right",
            [begins(b"5", 0), body(BODY)].concat(),
        ),
        short(
            "less than content-length",
            [begins(b"9", 0), body(BODY)].concat(),
        ),
        short(
            "more than content-length",
            [begins(b"3", 0), body(BODY)].concat(),
        ),
        Case::after(
            "8.1.1",
            "nothing where content-length says 5",
            begins(b"5", END_STREAM),
            // Both sides have ended the stream: there is nothing to reset.
            Client::Any,
            Caller::IsCut,
        ),
        malformed(
            "8.1.1",
            "content-length that is no number",
            [begins(b"five", 0), body(BODY)].concat(),
        ),
        malformed(
            "8.1.1",
            "content-length with a sign",
            [begins(b"+5", 0), body(BODY)].concat(),
        ),
        malformed(
            "8.1.1",
            "two content-lengths that differ",
            with(
                &[
                    field(b"content-length", b"5"),
                    field(b"content-length", b"6"),
                ]
                .concat(),
            ),
        ),
        malformed("8.1", "DATA without HEADERS", body(BODY)),
        Case::after(
            "8.1",
            "204 without a body",
            headers(STREAM, END_STREAM, &field(b":status", b"204")),
            Client::GoesOn,
            Caller::Gets(204),
        ),
        Case::after(
            "8.1",
            "a status of 599",
            [headers(STREAM, 0, &field(b":status", b"499")), body(BODY)].concat(),
            Client::GoesOn,
            Caller::Gets(499),
        ),
    ]
}

/// 8.1: a field section behind the body.
fn trailers() -> Vec<Case> {
    let begun = [headers(STREAM, 0, STATUS_200), data(STREAM, 0, BODY)].concat();
    let ends = |flags, section: &[u8]| [begun.clone(), headers(STREAM, flags, section)].concat();
    let cut = |name, after| Case::after("8.1", name, after, MALFORMED, Caller::IsCut);
    vec![
        fine("8.1", "trailers", ends(END_STREAM, &field(b"x-sum", b"1"))),
        fine("8.1", "empty trailers", ends(END_STREAM, b"")),
        cut(
            "trailers that do not end the stream",
            ends(0, &field(b"x-sum", b"1")),
        ),
        cut("trailers with :status", ends(END_STREAM, STATUS_200)),
        cut(
            "trailers with a name in capitals",
            ends(END_STREAM, &field(b"X-Sum", b"1")),
        ),
        cut(
            "trailers with connection",
            ends(END_STREAM, &field(b"connection", b"close")),
        ),
        cut(
            "trailers with a line feed",
            ends(END_STREAM, &field(b"x-sum", b"1\n2")),
        ),
    ]
}

/// 10.5.1: more than the client said it takes.
fn sizes() -> Vec<Case> {
    let one = field(b"x-long-name-of-a-field", &[b'v'; 100]);
    let huge = Client::ResetsStream(&[PROTOCOL_ERROR, ENHANCE_YOUR_CALM, INTERNAL_ERROR, CANCEL]);
    let begin = frame(HEADERS, 0, STREAM, STATUS_200);
    let middle = frame(CONTINUATION, 0, STREAM, &one.repeat(100));
    let last = frame(CONTINUATION, END_HEADERS, STREAM, &one);
    let body = data(STREAM, END_STREAM, BODY);
    vec![
        Case::after(
            "10.5.1",
            "a field section of 100 KiB",
            [begin, middle.repeat(8), last, body].concat(),
            huge,
            Caller::Fails,
        ),
        Case::after(
            "10.5.1",
            "8,000 fields of one byte each, from the table",
            {
                let section = [STATUS_200, b"\x40\x03x-a\x01b", &[0xbe; 8000]].concat();
                reply(&section)
            },
            huge,
            Caller::Fails,
        ),
    ]
}
