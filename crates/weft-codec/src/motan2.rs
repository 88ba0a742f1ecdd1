//! Motan2 frames (motan.md chapter 3): header, metadata, opaque body. Big-endian throughout.

use crate::fields::Fields;
use crate::sniff::Prefix;
use std::ops::Range;

/// Bytes of a frame without metadata and body.
pub const FRAME_BYTES_MIN: usize = 21;

/// Limits of the codec.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a frame's metadata.
    pub meta_bytes_max: usize,
    /// Bytes of a frame's body.
    pub body_bytes_max: usize,
    /// Pairs of metadata.
    pub pairs_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { meta_bytes_max: 64 * 1024, body_bytes_max: 10 * 1024 * 1024, pairs_max: 256 }
    }
}

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// A reply (else a request).
    pub response: bool,
    /// Passed through an agent.
    pub proxy: bool,
    /// No reply is awaited.
    pub one_way: bool,
    /// The body is gzipped.
    pub gzip: bool,
    /// A heartbeat.
    pub heartbeat: bool,
    /// The reply is an exception (status 1).
    pub exception: bool,
    /// The serialize byte as it came (code in the upper five bits).
    pub serialize: u8,
    /// The request id.
    pub request_id: u64,
}

/// One step through the bytes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// At least this many bytes in all are needed (never more than what the frame really takes).
    Need(usize),
    /// A whole frame.
    Frame {
        /// Its header.
        header: Header,
        /// Where its metadata lies.
        meta: Range<usize>,
        /// Where its body lies.
        body: Range<usize>,
    },
}

/// Why a connection's bytes are refused: lower case, no full stop. The connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The request id, when it was read (a caller with an unanswered id can be told).
    pub request_id: Option<u64>,
    /// The reason.
    pub reason: &'static str,
}

/// Reads the frame at the beginning of `bytes`. Lengths are checked before their bytes arrive.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Step, Refusal> {
    let _ = (bytes, limits);
    unimplemented!()
}

/// Reads metadata: `key LF value LF …`, at most one trailing LF; an odd count of tokens or an empty key is
/// refused. Appends to `fields`.
pub fn parse_metadata(meta: &[u8], limits: &Limits, fields: &mut Fields) -> Result<(), Refusal> {
    let _ = (meta, limits, fields);
    unimplemented!()
}

/// Appends a frame's header and metadata and its body's length; the body's bytes follow by the caller.
/// Pairs with an empty key, or with an LF in key or value, are left out (motan.md 3.3).
pub fn write_head(header: Header, metadata: &Fields, body_len: u32, out: &mut Vec<u8>) {
    let _ = (header, metadata, body_len, out);
    unimplemented!()
}

/// The JSON of `M_e` (motan.md 3.5): errcode, errmsg, errtype (0 framework, 1 service, 2 business).
pub fn exception_json(errcode: u16, errmsg: &str, errtype: u8) -> String {
    let _ = (errcode, errmsg, errtype);
    unimplemented!()
}

/// What the first bytes say: `F1 F1`, any type, version 1 in the upper five bits of byte 3.
pub fn motan2_prefix(bytes: &[u8]) -> Prefix {
    let _ = bytes;
    unimplemented!()
}
