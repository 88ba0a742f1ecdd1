//! Detection by first bytes: what a prefix function may answer, and the prefixes that no protocol file owns.
//!
//! The table itself stands in weft-proxy (`detect.rs`): each protocol file adds one prefix function.

/// What the first bytes say about one protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Prefix {
    /// They are this protocol's.
    Match,
    /// They cannot become this protocol's.
    Mismatch,
    /// More bytes decide.
    NeedMore,
}

/// The HTTP/2 connection preface (RFC 9113 3.4), which begins with a request line that no HTTP/1 method owns.
pub const HTTP2_PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Whether the bytes begin, or may yet begin, with `constant`.
pub fn constant_prefix(bytes: &[u8], constant: &[u8]) -> Prefix {
    let shared = bytes.len().min(constant.len());
    match (
        bytes.get(..shared) == constant.get(..shared),
        bytes.len() >= constant.len(),
    ) {
        (false, _) => Prefix::Mismatch,
        (true, true) => Prefix::Match,
        (true, false) => Prefix::NeedMore,
    }
}

/// HTTP/2 with prior knowledge.
pub fn http2_prefix(bytes: &[u8]) -> Prefix {
    constant_prefix(bytes, HTTP2_PREFACE)
}

#[cfg(test)]
mod tests;
