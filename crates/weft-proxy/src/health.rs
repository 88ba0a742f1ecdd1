//! How the own instance is, as its peers are told: from what the control thread knows of the app and of the workers,
//! and from whoever took it out of use.
//!
//! After its app came up the instance is warming: its share of calls grows in steps. An instance with more calls for
//! its app than it should have, or a worker that is late, is overloaded and asks for less. Never in here: who is told,
//! and what a caller makes of it.

use crate::clock;
use crate::context::{APP_IS_OLD, OwnHealth, Shared, Vitals};
use crate::sync::{AppState, Offline};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use weft_api::sync::OwnPolicy;
use weft_model::instance::{HealthState, SHARE_FULL};

/// How long the share of a new app grows when nothing else is declared.
const WARM_UP_DEFAULT: Duration = Duration::from_secs(30);

/// The share of an app that has just come up, in percent.
const SHARE_FIRST: u32 = 10;

/// A share grows by so much at a time: each step is told to every peer.
const SHARE_STEP: u32 = 5;

/// The share of an instance that is overloaded.
const SHARE_OVERLOADED: u32 = 50;

/// How often the load is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// A worker that has not swept for this long is late. It sweeps ten times a second.
const WORKER_LATE_MS: u64 = 300;

/// One in so many of the calls that all workers may have in flight: so many for the own app are too many.
const CALLS_PART: u64 = 2;

/// Looks in a row that must find a sign of overload.
const SIGNS_MIN: u32 = 2;

/// Looks in a row that must find none, before it is over.
const CLEAR_MIN: u32 = 8;

/// A look that is itself later than this finds nothing: it is the control thread that was late.
const LATE_MAX: Duration = Duration::from_millis(100);

/// The health at the start. The sequence begins with the time of day, so that the word of a restarted sidecar
/// is newer than that of the one before it.
pub(crate) fn initial() -> OwnHealth {
    OwnHealth {
        sequence: clock::unix_ms(),
        state: HealthState::Ready,
        share: SHARE_FULL,
    }
}

/// From what the health is known.
pub(crate) struct Signs {
    /// The own app, once it is to get calls.
    pub(crate) app: watch::Receiver<AppState>,
    /// Whether a person took the instance out of use.
    pub(crate) offline: watch::Receiver<Offline>,
    /// What was declared for the own service.
    pub(crate) policy: watch::Receiver<OwnPolicy>,
    /// What the workers show.
    pub(crate) vitals: Vec<Arc<Vitals>>,
}

/// Follows the signs until nobody watches the app any more.
pub(crate) async fn follow(
    shared: Arc<Shared>,
    mut signs: Signs,
    health: watch::Sender<OwnHealth>,
) {
    let mut app = Age::default();
    let mut overload = Overload::default();
    let mut turn = interval(LOOK_EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let is_offline = signs.offline.borrow_and_update().offline;
        let state = *signs.app.borrow_and_update();
        let warm_up = warm_up(signs.policy.borrow_and_update().warm_up_ms);
        let now_ms = clock::now_ms().cast_signed();
        app.look(state, shared.app_since_ms.load(Relaxed), now_ms);
        let share = warm_share(app.of_ms(now_ms), warm_up);
        let (state, share) = word(state, is_offline, share, overload.is_on);
        // Draining is the last word of one that leaves.
        if !shared.draining.load(Relaxed) {
            say(&health, state, share);
        }
        tokio::select! {
            changed = signs.app.changed() => if changed.is_err() {
                return;
            },
            Ok(()) = signs.offline.changed() => {}
            Ok(()) = signs.policy.changed() => {}
            due = turn.tick() => {
                let is_late = Instant::now().saturating_duration_since(due) > LATE_MAX;
                let calls_max = shared.settings.limits.calls_max as u64;
                let calls_max = calls_max.saturating_mul(signs.vitals.len() as u64) / CALLS_PART;
                overload.look(!is_late && is_overloaded(&signs.vitals, calls_max, clock::now_ms()));
            }
        }
    }
}

fn warm_up(declared_ms: u32) -> Duration {
    match declared_ms {
        0 => WARM_UP_DEFAULT,
        declared => Duration::from_millis(u64::from(declared)),
    }
}

/// How the instance is, and its share of calls.
fn word(
    app: AppState,
    is_offline: bool,
    warm_share: u32,
    is_overloaded: bool,
) -> (HealthState, u32) {
    match app {
        AppState::Dead => (HealthState::AppDead, SHARE_FULL),
        // To callers it is as one that leaves, except that it may come back.
        _ if is_offline => (HealthState::Draining, SHARE_FULL),
        _ if is_overloaded => (HealthState::Overloaded, warm_share.min(SHARE_OVERLOADED)),
        AppState::Up { .. } if warm_share < SHARE_FULL => (HealthState::Warming, warm_share),
        // Nobody calls an instance before it is registered, so its peers need no word before that.
        AppState::Unknown | AppState::Up { .. } => (HealthState::Ready, SHARE_FULL),
    }
}

/// The share of an app of this age: it grows in steps from the first to the full one.
fn warm_share(age_ms: u64, warm_up: Duration) -> u32 {
    let whole = (warm_up.as_millis() as u64).max(1);
    if age_ms >= whole {
        return SHARE_FULL;
    }
    let grown = u64::from(SHARE_FULL - SHARE_FIRST) * age_ms / whole;
    let share = SHARE_FIRST + u32::try_from(grown).unwrap_or(SHARE_FULL);
    share / SHARE_STEP * SHARE_STEP
}

/// Since when the app is up.
#[derive(Debug, Default)]
struct Age {
    up: Option<(AppState, i64)>,
    has_looked: bool,
}

impl Age {
    /// The app is so now, and was started then, as the host agent says.
    fn look(&mut self, app: AppState, since_ms: i64, now_ms: i64) {
        if !matches!(app, AppState::Up { .. }) {
            self.has_looked |= app == AppState::Dead;
            self.up = None;
            return;
        }
        if self.up.is_some_and(|(known, _)| known == app) {
            return;
        }
        // One that this sidecar has seen come up is new; else it may be older than the sidecar.
        let since = if self.has_looked {
            now_ms
        } else {
            since_ms.min(now_ms)
        };
        self.has_looked = true;
        self.up = Some((app, since));
    }

    /// For how long; without end when the app was there first, and not at all while it is not.
    fn of_ms(&self, now_ms: i64) -> u64 {
        match self.up {
            None => 0,
            Some((_, APP_IS_OLD)) => u64::MAX,
            Some((_, since)) => now_ms.saturating_sub(since).max(0).cast_unsigned(),
        }
    }
}

/// Whether the instance asks for fewer calls: signs must last to begin it, and be away for longer to end it.
#[derive(Debug, Default)]
struct Overload {
    is_on: bool,
    /// Looks in a row that speak against what is.
    against: u32,
}

impl Overload {
    fn look(&mut self, is_sign: bool) {
        if is_sign == self.is_on {
            self.against = 0;
            return;
        }
        self.against += 1;
        let enough = if self.is_on { CLEAR_MIN } else { SIGNS_MIN };
        if self.against >= enough {
            self.is_on = is_sign;
            self.against = 0;
        }
    }
}

/// Whether a worker is late, or too many calls for the own app are under way.
fn is_overloaded(vitals: &[Arc<Vitals>], calls_max: u64, now_ms: u64) -> bool {
    let is_late = |worker: &Arc<Vitals>| match worker.swept_ms.load(Relaxed) {
        // It has yet to begin.
        0 => false,
        swept => now_ms.saturating_sub(swept) > WORKER_LATE_MS,
    };
    let calls = vitals
        .iter()
        .map(|worker| worker.inbound_calls.load(Relaxed));
    vitals.iter().any(is_late) || calls.sum::<u64>() >= calls_max
}

/// Changes the state.
pub(crate) fn change(health: &watch::Sender<OwnHealth>, state: HealthState) {
    say(health, state, SHARE_FULL);
}

fn say(health: &watch::Sender<OwnHealth>, state: HealthState, share: u32) {
    health.send_if_modified(|own| {
        if (own.state, own.share) == (state, share) {
            return false;
        }
        own.sequence += 1;
        own.state = state;
        own.share = share;
        true
    });
}

#[cfg(test)]
mod tests;
