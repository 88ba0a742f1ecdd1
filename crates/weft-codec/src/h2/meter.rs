//! The debt of an HTTP/2 peer: one budget for everything that it may do without getting anywhere.
//!
//! Every frame that makes no progress adds debt: a reset of a young stream, an error of the peer for which we
//! reset a stream, empty DATA, control frames out of proportion, frames of unknown kinds. Every completed request
//! and every KiB of payload pays. A peer whose debt is above its limit is asked to go; at twice the limit it is
//! cut off. One number instead of one limit per attack: whoever mixes two attacks gets no further than with one.
//!
//! What honest peers do costs nothing: DATA with payload, however small; pings beside DATA (gRPC measures
//! bandwidth so); window updates for what we sent; resets of streams that were answered. Time is passed in.
//!
//! Never in here: header blocks, I/O, clocks; memory for more than [`STREAMS_TRACKED_MAX`] streams.

use super::frames::{
    CONTINUATION, DATA, FrameHead, Frames, HEADERS, PING, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use std::collections::VecDeque;

/// Streams whose age is known; the oldest is forgotten first, and its reset counts as one of a young stream.
const STREAMS_TRACKED_MAX: usize = 1024;

/// Payload that pays one unit of debt.
const PAYING_BYTES: u32 = 1024;

/// One control frame a second is free, for keep-alive.
const CONTROL_FREE_EVERY_MS: u64 = 1000;

/// Free control frames that are saved up, and with which a connection begins (a browser describes its priorities).
const CONTROL_FREE_MAX: u32 = 20;

/// Free window updates for one frame of DATA that we sent: its stream's and the connection's, each in two steps.
const WINDOWS_FREE_PER_DATA: u32 = 4;

/// And for each KiB of it.
const WINDOWS_FREE_PER_KIB: u32 = 2;

/// Free window updates that are saved up.
const WINDOWS_FREE_MAX: u32 = 4096;

/// Free pings that are saved up; one for each frame of DATA with payload, sent or received.
const PINGS_FREE_MAX: u32 = 256;

/// Frames of a header block beyond the first that are free.
const CONTINUATIONS_FREE_MAX: u32 = 8;

/// Heads that the peer may send on one stream: a caller's head and trailers.
const HEADS_OF_CALLER: u8 = 2;

/// An upstream's interim answers, head and trailers.
const HEADS_OF_UPSTREAM: u8 = 16;

/// Error codes (RFC 9113 7) with which we reset a stream for reasons of our own.
const OWN_REASONS: &[u32] = &[
    0x0, // NO_ERROR
    0x2, // INTERNAL_ERROR
    0x8, // CANCEL
    0xa, // CONNECT_ERROR
    0xd, // HTTP_1_1_REQUIRED
];

const REFUSED_STREAM: u32 = 0x7;

/// What a peer may owe.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Debt above which a peer is asked to go; at twice of it, it is cut off. Grows with completed requests.
    pub debt: u32,
    /// One more unit of debt for each so many completed requests.
    pub debt_per_completed: u32,
    /// However many requests were completed.
    pub debt_max: u32,
    /// A stream that is reset before this age adds debt.
    pub young_ms: u64,
    /// Bytes of one header block on the wire. Above the limit of the decoded list, which is answered 431: only
    /// who goes on for ever is cut off.
    pub block_bytes: u32,
    /// Streams that were under way when the peer was asked to go: so many refusals are not its doing.
    pub streams: u32,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            debt: 100,
            debt_per_completed: 10,
            debt_max: 1000,
            young_ms: 1000,
            block_bytes: 64 * 1024,
            streams: 100,
        }
    }
}

/// Who is at the other end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerSide {
    /// It opens streams.
    Caller,
    /// It answers ours.
    Upstream,
}

/// What is to be done with the connection. Never gets better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Verdict {
    /// Nothing.
    Fine,
    /// No new streams; those that are open may end.
    GoAway,
    /// It ends now: too much debt.
    Close,
    /// It ends now: a header block without end.
    BlockTooLarge,
}

impl Verdict {
    /// Whether the connection ends now.
    pub fn ends(self) -> bool {
        self >= Self::Close
    }
}

/// A stream that has not ended on both sides.
#[derive(Clone, Copy, Debug)]
struct Stream {
    id: u32,
    opened_ms: u64,
    /// Heads that the peer sent on it.
    heads: u8,
    peer_ended: bool,
    we_ended: bool,
}

/// A header block under way.
#[derive(Clone, Copy, Debug)]
struct Block {
    bytes: u32,
    continuations: u32,
    began_ms: u64,
}

/// Meters one connection.
#[derive(Clone, Debug)]
pub struct Meter {
    side: PeerSide,
    limits: Limits,
    received: Frames,
    sent: Frames,
    streams: VecDeque<Stream>,
    /// The highest stream that was opened.
    newest: u32,
    debt: u32,
    completed: u32,
    /// Payload that has not yet paid for a whole unit.
    paying: u32,
    control_free: u32,
    control_at_ms: u64,
    windows_free: u32,
    pings_free: u32,
    settings_unanswered: u32,
    pings_unanswered: u32,
    block: Option<Block>,
    verdict: Verdict,
    /// The highest stream when the peer was asked to go.
    went_at: u32,
    refusals_free: u32,
    frames: u64,
    resets: u64,
}

impl Meter {
    /// A meter for a new connection.
    pub fn new(side: PeerSide, limits: Limits, now_ms: u64) -> Self {
        let (received, sent) = match side {
            PeerSide::Caller => (Frames::behind_preface(), Frames::new()),
            PeerSide::Upstream => (Frames::new(), Frames::behind_preface()),
        };
        Self {
            side,
            limits,
            received,
            sent,
            streams: VecDeque::new(),
            newest: 0,
            debt: 0,
            completed: 0,
            paying: 0,
            control_free: CONTROL_FREE_MAX,
            control_at_ms: now_ms,
            windows_free: 0,
            pings_free: 0,
            settings_unanswered: 0,
            pings_unanswered: 0,
            block: None,
            verdict: Verdict::Fine,
            went_at: 0,
            refusals_free: 0,
            frames: 0,
            resets: 0,
        }
    }

    /// Looks at bytes that the peer sent. Stops at the frame by which the connection ends.
    pub fn received(&mut self, bytes: &[u8], now_ms: u64) -> Verdict {
        let mut at = 0;
        while !self.verdict.ends()
            && let Some(rest) = bytes.get(at..)
        {
            let (count, frame) = self.received.next(rest);
            at += count;
            let Some(frame) = frame else { break };
            self.frames += 1;
            self.take(&frame, now_ms);
        }
        self.verdict
    }

    /// Looks at bytes that we sent.
    pub fn sent(&mut self, bytes: &[u8], now_ms: u64) -> Verdict {
        let mut at = 0;
        while let Some(rest) = bytes.get(at..) {
            let (count, frame) = self.sent.next(rest);
            at += count;
            let Some(frame) = frame else { break };
            self.give(&frame, now_ms);
        }
        self.verdict
    }

    /// What is to be done.
    pub fn verdict(&self) -> Verdict {
        self.verdict
    }

    /// What the peer owes.
    pub fn debt(&self) -> u32 {
        self.debt
    }

    /// Frames that the peer sent and that were looked at.
    pub fn frames(&self) -> u64 {
        self.frames
    }

    /// Streams that the peer reset, or that were reset for an error of its.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Since when a header block is under way.
    pub fn block_since_ms(&self) -> Option<u64> {
        self.block.map(|block| block.began_ms)
    }

    /// Whether a frame of ours may be written now without breaking one.
    pub fn may_write(&self) -> bool {
        self.sent.is_between_frames()
    }

    /// The highest stream that was opened.
    pub fn newest_stream(&self) -> u32 {
        self.newest
    }

    fn take(&mut self, frame: &FrameHead, now_ms: u64) {
        match frame.kind {
            DATA => self.take_data(frame),
            HEADERS => self.take_headers(frame, now_ms),
            CONTINUATION => self.take_continuation(frame),
            RST_STREAM => self.take_reset(frame.stream, now_ms),
            SETTINGS if frame.is_ack() && self.settings_unanswered > 0 => {
                self.settings_unanswered -= 1;
            }
            PING if frame.is_ack() && self.pings_unanswered > 0 => self.pings_unanswered -= 1,
            // An answer to nothing.
            SETTINGS | PING if frame.is_ack() => self.owe(1),
            _ if frame.is_fault() => self.owe(1),
            PING if self.pings_free > 0 => self.pings_free -= 1,
            WINDOW_UPDATE if self.windows_free > 0 => self.windows_free -= 1,
            _ => self.take_control(now_ms),
        }
        if frame.ends_stream() {
            self.peer_ended(frame.stream);
        }
    }

    fn take_data(&mut self, frame: &FrameHead) {
        let useful = frame.useful_bytes();
        if useful == 0 {
            if !frame.ends_stream() {
                self.owe(1);
            }
            return;
        }
        self.pings_free = (self.pings_free + 1).min(PINGS_FREE_MAX);
        let stream = self.stream(frame.stream).copied();
        let is_awaited = stream.is_some_and(|stream| !stream.peer_ended);
        // Behind its own end, or on a stream that nobody opened. What we gave up meanwhile it cannot know yet.
        if !is_awaited && (stream.is_some() || frame.stream > self.newest) {
            self.owe(1);
        }
        // Payload that nobody awaits pays nothing.
        if is_awaited && self.debt > 0 {
            self.paying += useful;
            self.pay(self.paying / PAYING_BYTES);
            self.paying %= PAYING_BYTES;
        }
    }

    fn take_headers(&mut self, frame: &FrameHead, now_ms: u64) {
        if !frame.ends_block() {
            self.block = Some(Block {
                bytes: frame.length,
                continuations: 0,
                began_ms: now_ms,
            });
        }
        if self.side == PeerSide::Caller && frame.stream > self.newest {
            self.open(frame.stream, 1, now_ms);
            return;
        }
        let heads_max = match self.side {
            PeerSide::Caller => HEADS_OF_CALLER,
            PeerSide::Upstream => HEADS_OF_UPSTREAM,
        };
        let is_in_turn = self.stream(frame.stream).is_some_and(|stream| {
            stream.heads = stream.heads.saturating_add(1);
            stream.heads <= heads_max && !stream.peer_ended
        });
        if !is_in_turn {
            self.owe(1);
        }
    }

    fn take_continuation(&mut self, frame: &FrameHead) {
        let block = self.block.get_or_insert(Block {
            bytes: 0,
            continuations: 0,
            began_ms: 0,
        });
        block.bytes = block.bytes.saturating_add(frame.length);
        block.continuations += 1;
        let is_large = block.bytes > self.limits.block_bytes;
        let is_idle = frame.length == 0 || block.continuations > CONTINUATIONS_FREE_MAX;
        if frame.ends_block() {
            self.block = None;
        }
        if is_large {
            self.worsen(Verdict::BlockTooLarge);
        } else if is_idle {
            self.owe(1);
        }
    }

    fn take_reset(&mut self, id: u32, now_ms: u64) {
        self.resets += 1;
        let young_ms = self.limits.young_ms;
        let is_free = self.forget(id).is_some_and(|stream| {
            let is_young = now_ms.saturating_sub(stream.opened_ms) < young_ms;
            // Asked to go, it may give up all that it has under way.
            let is_leaving = self.verdict == Verdict::GoAway && id <= self.went_at;
            let is_answered = match self.side {
                PeerSide::Caller => stream.we_ended,
                PeerSide::Upstream => stream.peer_ended,
            };
            is_answered || is_leaving || !is_young
        });
        if !is_free {
            self.owe(1);
        }
    }

    /// SETTINGS, PING, PRIORITY, WINDOW_UPDATE, GOAWAY, unknown kinds, beyond what is in proportion.
    fn take_control(&mut self, now_ms: u64) {
        let periods = now_ms.saturating_sub(self.control_at_ms) / CONTROL_FREE_EVERY_MS;
        if periods > 0 {
            self.control_at_ms += periods * CONTROL_FREE_EVERY_MS;
            let periods = u32::try_from(periods).unwrap_or(CONTROL_FREE_MAX);
            self.free_control(periods.min(CONTROL_FREE_MAX));
        }
        match self.control_free.checked_sub(1) {
            Some(left) => self.control_free = left,
            None => self.owe(1),
        }
    }

    fn give(&mut self, frame: &FrameHead, now_ms: u64) {
        match frame.kind {
            DATA if frame.length > 0 => {
                let windows = WINDOWS_FREE_PER_DATA + frame.length / 1024 * WINDOWS_FREE_PER_KIB;
                self.windows_free = (self.windows_free + windows).min(WINDOWS_FREE_MAX);
                self.pings_free = (self.pings_free + 1).min(PINGS_FREE_MAX);
            }
            HEADERS if self.side == PeerSide::Upstream && frame.stream > self.newest => {
                self.open(frame.stream, 0, now_ms);
            }
            RST_STREAM => self.give_reset(frame),
            SETTINGS if !frame.is_ack() => self.settings_unanswered += 1,
            PING if !frame.is_ack() => self.pings_unanswered += 1,
            _ => {}
        }
        if frame.ends_stream() {
            self.we_ended(frame.stream);
        }
    }

    /// We reset a stream: for an error of the peer, or for a reason of our own.
    fn give_reset(&mut self, frame: &FrameHead) {
        let known = self.forget(frame.stream);
        let code = frame.error_code();
        if OWN_REASONS.contains(&code) {
            return;
        }
        if code == REFUSED_STREAM && self.refusals_free > 0 {
            self.refusals_free -= 1;
            return;
        }
        self.resets += 1;
        // An answer that ended with an error of the peer did not pay.
        let is_answered = known.is_none_or(|stream| stream.we_ended);
        if is_answered && self.side == PeerSide::Caller && self.completed > 0 {
            self.completed -= 1;
            self.owe(2);
        } else {
            self.owe(1);
        }
    }

    fn open(&mut self, id: u32, heads: u8, now_ms: u64) {
        self.newest = id;
        if self.streams.len() >= STREAMS_TRACKED_MAX {
            self.streams.pop_front();
        }
        self.streams.push_back(Stream {
            id,
            opened_ms: now_ms,
            heads,
            peer_ended: false,
            we_ended: false,
        });
        // A browser says with each request how urgent it is, and some clients open the window of each stream.
        self.free_control(1);
        self.windows_free = (self.windows_free + 1).min(WINDOWS_FREE_MAX);
    }

    fn free_control(&mut self, count: u32) {
        self.control_free = (self.control_free + count).min(CONTROL_FREE_MAX);
    }

    fn peer_ended(&mut self, id: u32) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let is_first = !std::mem::replace(&mut stream.peer_ended, true);
        let is_over = stream.we_ended;
        if is_first && self.side == PeerSide::Upstream {
            self.complete();
        }
        if is_over {
            self.forget(id);
        }
    }

    fn we_ended(&mut self, id: u32) {
        let Some(stream) = self.stream(id) else {
            return;
        };
        let is_first = !std::mem::replace(&mut stream.we_ended, true);
        let is_over = stream.peer_ended;
        if is_first && self.side == PeerSide::Caller {
            self.complete();
        }
        if is_over {
            self.forget(id);
        }
    }

    fn complete(&mut self) {
        self.completed = self.completed.saturating_add(1);
        self.pay(1);
    }

    fn pay(&mut self, units: u32) {
        self.debt = self.debt.saturating_sub(units);
    }

    fn owe(&mut self, units: u32) {
        self.debt = self.debt.saturating_add(units);
        let share = self
            .completed
            .checked_div(self.limits.debt_per_completed)
            .unwrap_or(0);
        let limit = self
            .limits
            .debt
            .saturating_add(share)
            .min(self.limits.debt_max);
        if self.debt >= limit.saturating_mul(2) {
            self.worsen(Verdict::Close);
        } else if self.debt > limit {
            self.worsen(Verdict::GoAway);
        }
    }

    fn worsen(&mut self, verdict: Verdict) {
        if self.verdict == Verdict::Fine && verdict == Verdict::GoAway {
            self.went_at = self.newest;
            self.refusals_free = self.limits.streams;
        }
        self.verdict = self.verdict.max(verdict);
    }

    fn place(&self, id: u32) -> Option<usize> {
        self.streams
            .binary_search_by_key(&id, |stream| stream.id)
            .ok()
    }

    fn stream(&mut self, id: u32) -> Option<&mut Stream> {
        let place = self.place(id)?;
        self.streams.get_mut(place)
    }

    fn forget(&mut self, id: u32) -> Option<Stream> {
        let place = self.place(id)?;
        self.streams.remove(place)
    }
}

#[cfg(test)]
mod tests;
