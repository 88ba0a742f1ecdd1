//! The floods of HTTP/1.1, in units of about 1,000 bytes: how much each gets rid of before it is refused.
//!
//! Those that serve nothing must end within 64 KiB. Small chunks, pipelined requests and an endless body are
//! what honest peers send too: they must be read on, and what holds them back stands above the codec.

use super::conversation::{Direction, Reader};
use crate::conform::rows::Report;

/// Bytes after which a useless flood must have been refused.
const WASTE_BYTES_MAX: usize = 64 * 1024;

/// Bytes after which it is clear that a flood is read on.
const READ_ON_BYTES: usize = 1024 * 1024;

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\n";
const CHUNKED: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Runs all of them, in pieces of two sizes.
pub(super) fn run(report: &mut Report) {
    let chunked = |tail: &[u8]| [CHUNKED, tail].concat();
    let extension = [b"1;".as_slice(), &[b'a'; 990], b"\r\nx\r\n"].concat();
    let pipelined = b"GET / HTTP/1.1\r\nHost: a\r\n\r\n".repeat(40);
    let declared = [HEAD, b"Content-Length: 18446744073709551615\r\n\r\n"].concat();
    for (name, start, unit) in [
        (
            "flood a, fields without end",
            HEAD.to_vec(),
            b"a:b\r\n".repeat(200),
        ),
        (
            "flood b, one endless field",
            [HEAD, b"a: "].concat(),
            vec![b'x'; 1000],
        ),
        (
            "flood c, an endless target",
            b"GET /".to_vec(),
            vec![b'x'; 1000],
        ),
        (
            "flood d, an endless chunk extension",
            chunked(b"1;"),
            vec![b'x'; 1000],
        ),
        (
            "flood f, chunks of 1 byte with 1 KB of extension",
            chunked(b""),
            extension,
        ),
        (
            "flood g, endless trailers",
            chunked(b"0\r\n"),
            b"a: b\r\n".repeat(167),
        ),
        ("flood i, empty lines", Vec::new(), b"\r\n".repeat(500)),
    ] {
        for piece in [1000, 3] {
            let sent = refused_after(&start, &unit, piece, 2 * WASTE_BYTES_MAX);
            let name = format!("{name}: bytes, {piece} at a time");
            report.at_most(&name, sent as u64, WASTE_BYTES_MAX as u64);
        }
    }
    for (name, start, unit) in [
        (
            "flood e, chunks of 1 byte",
            chunked(b""),
            b"1\r\nx\r\n".repeat(167),
        ),
        ("flood h, pipelined requests", Vec::new(), pipelined),
        (
            "flood j, an endless declared body",
            declared,
            vec![b'x'; 1000],
        ),
    ] {
        let sent = refused_after(&start, &unit, 1000, READ_ON_BYTES);
        report.at_least(
            &format!("{name}: bytes read on"),
            sent as u64,
            READ_ON_BYTES as u64,
        );
    }
}

/// Bytes behind `start` up to and with the refused piece, or `enough` when there is none.
fn refused_after(start: &[u8], unit: &[u8], piece: usize, enough: usize) -> usize {
    let mut reader = Reader::new(Direction::Requests);
    if !start.is_empty() && !reader.feed(start) {
        return 0;
    }
    let mut sent = 0;
    for part in unit.chunks(piece).cycle() {
        sent += part.len();
        if sent >= enough || !reader.feed(part) {
            break;
        }
    }
    sent
}
