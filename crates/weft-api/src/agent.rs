//! What the host agent and its sidecar say to each other over the inherited socket pair: one JSON object a
//! line. Unknown messages are ignored, so that either side may be newer.

use serde::{Deserialize, Serialize};

/// Bytes of one line at the most.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// From the host agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToSidecar {
    /// The app was started; its incarnation.
    AppStarted {
        /// +1 at each start.
        incarnation: u64,
    },
    /// The app is dead.
    AppDead,
    /// Stop accepting, finish what is under way, end within this time.
    Drain {
        /// Milliseconds at the most.
        limit_ms: u64,
    },
    /// A message of a later version.
    #[serde(other)]
    Unknown,
}

/// From the sidecar.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum FromSidecar {
    /// It serves; whether it has heard a center or holds a snapshot.
    Ready {
        /// A set of names was received or loaded.
        synced: bool,
    },
    /// Drained: it ends now.
    Drained,
    /// A message of a later version.
    #[serde(other)]
    Unknown,
}
