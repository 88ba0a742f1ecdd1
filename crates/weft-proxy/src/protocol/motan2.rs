//! Motan2. Many calls share a connection, on both sides.
//!
//! | file | what |
//! |---|---|
//! | `server.rs` | serves a caller |
//! | `request.rs` | which call a frame's metadata name |
//! | `answer.rs` | tells a caller of a failure |
//! | `upstream.rs` | calls an app: its connections, and what it may know of its caller |
//! | `connection.rs` | one connection to an app |
//! | `outbox.rs` | frames on their way to a socket, of either side |
//! | `collect.rs` | gathers a body that comes piece by piece: a frame says its length first |
//!
//! Between both sides, and over links, the parts of a frame that are not metadata travel in `opaque`, which only
//! this file writes and reads. Never in here: what a body means.

pub(crate) mod answer;
pub(crate) mod collect;
pub(crate) mod connection;
pub(crate) mod outbox;
pub(crate) mod request;
pub(crate) mod server;
pub(crate) mod upstream;

use weft_codec::motan2::Header;

/// Frames of one connection wait for its socket up to this many bytes (and one frame more); then replies and
/// calls wait, and a caller is not read any further.
pub(crate) const OUT_BYTES_MAX: usize = 256 * 1024;

/// Calls of one caller's connection that are under way; then it is not read any further.
pub(crate) const CALLS_MAX: usize = 1024;

/// Bytes of request bodies that are under way on one caller's connection (and one body more); then it is not
/// read any further.
pub(crate) const REQUEST_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of reply bodies that one caller's connection gathers from links; longer ones wait on their links.
pub(crate) const REPLY_BYTES_MAX: usize = 32 * 1024 * 1024;

/// Bytes of request bodies that one worker gathers from links for apps; longer ones wait on their links.
pub(crate) const GATHER_BYTES_MAX: usize = 64 * 1024 * 1024;

/// Bytes of reply bodies of one app connection that their callers have not taken yet (and one body more); then
/// the app is not read any further.
pub(crate) const HELD_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A reply body shorter than this does not count as held: it leaves whole, with its head.
pub(crate) const HELD_FROM: usize = 16 * 1024;

/// Bytes of [`Extra`] in `opaque`.
const EXTRA_BYTES: usize = 14;

const GZIP: u8 = 1;
const ONE_WAY: u8 = 2;
const EXCEPTION: u8 = 4;

/// The parts of a frame that the common shape of a call has no place for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extra {
    /// The serialize byte.
    pub(crate) serialize: u8,
    /// The body is gzipped.
    pub(crate) gzip: bool,
    /// No reply is awaited.
    pub(crate) one_way: bool,
    /// The reply is an exception.
    pub(crate) exception: bool,
    /// The request id as the caller gave it.
    pub(crate) request_id: u64,
    /// Bytes of the body.
    pub(crate) length: u32,
}

impl Extra {
    /// What a frame says of itself.
    pub(crate) fn of(header: Header, length: usize) -> Self {
        Self {
            serialize: header.serialize,
            gzip: header.gzip,
            one_way: header.one_way,
            exception: header.exception,
            request_id: header.request_id,
            length: u32::try_from(length).unwrap_or(u32::MAX),
        }
    }

    /// The serialize byte, a byte of flags, eight of request id, four of length.
    pub(crate) fn bytes(self) -> [u8; EXTRA_BYTES] {
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        let flags =
            flag(self.gzip, GZIP) | flag(self.one_way, ONE_WAY) | flag(self.exception, EXCEPTION);
        let (id, length) = (u128::from(self.request_id), u128::from(self.length));
        let head = u128::from(self.serialize) << 8 | u128::from(flags);
        let [_, _, bytes @ ..] = (head << 96 | id << 32 | length).to_be_bytes();
        bytes
    }

    /// Reads what [`Extra::bytes`] wrote; anything shorter says nothing.
    pub(crate) fn read(bytes: &[u8]) -> Self {
        let Some((&[serialize, flags], rest)) = bytes.split_first_chunk() else {
            return Self::default();
        };
        let Some((request_id, rest)) = rest.split_first_chunk() else {
            return Self::default();
        };
        let Some(length) = rest.first_chunk() else {
            return Self::default();
        };
        Self {
            serialize,
            gzip: flags & GZIP != 0,
            one_way: flags & ONE_WAY != 0,
            exception: flags & EXCEPTION != 0,
            request_id: u64::from_be_bytes(*request_id),
            length: u32::from_be_bytes(*length),
        }
    }
}

/// Metadata that only the mesh may set.
pub(crate) fn is_weft_field(name: &[u8]) -> bool {
    name.get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"x-weft-"))
}

#[cfg(test)]
pub(crate) mod tests;
