//! HTTP/1.1 (RFC 9112): strict heads and bodies, both directions.
//!
//! A closed grammar: what is outside of it is refused with a status and a sentence, and the connection
//! closes. Heads are parsed (on `httparse`) into [`Fields`] and written anew, never copied. Framing and
//! hop-by-hop fields never reach the fields: they become [`Framing`], `keep_alive` and the like.

//!
//! | file | defines |
//! |---|---|
//! | `grammar.rs` | classes of bytes, targets, hosts, numbers, fields |
//! | `request.rs`, `reply.rs` | `parse_request`, `parse_reply` |
//! | `head.rs` | what both have in common, and trailers |
//! | `body.rs` | `BodyDecoder`: the bytes of a body out of its framing |
//! | `write.rs` | heads and chunk lines, written anew |
//! | `prefix.rs` | `http1_prefix`: detection |
//! | `websocket.rs` | the words of WebSocket's handshake |
//!
//! Never in here: a message that is repaired. Two readers that repair differently are how requests are
//! smuggled, so what is outside of the grammar ends the connection.

use crate::fields::{Fields, Span};

pub use body::{BodyDecoder, BodyStep};
pub use grammar::{is_host, is_protocol, is_target, is_valid_field};
pub use prefix::http1_prefix;
pub use reply::{parse_reply, parse_reply_to_upgrade};
pub use request::parse_request;
pub use websocket::{websocket_accept, websocket_key};
pub use write::{
    RequestLine, StatusLine, write_chunk_end, write_chunk_line, write_last_chunk, write_reply,
    write_request,
};

mod body;
mod grammar;
mod head;
mod prefix;
mod reply;
mod request;
mod websocket;
mod write;

/// Limits of the codec. Every one has a safe default.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a head, request or status line included.
    pub head_bytes_max: usize,
    /// Fields of a head or of trailers; more than 128 has no effect.
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
    /// For a request's head 400, 414, 417, 431, 501 or 505; for a reply's head always 502; for a body, which
    /// does not know its direction, 400 or 431.
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
    /// The protocols to which the caller asks to upgrade; empty for an ordinary request.
    pub upgrade: Span,
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
    /// The protocol that a 101 grants; empty with any other status.
    pub upgrade: Span,
}

impl Refusal {
    /// A refusal of something outside of the grammar.
    const fn bad(reason: &'static str) -> Self {
        Self {
            status: 400,
            reason,
        }
    }

    /// A refusal of a head, or trailers, beyond a limit.
    const fn large(reason: &'static str) -> Self {
        Self {
            status: 431,
            reason,
        }
    }
}

#[cfg(test)]
mod tests;
