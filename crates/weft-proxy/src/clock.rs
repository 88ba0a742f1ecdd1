//! The only file of the data plane that reads the clock. Everything else takes time as an argument or asks
//! here.

use std::cell::Cell;
use std::sync::LazyLock;
use std::time::Duration;
pub(crate) use std::time::Instant;

/// The time now.
#[allow(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970, for people to read.
pub(crate) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}

/// The start of the process's own clock, one for all workers.
static ORIGIN: LazyLock<Instant> = LazyLock::new(now);

/// Milliseconds on the process's own clock.
pub(crate) fn now_ms() -> u64 {
    now().saturating_duration_since(*ORIGIN).as_millis() as u64
}

/// One moment on every clock.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Moment {
    /// For spans.
    pub(crate) instant: Instant,
    /// Milliseconds on the process's own clock.
    pub(crate) clock_ms: u64,
    /// Milliseconds since 1970: for what outlives the process.
    pub(crate) unix_ms: u64,
}

/// This moment.
pub(crate) fn moment() -> Moment {
    Moment {
        instant: now(),
        clock_ms: now_ms(),
        unix_ms: unix_ms(),
    }
}

/// A clock that is as exact as its last tick: reading it costs nothing. For limits in seconds.
#[derive(Debug)]
pub(crate) struct CoarseClock {
    origin: Instant,
    ticked_ms: Cell<u64>,
}

impl CoarseClock {
    /// A clock that starts now.
    pub(crate) fn new() -> Self {
        let clock = Self {
            origin: *ORIGIN,
            ticked_ms: Cell::new(0),
        };
        clock.tick();
        clock
    }

    /// Milliseconds since the start, as of the last tick.
    pub(crate) fn now_ms(&self) -> u64 {
        self.ticked_ms.get()
    }

    /// Reads the clock.
    pub(crate) fn tick(&self) -> u64 {
        let elapsed = now().saturating_duration_since(self.origin);
        self.ticked_ms.set(elapsed.as_millis() as u64);
        self.ticked_ms.get()
    }

    /// The tick at which `after` will have passed, at the earliest.
    pub(crate) fn in_ms(&self, after: Duration) -> u64 {
        self.now_ms() + (after.as_millis() as u64).max(1)
    }
}
