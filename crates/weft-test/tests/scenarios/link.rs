//! The link itself: over HTTP/1.1 where only that gets through, or where the mesh wants it so.

use std::net::SocketAddr;
use weft_test::http::pattern;
use weft_test::relay::Relay;
use weft_test::wait::until;
use weft_test::{HttpApp, Mesh, Sidecar, scenario};

/// A callee behind a middlebox that answers HTTP/2 with `answer`.
async fn behind_a_middlebox(mesh: &Mesh, app: &HttpApp, answer: &'static [u8]) -> (Sidecar, Relay) {
    let sidecar = mesh
        .sidecar("orders")
        .port("http", app.port())
        .advertise("127.0.0.2")
        .start()
        .await;
    let port = sidecar.inbound_port();
    let (from, to) = (
        SocketAddr::from(([127, 0, 0, 2], port)),
        SocketAddr::from(([127, 0, 0, 1], port)),
    );
    (sidecar, Relay::refusing_http2(from, to, answer).await)
}

/// The links of both sidecars are over this transport, and there are some.
async fn expect_links_over(hop: &str, caller: &Sidecar, callee: &Sidecar) {
    for (sidecar, side) in [(caller, "out"), (callee, "in")] {
        let metrics = sidecar.metrics().await;
        let over = metrics.sum("weft_links_active", &[("side", side), ("hop", hop)]);
        let all = metrics.sum("weft_links_active", &[("side", side)]);
        assert!(
            over > 0 && over == all,
            "{over} of {all} links {side} are over {hop}"
        );
    }
}

#[test]
fn calls_go_on_where_a_middlebox_refuses_http_2_however_it_does_so() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let answers: [&[u8]; 3] = [
            b"",
            b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
            b"HTTP/1.0 505 HTTP Version Not Supported\r\n\r\n",
        ];
        for answer in answers {
            let (callee, middlebox) = behind_a_middlebox(mesh, &app, answer).await;
            let caller = mesh.sidecar("web").arg("--workers").arg("1").start().await;
            let mut connection = caller.outbound().await;
            assert_eq!(connection.get("orders", "/").await.status, 200);
            // Larger than any buffer, both ways, and still small enough for the ordinary link.
            let body = pattern(900_000);
            let reply = connection.post("orders", "/", &body).await;
            assert!(
                reply.message.body.ends_with(&body),
                "the body came back otherwise"
            );
            // A body for the bulk link: the way that was found is taken at once.
            let body = pattern(2_000_000);
            let reply = connection.post("orders", "/", &body).await;
            assert!(
                reply.message.body.ends_with(&body),
                "the body came back otherwise"
            );
            assert_eq!(middlebox.refused(), 1, "what was found is remembered");
            expect_links_over("http1", &caller, &callee).await;
            caller.end().await;
            callee.end().await;
        }
    });
}

#[test]
fn a_mesh_that_wants_http_1_alone_gets_it_and_goes_back_when_it_no_longer_does() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        mesh.apply(
            "{apiVersion: mesh.weft.dev/v1alpha1, kind: Mesh, metadata: {name: default}, spec: {meshHop: {prefer: [http1]}}}",
        )
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut connection = pair.caller.outbound().await;
        assert_eq!(connection.get("orders", "/").await.status, 200);
        expect_links_over("http1", &pair.caller, &pair.callee).await;
        mesh.apply(
            "{apiVersion: mesh.weft.dev/v1alpha1, kind: Mesh, metadata: {name: default}, spec: {meshHop: {prefer: [h2]}}}",
        )
        .await;
        // Links that are open stay as they are; a sidecar that starts makes its first one so.
        let late = until("a sidecar whose first link is over HTTP/2", async || {
            let late = mesh.sidecar("late").start().await;
            assert_eq!(late.outbound().await.get("orders", "/").await.status, 200);
            let over = [("side", "out"), ("hop", "h2")];
            let is_so = late.metrics().await.sum("weft_links_active", &over) == 1;
            is_so.then_some(late)
        })
        .await;
        assert!(late.is_alive());
    });
}

#[test]
fn a_request_that_only_resembles_a_link_reaches_the_app() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut plain = pair.callee.inbound().await;
        let reply = plain.get("orders", "/weft.link.v1.Link/Open").await;
        assert_eq!(reply.status, 200);
        assert_eq!(app.only().target(), "/weft.link.v1.Link/Open");
        // From the app's own side it is a call like any other, whatever it asks for.
        let mut own = pair.caller.outbound().await;
        let reply = own
            .call(
                "GET /weft.link.v1.Link/Open HTTP/1.1\r\nHost: orders\r\nConnection: upgrade\r\nUpgrade: weft-link\r\n\r\n",
            )
            .await;
        assert_eq!(reply.status, 200);
        assert_eq!(
            pair.caller
                .metrics()
                .await
                .sum("weft_links_active", &[("side", "in")]),
            0
        );
    });
}
