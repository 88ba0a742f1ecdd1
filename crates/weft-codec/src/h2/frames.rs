//! Heads of HTTP/2 frames (RFC 9113 4.1) in a stream of bytes that is split anywhere.
//!
//! Payload is skipped, all but the first bytes of the few kinds whose meaning stands there. Holds a few bytes,
//! whatever lengths the wire names, and refuses nothing: that is for whoever reads the frames.

use crate::sniff::HTTP2_PREFACE;

/// Bytes of a frame's head.
const HEAD_BYTES: usize = 9;

/// First bytes of a payload that are kept at the most.
const FIRST_BYTES: usize = 8;

/// A window of which anything is left cannot grow by more than this (RFC 9113 6.9.1).
const WINDOW_GROWS_MAX: u32 = 0x7fff_0000;

/// DATA (RFC 9113 6.1).
pub const DATA: u8 = 0;
/// HEADERS (6.2).
pub const HEADERS: u8 = 1;
/// PRIORITY (6.3).
pub const PRIORITY: u8 = 2;
/// RST_STREAM (6.4).
pub const RST_STREAM: u8 = 3;
/// SETTINGS (6.5).
pub const SETTINGS: u8 = 4;
/// PING (6.7).
pub const PING: u8 = 6;
/// GOAWAY (6.8).
pub const GOAWAY: u8 = 7;
/// WINDOW_UPDATE (6.9).
pub const WINDOW_UPDATE: u8 = 8;
/// CONTINUATION (6.10).
pub const CONTINUATION: u8 = 9;

/// On DATA and HEADERS: the sender ends the stream.
const END_STREAM: u8 = 1;
/// On SETTINGS and PING: an answer.
const ACK: u8 = 1;
/// On HEADERS and CONTINUATION: the header block ends.
const END_HEADERS: u8 = 4;
/// On DATA: the first byte says how many of the last ones are padding.
const PADDED: u8 = 8;

/// One frame, as far as it is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FrameHead {
    /// Bytes of its payload.
    pub length: u32,
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream; 0 is the connection.
    pub stream: u32,
    /// The first bytes of the payload, where the kind needs them; else zeros.
    first: [u8; FIRST_BYTES],
}

impl FrameHead {
    /// Whether the sender ends the stream with it.
    pub fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }

    /// Whether the header block ends with it.
    pub fn ends_block(&self) -> bool {
        matches!(self.kind, HEADERS | CONTINUATION) && self.flags & END_HEADERS != 0
    }

    /// Whether it answers a SETTINGS or PING.
    pub fn is_ack(&self) -> bool {
        matches!(self.kind, SETTINGS | PING) && self.flags & ACK != 0
    }

    /// Bytes of DATA that are not padding.
    pub fn useful_bytes(&self) -> u32 {
        if self.flags & PADDED == 0 {
            return self.length;
        }
        let [padding, ..] = self.first;
        self.length
            .saturating_sub(1)
            .saturating_sub(u32::from(padding))
    }

    /// The code of a RST_STREAM or GOAWAY.
    pub fn error_code(&self) -> u32 {
        let both = u64::from_be_bytes(self.first);
        let of_reset = both >> 32;
        (if self.kind == GOAWAY { both } else { of_reset }) as u32
    }

    /// Whether no sender that follows the protocol sends it: a window that grows by nothing (RFC 9113 6.9), or beyond
    /// what a window can be although it was never empty; a stream that depends on itself (6.3).
    pub fn is_fault(&self) -> bool {
        let number = (u64::from_be_bytes(self.first) >> 32) as u32 & 0x7fff_ffff;
        match self.kind {
            WINDOW_UPDATE => number == 0 || number > WINDOW_GROWS_MAX,
            PRIORITY => self.length != 5 || number == self.stream,
            _ => false,
        }
    }

    /// How many first bytes of the payload say what it means.
    fn first_needed(&self) -> u32 {
        let needed = match self.kind {
            DATA if self.flags & PADDED != 0 => 1,
            RST_STREAM | WINDOW_UPDATE | PRIORITY => 4,
            GOAWAY => 8,
            _ => 0,
        };
        self.length.min(needed)
    }
}

/// Finds frames in one direction of a connection.
#[derive(Clone, Debug, Default)]
pub struct Frames {
    /// Bytes of the preface that are still to come.
    preface: usize,
    head: [u8; HEAD_BYTES],
    /// Bytes of the head that are there.
    have: usize,
    /// The frame whose first bytes are awaited.
    frame: Option<FrameHead>,
    /// First bytes that are there.
    first: usize,
    /// Payload that is still to come.
    left: u32,
}

impl Frames {
    /// Frames from the first byte on.
    pub fn new() -> Self {
        Self::default()
    }

    /// Frames behind the client's preface, which somebody else checks.
    pub fn behind_preface() -> Self {
        Self {
            preface: HTTP2_PREFACE.len(),
            ..Self::default()
        }
    }

    /// Reads up to the next frame: how many bytes that took, and the frame. It is given as soon as its head and
    /// the first bytes that it needs are there; the rest of its payload is skipped by the calls that follow.
    /// Without a frame all bytes were taken.
    pub fn next(&mut self, bytes: &[u8]) -> (usize, Option<FrameHead>) {
        let mut at = self.skip(bytes);
        loop {
            if let Some(frame) = &mut self.frame {
                let needed = frame.first_needed() as usize;
                while self.first < needed {
                    let (Some(byte), Some(place)) =
                        (bytes.get(at), frame.first.get_mut(self.first))
                    else {
                        return (at, None);
                    };
                    *place = *byte;
                    at += 1;
                    self.first += 1;
                    self.left = self.left.saturating_sub(1);
                }
                self.first = 0;
                return (at, self.frame.take());
            }
            // Nearly every head is there in one piece.
            let whole = bytes.get(at..).and_then(<[u8]>::first_chunk);
            if let Some(head) = whole.filter(|_| self.have == 0) {
                self.head = *head;
                self.have = HEAD_BYTES;
                at += HEAD_BYTES;
            }
            while self.have < HEAD_BYTES {
                let (Some(byte), Some(place)) = (bytes.get(at), self.head.get_mut(self.have))
                else {
                    return (at, None);
                };
                *place = *byte;
                at += 1;
                self.have += 1;
            }
            let [l0, l1, l2, kind, flags, s0, s1, s2, s3] = self.head;
            self.have = 0;
            self.left = u32::from_be_bytes([0, l0, l1, l2]);
            self.frame = Some(FrameHead {
                length: self.left,
                kind,
                flags,
                // The first bit is reserved (RFC 9113 4.1).
                stream: u32::from_be_bytes([s0 & 0x7f, s1, s2, s3]),
                first: [0; FIRST_BYTES],
            });
        }
    }

    /// Whether all frames that began have ended.
    pub fn is_between_frames(&self) -> bool {
        self.preface == 0 && self.have == 0 && self.frame.is_none() && self.left == 0
    }

    /// Skips the preface and the rest of a payload.
    fn skip(&mut self, bytes: &[u8]) -> usize {
        let preface = self.preface.min(bytes.len());
        self.preface -= preface;
        if self.frame.is_some() {
            return preface;
        }
        let rest = (bytes.len() - preface).min(self.left as usize);
        self.left -= rest as u32;
        preface + rest
    }
}

#[cfg(test)]
mod tests;
