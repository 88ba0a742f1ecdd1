//! Whether the sidecar still works: it is asked some times a second, and answers only while all its workers do.
//!
//! Counted in questions, not in time: an agent that was itself stopped, or a machine that slept, must not cost
//! a healthy sidecar its life. Nor must a machine with too much to do: the time in which a thread of the sidecar
//! was kept waiting for a core does not count against it. One that stands still, or turns round and round with the
//! cores it has, gets no such time.

use super::threads::{Thread, kept_waiting};
use std::time::{Duration, Instant};

/// How often the sidecar is asked.
const ASK_EVERY: Duration = Duration::from_millis(250);
/// A sidecar that had its cores for so long since it first did not answer hangs. With the half second after which a
/// worker counts as hanging, the first question that is not answered, and up to one question more, this is 1.75 s at
/// the most: a quarter less than the two promised.
const SILENT_MAX: Duration = Duration::from_millis(750);
/// The same for a sidecar that has not answered yet: it starts.
const SILENT_AT_START_MAX: Duration = Duration::from_millis(9_750);

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
    has_answered: bool,
    /// Whether the last question is not answered.
    is_asked: bool,
    /// How its threads were at the last look, since it does not answer.
    seen: Option<(Instant, Vec<Thread>)>,
    /// For how long it had its cores since then.
    silent: Duration,
}

impl Watchdog {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            next_at: now + ASK_EVERY,
            has_answered: false,
            is_asked: false,
            seen: None,
            silent: Duration::ZERO,
        }
    }

    /// Another sidecar is watched from now on.
    pub(super) fn begin(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    pub(super) fn answered(&mut self) {
        self.has_answered = true;
        self.is_asked = false;
        self.seen = None;
        self.silent = Duration::ZERO;
    }

    pub(super) fn wake_at(&self) -> Instant {
        self.next_at
    }

    /// What is to be done now. The threads are looked at only while no answer comes.
    pub(super) fn act(&mut self, now: Instant, threads: impl FnOnce() -> Vec<Thread>) -> Watch {
        if now < self.next_at {
            return Watch::Wait;
        }
        self.next_at = now + ASK_EVERY;
        if !std::mem::replace(&mut self.is_asked, true) {
            return Watch::Ask;
        }
        let threads = threads();
        if let Some((at, before)) = &self.seen {
            let between = now.saturating_duration_since(*at);
            let kept = kept_waiting(before, &threads, between);
            self.silent += between.saturating_sub(kept).min(ASK_EVERY);
        }
        self.seen = Some((now, threads));
        let max = if self.has_answered {
            SILENT_MAX
        } else {
            SILENT_AT_START_MAX
        };
        if self.silent < max {
            return Watch::Ask;
        }
        self.silent = Duration::ZERO;
        Watch::Hangs
    }
}

#[cfg(test)]
mod tests;
