//! Whether the other end of a link lives, and what it says of itself.
//!
//! Any frame is a sign of life. A link in use hears something every [`BEAT_ACTIVE`], an idle one every
//! [`BEAT_IDLE`]. A link in use that missed two is suspect: no new calls go there while others can take them, and
//! those on it that may be tried elsewhere leave it. A worker that was late itself suspects nobody in that round. Never in here: sockets, frames, the clock.

use std::cell::{Cell, RefCell};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use weft_model::instance::{HealthState, InstanceLoad};

/// How often a link in use is heard.
pub(crate) const BEAT_ACTIVE: Duration = Duration::from_millis(200);

/// How often an idle link is heard.
pub(crate) const BEAT_IDLE: Duration = Duration::from_secs(2);

/// A link counts as in use for this long after its last call was opened.
pub(crate) const ACTIVE_FOR: Duration = Duration::from_secs(10);

/// A worker whose timer was later than this doubts itself, not the peer. For the beat that decides, [`BEAT_MIN`].
const LATE_MAX: Duration = Duration::from_millis(100);

/// Beats in a row that are missed by a suspect.
const MISSED_MAX: u64 = 2;

/// Milliseconds of silence after which a link in use is suspect.
const DOUBT_MS: u64 = BEAT_ACTIVE.as_millis() as u64 * MISSED_MAX;

/// Two beats are this far apart at the least.
const BEAT_MIN: Duration = Duration::from_millis(10);

/// A link that hears nothing for this long is closed.
pub(crate) const SILENCE_MAX: Duration = Duration::from_secs(6);

/// A link without calls for this long is closed by the side that opened it.
pub(crate) const IDLE_MAX: Duration = Duration::from_mins(10);

/// What is to be done at a beat.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beat {
    /// Nothing: frames went out anyway.
    Rest,
    /// Say that this side lives.
    Speak,
    /// Close: nothing was heard for too long.
    Silent,
    /// Close: there was no call for too long.
    Idle,
}

/// What an instance says of itself.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Word {
    pub(crate) incarnation: u64,
    pub(crate) sequence: u64,
    pub(crate) state: HealthState,
    /// The share of calls that it takes, in percent.
    pub(crate) share: u32,
}

impl Word {
    fn reach(self, load: &InstanceLoad) {
        load.tell_share(self.incarnation, self.sequence, self.state, self.share);
    }
}

/// The signs of life of one link. Times are milliseconds on the process's clock.
#[derive(Debug)]
pub(crate) struct Pulse {
    heard_ms: Cell<u64>,
    sent_ms: Cell<u64>,
    used_ms: Cell<u64>,
    /// Since when the link is in use without a break.
    active_since_ms: Cell<u64>,
    /// The instance at the other end, once a call was sent there.
    load: RefCell<Option<Arc<InstanceLoad>>>,
    /// What the other end said last.
    told: Cell<Option<Word>>,
    suspected: Cell<bool>,
    /// Whether that is another one than the address was known for: its life says nothing of the other's.
    is_successor: Cell<bool>,
    /// Silence was met at the last beat; the next one decides.
    doubted: Cell<bool>,
}

impl Pulse {
    /// A link that was made now.
    pub(crate) fn new(now_ms: u64) -> Self {
        Self {
            heard_ms: Cell::new(now_ms),
            sent_ms: Cell::new(now_ms),
            used_ms: Cell::new(now_ms),
            active_since_ms: Cell::new(now_ms),
            load: RefCell::default(),
            told: Cell::new(None),
            suspected: Cell::new(false),
            is_successor: Cell::new(false),
            doubted: Cell::new(false),
        }
    }

    /// Something came from the other end.
    pub(crate) fn heard(&self, now_ms: u64) {
        self.heard_ms.set(now_ms);
        self.doubted.set(false);
        if self.suspected.get() {
            self.suspect(false);
        }
    }

    /// Something went out.
    pub(crate) fn sent(&self, now_ms: u64) {
        self.sent_ms.set(now_ms);
    }

    /// A call was opened, by either side.
    pub(crate) fn used(&self, now_ms: u64) {
        if !self.is_active(now_ms) {
            self.active_since_ms.set(now_ms);
        }
        self.used_ms.set(now_ms);
    }

    /// Whether the link is in use.
    pub(crate) fn is_active(&self, now_ms: u64) -> bool {
        now_ms.saturating_sub(self.used_ms.get()) < ACTIVE_FOR.as_millis() as u64
    }

    /// How often this link speaks and is heard.
    pub(crate) fn interval(&self, now_ms: u64) -> Duration {
        if self.is_active(now_ms) {
            BEAT_ACTIVE
        } else {
            BEAT_IDLE
        }
    }

    /// A beat that comes later than this says nothing of the peer. The one that decides is for reading what has come
    /// since the one before it: a worker that stood still in between has not read.
    pub(crate) fn late_max(&self) -> Duration {
        if self.doubted.get() {
            BEAT_MIN
        } else {
            LATE_MAX
        }
    }

    /// How long to the next beat: when something must be said, or is missed, whichever comes first. `late` says
    /// that this worker has just slept: what came meanwhile is still to be read.
    pub(crate) fn next_beat(&self, now_ms: u64, late: bool) -> Duration {
        let interval = self.interval(now_ms);
        let is_active = interval == BEAT_ACTIVE;
        if late && is_active && !self.doubted.get() {
            return interval;
        }
        // Who speaks at this beat has just sent something when it ends.
        let last_sent = if self.is_quiet(now_ms) {
            now_ms
        } else {
            self.sent_ms.get()
        };
        let speak_at = last_sent + interval.as_millis() as u64;
        let doubt_at = if self.suspected.get() || !is_active {
            u64::MAX
        } else {
            self.expected_since() + DOUBT_MS
        };
        let left = Duration::from_millis(speak_at.min(doubt_at).saturating_sub(now_ms));
        left.clamp(BEAT_MIN, interval)
    }

    /// Since when the other end is awaited. It learns that the link is in use by the first call: only from then on
    /// is more expected.
    fn expected_since(&self) -> u64 {
        self.heard_ms.get().max(self.active_since_ms.get())
    }

    /// For how long nothing was heard that was expected.
    #[cfg(test)]
    fn silence_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.expected_since())
    }

    /// Whether the other end of a link in use is silent.
    pub(crate) fn is_suspect(&self) -> bool {
        self.suspected.get()
    }

    /// One beat. `late` says that the worker's own timer was late.
    pub(crate) fn beat(&self, now_ms: u64, late: bool, opened_here: bool, calls: usize) -> Beat {
        let since = |at: u64| now_ms.saturating_sub(at);
        if let Some(load) = &*self.load.borrow()
            && !self.is_successor.get()
        {
            load.heard_ms.fetch_max(self.heard_ms.get(), Relaxed);
        }
        let silence = since(self.heard_ms.get());
        if silence >= SILENCE_MAX.as_millis() as u64 && !late {
            return Beat::Silent;
        }
        if opened_here && calls == 0 && since(self.used_ms.get()) >= IDLE_MAX.as_millis() as u64 {
            return Beat::Idle;
        }
        let missed = self.is_active(now_ms) && since(self.expected_since()) >= DOUBT_MS;
        // Twice in a row: a worker that stood still a little, and was not late for this beat, first reads what has
        // come meanwhile.
        let doubted = self.doubted.replace(missed && !late);
        if missed && !late && doubted && !self.suspected.get() {
            self.suspect(true);
        }
        if self.is_quiet(now_ms) {
            Beat::Speak
        } else {
            Beat::Rest
        }
    }

    /// Whether it is time to say something: nothing went out for half a beat.
    fn is_quiet(&self, now_ms: u64) -> bool {
        let since = now_ms.saturating_sub(self.sent_ms.get());
        since >= self.interval(now_ms).as_millis() as u64 / 2
    }

    /// Calls on this link go to this instance, or to the one that has taken its address over.
    pub(crate) fn meet(&self, load: &Arc<InstanceLoad>, is_successor: bool) {
        let same = self
            .load
            .borrow()
            .as_ref()
            .is_some_and(|known| Arc::ptr_eq(known, load));
        if same {
            return;
        }
        let suspected = self.suspected.get();
        if suspected {
            self.suspect(false);
        }
        self.is_successor.set(is_successor);
        if is_successor {
            load.taken_over();
        }
        if let Some(word) = self.told.get() {
            word.reach(load);
        }
        *self.load.borrow_mut() = Some(Arc::clone(load));
        if suspected {
            self.suspect(true);
        }
    }

    /// The other end said how it is.
    pub(crate) fn told(&self, word: Word) {
        self.told.set(Some(word));
        if let Some(load) = &*self.load.borrow() {
            word.reach(load);
        }
    }

    /// The instance to which calls on this link went.
    pub(super) fn load(&self) -> Option<Arc<InstanceLoad>> {
        self.load.borrow().clone()
    }

    fn suspect(&self, suspected: bool) {
        self.suspected.set(suspected);
        if let Some(load) = &*self.load.borrow() {
            if suspected {
                load.suspects.fetch_add(1, Relaxed);
            } else {
                load.suspects.fetch_sub(1, Relaxed);
            }
        }
    }
}

impl Drop for Pulse {
    fn drop(&mut self) {
        if self.suspected.get() {
            self.suspect(false);
        }
    }
}

#[cfg(test)]
mod tests;
