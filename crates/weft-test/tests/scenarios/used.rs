//! A sidecar is told of what its app calls, and of nothing else.

use std::time::Duration;
use tokio::time::timeout;
use weft_test::wait::until;
use weft_test::{HttpApp, scenario};

/// What a held call waits for at the most, and a slow machine on top of it.
const HELD_BOUND: Duration = Duration::from_secs(3);

#[test]
fn the_first_call_of_a_service_works_and_only_then_is_the_service_told() {
    scenario(async |mesh| {
        let orders = HttpApp::echo("orders").await;
        let stock = HttpApp::echo("stock").await;
        mesh.sidecar("orders")
            .port("http", orders.port())
            .start()
            .await;
        mesh.sidecar("stock")
            .port("http", stock.port())
            .start()
            .await;
        let web = mesh.sidecar("web").start().await;
        assert_eq!(web.subscribed().await, Vec::<String>::new());
        let reply = web.outbound().await.get("orders", "/").await;
        assert_eq!(
            (reply.status, reply.field("app")),
            (200, Some("orders")),
            "{reply:?}"
        );
        assert_eq!(web.subscribed().await, ["orders"]);
        let address = format!("127.0.0.1:{}", stock.port());
        let reply = web.outbound().await.get(&address, "/").await;
        assert_eq!(
            (reply.status, reply.field("app")),
            (200, Some("stock")),
            "{reply:?}"
        );
        let mut subscribed = web.subscribed().await;
        subscribed.sort();
        assert_eq!(
            subscribed,
            ["orders", "stock"],
            "an address stands for its service"
        );
    });
}

#[test]
fn with_the_center_away_what_was_used_is_served_and_the_rest_says_so() {
    scenario(async |mesh| {
        let orders = HttpApp::echo("orders").await;
        let stock = HttpApp::echo("stock").await;
        mesh.sidecar("orders")
            .port("http", orders.port())
            .start()
            .await;
        mesh.sidecar("stock")
            .port("http", stock.port())
            .start()
            .await;
        let web = mesh.sidecar("web").start().await;
        let reply = web.outbound().await.get("orders", "/").await;
        assert_eq!(reply.status, 200, "{reply:?}");
        let newest = web.state_folder().join("snapshot");
        until("what is used to be on disk", async || {
            let file = std::fs::read(&newest).ok()?;
            file.windows(6).any(|part| part == b"orders").then_some(())
        })
        .await;
        mesh.kill_center();
        let killed = web.kill_process();
        web.successor_of(killed).await;
        let reply = web.outbound().await.get("orders", "/").await;
        assert_eq!(
            (reply.status, reply.field("app")),
            (200, Some("orders")),
            "{reply:?}"
        );
        let call = async { web.outbound().await.get("stock", "/").await };
        let reply = timeout(HELD_BOUND, call).await.expect("an answer in time");
        assert_eq!(
            (reply.status, reply.field("x-weft-code")),
            (503, Some("not_synced")),
            "{reply:?}"
        );
        assert!(
            reply.text().contains("no center answered within"),
            "{reply:?}"
        );
        // A name that is no service's is not asked about.
        let reply = web.outbound().await.get("127.0.0.1:1", "/").await;
        assert_eq!(
            reply.field("x-weft-code"),
            Some("connect_refused"),
            "{reply:?}"
        );
    });
}
