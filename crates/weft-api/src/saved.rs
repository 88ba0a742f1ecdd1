//! The file in which a sidecar keeps what it knows of the mesh: a head, and one message after it.
//!
//! Head, 28 bytes, integers little-endian: `weftsave`, format (u32), bytes of the message (u64), FNV-1a 64
//! of the message (u64). The message is generated from `proto/weft/saved/v1/saved.proto`. A file is read
//! whole or not at all: half a picture of the mesh is a wrong one. Never in here: files.

mod instances;

pub use instances::{Found, Place};

use instances::InstanceWriter;
use prost::Message;
use std::fmt;
use weft_model::Instance;

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
pub const HEAD_BYTES: usize = 28;

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

/// Makes the bytes of a file part by part, so that memory follows a part and not the mesh. Parts that follow each
/// other are one message: of a field that repeats each adds its values, of any other only one part has it.
#[derive(Debug)]
pub struct Encoder {
    part: Vec<u8>,
    writer: InstanceWriter,
    length: u64,
    sum: u64,
}

/// A part of the message.
#[derive(Clone, Copy, Debug)]
pub enum Part<'a> {
    /// Some of its fields.
    Fields(&'a Saved),
    /// One more instance.
    Instance(Place, &'a Instance),
}

impl Default for Encoder {
    fn default() -> Self {
        Self {
            part: Vec::new(),
            writer: InstanceWriter::default(),
            length: 0,
            sum: CHECKSUM_OF_NOTHING,
        }
    }
}

impl Encoder {
    /// The bytes of the next part; they come after the head and the parts before.
    pub fn part(&mut self, part: Part<'_>) -> &[u8] {
        self.part.clear();
        match part {
            Part::Fields(fields) => {
                // Fails only when the buffer cannot grow, and a Vec can.
                let _ = fields.encode(&mut self.part);
            }
            Part::Instance(place, instance) => {
                self.writer.write(place, instance, &mut self.part);
            }
        }
        self.length += self.part.len() as u64;
        self.sum = checksum(self.sum, &self.part);
        &self.part
    }

    /// Bytes of the file so far, with its head.
    pub fn file_bytes(&self) -> u64 {
        self.length + HEAD_BYTES as u64
    }

    /// The head of a file with the parts so far.
    pub fn head(&self) -> [u8; HEAD_BYTES] {
        let mut head = [0; HEAD_BYTES];
        let fields = MAGIC
            .iter()
            .copied()
            .chain(FORMAT.to_le_bytes())
            .chain(self.length.to_le_bytes())
            .chain(self.sum.to_le_bytes());
        for (place, byte) in head.iter_mut().zip(fields) {
            *place = byte;
        }
        head
    }
}

/// The bytes of a file, of a message that is told in parts.
pub fn encode_parts(tell: impl FnOnce(&mut dyn FnMut(Part<'_>))) -> Vec<u8> {
    let mut encoder = Encoder::default();
    let mut out = vec![0; HEAD_BYTES];
    tell(&mut |part| out.extend_from_slice(encoder.part(part)));
    if let Some(place) = out.first_chunk_mut() {
        *place = encoder.head();
    }
    out
}

/// The bytes of a file.
pub fn encode(saved: &Saved) -> Vec<u8> {
    encode_parts(|part| part(Part::Fields(saved)))
}

/// What a file says, when it is whole.
pub fn decode(file: &[u8]) -> Result<Saved, Unusable> {
    Saved::decode(message_of(file)?).map_err(|_| Unusable::Malformed)
}

/// The same; its instances are still bytes.
pub fn find(file: &[u8]) -> Result<Found<'_>, Unusable> {
    Found::read(message_of(file)?).map_err(|_| Unusable::Malformed)
}

/// The message of a file that is whole.
fn message_of(file: &[u8]) -> Result<&[u8], Unusable> {
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
    let found = checksum(CHECKSUM_OF_NOTHING, message);
    if expected != file.len() as u64 || found != u64::from_le_bytes(*sum) {
        return Err(Unusable::Corrupt);
    }
    Ok(message)
}

/// FNV-1a: against accidents, not against people; whoever may write to the folder may do as he likes. Any
/// single changed byte changes it. `sum` is that of the bytes before.
fn checksum(sum: u64, bytes: &[u8]) -> u64 {
    const PRIME: u64 = 0x0100_0000_01b3;
    bytes.iter().fold(sum, |hash, byte| {
        (hash ^ u64::from(*byte)).wrapping_mul(PRIME)
    })
}

/// FNV-1a's beginning.
const CHECKSUM_OF_NOTHING: u64 = 0xcbf2_9ce4_8422_2325;

#[cfg(test)]
mod tests;
