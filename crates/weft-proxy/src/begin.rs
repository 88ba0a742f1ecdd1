//! When a started app begins to get calls: once what must answer before answers, and the declared delay is over.
//!
//! Until then the center does not hear of it. Never in here: whether the app itself answers (`app.rs`), and how its
//! share of calls grows afterwards (`health.rs`).

use crate::check::passes;
use crate::clock;
use crate::context::{APP_IS_NEW, Shared};
use crate::log;
use crate::sync::AppState;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::sync::watch;
use weft_api::sync::{OwnPolicy, check_from_wire};
use weft_model::declared::Check;

/// How often that which must answer is asked.
const ASK_EVERY: Duration = Duration::from_millis(500);

/// How long it may take to answer.
const ANSWER_MAX: Duration = Duration::from_secs(1);

/// How long it is waited for; then calls come without it, and the log says so.
const WAIT_MAX: Duration = Duration::from_mins(5);

/// How long a new app waits for the center to say what was declared. It says so before all else.
const POLICY_MAX: Duration = Duration::from_millis(500);

/// How often it is looked whether the center has spoken.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Passes on what is known of the app, and its being up only when it is to get calls.
pub(crate) async fn follow(
    shared: Arc<Shared>,
    mut app: watch::Receiver<AppState>,
    policy: watch::Receiver<OwnPolicy>,
    begun: watch::Sender<AppState>,
    has_center: bool,
) {
    if has_center {
        declared(&shared, &policy).await;
    }
    loop {
        let state = *app.borrow_and_update();
        if matches!(state, AppState::Up { .. }) {
            let policy = policy.borrow().clone();
            let age = age(
                shared.app_since_ms.load(Relaxed),
                clock::now_ms().cast_signed(),
            );
            tokio::select! {
                biased;
                () = wait(&policy, age) => {}
                changed = app.changed() => match changed {
                    Ok(()) => continue,
                    Err(_) => return,
                },
            }
        }
        begun.send_if_modified(|known| std::mem::replace(known, state) != state);
        if app.changed().await.is_err() {
            return;
        }
    }
}

/// Waits until the center has said what was declared, or has said something that comes after it.
async fn declared(shared: &Shared, policy: &watch::Receiver<OwnPolicy>) {
    let before = shared.snapshots.load().generation;
    let heard = async {
        while !policy.has_changed().unwrap_or(true) && shared.snapshots.load().generation == before
        {
            tokio::time::sleep(LOOK_EVERY).await;
        }
    };
    // A center that is away says nothing; the app begins all the same.
    let _ = tokio::time::timeout(POLICY_MAX, heard).await;
}

/// How long ago the app was started.
fn age(since_ms: i64, now_ms: i64) -> Duration {
    match since_ms {
        APP_IS_NEW => Duration::ZERO,
        since => Duration::from_millis(now_ms.saturating_sub(since).max(0).cast_unsigned()),
    }
}

/// Waits for what must answer, and then for what is left of the delay.
async fn wait(policy: &OwnPolicy, age: Duration) {
    let awaited = policy.wait_for.as_ref();
    // What does not make sense has been refused by the center; here it is as if it was not said.
    if let Some(awaited) = awaited.and_then(|wire| check_from_wire(wire, "wait_for").ok()) {
        let answered = tokio::time::timeout(WAIT_MAX, answers(&awaited.check)).await;
        if answered.is_err() {
            log::line(&log::event(
                "warn",
                &format!(
                    "what the app waits for did not answer within {} s: it gets calls all the same",
                    WAIT_MAX.as_secs()
                ),
            ));
        }
    }
    let delay = Duration::from_millis(u64::from(policy.delay_ms));
    let left = delay.saturating_sub(age);
    if !left.is_zero() {
        tokio::time::sleep(left).await;
    }
}

async fn answers(check: &Check) {
    while !passes(IpAddr::V4(Ipv4Addr::LOCALHOST), check, ANSWER_MAX).await {
        tokio::time::sleep(ASK_EVERY).await;
    }
}

#[cfg(test)]
mod tests;
