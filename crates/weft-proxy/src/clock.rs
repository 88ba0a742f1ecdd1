//! The only file of the data plane that reads the clock. Everything else takes time as an argument or asks
//! here.

use std::cell::Cell;
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

/// A clock that is as exact as its last tick: reading it costs nothing. For limits in seconds.
#[derive(Debug)]
pub(crate) struct CoarseClock {
    origin: Instant,
    ticked_ms: Cell<u64>,
}

impl CoarseClock {
    /// A clock that starts now.
    pub(crate) fn new() -> Self {
        Self {
            origin: now(),
            ticked_ms: Cell::new(0),
        }
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
