//! What the host agent and its sidecar say to each other over the inherited socket pair: one JSON object a
//! line. Unknown messages are ignored, so that either side may be newer.

use serde::{Deserialize, Serialize};
use weft_model::declared::OnDeath as Declared;

/// Bytes of one line at the most.
pub const LINE_BYTES_MAX: usize = 64 * 1024;

/// The age of an app that was there before its agent was: nobody knows it, and it is not new.
pub const AGE_UNKNOWN: u64 = u64::MAX;

/// From the host agent.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum ToSidecar {
    /// The app was started; its incarnation.
    AppStarted {
        /// +1 at each start.
        incarnation: u64,
        /// How long ago that was, in milliseconds; 0 when it was now, [`AGE_UNKNOWN`] when it was before anybody
        /// looked.
        #[serde(default)]
        age_ms: u64,
    },
    /// The app is dead.
    AppDead,
    /// Tell peers, callers and the center that the instance leaves, and say so once no call for the app is under
    /// way, or after this time. The app's own calls go on until `End`.
    Drain {
        /// Milliseconds at the most.
        limit_ms: u64,
    },
    /// End: say goodbye if that was not done, finish what is under way within this time.
    End {
        /// Milliseconds at the most.
        limit_ms: u64,
    },
    /// Another sidecar serves the same sockets now: take nothing new, finish what is under way, end within this
    /// time. The instance stays: no goodbye.
    Replaced {
        /// Milliseconds at the most.
        limit_ms: u64,
    },
    /// A person takes the instance out of use, or back: peers and center are told at once, calls under way end,
    /// and the app runs on. Also the first word to a successor, when this was ever said.
    SetOffline {
        /// Whether it is out of use.
        offline: bool,
        /// When it was said, in milliseconds since 1970: of two words, also of the center's, the later one counts.
        changed_ms: u64,
    },
    /// To be answered with `Pong` by a sidecar all of whose workers are at work.
    Ping,
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
    /// Drained: no call for the app is under way any more, or the time for it is over.
    Drained,
    /// The center took the instance out of use, or back: a successor is told so even when the center is away.
    Offline {
        /// Whether it is out of use.
        offline: bool,
        /// When it was said, in milliseconds since 1970.
        changed_ms: u64,
    },
    /// The center says what follows when a sidecar keeps dying: the agent knows it after the sidecar's death.
    OnDeath {
        /// As declared; none: nothing is.
        declared: Option<OnDeath>,
    },
    /// The answer to `Ping`.
    Pong,
    /// A message of a later version.
    #[serde(other)]
    Unknown,
}

/// What follows when a sidecar keeps dying.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OnDeath {
    /// Only the next successor.
    RestartInPlace,
    /// The app is started anew with it.
    RestartApp,
    /// The host agent ends.
    GiveUp,
}

impl From<Declared> for OnDeath {
    fn from(declared: Declared) -> Self {
        match declared {
            Declared::RestartInPlace => Self::RestartInPlace,
            Declared::RestartApp => Self::RestartApp,
            Declared::GiveUp => Self::GiveUp,
        }
    }
}

/// From the CLI to a host agent, over the socket in the sidecar's runtime folder; one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum AgentRequest {
    /// Leave in good order: sidecar drained, app told to end, end.
    Drain,
    /// Replace the sidecar by a new one, without a failed call.
    RestartProxy,
    /// Take the instance out of use, or back: its app and sidecar run on.
    SetOffline {
        /// Whether it is out of use.
        offline: bool,
    },
    /// A request of a later version.
    #[serde(other)]
    Unknown,
}

/// The answer to an [`AgentRequest`]; one line.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AgentAnswer {
    /// Whether it was done, or begun.
    pub done: bool,
    /// What happened, for a person.
    pub text: String,
}
