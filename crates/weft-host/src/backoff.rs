//! How long a sidecar that keeps dying stays down.
//!
//! The first successor starts at once: calls wait in the listening sockets' queues meanwhile. One that dies
//! again quickly waits, so that a sidecar that cannot start does not eat the machine.

use std::time::Duration;

/// The wait after the second quick death.
const WAIT_MIN: Duration = Duration::from_millis(20);
/// No wait is longer.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// A sidecar that lived this long has proven that it starts: the next death counts as a first one. Calls wait in
/// the sockets' queues meanwhile, so only one that dies at once may be slow to come again; how many deaths a minute
/// are too many is for `policy.rs` to say.
const PROVEN_AFTER: Duration = Duration::from_secs(1);

/// The waits between deaths and successors.
#[derive(Debug, Default)]
pub(crate) struct Backoff {
    quick_deaths: u32,
}

impl Backoff {
    /// The wait before the successor of a sidecar that lived this long.
    pub(crate) fn after_death(&mut self, lived: Duration) -> Duration {
        if lived >= PROVEN_AFTER {
            self.quick_deaths = 0;
        }
        let wait = match self.quick_deaths {
            0 => Duration::ZERO,
            deaths => WAIT_MIN
                .saturating_mul(1 << (deaths - 1).min(16))
                .min(WAIT_MAX),
        };
        self.quick_deaths = self.quick_deaths.saturating_add(1);
        wait
    }
}

#[cfg(test)]
mod tests;
