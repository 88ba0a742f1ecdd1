//! HTTP/1.1 (RFC 9112): strict heads and bodies, both directions.
//!
//! A closed grammar: what is outside of it is refused with a status and a sentence, and the connection
//! closes. Heads are parsed (on `httparse`) into [`Fields`] and written anew, never copied. Framing and
//! hop-by-hop fields never reach the fields: they become [`Framing`], `keep_alive` and the like.

use crate::fields::{Fields, Span};
use crate::sniff::Prefix;

/// Limits of the codec. Every one has a safe default.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a head, request or status line included.
    pub head_bytes_max: usize,
    /// Fields of a head or of trailers.
    pub fields_max: usize,
    /// Bytes of a request target.
    pub target_bytes_max: usize,
    /// Bytes of one chunk-size line with its extensions.
    pub chunk_line_bytes_max: usize,
    /// Bytes of framing without payload (chunk lines, extensions, empty lines) one message may waste.
    pub waste_bytes_max: usize,
    /// Bytes of all trailers.
    pub trailer_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            head_bytes_max: 32 * 1024,
            fields_max: 100,
            target_bytes_max: 8 * 1024,
            chunk_line_bytes_max: 1024,
            waste_bytes_max: 32 * 1024,
            trailer_bytes_max: 8 * 1024,
        }
    }
}

/// A refused message: the status that answers it (requests) and the reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// 400, 413, 414, 431, 501 or 505.
    pub status: u16,
    /// Lower case, no full stop.
    pub reason: &'static str,
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Framing {
    /// There is none.
    #[default]
    None,
    /// After this many bytes.
    Length(u64),
    /// With the last chunk.
    Chunked,
    /// With the connection (replies only).
    Close,
}

/// The versions that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Version {
    /// HTTP/1.0: refused in requests, read in replies of the own app.
    Http10,
    /// HTTP/1.1.
    #[default]
    Http11,
}

/// Whether a head was complete.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Parsed {
    /// The head takes this many bytes.
    Complete(usize),
    /// More bytes are needed.
    Need,
}

/// A request's head. Its texts lie in `fields`. Re-used: parsing clears it first.
#[derive(Clone, Debug, Default)]
pub struct RequestHead {
    /// End-to-end fields in order, without Host, framing and hop-by-hop fields (`te: trailers` is kept).
    pub fields: Fields,
    /// The method.
    pub method: Span,
    /// The target in origin form (`/path?query`) or `*`; for CONNECT the authority.
    pub target: Span,
    /// The host and port asked for: from an absolute target, else from Host. Empty only when Host is empty.
    pub authority: Span,
    /// Whether the target came in absolute form (`http://…`).
    pub absolute: bool,
    /// How the body ends.
    pub framing: Framing,
    /// Whether the connection may serve another request.
    pub keep_alive: bool,
    /// Whether the caller waits for a 100 before it sends the body.
    pub expect_continue: bool,
}

/// A reply's head. Its texts lie in `fields`. Re-used: parsing clears it first.
#[derive(Clone, Debug, Default)]
pub struct ReplyHead {
    /// End-to-end fields in order, without framing and hop-by-hop fields.
    pub fields: Fields,
    /// 100 to 999.
    pub status: u16,
    /// The reason phrase; may be empty.
    pub reason: Span,
    /// The version of the status line.
    pub version: Version,
    /// How the body ends, the request's method and the status taken into account.
    pub framing: Framing,
    /// The Content-Length of a reply that has no body (HEAD, 304), to be passed on.
    pub declared_length: Option<u64>,
    /// Whether the connection may serve another request.
    pub keep_alive: bool,
}

/// Reads a request's head from the beginning of `bytes`; empty lines before it are skipped and counted in.
/// Incomplete input is `Need` until a limit is passed; a head that is already wrong may be refused early.
pub fn parse_request(bytes: &[u8], limits: &Limits, head: &mut RequestHead) -> Result<Parsed, Refusal> {
    let _ = (bytes, limits, head);
    unimplemented!()
}

/// Reads a reply's head from the beginning of `bytes`. `to_head` says that the request was HEAD.
/// 1xx replies are returned like others, with [`Framing::None`].
pub fn parse_reply(
    bytes: &[u8],
    to_head: bool,
    limits: &Limits,
    head: &mut ReplyHead,
) -> Result<Parsed, Refusal> {
    let _ = (bytes, to_head, limits, head);
    unimplemented!()
}

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
}

/// Appends a request's head. The caller has made sure (by parsing, or [`is_valid_field`]) that every part
/// is within the grammar; a field that is not is left out.
pub fn write_request(line: RequestLine<'_>, fields: &Fields, out: &mut Vec<u8>) {
    let _ = (line, fields, out);
    unimplemented!()
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
}

/// Appends a reply's head. 1xx, 204 and 304 get no framing field (304 its declared length). A reply with
/// [`Framing::None`] that may have a body gets `Content-Length: 0`, unless `declared_length` is given.
pub fn write_reply(line: StatusLine<'_>, fields: &Fields, out: &mut Vec<u8>) {
    let _ = (line, fields, out);
    unimplemented!()
}

/// Whether name and value are within the grammar (token; no control characters, no leading or trailing
/// space), so that fields of another protocol may be written as HTTP fields.
pub fn is_valid_field(name: &[u8], value: &[u8]) -> bool {
    let _ = (name, value);
    unimplemented!()
}

/// Appends the line before a chunk of `len` bytes (> 0).
pub fn write_chunk_line(len: usize, out: &mut Vec<u8>) {
    let _ = (len, out);
    unimplemented!()
}

/// Appends the line after a chunk's bytes.
pub fn write_chunk_end(out: &mut Vec<u8>) {
    out.extend_from_slice(b"\r\n");
}

/// Appends the last chunk and the trailers (framing and hop-by-hop names are left out).
pub fn write_last_chunk(trailers: Option<&Fields>, out: &mut Vec<u8>) {
    let _ = (trailers, out);
    unimplemented!()
}

/// One step through a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BodyStep {
    /// Drop `skip` bytes; the next `len` (> 0) are payload.
    Data {
        /// Bytes of framing before the payload.
        skip: usize,
        /// Bytes of payload that are there.
        len: usize,
    },
    /// Drop `skip` bytes; more are needed.
    Need {
        /// Bytes of framing that are done with.
        skip: usize,
    },
    /// Drop `skip` bytes; the body is complete. Returned again and again once reached, with 0.
    End {
        /// Bytes of framing at the end.
        skip: usize,
    },
}

/// Reads a body as it arrives. After each step the caller drops what the step says (`skip` and `len`) from
/// the front of its buffer and calls again with what is left and what came.
#[derive(Debug)]
pub struct BodyDecoder {
    _private: (),
}

impl BodyDecoder {
    /// A decoder for a body with this framing.
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        let _ = (framing, limits);
        unimplemented!()
    }

    /// The next step. [`Framing::Close`] bodies end by [`BodyDecoder::finish`] alone.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<BodyStep, Refusal> {
        let _ = bytes;
        unimplemented!()
    }

    /// The connection ended: whether the body is complete with that.
    pub fn finish(&mut self) -> bool {
        unimplemented!()
    }

    /// Whether the body is complete.
    pub fn is_complete(&self) -> bool {
        unimplemented!()
    }

    /// The trailers, once the body is complete and when there were any.
    pub fn take_trailers(&mut self) -> Option<Fields> {
        unimplemented!()
    }
}

/// What the first bytes say: token, SP, target, SP, `HTTP/1.` (rpc-protocols.md 2.1 row 5). A method of more
/// than 24 bytes is a mismatch; the HTTP/2 preface is one.
pub fn http1_prefix(bytes: &[u8]) -> Prefix {
    let _ = bytes;
    unimplemented!()
}
