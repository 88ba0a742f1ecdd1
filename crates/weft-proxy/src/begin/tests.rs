//! An app gets calls after what it waits for and its delay; one that dies meanwhile gets none.

use super::*;
use crate::accept::Listener;
use crate::context::APP_IS_OLD;
use crate::protocol::motan2::tests::{Sidecar, run};
use tokio::net::TcpListener;
use tokio::time::timeout;
use weft_api::sync;

const UP: AppState = AppState::Up { incarnation: 1 };

#[test]
fn the_delay_counts_from_the_start_of_the_app() {
    assert_eq!(age(APP_IS_NEW, 500), Duration::ZERO);
    assert_eq!(age(-1_500, 500), Duration::from_secs(2));
    assert!(age(APP_IS_OLD, 500) > Duration::from_hours(1));
    run(async {
        let policy = OwnPolicy {
            delay_ms: 5_000,
            ..OwnPolicy::default()
        };
        let began = clock::now();
        wait(&policy, Duration::from_millis(4_900)).await;
        let waited = clock::now().saturating_duration_since(began);
        assert!(waited >= Duration::from_millis(100), "{waited:?}");
        assert!(waited < Duration::from_secs(5), "{waited:?}");
        let none = timeout(Duration::ZERO, async {
            wait(&policy, Duration::from_secs(9)).await;
            wait(&OwnPolicy::default(), Duration::ZERO).await;
        });
        assert!(none.await.is_ok());
    });
}

#[test]
fn what_must_answer_is_waited_for() {
    run(async {
        let reserved = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = reserved.local_addr().unwrap();
        drop(reserved);
        let policy = OwnPolicy {
            wait_for: Some(sync::Check {
                kind: "tcp".into(),
                port: u32::from(address.port()),
                ..sync::Check::default()
            }),
            ..OwnPolicy::default()
        };
        let waiting = wait(&policy, Duration::ZERO);
        tokio::pin!(waiting);
        assert!(timeout(ASK_EVERY * 2, &mut waiting).await.is_err());
        let _answering = TcpListener::bind(address).await.unwrap();
        assert!(timeout(ASK_EVERY * 20, waiting).await.is_ok());
    });
}

#[test]
fn an_app_that_is_up_first_waits_for_what_the_center_says_and_not_for_long() {
    run(async {
        let sidecar = Sidecar::start("stock", &[], Listener::Inbound, Vec::new()).await;
        let shared = Arc::clone(&sidecar.ctx.shared);
        shared.app_since_ms.store(APP_IS_NEW, Relaxed);
        for is_said in [true, false] {
            let (_app, apps) = watch::channel(UP);
            let policy = watch::Sender::new(OwnPolicy::default());
            let (begun, mut told) = watch::channel(AppState::Unknown);
            let task = follow(Arc::clone(&shared), apps, policy.subscribe(), begun, true);
            tokio::spawn(task);
            if is_said {
                policy.send_replace(OwnPolicy {
                    delay_ms: 600_000,
                    ..OwnPolicy::default()
                });
            }
            let begins = timeout(POLICY_MAX * 4, told.changed()).await.is_ok();
            assert_eq!(begins, !is_said, "said: {is_said}");
        }
    });
}

#[test]
fn one_that_dies_before_its_delay_is_over_gets_no_calls() {
    run(async {
        let sidecar = Sidecar::start("stock", &[], Listener::Inbound, Vec::new()).await;
        let shared = Arc::clone(&sidecar.ctx.shared);
        shared.app_since_ms.store(APP_IS_NEW, Relaxed);
        let (app, apps) = watch::channel(AppState::Unknown);
        let policy = watch::Sender::new(OwnPolicy {
            delay_ms: 600_000,
            ..OwnPolicy::default()
        });
        let (begun, mut told) = watch::channel(AppState::Unknown);
        tokio::spawn(follow(shared, apps, policy.subscribe(), begun, false));
        app.send_replace(UP);
        let soon = Duration::from_millis(200);
        assert!(timeout(soon, told.changed()).await.is_err(), "not yet");
        app.send_replace(AppState::Dead);
        told.changed().await.unwrap();
        assert_eq!(*told.borrow_and_update(), AppState::Dead);
        policy.send_replace(OwnPolicy::default());
        app.send_replace(UP);
        told.changed().await.unwrap();
        assert_eq!(*told.borrow(), UP);
    });
}
