//! Detection of HTTP/1 by the first bytes of a connection (rpc-protocols.md 2.1, row 5).
//!
//! Never in here: a judgement about the request; that a 1.0 request is refused is the parser's matter.

use super::grammar;
use crate::sniff::Prefix;

/// Bytes of a method that is still taken for one; the longest registered one has 17.
pub(super) const METHOD_BYTES_MAX: usize = 24;

/// What the first bytes say: token, SP, target, SP, `HTTP/1.` (rpc-protocols.md 2.1 row 5). A method of more
/// than 24 bytes is a mismatch; the HTTP/2 preface is one.
pub fn http1_prefix(bytes: &[u8]) -> Prefix {
    let method_len = run(bytes, grammar::is_token_byte);
    if method_len > METHOD_BYTES_MAX {
        return Prefix::Mismatch;
    }
    let target = match bytes.get(method_len..) {
        None | Some([]) => return Prefix::NeedMore,
        Some([b' ', rest @ ..]) if method_len > 0 => rest,
        Some(_) => return Prefix::Mismatch,
    };
    let target_len = run(target, grammar::is_target_byte);
    match target.get(target_len..) {
        None | Some([]) => Prefix::NeedMore,
        Some([b' ', version @ ..]) if target_len > 0 => {
            crate::sniff::constant_prefix(version, b"HTTP/1.")
        }
        Some(_) => Prefix::Mismatch,
    }
}

/// How many bytes at the beginning are of a kind.
fn run(bytes: &[u8], kind: fn(u8) -> bool) -> usize {
    bytes
        .iter()
        .position(|byte| !kind(*byte))
        .unwrap_or(bytes.len())
}
