//! The one place in the center that reads a clock: everything else is told the time.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Now, for measuring spans.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place in this crate that reads the clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970: what a new store takes as its epoch, so that a later one is greater.
pub(crate) fn unix_millis() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(1, |span| span.as_millis() as u64)
}
