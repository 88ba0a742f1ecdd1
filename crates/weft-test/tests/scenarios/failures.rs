//! What a caller is told when a call cannot be carried: status, code, blame and a sentence, and a record.

use tokio::io::AsyncWriteExt;
use weft_test::http::Wire;
use weft_test::{HttpApp, scenario, scenario_without_center};

#[test]
fn a_request_in_http_1_0_is_refused_with_the_sentence_that_names_the_fix() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for mut caller in [pair.caller.outbound().await, pair.callee.inbound().await] {
            let reply = caller.call("GET / HTTP/1.0\r\nHost: orders\r\n\r\n").await;
            reply.expect_failure(505, "version_not_supported", "caller");
            assert!(
                reply.text().contains("proxy_http_version 1.1"),
                "{}",
                reply.text()
            );
            caller.expect_end().await;
        }
        assert!(app.seen().is_empty());
    });
}

#[test]
fn connect_is_refused_with_501_where_no_forward_proxy_listens() {
    scenario(async |mesh| {
        let web = mesh.sidecar("web").start().await;
        let connect = "CONNECT name.invalid:443 HTTP/1.1\r\nHost: name.invalid:443\r\n\r\n";
        let reply = web.outbound().await.call(connect).await;
        reply.expect_failure(501, "not_implemented", "caller");
        let reply = web.http_proxy().await.call(connect).await;
        reply.expect_failure(502, "name_unresolved", "upstream");
    });
}

#[test]
fn a_service_without_instances_is_no_instance() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        assert_eq!(caller.get("orders", "/").await.status, 200);
        pair.callee.end().await;
        weft_test::wait::until("the service to have no instance", async || {
            let reply = caller.get("orders", "/").await;
            (reply.field("x-weft-code") == Some("no_instance"))
                .then(|| reply.expect_failure(503, "no_instance", "mesh"))
        })
        .await;
        pair.caller
            .expect_record(&[
                ("code", "no_instance"),
                ("service", "orders"),
                ("blame", "mesh"),
            ])
            .await;
    });
}

#[test]
fn a_port_that_the_service_does_not_have_is_no_port() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let reply = caller.get("orders:1", "/").await;
        reply.expect_failure(404, "no_port", "caller");
        assert!(
            reply.text().contains("http="),
            "the sentence says which there are: {}",
            reply.text()
        );
    });
}

#[test]
fn a_port_name_behind_a_host_that_the_service_does_not_have_is_told_with_those_it_has() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        assert_eq!(caller.get("orders:http", "/").await.status, 200);
        assert_eq!(caller.get("ORDERS", "/").await.status, 200);
        let reply = caller.get("orders:admin", "/").await;
        reply.expect_failure(404, "no_port", "caller");
    });
}

#[test]
fn an_app_that_refuses_connections_is_to_blame() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        assert_eq!(caller.get("orders", "/").await.status, 200);
        app.stop().await;
        let reply = caller.get("orders", "/").await;
        reply.expect_failure(503, "connect_refused", "upstream");
        pair.callee
            .expect_record(&[("code", "connect_refused"), ("direction", "inbound")])
            .await;
        // By the inbound port it is the same.
        let reply = pair.callee.inbound().await.get("orders", "/").await;
        reply.expect_failure(503, "connect_refused", "upstream");
    });
}

#[test]
fn before_any_center_was_heard_a_name_without_dots_is_not_synced() {
    scenario_without_center(async |mesh| {
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        caller
            .get("orders", "/")
            .await
            .expect_failure(503, "not_synced", "mesh");
        web.expect_record(&[("code", "not_synced"), ("blame", "mesh")])
            .await;
        // An address leaves the mesh all the same.
        let app = HttpApp::echo("external").await;
        let reply = caller.get(&format!("127.0.0.1:{}", app.port()), "/").await;
        assert_eq!((reply.status, reply.field("app")), (200, Some("external")));
    });
}

#[test]
fn an_unknown_host_leaves_the_mesh() {
    scenario(async |mesh| {
        let app = HttpApp::echo("external").await;
        let web = mesh.sidecar("web").start().await;
        let host = format!("localhost:{}", app.port());
        let reply = web.outbound().await.post(&host, "/a", b"out").await;
        assert_eq!((reply.status, reply.text()), (200, "out"));
        let target = format!("GET http://{host}/b HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(web.http_proxy().await.call(target).await.status, 200);
        let seen = app.seen();
        assert_eq!(
            (seen[0].field("host"), seen[0].field("x-weft-caller")),
            (Some(host.as_str()), None)
        );
        assert_eq!(seen[1].target(), "/b");
        web.expect_calls(2, &[("service", "external"), ("code", "ok")])
            .await;
    });
}

#[test]
fn an_external_host_that_refuses_connections_is_to_blame() {
    scenario(async |mesh| {
        let app = HttpApp::echo("external").await;
        let port = app.port();
        app.stop().await;
        let web = mesh.sidecar("web").start().await;
        let reply = web
            .outbound()
            .await
            .get(&format!("127.0.0.1:{port}"), "/")
            .await;
        reply.expect_failure(503, "connect_refused", "upstream");
    });
}

#[test]
fn a_call_that_would_come_back_is_a_loop() {
    scenario(async |mesh| {
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        for host in [
            format!("127.0.0.1:{}", web.outbound_port()),
            format!("localhost:{}", web.http_proxy_port()),
            format!("[::1]:{}", web.outbound_port()),
        ] {
            caller
                .get(&host, "/")
                .await
                .expect_failure(508, "loop", "caller");
        }
    });
}

#[test]
fn a_caller_that_accepts_only_json_gets_the_failure_in_json() {
    scenario_without_center(async |mesh| {
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        let reply = caller
            .call("GET / HTTP/1.1\r\nHost: orders\r\nAccept: application/json\r\n\r\n")
            .await;
        reply.expect_failure(503, "not_synced", "mesh");
        assert_eq!(reply.field("content-type"), Some("application/json"));
        let body: serde_json::Value = serde_json::from_str(reply.text()).unwrap();
        assert_eq!(
            (&body["code"], &body["blame"]),
            (&"not_synced".into(), &"mesh".into())
        );
        let reply = caller
            .call("GET / HTTP/1.1\r\nHost: orders\r\nAccept: application/json, */*\r\n\r\n")
            .await;
        assert_eq!(
            reply.field("content-type"),
            Some("text/plain; charset=utf-8")
        );
    });
}

#[test]
fn a_failed_head_request_has_no_body_and_keeps_its_connection() {
    scenario_without_center(async |mesh| {
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        let reply = caller.call("HEAD / HTTP/1.1\r\nHost: orders\r\n\r\n").await;
        assert_eq!(
            (reply.status, reply.field("x-weft-code")),
            (503, Some("not_synced"))
        );
        caller
            .get("orders", "/")
            .await
            .expect_failure(503, "not_synced", "mesh");
    });
}

#[test]
fn bytes_of_no_protocol_close_the_connection() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for port in [pair.caller.outbound_port(), pair.callee.inbound_port()] {
            let mut caller = weft_test::HttpConnection::open(port).await;
            caller.send([0_u8, 1, 2, 3, 4, 5, 6, 7]).await;
            caller.expect_end().await;
        }
    });
}

#[test]
fn a_malformed_request_gets_400_and_no_second_chance() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let both = "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n";
        caller
            .call(both)
            .await
            .expect_failure(400, "malformed", "caller");
        caller.expect_end().await;
        assert!(app.seen().is_empty());
    });
}

#[test]
fn a_malformed_reply_is_502_and_the_apps_fault() {
    scenario(async |mesh| {
        let app = weft_test::TcpApp::start(|stream, _| async move {
            let mut wire = Wire::new(stream);
            if let Ok(Some(_)) = wire.head().await {
                wire.stream
                    .write_all(
                        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
                    )
                    .await
                    .unwrap();
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let reply = pair.caller.outbound().await.post("orders", "/", b"x").await;
        reply.expect_failure(502, "upstream_malformed", "upstream");
    });
}

#[test]
fn an_error_of_the_app_is_its_own_and_counted_as_such() {
    scenario(async |mesh| {
        let app = HttpApp::start(|_| weft_test::http_app::reply(500, &[], b"own words")).await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let reply = pair.caller.outbound().await.get("orders", "/").await;
        assert_eq!(
            (reply.status, reply.text(), reply.field("x-weft-code")),
            (500, "own words", None)
        );
        pair.caller.expect_calls(1, &[("code", "app_error")]).await;
        pair.callee.expect_calls(1, &[("code", "app_error")]).await;
    });
}

#[test]
fn heads_beyond_the_limits_are_refused_by_their_status() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let long = "x".repeat(200_000);
        for (status, code, request) in [
            (
                414,
                "target_too_long",
                format!("GET /{long} HTTP/1.1\r\nHost: orders\r\n\r\n"),
            ),
            (
                431,
                "head_too_large",
                format!("GET / HTTP/1.1\r\nHost: orders\r\nX: {long}\r\n\r\n"),
            ),
            (
                431,
                "head_too_large",
                format!(
                    "GET / HTTP/1.1\r\nHost: orders\r\n{}\r\n",
                    "X: 1\r\n".repeat(2_000)
                ),
            ),
        ] {
            let mut caller = pair.caller.outbound().await;
            // The refusal may come, and the connection close, before all is written.
            let (mut read, mut write) = caller.wire.stream.split();
            let mut bytes = Vec::new();
            let writing = write.write_all(request.as_bytes());
            let reading = tokio::io::AsyncReadExt::read_to_end(&mut read, &mut bytes);
            let _ = weft_test::wait::within("a refusal", async { tokio::join!(writing, reading) })
                .await;
            let text = String::from_utf8_lossy(&bytes);
            assert!(
                text.starts_with(&format!("HTTP/1.1 {status} ")),
                "{code}: {text}"
            );
            assert!(
                text.contains(&format!("x-weft-code: {code}")),
                "{code}: {text}"
            );
        }
        assert!(app.seen().is_empty());
    });
}

#[test]
fn floods_without_an_end_are_closed_and_take_no_memory() {
    /// A flood that may go on for this long is not closed at all: the kernel's buffers hold far less.
    const FLOOD_BYTES_MAX: usize = 16 * 1024 * 1024;
    const POST: &str = "POST / HTTP/1.1\r\nHost: orders\r\ntransfer-encoding: chunked\r\n\r\n";
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let before = pair.caller.resident_bytes();
        for (name, first, unit) in [
            (
                "fields",
                "GET / HTTP/1.1\r\nHost: orders\r\n",
                "a:b\r\n".repeat(200),
            ),
            (
                "one field",
                "GET / HTTP/1.1\r\nHost: orders\r\nx: ",
                "a".repeat(1_000),
            ),
            ("target", "GET /", "a".repeat(1_000)),
            ("method", "", "A".repeat(1_000)),
            ("empty lines", "", "\r\n".repeat(500)),
            ("chunk extension", &format!("{POST}1;"), "a".repeat(1_000)),
            (
                "extensions of small chunks",
                POST,
                format!("1;{}\r\nx\r\n", "a".repeat(1_000)),
            ),
            ("trailers", &format!("{POST}0\r\n"), "a: b\r\n".repeat(200)),
        ] {
            let mut caller = pair.caller.outbound().await;
            caller.send(first).await;
            let mut written = 0;
            while written < FLOOD_BYTES_MAX
                && caller.wire.stream.write_all(unit.as_bytes()).await.is_ok()
            {
                written += unit.len();
            }
            assert!(
                written < FLOOD_BYTES_MAX,
                "the flood of {name} was never closed"
            );
        }
        let grown = pair.caller.resident_bytes().saturating_sub(before);
        assert!(grown < 4 * 1024 * 1024, "the floods left {grown} bytes");
    });
}

#[test]
fn a_caller_that_asks_for_the_end_of_its_connection_gets_it() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let reply = caller
            .call("GET / HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n")
            .await;
        assert_eq!(
            (reply.status, reply.field("connection")),
            (200, Some("close"))
        );
        caller.expect_end().await;
    });
}
