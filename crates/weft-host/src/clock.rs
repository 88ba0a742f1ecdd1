//! The one place in this crate that reads the clock.

use std::time::Instant;

/// Now.
#[allow(clippy::disallowed_methods, reason = "this is the crate's clock.rs")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Milliseconds since 1970, which other machines compare with theirs.
pub(crate) fn unix_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    since.map_or(0, |since| since.as_millis() as u64)
}
