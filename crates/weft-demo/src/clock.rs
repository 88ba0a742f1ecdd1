//! The one place in this crate that reads the clock.

use std::time::Instant;

/// Now.
#[allow(clippy::disallowed_methods, reason = "this is the crate's clock.rs")]
pub(crate) fn now() -> Instant {
    Instant::now()
}
