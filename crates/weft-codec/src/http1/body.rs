//! A body's bytes out of its framing, in any split of the input.
//!
//! A state machine that keeps nothing of the payload: it says how many bytes are framing and how many are
//! payload. Framing that serves nothing (chunk extensions) draws on a budget that payload refills; an endless
//! one is refused within 64 KiB. Never in here: an allocation by a declared length.

use super::head::parse_trailers;
use super::{Framing, Limits, Refusal, grammar};
use crate::fields::Fields;

/// Hex digits of a chunk's size; 16 hold any u64.
const SIZE_DIGITS_MAX: u8 = 16;

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
    state: State,
    /// Bytes of the body, or of this chunk, that are still to come.
    remaining: u64,
    /// Bytes of this line, or of the trailers, so far.
    line_bytes: usize,
    /// Hex digits of this chunk's size so far.
    digits: u8,
    /// Bytes that framing may still waste; payload refills it.
    waste_left: u64,
    line_bytes_max: usize,
    trailer_bytes_max: usize,
    fields_max: usize,
    /// Trailers as they come, the empty line included.
    section: Vec<u8>,
    trailers: Option<Fields>,
}

/// Where the decoder is. The chunk-line states follow RFC 9112 7.1 and 7.1.1, bad whitespace included.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Payload of a body with a length.
    Length,
    /// Payload up to the end of the connection.
    Close,
    /// Hex digits of a chunk's size.
    Size,
    /// Space before `;`.
    BeforeExtension,
    /// After `;`.
    ExtensionStart,
    ExtensionName,
    /// Space after a name: `=` or `;` follows.
    AfterName,
    /// After `=`.
    ValueStart,
    ValueToken,
    Quoted,
    /// After a backslash in quotes.
    Escaped,
    QuotedEnd,
    /// CR of a chunk line came.
    LineFeed,
    /// Payload of a chunk.
    Chunk,
    /// CR after a chunk's payload is due.
    ChunkEnd,
    /// LF after a chunk's payload is due.
    ChunkEndFeed,
    /// Start of a trailer line; CR here is the end.
    TrailerStart,
    /// Within a trailer line.
    Trailer,
    /// CR within a trailer line came.
    TrailerFeed,
    /// CR of the last line came.
    LastFeed,
    Complete,
}

impl BodyDecoder {
    /// A decoder for a body with this framing.
    pub fn new(framing: Framing, limits: &Limits) -> Self {
        let (state, remaining) = match framing {
            Framing::None | Framing::Length(0) => (State::Complete, 0),
            Framing::Length(length) => (State::Length, length),
            Framing::Chunked => (State::Size, 0),
            Framing::Close => (State::Close, 0),
        };
        Self {
            state,
            remaining,
            line_bytes: 0,
            digits: 0,
            waste_left: limits.waste_bytes_max as u64,
            line_bytes_max: limits.chunk_line_bytes_max,
            trailer_bytes_max: limits.trailer_bytes_max,
            fields_max: limits.fields_max,
            section: Vec::new(),
            trailers: None,
        }
    }

    /// The next step. [`Framing::Close`] bodies end by [`BodyDecoder::finish`] alone.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<BodyStep, Refusal> {
        match self.state {
            State::Complete => return Ok(BodyStep::End { skip: 0 }),
            State::Length | State::Chunk => return Ok(self.payload(0, bytes.len())),
            State::Close if bytes.is_empty() => return Ok(BodyStep::Need { skip: 0 }),
            State::Close => {
                return Ok(BodyStep::Data {
                    skip: 0,
                    len: bytes.len(),
                });
            }
            _ => {}
        }
        for (at, byte) in bytes.iter().enumerate() {
            self.state = self.after(*byte)?;
            let skip = at + 1;
            match self.state {
                State::Chunk => return Ok(self.payload(skip, bytes.len() - skip)),
                State::Complete => return Ok(BodyStep::End { skip }),
                _ => {}
            }
        }
        Ok(BodyStep::Need { skip: bytes.len() })
    }

    /// Hands out payload. The state moves on at once: the caller drops what it was told.
    fn payload(&mut self, skip: usize, there: usize) -> BodyStep {
        let len = usize::try_from(self.remaining)
            .unwrap_or(usize::MAX)
            .min(there);
        if len == 0 {
            return BodyStep::Need { skip };
        }
        self.remaining -= len as u64;
        self.waste_left = self.waste_left.saturating_add(len as u64);
        if self.remaining == 0 {
            self.state = match self.state {
                State::Chunk => State::ChunkEnd,
                _ => State::Complete,
            };
        }
        BodyStep::Data { skip, len }
    }

    /// The state after one byte of framing.
    fn after(&mut self, byte: u8) -> Result<State, Refusal> {
        match self.state {
            State::ChunkEnd if byte == b'\r' => Ok(State::ChunkEndFeed),
            State::ChunkEndFeed if byte == b'\n' => Ok(State::Size),
            State::ChunkEnd | State::ChunkEndFeed => Err(Refusal::bad(
                "a chunk's bytes are not followed by a line end",
            )),
            State::TrailerStart | State::Trailer | State::TrailerFeed | State::LastFeed => {
                self.after_trailer_byte(byte)
            }
            _ => self.after_line_byte(byte),
        }
    }

    /// A byte of a line `size *( ; name [ = value ] ) CR LF`.
    fn after_line_byte(&mut self, byte: u8) -> Result<State, Refusal> {
        self.line_bytes += 1;
        if self.line_bytes > self.line_bytes_max {
            return Err(Refusal::bad("a chunk's line is longer than the limit"));
        }
        match (self.state, byte) {
            (State::Size, _) if byte.is_ascii_hexdigit() => return self.after_digit(byte),
            (State::Size, _) if self.digits == 0 => {
                return Err(Refusal::bad("a chunk's size is not a hex number"));
            }
            (State::LineFeed, b'\n') => return Ok(self.after_line()),
            (_, b'\r') => {}
            _ => {
                let left = self.waste_left.checked_sub(1);
                self.waste_left = left.ok_or(Refusal::bad(
                    "the body wastes more on chunk extensions than the limit",
                ))?;
            }
        }
        let is_space = matches!(byte, b' ' | b'\t');
        Ok(match (self.state, byte) {
            (State::Size | State::ExtensionName | State::ValueToken | State::QuotedEnd, b'\r') => {
                State::LineFeed
            }
            (
                State::Size
                | State::BeforeExtension
                | State::ExtensionName
                | State::AfterName
                | State::ValueToken
                | State::QuotedEnd,
                b';',
            ) => State::ExtensionStart,
            (State::Size | State::BeforeExtension | State::ValueToken | State::QuotedEnd, _)
                if is_space =>
            {
                State::BeforeExtension
            }
            (State::ExtensionName | State::AfterName, _) if is_space => State::AfterName,
            (State::ExtensionName | State::AfterName, b'=') => State::ValueStart,
            (State::ExtensionStart | State::ValueStart, _) if is_space => self.state,
            (State::ExtensionStart | State::ExtensionName, _) if grammar::is_token_byte(byte) => {
                State::ExtensionName
            }
            (State::ValueStart, b'"') => State::Quoted,
            (State::ValueStart | State::ValueToken, _) if grammar::is_token_byte(byte) => {
                State::ValueToken
            }
            (State::Quoted, b'"') => State::QuotedEnd,
            (State::Quoted, b'\\') => State::Escaped,
            (State::Quoted, _) if grammar::is_quoted_byte(byte) => State::Quoted,
            (State::Escaped, _) if grammar::is_value_byte(byte) => State::Quoted,
            _ => return Err(Refusal::bad("a chunk's line is outside of the grammar")),
        })
    }

    fn after_digit(&mut self, byte: u8) -> Result<State, Refusal> {
        if self.digits == SIZE_DIGITS_MAX {
            return Err(Refusal::bad("a chunk's size has more than 16 digits"));
        }
        self.digits += 1;
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            _ => (byte | 0x20) - b'a' + 10,
        };
        self.remaining = self.remaining << 4 | u64::from(digit);
        Ok(State::Size)
    }

    fn after_line(&mut self) -> State {
        (self.line_bytes, self.digits) = (0, 0);
        match self.remaining {
            0 => State::TrailerStart,
            _ => State::Chunk,
        }
    }

    /// A byte of `*( field-line CR LF ) CR LF`. Lines are cut here, fields are read once all is there.
    fn after_trailer_byte(&mut self, byte: u8) -> Result<State, Refusal> {
        let next = match (self.state, byte) {
            (State::TrailerStart, b'\r') => State::LastFeed,
            (State::Trailer, b'\r') => State::TrailerFeed,
            (State::TrailerFeed, b'\n') => State::TrailerStart,
            (State::LastFeed, b'\n') => State::Complete,
            (State::TrailerFeed | State::LastFeed, _) | (_, b'\n') => {
                return Err(Refusal::bad(
                    "a line among the trailers does not end with CR LF",
                ));
            }
            _ => State::Trailer,
        };
        if next == State::Complete && self.section.is_empty() {
            return Ok(next);
        }
        if self.section.len() >= self.trailer_bytes_max {
            return Err(Refusal::large("the trailers are longer than the limit"));
        }
        match next {
            State::LastFeed => {}
            State::Complete => {
                self.section.extend_from_slice(b"\r\n");
                self.trailers = Some(parse_trailers(&self.section, self.fields_max)?);
                self.section = Vec::new();
            }
            _ => self.section.push(byte),
        }
        Ok(next)
    }

    /// The connection ended: whether the body is complete with that.
    pub fn finish(&mut self) -> bool {
        if self.state == State::Close {
            self.state = State::Complete;
        }
        self.is_complete()
    }

    /// Whether nothing is under way: what comes next is a chunk that nobody has announced.
    pub fn is_between_chunks(&self) -> bool {
        self.state == State::Size && self.line_bytes == 0
    }

    /// Whether the body is complete.
    pub fn is_complete(&self) -> bool {
        self.state == State::Complete
    }

    /// The trailers, once the body is complete and when there were any.
    pub fn take_trailers(&mut self) -> Option<Fields> {
        self.trailers.take()
    }
}
