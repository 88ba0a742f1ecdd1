//! Many calls at a time: on one connection, on many, beside a reader that takes nothing.

use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::task::{JoinSet, spawn_local};
use weft_test::http::{Framing, Wire, pattern};
use weft_test::http_app::reply;
use weft_test::wait::within;
use weft_test::{HttpApp, HttpConnection, TcpApp, scenario};

#[test]
fn pipelined_requests_are_answered_in_their_order() {
    scenario(async |mesh| {
        let app = HttpApp::start(|request| reply(200, &[], request.target().as_bytes())).await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let requests: Vec<String> = (0..64)
            .map(|at| format!("GET /{at} HTTP/1.1\r\nHost: orders\r\n\r\n"))
            .collect();
        caller.send(requests.concat()).await;
        for at in 0..64 {
            assert_eq!(caller.reply().await.text(), format!("/{at}"));
        }
    });
}

#[test]
fn pipelined_bodies_do_not_run_into_each_other() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let bodies: Vec<Vec<u8>> = (0..16).map(|at| pattern(at * 1_001)).collect();
        let mut bytes = Vec::new();
        for body in &bodies {
            bytes.extend(
                format!(
                    "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                )
                .bytes(),
            );
            bytes.extend(body);
        }
        caller.send(bytes).await;
        for body in &bodies {
            assert!(
                caller.reply().await.message.body == *body,
                "the body of {} bytes",
                body.len()
            );
        }
    });
}

#[test]
fn a_request_may_come_byte_by_byte() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        for byte in b"POST / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n" {
            caller.send([*byte]).await;
            tokio::task::yield_now().await;
        }
        assert_eq!(caller.reply().await.text(), "abc");
    });
}

#[test]
fn parallel_calls_get_their_own_replies() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let port = pair.caller.outbound_port();
        let mut callers = JoinSet::new();
        for caller in 0..32_usize {
            callers.spawn_local(async move {
                let mut connection = HttpConnection::open(port).await;
                for call in 0..20_usize {
                    let body = format!(
                        "caller {caller} call {call} {}",
                        "x".repeat(caller * call * 7)
                    );
                    let reply = connection.post("orders", "/", body.as_bytes()).await;
                    assert_eq!((reply.status, reply.text()), (200, body.as_str()));
                }
            });
        }
        callers.join_all().await;
        pair.caller.expect_calls(640, &[("code", "ok")]).await;
        pair.callee.expect_calls(640, &[("code", "ok")]).await;
    });
}

#[test]
fn a_thousand_connections_make_a_call_each() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut connections = Vec::new();
        for _ in 0..1_000 {
            connections.push(pair.caller.outbound().await);
        }
        for (at, connection) in connections.iter_mut().enumerate() {
            connection
                .send(format!("GET /{at} HTTP/1.1\r\nHost: orders\r\n\r\n"))
                .await;
        }
        for connection in &mut connections {
            assert_eq!(connection.reply().await.status, 200);
        }
        // All of them are still open, and serve again.
        assert_eq!(
            pair.caller
                .metrics()
                .await
                .sum("weft_connections_active", &[]),
            1_000
        );
        for connection in connections.iter_mut().step_by(100) {
            assert_eq!(connection.get("orders", "/").await.status, 200);
        }
        pair.caller.expect_calls(1_010, &[("code", "ok")]).await;
    });
}

/// An app of which `/big` is endless and everything else short.
async fn app_with_an_endless_reply() -> TcpApp {
    TcpApp::start(|stream, _| async move {
        let mut wire = Wire::new(stream);
        while let Ok(Some(head)) = wire.head().await {
            if head.word(1) == "/endless" {
                let head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
                wire.stream.write_all(head).await.unwrap();
                let chunk = [b"4000\r\n".as_slice(), &pattern(0x4000), b"\r\n"].concat();
                // Until its caller leaves.
                while wire.stream.write_all(&chunk).await.is_ok() {}
                return;
            }
            let Ok(message) = wire.message(head, Framing::Length(0)).await else {
                return;
            };
            if wire
                .stream
                .write_all(&reply(200, &[], &message.body))
                .await
                .is_err()
            {
                return;
            }
        }
    })
    .await
}

#[test]
fn a_reader_that_takes_nothing_does_not_slow_those_beside_it_on_the_link() {
    scenario(async |mesh| {
        let app = app_with_an_endless_reply().await;
        let callee = mesh
            .sidecar("orders")
            .port("http", app.port())
            .start()
            .await;
        // One worker: every call takes the same link.
        let caller = mesh.sidecar("web").arg("--workers").arg("1").start().await;
        let mut slow = Vec::new();
        for _ in 0..4 {
            let mut connection = caller.outbound().await;
            connection
                .send("GET /endless HTTP/1.1\r\nHost: orders\r\n\r\n")
                .await;
            assert_eq!(connection.head().await.word(1), "200");
            slow.push(connection);
        }
        let mut fast = caller.outbound().await;
        let calls = async {
            for at in 0..200 {
                let body = format!("call {at}");
                assert_eq!(fast.post("orders", "/", body.as_bytes()).await.text(), body);
            }
        };
        // A call that waited for a stuck one would wait for minutes.
        within("200 calls beside four stuck readers", calls).await;
        drop(slow);
        caller.expect_calls(4, &[("code", "cancelled")]).await;
        callee.expect_calls(4, &[("code", "cancelled")]).await;
        assert_eq!(
            caller.metrics().await.sum("weft_links_active", &[]),
            1,
            "all calls share one link"
        );
    });
}

#[test]
fn a_stuck_reader_resumes_and_gets_every_byte() {
    scenario(async |mesh| {
        let body = Rc::new(pattern(8 * 1024 * 1024));
        let sent = Rc::clone(&body);
        let app = HttpApp::start(move |request| match request.target() {
            "/big" => reply(200, &[], &sent),
            _ => reply(200, &[], b"small"),
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut slow = pair.caller.outbound().await;
        slow.send("GET /big HTTP/1.1\r\nHost: orders\r\n\r\n").await;
        let mut fast = pair.caller.outbound().await;
        for _ in 0..50 {
            assert_eq!(fast.get("orders", "/").await.text(), "small");
        }
        let reading = spawn_local(async move { slow.reply().await });
        for _ in 0..50 {
            assert_eq!(fast.get("orders", "/").await.text(), "small");
        }
        assert!(
            reading.await.unwrap().message.body == *body,
            "the body came back otherwise"
        );
    });
}
