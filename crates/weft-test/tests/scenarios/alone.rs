//! Sidecars that start while no center is there: they serve from what they saved.

use std::time::Duration;
use tokio::time::timeout;
use weft_test::wait::until;
use weft_test::{HttpApp, Sidecar, scenario};

/// How soon a successor must be ready, the host agent's own wait and a slow build of tests included.
const READY_BOUND: Duration = Duration::from_secs(2);

/// Waits until what the sidecar knows of a service is on disk.
async fn saved(sidecar: &Sidecar, service: &str) {
    let folder = sidecar.state_folder();
    until(&format!("{service} in {}", folder.display()), async || {
        let file = std::fs::read(folder.join("snapshot")).ok()?;
        let name = service.as_bytes();
        file.windows(name.len())
            .any(|part| part == name)
            .then_some(())
    })
    .await;
}

/// One call: only what is called is known.
async fn calls(sidecar: &Sidecar, service: &str) {
    let reply = sidecar.outbound().await.get(service, "/").await;
    assert_eq!(reply.status, 200, "{reply:?}");
}

#[test]
fn sidecars_that_are_killed_while_the_center_is_away_serve_from_the_disk() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        calls(&pair.caller, "orders").await;
        saved(&pair.caller, "orders").await;
        mesh.kill_center();
        for round in 0..3 {
            let killed = [&pair.caller, &pair.callee].map(Sidecar::kill_process);
            // It waits in the kernel until the successor takes it: nothing is refused, nothing not synced.
            let call = async { pair.caller.outbound().await.get("orders", "/").await };
            let reply = timeout(READY_BOUND, call)
                .await
                .expect("the successors are ready");
            assert_eq!(
                (reply.status, reply.field("app")),
                (200, Some("orders")),
                "round {round}: {reply:?}"
            );
            for (sidecar, killed) in [&pair.caller, &pair.callee].into_iter().zip(killed) {
                sidecar.successor_of(killed).await;
            }
        }
        assert!(pair.caller.written().contains("serving from "));
    });
}

#[test]
fn an_agent_that_starts_while_the_center_is_away_serves_from_the_disk() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        calls(&pair.caller, "orders").await;
        saved(&pair.caller, "orders").await;
        assert_eq!(pair.caller.end().await, Some(0));
        mesh.kill_center();
        let next = mesh.sidecar("web").start().await;
        let reply = next.outbound().await.get("orders", "/").await;
        assert_eq!(
            (reply.status, reply.field("app")),
            (200, Some("orders")),
            "{reply:?}"
        );
    });
}

#[test]
fn a_torn_file_costs_one_sentence_and_the_one_before_is_used() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let stock = HttpApp::echo("stock").await;
        calls(&pair.caller, "orders").await;
        saved(&pair.caller, "orders").await;
        // A second service makes a second file.
        let other = mesh.sidecar("stock").port("http", stock.port());
        other.start().await;
        calls(&pair.caller, "stock").await;
        saved(&pair.caller, "stock").await;
        mesh.kill_center();
        let folder = pair.caller.state_folder();
        let newest = folder.join("snapshot");
        let whole = std::fs::read(&newest).unwrap();
        std::fs::write(&newest, &whole[..whole.len() / 2]).unwrap();
        let killed = pair.caller.kill_process();
        pair.caller.successor_of(killed).await;
        let reply = pair.caller.outbound().await.get("orders", "/").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let written = pair.caller.written();
        assert!(
            written.contains("cannot use the saved snapshot "),
            "{written}"
        );
        assert!(written.contains("snapshot.before, saved "), "{written}");
    });
}
