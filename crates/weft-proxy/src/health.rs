//! How the own instance is, as its peers are told: from what the control thread knows of the app.

use crate::clock;
use crate::context::OwnHealth;
use crate::sync::AppState;
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

/// Follows the app until nobody watches it any more.
pub(crate) async fn follow(mut app: watch::Receiver<AppState>, health: watch::Sender<OwnHealth>) {
    loop {
        let state = match *app.borrow_and_update() {
            // Nobody calls an instance before it is registered, so its peers need no word before that.
            AppState::Unknown | AppState::Up { .. } => HealthState::Ready,
            AppState::Dead => HealthState::AppDead,
        };
        change(&health, state);
        if app.changed().await.is_err() {
            return;
        }
    }
}

/// Changes the state; draining is the last word.
pub(crate) fn change(health: &watch::Sender<OwnHealth>, state: HealthState) {
    health.send_if_modified(|own| {
        if own.state == state || own.state == HealthState::Draining {
            return false;
        }
        own.sequence += 1;
        own.state = state;
        true
    });
}

#[cfg(test)]
mod tests;
