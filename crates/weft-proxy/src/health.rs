//! How the own instance is, as its peers are told: from what the control thread knows of the app, and from whoever
//! took it out of use.

use crate::clock;
use crate::context::{OwnHealth, Shared};
use crate::sync::{AppState, Offline};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use tokio::sync::watch;
use weft_model::instance::HealthState;

/// The health at the start. The sequence begins with the time of day, so that the word of a restarted sidecar
/// is newer than that of the one before it.
pub(crate) fn initial() -> OwnHealth {
    OwnHealth {
        sequence: clock::unix_ms(),
        state: HealthState::Ready,
    }
}

/// Follows the app, and whether a person took the instance out of use, until nobody watches the app any more.
pub(crate) async fn follow(
    shared: Arc<Shared>,
    mut app: watch::Receiver<AppState>,
    mut offline: watch::Receiver<Offline>,
    health: watch::Sender<OwnHealth>,
) {
    loop {
        let is_offline = offline.borrow_and_update().offline;
        let state = state_of(*app.borrow_and_update(), is_offline);
        // Draining is the last word of one that leaves.
        if !shared.draining.load(Relaxed) {
            change(&health, state);
        }
        tokio::select! {
            changed = app.changed() => if changed.is_err() {
                return;
            },
            Ok(()) = offline.changed() => {}
        }
    }
}

fn state_of(app: AppState, is_offline: bool) -> HealthState {
    match app {
        AppState::Dead => HealthState::AppDead,
        // To callers it is as one that leaves, except that it may come back.
        _ if is_offline => HealthState::Draining,
        // Nobody calls an instance before it is registered, so its peers need no word before that.
        AppState::Unknown | AppState::Up { .. } => HealthState::Ready,
    }
}

/// Changes the state.
pub(crate) fn change(health: &watch::Sender<OwnHealth>, state: HealthState) {
    health.send_if_modified(|own| {
        if own.state == state {
            return false;
        }
        own.sequence += 1;
        own.state = state;
        true
    });
}

#[cfg(test)]
mod tests;
