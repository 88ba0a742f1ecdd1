//! Whether the sidecar still works: it is asked some times a second, and answers only while all its workers do.
//!
//! Counted in questions, not in time: an agent that was itself stopped, or a machine that slept, must not cost
//! a healthy sidecar its life.

use std::time::{Duration, Instant};

/// How often the sidecar is asked.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// Questions without an answer after which a sidecar hangs. With the half second after which a worker counts
/// as hanging, and up to one question more, this is 1.75 s at the most: a quarter less than the two promised.
const UNANSWERED_MAX: u32 = 4;
/// The same for a sidecar that has not answered yet: it starts.
const UNANSWERED_AT_START_MAX: u32 = 40;

/// What is to be done.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watch {
    /// Nothing.
    Wait,
    /// Ask the sidecar.
    Ask,
    /// It hangs.
    Hangs,
}

/// The questions to one sidecar.
#[derive(Debug)]
pub(super) struct Watchdog {
    next_at: Instant,
    unanswered: u32,
    has_answered: bool,
}

impl Watchdog {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next_at: now + ASK_EVERY,
            unanswered: 0,
            has_answered: false,
        }
    }

    /// Another sidecar is watched from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    pub(super) fn answered(&mut self) {
        self.unanswered = 0;
        self.has_answered = true;
    }

    pub(super) fn wake_at(&self) -> Instant {
        self.next_at
    }

    pub(super) fn act(&mut self, now: Instant) -> Watch {
        if now < self.next_at {
            return Watch::Wait;
        }
        self.next_at = now + ASK_EVERY;
        let max = if self.has_answered {
            UNANSWERED_MAX
        } else {
            UNANSWERED_AT_START_MAX
        };
        if self.unanswered >= max {
            self.unanswered = 0;
            return Watch::Hangs;
        }
        self.unanswered += 1;
        Watch::Ask
    }
}

#[cfg(test)]
mod tests;
