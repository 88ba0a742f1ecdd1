//! The file in which a sidecar keeps what it knows of the mesh: a head, and one message after it.
//!
//! Head, 28 bytes, integers little-endian: `weftsave`, format (u32), bytes of the message (u64), FNV-1a 64
//! of the message (u64). The message is generated from `proto/weft/saved/v1/saved.proto`. A file is read
//! whole or not at all: half a picture of the mesh is a wrong one. Never in here: files.

use prost::Message;
use std::fmt;

#[rustfmt::skip]
#[path = "gen/weft.saved.v1.rs"]
#[allow(
    missing_docs, unused_qualifications, clippy::all, clippy::pedantic, clippy::use_self,
    reason = "generated: the .proto is the place for words"
)]
mod generated;

pub use generated::*;

/// The format that is written. Only this one is read: an older or newer file costs one start without it.
pub const FORMAT: u32 = 1;

/// Bytes of a file at the most: many times the largest mesh that a sidecar holds.
pub const FILE_BYTES_MAX: usize = 256 * 1024 * 1024;

const MAGIC: &[u8; 8] = b"weftsave";

/// Bytes before the message.
const HEAD_BYTES: usize = 28;

/// Why a file cannot be used.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// It ends early: the disk was full, or the machine went down.
    Torn {
        /// Bytes that belong there.
        expected: u64,
        /// Bytes that are there.
        found: u64,
    },
    /// It does not begin as ours do.
    Foreign,
    /// Another version of weft wrote it.
    OtherFormat(u32),
    /// Its bytes are not those that were written.
    Corrupt,
    /// Its bytes are those that were written, and make no message.
    Malformed,
}

impl fmt::Display for Unusable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Torn { expected, found } => {
                write!(f, "it has {found} of {expected} bytes")
            }
            Self::Foreign => f.write_str("it is no saved snapshot of weft"),
            Self::OtherFormat(format) => {
                write!(f, "it has format {format}, this weft reads format {FORMAT}")
            }
            Self::Corrupt => f.write_str("its checksum is wrong"),
            Self::Malformed => f.write_str("its checksum is right and its content is not"),
        }
    }
}

impl std::error::Error for Unusable {}

/// The bytes of a file.
pub fn encode(saved: &Saved) -> Vec<u8> {
    let length = saved.encoded_len();
    let mut out = Vec::with_capacity(HEAD_BYTES + length);
    out.extend_from_slice(MAGIC);
    out.extend_from_slice(&FORMAT.to_le_bytes());
    out.extend_from_slice(&(length as u64).to_le_bytes());
    // The checksum's place.
    out.extend_from_slice(&[0; 8]);
    // Fails only when the buffer cannot grow, and a Vec can.
    let _ = saved.encode(&mut out);
    if let Some((head, message)) = out.split_at_mut_checked(HEAD_BYTES)
        && let Some(place) = head.last_chunk_mut()
    {
        *place = checksum(message).to_le_bytes();
    }
    out
}

/// What a file says, when it is whole.
pub fn decode(file: &[u8]) -> Result<Saved, Unusable> {
    let torn = |expected: u64| Unusable::Torn {
        expected,
        found: file.len() as u64,
    };
    let begun = file.len().min(MAGIC.len());
    if file.get(..begun) != MAGIC.get(..begun) {
        return Err(Unusable::Foreign);
    }
    let head_torn = || torn(HEAD_BYTES as u64);
    let (_, rest) = file.split_first_chunk::<8>().ok_or_else(head_torn)?;
    let (format, rest) = rest.split_first_chunk().ok_or_else(head_torn)?;
    let format = u32::from_le_bytes(*format);
    if format != FORMAT {
        return Err(Unusable::OtherFormat(format));
    }
    let (length, rest) = rest.split_first_chunk().ok_or_else(head_torn)?;
    let (sum, message) = rest.split_first_chunk().ok_or_else(head_torn)?;
    let expected = u64::from_le_bytes(*length).saturating_add(HEAD_BYTES as u64);
    if expected > file.len() as u64 {
        return Err(torn(expected));
    }
    if expected != file.len() as u64 || checksum(message) != u64::from_le_bytes(*sum) {
        return Err(Unusable::Corrupt);
    }
    Saved::decode(message).map_err(|_| Unusable::Malformed)
}

/// FNV-1a: against accidents, not against people; whoever may write to the folder may do as he likes. Any
/// single changed byte changes it.
fn checksum(bytes: &[u8]) -> u64 {
    const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(OFFSET, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

#[cfg(test)]
mod tests;
