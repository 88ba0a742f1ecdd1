//! A link with its two ends, and the frames under way between them.

use super::Random;
use crate::protocol::link::pulse::{self, BEAT_ACTIVE, Beat, Pulse};
use std::collections::VecDeque;
use weft_model::instance::{HealthState, SHARE_FULL};

/// The longest way of a frame.
pub(super) const DELAY_MAX_MS: u64 = 40;

/// The longest that an app takes for a reply.
const REPLY_MAX_MS: u64 = 3_000;

/// What an instance says of itself: incarnation, sequence, state.
pub(super) type Word = (u64, u64, HealthState);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Frame {
    Health(Word),
    Open,
    Reply,
    /// The end of the stream.
    End,
}

/// One end of a link, with what is on its way to it.
pub(super) struct End {
    pub(super) pulse: Pulse,
    opened_here: bool,
    /// The timer of `wire.rs`: when it is due, and whether it has the pace of a link in use.
    due_ms: u64,
    active: bool,
    /// Its task has a turn although nothing is due: something was sent, or is still to be read.
    woken: bool,
    /// In order, with the time at which each arrives.
    inbox: VecDeque<(u64, Frame)>,
    pub(super) closed: bool,
    /// Calls whose reply is awaited.
    calls: usize,
    /// When replies are due.
    owed: Vec<u64>,
}

/// A link between a worker of a caller and an instance.
pub(super) struct Link {
    pub(super) caller: usize,
    pub(super) worker: usize,
    pub(super) instance: usize,
    /// The caller's end, the instance's end.
    pub(super) ends: [End; 2],
    /// The last time at which something kept the instance from being heard here.
    pub(super) hampered_ms: u64,
}

/// What one turn of an end brought.
#[derive(Debug, Default)]
pub(super) struct Turn {
    pub(super) words: Vec<Word>,
    pub(super) out: Vec<Frame>,
}

impl End {
    fn new(now_ms: u64, opened_here: bool) -> Self {
        let pulse = Pulse::new(now_ms);
        Self {
            due_ms: now_ms + pulse.interval(now_ms).as_millis() as u64,
            active: pulse.is_active(now_ms),
            pulse,
            opened_here,
            woken: false,
            inbox: VecDeque::new(),
            closed: false,
            calls: 0,
            owed: Vec::new(),
        }
    }

    /// A turn of the link's task, in the order of `wire.rs`, if anything wakes it. After a worker stood still the
    /// link's task may have its turn before the one that reads for it.
    pub(super) fn turn(
        &mut self,
        now_ms: u64,
        stood: bool,
        own: Word,
        random: &mut Random,
    ) -> Turn {
        let mut turn = Turn::default();
        let has_come = self.inbox.front().is_some_and(|(at, _)| *at <= now_ms);
        let is_due = self.due_ms <= now_ms || self.owed.iter().any(|owed| *owed <= now_ms);
        if self.closed || !(has_come || is_due || std::mem::take(&mut self.woken)) {
            return turn;
        }
        if stood {
            self.woken = true;
        } else {
            self.receive(now_ms, random, &mut turn);
        }
        self.beats(now_ms, own, &mut turn);
        self.owed.retain(|owed_ms| {
            let is_due = *owed_ms <= now_ms;
            if is_due {
                turn.out.push(Frame::Reply);
            }
            !is_due
        });
        turn
    }

    fn beats(&mut self, now_ms: u64, own: Word, turn: &mut Turn) {
        if !self.active && self.pulse.is_active(now_ms) {
            self.active = true;
            self.due_ms = now_ms + BEAT_ACTIVE.as_millis() as u64;
        }
        while !self.closed && self.due_ms <= now_ms {
            let late = now_ms - self.due_ms > self.pulse.late_max().as_millis() as u64;
            self.active = self.pulse.is_active(now_ms);
            self.due_ms = now_ms + self.pulse.next_beat(now_ms, late).as_millis() as u64;
            let calls = self.calls + self.owed.len();
            match self.pulse.beat(now_ms, late, self.opened_here, calls) {
                Beat::Rest => {}
                Beat::Speak => turn.out.push(Frame::Health(own)),
                Beat::Silent | Beat::Idle => self.close(turn),
            }
        }
    }

    fn receive(&mut self, now_ms: u64, random: &mut Random, turn: &mut Turn) {
        while let Some((_, frame)) = self.inbox.pop_front_if(|(at, _)| *at <= now_ms) {
            self.pulse.heard(now_ms);
            match frame {
                Frame::Health(word) => {
                    let (incarnation, sequence, state) = word;
                    self.pulse.told(pulse::Word {
                        incarnation,
                        sequence,
                        state,
                        share: SHARE_FULL,
                    });
                    turn.words.push(word);
                }
                Frame::Open => {
                    self.pulse.used(now_ms);
                    self.owed.push(now_ms + random.below(REPLY_MAX_MS));
                }
                Frame::Reply => self.calls = self.calls.saturating_sub(1),
                Frame::End => return self.close(turn),
            }
        }
    }

    pub(super) fn open(&mut self, now_ms: u64) {
        self.pulse.used(now_ms);
        self.calls += 1;
        self.woken = true;
    }

    pub(super) fn close(&mut self, turn: &mut Turn) {
        self.closed = true;
        turn.out.push(Frame::End);
    }
}

impl Link {
    pub(super) fn new(now_ms: u64, (caller, worker): (usize, usize), instance: usize) -> Self {
        Self {
            caller,
            worker,
            instance,
            ends: [End::new(now_ms, true), End::new(now_ms, false)],
            hampered_ms: 0,
        }
    }

    /// Frames leave this end. On a parted network the system sends them again when it has healed.
    pub(super) fn send(&mut self, from: usize, frames: &[Frame], now_ms: u64, delay_ms: u64) {
        if frames.is_empty() {
            return;
        }
        self.ends[from].pulse.sent(now_ms);
        let inbox = &mut self.ends[1 - from].inbox;
        let last = inbox.back().map_or(0, |(at, _)| *at);
        let arrives = last.max(now_ms.saturating_add(delay_ms));
        inbox.extend(frames.iter().map(|frame| (arrives, *frame)));
    }

    /// Nothing gets through any more.
    pub(super) fn part(&mut self) {
        for (at, _) in self.ends.iter_mut().flat_map(|end| &mut end.inbox) {
            *at = u64::MAX;
        }
    }

    /// What was held up arrives now.
    pub(super) fn heal(&mut self, now_ms: u64, delay_ms: u64) {
        for (at, _) in self.ends.iter_mut().flat_map(|end| &mut end.inbox) {
            *at = (*at).min(now_ms + delay_ms);
        }
    }
}
