//! gRPC's framing of one message after another: a zero byte, a big-endian u32 length, the message.
//!
//! Center and sidecar speak `weft.sync.v1` with it. Memory follows the bytes that came, never a declared
//! length. Never in here: streams, HTTP, compression (nobody announces it, so nobody may send it).

use prost::{DecodeError, Message};
use std::fmt;

/// Bytes of one `weft.sync.v1` message at the most.
pub const MESSAGE_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Bytes of an empty buffer that are kept for the next message.
const KEPT_BYTES_MAX: usize = 64 * 1024;

/// Bytes before each message.
const HEAD_BYTES: usize = 5;

/// Appends a message with its head.
pub fn encode(message: &impl Message, out: &mut Vec<u8>) {
    let length = message.encoded_len();
    out.reserve(HEAD_BYTES + length);
    out.push(0);
    out.extend_from_slice(&(length as u32).to_be_bytes());
    // Fails only when the buffer cannot grow, and a Vec can.
    let _ = message.encode(out);
}

/// A message that is encoded already, with its head.
pub fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(HEAD_BYTES + message.len());
    out.push(0);
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// Cuts a stream of bytes into messages. After each `push`, `next` is called until it has none.
#[derive(Debug)]
pub struct Decoder {
    message_bytes_max: usize,
    buffer: Vec<u8>,
    /// Bytes at the front of the buffer that are done with.
    done: usize,
}

impl Decoder {
    /// A decoder that refuses longer messages.
    pub const fn new(message_bytes_max: usize) -> Self {
        Self {
            message_bytes_max,
            buffer: Vec::new(),
            done: 0,
        }
    }

    /// Takes what came.
    pub fn push(&mut self, bytes: &[u8]) {
        // Moves at most as many bytes as were done with, so that the cost stays linear.
        if self.done * 2 >= self.buffer.len() {
            self.buffer.drain(..self.done);
            self.done = 0;
            if self.buffer.is_empty() && self.buffer.capacity() > KEPT_BYTES_MAX {
                self.buffer = Vec::new();
            }
        }
        self.buffer.extend_from_slice(bytes);
    }

    /// The next whole message. After an error the stream is of no more use, and the error comes again.
    #[allow(
        clippy::should_implement_trait,
        reason = "the type of each message is the caller's choice, which no Iterator allows"
    )]
    pub fn next<M: Message + Default>(&mut self) -> Result<Option<M>, GrpcError> {
        self.next_by(|message| M::decode(message))
    }

    /// The next whole message, as `read` makes it of its bytes.
    pub fn next_by<T>(
        &mut self,
        read: impl FnOnce(&[u8]) -> Result<T, DecodeError>,
    ) -> Result<Option<T>, GrpcError> {
        let rest = self.buffer.get(self.done..).unwrap_or_default();
        match rest.first() {
            None | Some(0) => {}
            Some(1) => return Err(GrpcError::Compressed),
            Some(flag) => return Err(GrpcError::UnknownFlag(*flag)),
        }
        let Some(([_, length @ ..], rest)) = rest.split_first_chunk::<HEAD_BYTES>() else {
            return Ok(None);
        };
        let length = u32::from_be_bytes(*length) as usize;
        if length > self.message_bytes_max {
            return Err(GrpcError::TooLong {
                length,
                max: self.message_bytes_max,
            });
        }
        let Some(message) = rest.get(..length) else {
            return Ok(None);
        };
        let message = read(message).map_err(|error| GrpcError::Malformed(error.to_string()))?;
        self.done += HEAD_BYTES + length;
        Ok(Some(message))
    }

    /// Bytes of a message that is not whole yet.
    pub fn pending(&self) -> usize {
        self.buffer.len() - self.done
    }
}

/// Why a stream of messages was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum GrpcError {
    /// The message is compressed, which nobody announced.
    Compressed,
    /// The first byte is neither of the two known flags.
    UnknownFlag(u8),
    /// The declared length is over the limit.
    TooLong {
        /// The declared length.
        length: usize,
        /// The limit.
        max: usize,
    },
    /// The bytes are not those of the message.
    Malformed(String),
}

impl fmt::Display for GrpcError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Compressed => {
                f.write_str("a gRPC message is compressed, which was not announced")
            }
            Self::UnknownFlag(flag) => {
                write!(f, "a gRPC message begins with {flag:#04x} instead of 0x00")
            }
            Self::TooLong { length, max } => {
                write!(
                    f,
                    "a gRPC message of {length} bytes is longer than the {max} allowed"
                )
            }
            Self::Malformed(reason) => write!(f, "a gRPC message is malformed: {reason}"),
        }
    }
}

impl std::error::Error for GrpcError {}

#[cfg(test)]
mod tests;
