//! What the agent does when a sidecar dies again and again, and when the app ends by itself.

use std::collections::VecDeque;
use std::fmt;
use std::str::FromStr;
use std::time::{Duration, Instant};
use weft_api::agent::OnDeath;

/// The time over which a sidecar's deaths are counted.
const DEATHS_SPAN: Duration = Duration::from_mins(1);
/// Deaths in that time that are answered by a successor alone; after them the policy decides.
const DEATHS_MAX: usize = 5;

/// What follows when a sidecar dies after five deaths in a minute.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum SidecarFailure {
    /// The app is restarted with it.
    #[default]
    RestartApp,
    /// The app is told to end, and the agent ends: whoever runs it decides.
    GiveUp,
    /// Only the next successor.
    KeepTrying,
}

impl fmt::Display for SidecarFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::RestartApp => "restart-app",
            Self::GiveUp => "give-up",
            Self::KeepTrying => "keep-trying",
        })
    }
}

impl From<OnDeath> for SidecarFailure {
    fn from(declared: OnDeath) -> Self {
        match declared {
            OnDeath::RestartInPlace => Self::KeepTrying,
            OnDeath::RestartApp => Self::RestartApp,
            OnDeath::GiveUp => Self::GiveUp,
        }
    }
}

/// Who says what follows: whoever started this agent, else the mesh.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Decision {
    /// What the agent was started with.
    pub(crate) said_here: Option<SidecarFailure>,
    /// What the center said last.
    pub(crate) declared: Option<OnDeath>,
}

impl Decision {
    /// What follows.
    pub(crate) fn made(self) -> SidecarFailure {
        let declared = self.declared.map(SidecarFailure::from);
        self.said_here.or(declared).unwrap_or_default()
    }
}

impl FromStr for SidecarFailure {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "restart-app" => Ok(Self::RestartApp),
            "give-up" => Ok(Self::GiveUp),
            "keep-trying" => Ok(Self::KeepTrying),
            _ => Err("write restart-app, give-up or keep-trying".into()),
        }
    }
}

/// Whether an app that ended by itself is started again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AppRestart {
    /// Its end is the end of all.
    #[default]
    Never,
    /// Unless its exit code was 0.
    OnFailure,
    /// Whatever its exit code was.
    Always,
}

impl AppRestart {
    /// Whether it is started again after this exit code.
    pub(crate) fn applies(self, code: u8) -> bool {
        match self {
            Self::Never => false,
            Self::OnFailure => code != 0,
            Self::Always => true,
        }
    }
}

impl FromStr for AppRestart {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "never" => Ok(Self::Never),
            "on-failure" => Ok(Self::OnFailure),
            "always" => Ok(Self::Always),
            _ => Err("write never, on-failure or always".into()),
        }
    }
}

/// The last deaths of sidecars.
#[derive(Debug, Default)]
pub(crate) struct Deaths(VecDeque<Instant>);

impl Deaths {
    /// One more; whether the policy decides. Then counting begins anew.
    pub(crate) fn are_too_many(&mut self, now: Instant) -> bool {
        let is_old = |at: &Instant| now.saturating_duration_since(*at) >= DEATHS_SPAN;
        while self.0.front().is_some_and(is_old) {
            self.0.pop_front();
        }
        if self.0.len() >= DEATHS_MAX {
            self.0.clear();
            return true;
        }
        self.0.push_back(now);
        false
    }
}

#[cfg(test)]
mod tests;
