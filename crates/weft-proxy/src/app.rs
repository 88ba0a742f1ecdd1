//! Whether the own app takes connections: a connect to its ports, from the control thread.
//!
//! The host agent knows when the app's process starts and dies, and whether it passes the check that a person
//! named; whether it serves is otherwise known by its port alone. Only what the agent calls running can be up.

use crate::context::{APP_IS_NEW, APP_IS_OLD, Shared};
use crate::sync::AppState;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::watch;

/// How often the ports are tried until they answer.
const CHECK_FAST: Duration = Duration::from_millis(50);

/// How often they are tried after that.
const CHECK_SLOW: Duration = Duration::from_secs(1);

/// A connect that takes longer counts as refused.
const CONNECT_MAX: Duration = Duration::from_millis(500);

/// Checks in a row that must fail before an app that was up counts as dead.
const FAILURES_MAX: u32 = 2;

/// Watches the app's ports until the sidecar leaves. An app without ports (a pure caller) is up as it is.
pub(crate) async fn watch(shared: Arc<Shared>, state: watch::Sender<AppState>) {
    let ports: Vec<u16> = shared
        .settings
        .ports
        .iter()
        .map(|port| port.number)
        .collect();
    let mut failures = 0;
    let mut was_refused = false;
    loop {
        let up = all_answer(&ports).await && !shared.app_down.load(Relaxed);
        failures = if up { 0 } else { failures + 1 };
        let now = AppState::Up {
            incarnation: shared.incarnation.load(Relaxed),
        };
        let before = *state.borrow();
        was_refused |= !up;
        if up && before != now {
            if was_refused && before == AppState::Unknown {
                // Nobody started it that would say so, but it was seen to come up: it is new.
                let since = &shared.app_since_ms;
                let _ = since.compare_exchange(APP_IS_OLD, APP_IS_NEW, Relaxed, Relaxed);
            }
            state.send_replace(now);
        } else if matches!(before, AppState::Up { .. }) && failures >= FAILURES_MAX {
            state.send_replace(AppState::Dead);
        }
        if state.is_closed() {
            return;
        }
        let settled = up && !ports.is_empty();
        tokio::time::sleep(if settled || ports.is_empty() {
            CHECK_SLOW
        } else {
            CHECK_FAST
        })
        .await;
    }
}

async fn all_answer(ports: &[u16]) -> bool {
    for port in ports {
        let v4 = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), *port);
        let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), *port);
        if !answers(v4).await && !answers(v6).await {
            return false;
        }
    }
    true
}

async fn answers(address: SocketAddr) -> bool {
    matches!(
        tokio::time::timeout(CONNECT_MAX, TcpStream::connect(address)).await,
        Ok(Ok(_))
    )
}
