//! The one place of the harness that reads a clock.

use std::time::Instant;

/// Now.
#[allow(
    clippy::disallowed_methods,
    reason = "the one place that reads the clock"
)]
pub(crate) fn now() -> Instant {
    Instant::now()
}
