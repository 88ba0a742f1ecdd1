//! Whether an update that takes many instances of a service away is believed.
//!
//! A center that lost its knowledge, and one that knows of a real end, send the same message. The instances
//! themselves tell the two apart: those that still answer are kept for a while. Never in here: who answers.

use std::time::Duration;

/// What was taken away is kept this long at the most, however alive it is: the center has the last word.
pub const HELD_MAX: Duration = Duration::from_mins(30);

/// What one update makes of one service.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Removal {
    /// Instances before the update.
    pub before: usize,
    /// Instances after it. Newcomers count: who replaces all instances at once has lost nothing.
    pub after: usize,
}

/// Whether the update takes more than half of the service: only then is anybody asked.
pub fn is_massive(removal: Removal) -> bool {
    removal.after * 2 < removal.before
}

/// Whether an instance that a massive removal took away is kept: it answers, and was not kept too long.
pub fn is_kept(answers: bool, held_for: Duration) -> bool {
    answers && held_for < HELD_MAX
}

#[cfg(test)]
mod tests;
