//! `Upgrade` (WebSocket and others): bytes flow after the 101 and not before, both ways, each way to its own end.

use std::cell::RefCell;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use weft_test::http::{HttpConnection, Wire, pattern, reset};
use weft_test::wait::{until, within};
use weft_test::{TcpApp, scenario};

/// What an app has read, connection after connection: the heads, and every byte behind them.
type Log = Rc<RefCell<Vec<(String, Vec<u8>)>>>;

const SWITCH: &[u8] =
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: echo\r\nConnection: Upgrade\r\nX-App: yes\r\n\r\n";

fn ask(path: &str) -> String {
    format!(
        "GET {path} HTTP/1.1\r\nHost: orders\r\nConnection: keep-alive, Upgrade\r\nUpgrade: other/2, echo\r\n\r\n"
    )
}

/// An app that answers by the path once `go` says so. `/echo`: a tunnel that says hello, sends everything back and
/// says bye after the caller's end. `/reset`: a tunnel that is reset after the first bytes. Every other: no tunnel.
async fn app(log: &Log, go: watch::Receiver<bool>) -> TcpApp {
    let log = Rc::clone(log);
    TcpApp::start(move |stream, _| {
        let (log, mut go) = (Rc::clone(&log), go.clone());
        async move {
            let mut wire = Wire::new(stream);
            while let Ok(Some(head)) = wire.head().await {
                let at = log.borrow().len();
                log.borrow_mut().push((head.line.clone(), Vec::new()));
                let taken = |wire: &mut Wire| {
                    let bytes = std::mem::take(&mut wire.bytes);
                    log.borrow_mut()[at].1.extend_from_slice(&bytes);
                    bytes
                };
                if head.word(0) == "GET" && head.word(1) != "/plain" {
                    assert_eq!(head.field("upgrade"), Some("other/2, echo"), "{head:?}");
                    assert_eq!(head.field("connection"), Some("Upgrade"), "{head:?}");
                }
                let went = tokio::select! {
                    went = go.wait_for(|go| *go) => went.is_ok(),
                    // Bytes before the answer would be seen here.
                    () = async { while wire.fill().await.unwrap_or(false) {} } => false,
                };
                taken(&mut wire);
                if !went {
                    return;
                }
                let answer: &[u8] = match head.word(1) {
                    "/echo" | "/reset" => SWITCH,
                    "/200" => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
                    "/other" => {
                        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: third\r\nConnection: Upgrade\r\n\r\n"
                    }
                    "/bare" => b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
                    _ => b"HTTP/1.1 403 Forbidden\r\nContent-Length: 2\r\n\r\nno",
                };
                wire.stream.write_all(answer).await.unwrap();
                if answer != SWITCH {
                    continue;
                }
                wire.stream.write_all(b"hello ").await.unwrap();
                while wire.fill().await.unwrap_or(false) {
                    let bytes = taken(&mut wire);
                    if head.word(1) == "/reset" {
                        reset(wire.stream);
                        return;
                    }
                    wire.stream.write_all(&bytes).await.unwrap();
                }
                wire.stream.write_all(b" bye").await.unwrap();
                return;
            }
        }
    })
    .await
}

async fn read_until(caller: &mut HttpConnection, wanted: &[u8]) {
    within("the bytes of a tunnel", async {
        while caller.wire.bytes.len() < wanted.len() {
            assert!(
                caller.wire.fill().await.unwrap(),
                "the tunnel ended after {:?}",
                String::from_utf8_lossy(&caller.wire.bytes)
            );
        }
    })
    .await;
    assert!(
        caller.wire.bytes == wanted,
        "{} bytes came, other than the {} that were expected",
        caller.wire.bytes.len(),
        wanted.len()
    );
    caller.wire.bytes.clear();
}

#[test]
fn an_upgraded_connection_carries_bytes_both_ways_and_ends_each_way_by_itself() {
    scenario(async |mesh| {
        let log = Log::default();
        let app = app(&log, watch::channel(true).1).await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for mut caller in [pair.caller.outbound().await, pair.callee.inbound().await] {
            caller.send(ask("/echo")).await;
            let head = caller.head().await;
            assert_eq!(
                (
                    head.line.as_str(),
                    head.field("upgrade"),
                    head.field("connection"),
                    head.field("x-app")
                ),
                (
                    "HTTP/1.1 101 Switching Protocols",
                    Some("echo"),
                    Some("Upgrade"),
                    Some("yes")
                )
            );
            read_until(&mut caller, b"hello ").await;
            for length in [1, 20_000, 300_000] {
                let bytes = pattern(length);
                caller.send(&bytes).await;
                read_until(&mut caller, &bytes).await;
            }
            caller.half_close().await;
            read_until(&mut caller, b" bye").await;
            caller.expect_end().await;
        }
        pair.caller.expect_calls(1, &[("code", "ok")]).await;
        pair.callee.expect_calls(2, &[("code", "ok")]).await;
        pair.caller
            .expect_record(&[("status", "101"), ("path", "/echo"), ("code", "ok")])
            .await;
    });
}

#[test]
fn what_a_caller_sends_before_the_101_waits_for_it() {
    scenario(async |mesh| {
        let log = Log::default();
        let (go, gone) = watch::channel(false);
        let app = app(&log, gone).await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut callers = [pair.caller.outbound().await, pair.callee.inbound().await];
        for caller in &mut callers {
            caller.send(ask("/echo") + "early").await;
            caller.send(" and later").await;
        }
        until("both heads to reach the app", async || {
            (log.borrow().len() == 2).then_some(())
        })
        .await;
        go.send(true).unwrap();
        for caller in &mut callers {
            assert_eq!(caller.head().await.word(1), "101");
            read_until(caller, b"hello early and later").await;
            caller.half_close().await;
            read_until(caller, b" bye").await;
        }
        for (head, bytes) in log.borrow().iter() {
            assert_eq!(bytes, b"early and later", "{head}");
        }
    });
}

#[test]
fn what_was_sent_to_a_tunnel_that_is_refused_is_no_request() {
    scenario(async |mesh| {
        let log = Log::default();
        let app = app(&log, watch::channel(true).1).await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let smuggled = "POST /smuggled HTTP/1.1\r\nHost: orders\r\nContent-Length: 0\r\n\r\n";
        for (path, status) in [
            ("/403", 403),
            ("/200", 200),
            ("/other", 502),
            ("/bare", 502),
        ] {
            for mut caller in [pair.caller.outbound().await, pair.callee.inbound().await] {
                caller.send(ask(path) + smuggled).await;
                let reply = caller.reply().await;
                assert_eq!(
                    (reply.status, reply.field("connection")),
                    (status, Some("close")),
                    "{path}"
                );
                caller.expect_end().await;
            }
        }
        for (head, bytes) in log.borrow().iter() {
            assert!(head.starts_with("GET /"), "{head}");
            assert!(
                bytes.is_empty(),
                "{head}: {:?}",
                String::from_utf8_lossy(bytes)
            );
        }
        assert_eq!(log.borrow().len(), 8);
    });
}

#[test]
fn a_caller_that_waited_may_go_on_after_a_refusal_and_the_app_connection_serves_nobody_else() {
    scenario(async |mesh| {
        let log = Log::default();
        let app = app(&log, watch::channel(true).1).await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        for (path, status) in [("/403", 403), ("/200", 200)] {
            let reply = caller.call(ask(path)).await;
            assert_eq!((reply.status, reply.field("connection")), (status, None));
            let before = app.accepted();
            let plain = caller.get("orders", "/plain").await;
            assert_eq!((plain.status, plain.text()), (403, "no"));
            assert!(app.accepted() > before || path == "/200", "{path}");
        }
        // Each upgrade had a connection of its own, the two plain calls share one.
        let asked = log.borrow().len();
        assert_eq!(asked, 4);
        let looked = pair.callee.metrics().await.calls(&[("code", "ok")]);
        assert_eq!(looked, 4);
    });
}

#[test]
fn a_reset_of_a_tunnel_is_passed_on_as_one() {
    scenario(async |mesh| {
        let log = Log::default();
        let app = app(&log, watch::channel(true).1).await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for (at, mut caller) in [pair.caller.outbound().await, pair.callee.inbound().await]
            .into_iter()
            .enumerate()
        {
            caller.send(ask("/reset")).await;
            assert_eq!(caller.head().await.word(1), "101");
            read_until(&mut caller, b"hello ").await;
            caller.send("now").await;
            let end = within("the reset to arrive", caller.wire.fill()).await;
            let kind = end.map_err(|error| error.kind());
            assert_eq!(kind, Err(std::io::ErrorKind::ConnectionReset));
            pair.callee
                .expect_calls(at as u64 + 1, &[("code", "upstream_reset")])
                .await;
        }
        pair.caller
            .expect_record(&[("code", "upstream_reset"), ("blame", "upstream")])
            .await;
    });
}

#[test]
fn a_caller_that_resets_its_tunnel_resets_the_app() {
    scenario(async |mesh| {
        let (seen, mut was_seen) = watch::channel(None);
        let app = TcpApp::start(move |stream, _| {
            let seen = seen.clone();
            async move {
                let mut wire = Wire::new(stream);
                if let Ok(Some(_)) = wire.head().await {
                    wire.stream.write_all(SWITCH).await.unwrap();
                    let end = wire.fill().await;
                    seen.send_replace(Some(end.map_err(|error| error.kind())));
                }
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for mut caller in [pair.caller.outbound().await, pair.callee.inbound().await] {
            caller.send(ask("/")).await;
            assert_eq!(caller.head().await.word(1), "101");
            caller.reset();
            let end = within(
                "the app to see the reset",
                was_seen.wait_for(Option::is_some),
            )
            .await;
            let reset = Some(Err(std::io::ErrorKind::ConnectionReset));
            assert_eq!(*end.unwrap(), reset);
            was_seen.mark_unchanged();
        }
        pair.caller.expect_calls(1, &[("code", "cancelled")]).await;
    });
}

#[test]
fn an_upgrade_to_h2c_or_without_connection_is_an_ordinary_request() {
    scenario(async |mesh| {
        let app = weft_test::HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        for fields in [
            "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAAA\r\n",
            "Upgrade: echo\r\n",
            "Connection: upgrade\r\n",
        ] {
            let reply = caller
                .call(format!("GET / HTTP/1.1\r\nHost: orders\r\n{fields}\r\n"))
                .await;
            assert_eq!(reply.status, 200, "{fields}");
        }
        for request in app.seen() {
            assert_eq!(request.field("upgrade"), None, "{request:?}");
            assert_eq!(request.field("http2-settings"), None, "{request:?}");
        }
    });
}
