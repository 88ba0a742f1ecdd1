//! HTTP/2 from a caller over the link to an app, in every mix of versions: messages arrive as they were meant.

use weft_test::{H2App, H2Connection, H2Message, HttpApp, scenario};

#[test]
fn an_http_2_call_reaches_an_http_2_app_through_both_sidecars() {
    scenario(async |mesh| {
        let app = H2App::echo("orders").await;
        let pair = mesh.pair("orders", "h2", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        let reply = caller
            .call(&H2Message::request("POST", "orders", "/1?a=b", b"hello").with("x-one", "1"))
            .await;
        assert_eq!((reply.status, reply.text()), (200, "hello"));
        assert_eq!(reply.field("app"), Some("orders"));
        let seen = app.only();
        assert_eq!((&*seen.method, &*seen.path), ("POST", "/1?a=b"));
        assert_eq!(
            (&*seen.authority, seen.field("x-one")),
            ("orders", Some("1"))
        );
        assert_eq!(seen.field("x-weft-caller"), Some("web"));
        let ok = [("protocol", "h2"), ("code", "ok")];
        for (sidecar, direction) in [(&pair.caller, "outbound"), (&pair.callee, "inbound")] {
            sidecar
                .expect_calls(1, &[ok[0], ok[1], ("direction", direction)])
                .await;
        }
    });
}

#[test]
fn an_http_2_call_reaches_an_http_1_app_and_the_other_way_round() {
    scenario(async |mesh| {
        let old = HttpApp::echo("old").await;
        let new = H2App::echo("new").await;
        mesh.sidecar("old").port("http", old.port()).start().await;
        mesh.sidecar("new").port("h2", new.port()).start().await;
        let web = mesh.sidecar("web").start().await;
        let caller = H2Connection::open(web.outbound_port()).await;
        let reply = caller
            .call(&H2Message::request("PUT", "old", "/2", b"to the old"))
            .await;
        assert_eq!((reply.status, reply.text()), (200, "to the old"));
        assert_eq!(
            (reply.field("app"), reply.field("content-length")),
            (Some("old"), Some("10"))
        );
        assert_eq!(
            (old.only().method(), old.only().field("host")),
            ("PUT", Some("old"))
        );
        let mut caller = web.outbound().await;
        let reply = caller.post("new", "/3", b"to the new").await;
        assert_eq!((reply.status, reply.text()), (200, "to the new"));
        assert_eq!(reply.field("app"), Some("new"));
        let seen = new.only();
        assert_eq!((&*seen.authority, &*seen.path), ("new", "/3"));
    });
}

#[test]
fn a_plain_http_2_caller_on_the_inbound_port_reaches_the_app_beside_links() {
    scenario(async |mesh| {
        let app = H2App::echo("orders").await;
        let pair = mesh.pair("orders", "h2", app.port()).await;
        let plain = H2Connection::open(pair.callee.inbound_port()).await;
        for path in ["/1", "/2"] {
            assert_eq!(plain.get("anything", path).await.status, 200);
        }
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        assert_eq!(caller.get("orders", "/3").await.status, 200);
        assert_eq!(app.seen().len(), 3);
        pair.callee
            .expect_calls(3, &[("direction", "inbound"), ("code", "ok")])
            .await;
    });
}

#[test]
fn trailers_and_large_bodies_arrive_whole_both_ways() {
    scenario(async |mesh| {
        let app = H2App::start(|request| {
            let sum = request.trailer("sum").unwrap_or("none").to_owned();
            H2Message::reply(200, &request.body).with_trailer("sum", &sum)
        })
        .await;
        let pair = mesh.pair("orders", "h2", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        for length in [0, 1, 16_385, 65_537, 1_000_000] {
            let body = weft_test::http::pattern(length);
            let request = H2Message::request("POST", "orders", "/", &body).with_trailer("sum", "9");
            let reply = caller.call(&request).await;
            assert!(reply.body == body, "{length} bytes came back otherwise");
            assert_eq!(reply.trailer("sum"), Some("9"), "{length} bytes");
        }
    });
}
