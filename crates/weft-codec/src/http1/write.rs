//! Heads and chunk lines, written anew from their parts; nothing of what was read is copied as a line.
//!
//! Never in here: a decision about framing. The caller says how a body ends; fields that would say it
//! again, or that could end a line early, are left out.

use super::Framing;
use super::grammar::{self, Special, special};
use crate::fields::Fields;

/// What to write as a request's head.
#[derive(Clone, Copy, Debug)]
pub struct RequestLine<'a> {
    /// The method.
    pub method: &'a [u8],
    /// The target as it goes on the wire.
    pub target: &'a [u8],
    /// Goes into Host, first of all fields.
    pub authority: &'a [u8],
    /// How the body ends.
    pub framing: Framing,
    /// Whether `Connection: close` is written.
    pub close: bool,
    /// Whether `Expect: 100-continue` is written.
    pub expect_continue: bool,
    /// The protocols that are asked for; empty: none, and no `Upgrade` is written.
    pub upgrade: &'a [u8],
}

/// Appends a request's head. The caller has made sure (by parsing, or [`is_valid_field`]) that every part
/// is within the grammar; a field that is not is left out.
///
/// [`is_valid_field`]: super::is_valid_field
pub fn write_request(line: RequestLine<'_>, fields: &Fields, out: &mut Vec<u8>) {
    out.reserve(line.method.len() + line.target.len() + line.authority.len() + room(fields));
    out.extend_from_slice(line.method);
    out.push(b' ');
    out.extend_from_slice(line.target);
    out.extend_from_slice(b" HTTP/1.1\r\nHost: ");
    out.extend_from_slice(line.authority);
    out.extend_from_slice(b"\r\n");
    match line.framing {
        Framing::Length(length) => write_length(length, out),
        Framing::Chunked => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        // A request never ends with the connection; without framing it has no body.
        Framing::None | Framing::Close => {}
    }
    let mut te = false;
    for (name, value) in fields.iter() {
        match special(name) {
            Special::None => write_field(name, value, out),
            Special::Te => te |= value.eq_ignore_ascii_case(b"trailers"),
            _ => {}
        }
    }
    if line.expect_continue {
        out.extend_from_slice(b"Expect: 100-continue\r\n");
    }
    // RFC 9110 10.1.4, 7.8: TE and Upgrade belong to a hop, so Connection names them.
    if te {
        out.extend_from_slice(b"TE: trailers\r\n");
    }
    if !line.upgrade.is_empty() {
        write_field(b"Upgrade", line.upgrade, out);
        out.extend_from_slice(if te {
            b"Connection: Upgrade, TE\r\n\r\n"
        } else {
            b"Connection: Upgrade\r\n\r\n"
        });
        return;
    }
    out.extend_from_slice(match (line.close, te) {
        (false, false) => b"\r\n",
        (true, false) => b"Connection: close\r\n\r\n",
        (false, true) => b"Connection: TE\r\n\r\n",
        (true, true) => b"Connection: close, TE\r\n\r\n",
    });
}

/// What to write as a reply's head.
#[derive(Clone, Copy, Debug)]
pub struct StatusLine<'a> {
    /// The status.
    pub status: u16,
    /// The reason phrase; when empty the usual one for the status is written.
    pub reason: &'a [u8],
    /// How the body ends.
    pub framing: Framing,
    /// Content-Length of a reply without body (HEAD, 304).
    pub declared_length: Option<u64>,
    /// Whether `Connection: close` is written.
    pub close: bool,
    /// The protocol that a 101 grants; nothing of it is written with another status.
    pub upgrade: &'a [u8],
}

/// Appends a reply's head. 1xx, 204 and 304 get no framing field (304 its declared length). A reply with
/// [`Framing::None`] that may have a body gets `Content-Length: 0`, unless `declared_length` is given.
/// A reply to HEAD of unknown length is written with [`Framing::Chunked`] and no body.
pub fn write_reply(line: StatusLine<'_>, fields: &Fields, out: &mut Vec<u8>) {
    out.reserve(line.reason.len() + room(fields));
    out.extend_from_slice(b"HTTP/1.1 ");
    out.extend_from_slice(&status_digits(line.status));
    out.push(b' ');
    let plain = !line.reason.is_empty() && grammar::is_plain_value(line.reason);
    let reason = if plain {
        line.reason
    } else {
        usual_reason(line.status).as_bytes()
    };
    out.extend_from_slice(reason);
    out.extend_from_slice(b"\r\n");
    let never_body = line.status < 200 || line.status == 204;
    match (line.framing, line.declared_length) {
        _ if never_body => {}
        (_, Some(length)) if line.status == 304 => write_length(length, out),
        _ if line.status == 304 => {}
        (Framing::None, length) => write_length(length.unwrap_or(0), out),
        (Framing::Length(length), _) => write_length(length, out),
        (Framing::Chunked, _) => out.extend_from_slice(b"Transfer-Encoding: chunked\r\n"),
        (Framing::Close, _) => {}
    }
    for (name, value) in fields.iter() {
        // Host and Expect mean nothing in a reply.
        if matches!(
            special(name),
            Special::None | Special::Host | Special::Expect
        ) {
            write_field(name, value, out);
        }
    }
    if line.status == 101 {
        write_field(b"Upgrade", line.upgrade, out);
        out.extend_from_slice(b"Connection: Upgrade\r\n\r\n");
        return;
    }
    let close = line.close || (line.framing == Framing::Close && !never_body);
    out.extend_from_slice(if close {
        b"Connection: close\r\n\r\n"
    } else {
        b"\r\n"
    });
}

/// Bytes that a head takes beside its first line's parts, so that the buffer grows once.
fn room(fields: &Fields) -> usize {
    const FRAMING_AND_CONNECTION: usize = 160;
    const PER_FIELD: usize = b": \r\n".len();
    fields.byte_len() + fields.len() * PER_FIELD + FRAMING_AND_CONNECTION
}

fn write_field(name: &[u8], value: &[u8], out: &mut Vec<u8>) {
    if !grammar::is_token(name) || !grammar::is_plain_value(value) {
        return;
    }
    out.extend_from_slice(name);
    out.extend_from_slice(b": ");
    out.extend_from_slice(value);
    out.extend_from_slice(b"\r\n");
}

fn write_length(length: u64, out: &mut Vec<u8>) {
    out.extend_from_slice(b"Content-Length: ");
    write_number::<10>(length, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the line before a chunk of `len` bytes (> 0).
pub fn write_chunk_line(len: usize, out: &mut Vec<u8>) {
    write_number::<16>(len as u64, out);
    out.extend_from_slice(b"\r\n");
}

/// Appends the line after a chunk's bytes.
pub fn write_chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk and the trailers (framing and hop-by-hop names are left out).
pub fn write_last_chunk(trailers: Option<&Fields>, out: &mut Vec<u8>) {
    out.extend_from_slice(b"0\r\n");
    for (name, value) in trailers.into_iter().flat_map(Fields::iter) {
        if grammar::is_trailer_name(name) {
            write_field(name, value, out);
        }
    }
    out.extend_from_slice(b"\r\n");
}

/// Appends a number. Twenty digits hold any u64 from base 10 upwards.
fn write_number<const BASE: u64>(mut number: u64, out: &mut Vec<u8>) {
    let mut digits = [b'0'; 20];
    let mut used = 0;
    for place in digits.iter_mut().rev() {
        let digit = (number % BASE) as u8;
        *place = if digit < 10 {
            b'0' + digit
        } else {
            b'a' + digit - 10
        };
        number /= BASE;
        used += 1;
        if number == 0 {
            break;
        }
    }
    out.extend_from_slice(digits.get(digits.len() - used..).unwrap_or_default());
}

/// Three digits; a status outside of 100 to 999 is our own mistake and is written as 500.
fn status_digits(status: u16) -> [u8; 3] {
    let status = if (100..=999).contains(&status) {
        status
    } else {
        500
    };
    [status / 100, status / 10 % 10, status % 10].map(|digit| b'0' + digit as u8)
}

/// The reason phrases of RFC 9110 15, for statuses that apps use.
const fn usual_reason(status: u16) -> &'static str {
    match status {
        100 => "Continue",
        101 => "Switching Protocols",
        102 => "Processing",
        103 => "Early Hints",
        200 => "OK",
        201 => "Created",
        202 => "Accepted",
        203 => "Non-Authoritative Information",
        204 => "No Content",
        205 => "Reset Content",
        206 => "Partial Content",
        207 => "Multi-Status",
        300 => "Multiple Choices",
        301 => "Moved Permanently",
        302 => "Found",
        303 => "See Other",
        304 => "Not Modified",
        307 => "Temporary Redirect",
        308 => "Permanent Redirect",
        400 => "Bad Request",
        401 => "Unauthorized",
        402 => "Payment Required",
        403 => "Forbidden",
        404 => "Not Found",
        405 => "Method Not Allowed",
        406 => "Not Acceptable",
        407 => "Proxy Authentication Required",
        408 => "Request Timeout",
        409 => "Conflict",
        410 => "Gone",
        411 => "Length Required",
        412 => "Precondition Failed",
        413 => "Content Too Large",
        414 => "URI Too Long",
        415 => "Unsupported Media Type",
        416 => "Range Not Satisfiable",
        417 => "Expectation Failed",
        421 => "Misdirected Request",
        422 => "Unprocessable Content",
        423 => "Locked",
        424 => "Failed Dependency",
        425 => "Too Early",
        426 => "Upgrade Required",
        428 => "Precondition Required",
        429 => "Too Many Requests",
        431 => "Request Header Fields Too Large",
        451 => "Unavailable For Legal Reasons",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        502 => "Bad Gateway",
        503 => "Service Unavailable",
        504 => "Gateway Timeout",
        505 => "HTTP Version Not Supported",
        507 => "Insufficient Storage",
        508 => "Loop Detected",
        511 => "Network Authentication Required",
        _ => "",
    }
}
