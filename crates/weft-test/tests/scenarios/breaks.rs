//! Callers and apps that leave in the middle: what the other side sees, and what the record says.

use std::cell::Cell;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::sync::{Semaphore, watch};
use weft_test::http::{Framing, Wire, pattern, reset};
use weft_test::http_app::reply;
use weft_test::wait::within;
use weft_test::{HttpApp, TcpApp, scenario};

#[test]
fn a_caller_that_ended_its_side_gets_its_reply() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for mut caller in [pair.caller.outbound().await, pair.callee.inbound().await] {
            caller
                .send("POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 5\r\n\r\nhello")
                .await;
            caller.half_close().await;
            let reply = caller.reply().await;
            assert_eq!((reply.status, reply.text()), (200, "hello"));
            caller.expect_end().await;
        }
        pair.caller.expect_calls(1, &[("code", "ok")]).await;
    });
}

#[test]
fn a_caller_that_ended_its_side_gets_its_reply_also_when_that_takes_its_time() {
    scenario(async |mesh| {
        let go = Rc::new(Semaphore::new(0));
        let gate = Rc::clone(&go);
        let app = app_behind_a_gate(gate).await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        caller.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n").await;
        caller.half_close().await;
        arrived(&pair.callee).await;
        go.add_permits(1);
        assert_eq!(caller.reply().await.text(), "through the gate");
    });
}

/// An app that answers each request once it gets a permit.
async fn app_behind_a_gate(gate: Rc<Semaphore>) -> TcpApp {
    TcpApp::start(move |stream, _| {
        let gate = Rc::clone(&gate);
        async move {
            let mut wire = Wire::new(stream);
            while let Ok(Some(head)) = wire.head().await {
                let Ok(_) = wire.message(head, Framing::Length(0)).await else {
                    return;
                };
                gate.acquire().await.unwrap().forget();
                if wire
                    .stream
                    .write_all(&reply(200, &[], b"through the gate"))
                    .await
                    .is_err()
                {
                    return;
                }
            }
        }
    })
    .await
}

/// Waits until a call is under way at a sidecar.
async fn arrived(sidecar: &weft_test::Sidecar) {
    weft_test::wait::until("a call to be under way", async || {
        (sidecar.metrics().await.sum("weft_calls_active", &[]) == 1).then_some(())
    })
    .await;
}

#[test]
fn a_caller_that_resets_cancels_its_call_up_to_the_app() {
    scenario(async |mesh| {
        let (left, mut app_left) = watch::channel(false);
        let app = TcpApp::start(move |stream, _| {
            let left = left.clone();
            async move {
                let mut wire = Wire::new(stream);
                let Ok(Some(_)) = wire.head().await else {
                    return;
                };
                // No reply; the end of the connection is what the app notices.
                while let Ok(true) = wire.fill().await {}
                left.send_replace(true);
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        caller.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n").await;
        arrived(&pair.callee).await;
        caller.reset();
        within(
            "the app to lose its connection",
            app_left.wait_for(|left| *left),
        )
        .await
        .unwrap();
        for sidecar in [&pair.caller, &pair.callee] {
            sidecar.expect_calls(1, &[("code", "cancelled")]).await;
            sidecar
                .expect_record(&[("code", "cancelled"), ("blame", "caller")])
                .await;
        }
    });
}

#[test]
fn a_plain_caller_that_resets_cancels_its_call_too() {
    scenario(async |mesh| {
        let go = Rc::new(Semaphore::new(0));
        let app = app_behind_a_gate(Rc::clone(&go)).await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.callee.inbound().await;
        caller.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n").await;
        arrived(&pair.callee).await;
        caller.reset();
        pair.callee.expect_calls(1, &[("code", "cancelled")]).await;
        // Others are served as before; one permit is for the app's side of the cancelled call.
        go.add_permits(2);
        assert_eq!(
            pair.callee.inbound().await.get("orders", "/").await.status,
            200
        );
    });
}

#[test]
fn a_caller_that_leaves_within_a_reply_cancels_it() {
    scenario(async |mesh| {
        let app = TcpApp::start(|stream, _| async move {
            let mut wire = Wire::new(stream);
            while let Ok(Some(_)) = wire.head().await {
                wire.stream
                    .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
                    .await
                    .unwrap();
                while wire.stream.write_all(b"5\r\nhello\r\n").await.is_ok() {
                    tokio::task::yield_now().await;
                }
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        caller.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n").await;
        assert_eq!(caller.head().await.word(1), "200");
        caller.reset();
        for sidecar in [&pair.caller, &pair.callee] {
            sidecar.expect_calls(1, &[("code", "cancelled")]).await;
        }
    });
}

#[test]
fn a_caller_that_breaks_its_body_off_is_to_blame_and_the_app_sees_no_end_of_it() {
    scenario(async |mesh| {
        let (broken, mut was_broken) = watch::channel(false);
        let app = TcpApp::start(move |stream, _| {
            let broken = broken.clone();
            async move {
                let mut wire = Wire::new(stream);
                let Ok(Some(head)) = wire.head().await else {
                    return;
                };
                let body = wire.message(head, Framing::Length(0)).await;
                assert!(body.is_err(), "half a body looked whole: {body:?}");
                broken.send_replace(true);
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        caller.send("POST / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n").await;
        arrived(&pair.callee).await;
        caller.half_close().await;
        within(
            "the app to see the break",
            was_broken.wait_for(|broken| *broken),
        )
        .await
        .unwrap();
        pair.caller
            .expect_calls(1, &[("code", "body_broken")])
            .await;
        assert_eq!(pair.callee.metrics().await.calls(&[("code", "ok")]), 0);
    });
}

#[test]
fn an_app_that_breaks_its_reply_off_is_to_blame_and_the_caller_sees_no_end_of_it() {
    scenario(async |mesh| {
        let app = TcpApp::start(|stream, _| async move {
            let mut wire = Wire::new(stream);
            let Ok(Some(head)) = wire.head().await else {
                return;
            };
            let framing = if head.word(1) == "/chunked" {
                "Transfer-Encoding: chunked\r\n\r\n3\r\n"
            } else {
                "Content-Length: 9\r\n\r\n"
            };
            let begun = format!("HTTP/1.1 200 OK\r\n{framing}abc");
            wire.stream.write_all(begun.as_bytes()).await.unwrap();
            if head.word(1) == "/reset" {
                reset(wire.stream);
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for (at, path) in ["/length", "/chunked", "/reset"].into_iter().enumerate() {
            let mut caller = pair.caller.outbound().await;
            caller
                .send(format!("GET {path} HTTP/1.1\r\nHost: orders\r\n\r\n"))
                .await;
            let broken = caller.try_reply().await;
            // A reset may overtake the head.
            let whole = broken.as_ref().is_ok_and(|reply| reply.status == 200);
            assert!(!whole, "half a body looked whole for {path}: {broken:?}");
            let count = at as u64 + 1;
            pair.callee
                .expect_calls(count, &[("code", "upstream_closed")])
                .await;
            pair.caller
                .expect_calls(count, &[("code", "upstream_closed")])
                .await;
        }
        pair.caller
            .expect_record(&[("code", "upstream_closed"), ("blame", "upstream")])
            .await;
    });
}

#[test]
fn an_app_that_leaves_without_a_reply_is_502_and_is_not_asked_twice() {
    scenario(async |mesh| {
        let asked = Rc::new(Cell::new(0));
        let count = Rc::clone(&asked);
        let app = TcpApp::start(move |stream, _| {
            let count = Rc::clone(&count);
            async move {
                let mut wire = Wire::new(stream);
                if let Ok(Some(_)) = wire.head().await {
                    count.set(count.get() + 1);
                }
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let reply = pair
            .caller
            .outbound()
            .await
            .post("orders", "/", b"once")
            .await;
        reply.expect_failure(502, "upstream_closed", "upstream");
        assert_eq!(asked.get(), 1, "a POST is handed to an app at most once");
    });
}

#[test]
fn an_app_that_closes_between_calls_fails_none() {
    scenario(async |mesh| {
        // Each connection serves one call and is closed without a word, as keep-alive timeouts do.
        let served = Rc::new(Cell::new(0));
        let count = Rc::clone(&served);
        let app = TcpApp::start(move |stream, _| {
            let count = Rc::clone(&count);
            async move {
                let mut wire = Wire::new(stream);
                let Ok(Some(head)) = wire.head().await else {
                    return;
                };
                let Ok(message) = wire.message(head, Framing::Length(0)).await else {
                    return;
                };
                count.set(count.get() + 1);
                let _ = wire.stream.write_all(&reply(200, &[], &message.body)).await;
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        for at in 0..50 {
            let body = format!("call {at}");
            let reply = caller.post("orders", "/", body.as_bytes()).await;
            assert_eq!((reply.status, reply.text()), (200, body.as_str()));
            // The app's FIN is sent with its reply; what arrives first is the kernel's business, so the
            // sidecar must have seen it before the next call.
            let closed = app.accepted();
            weft_test::wait::until("the app's close to arrive", async || {
                (closed > at).then_some(())
            })
            .await;
            tokio::task::yield_now().await;
        }
        assert_eq!(served.get(), 50);
    });
}

#[test]
fn an_app_that_says_close_gets_a_new_connection_for_the_next_call() {
    scenario(async |mesh| {
        let app = HttpApp::start(|_| {
            b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok".to_vec()
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        for _ in 0..10 {
            let reply = caller.get("orders", "/").await;
            assert_eq!(
                (reply.status, reply.field("connection")),
                (200, None),
                "the caller's connection stays"
            );
        }
        let connections: std::collections::HashSet<usize> =
            app.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections.len(), 10);
    });
}

#[test]
fn a_connection_to_the_app_is_used_again() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let callee = mesh
            .sidecar("orders")
            .port("http", app.port())
            .arg("--workers")
            .arg("1")
            .start()
            .await;
        let caller = mesh.sidecar("web").arg("--workers").arg("1").start().await;
        for _ in 0..20 {
            assert_eq!(caller.outbound().await.get("orders", "/").await.status, 200);
        }
        let connections: std::collections::HashSet<usize> =
            app.seen().iter().map(|seen| seen.connection).collect();
        assert_eq!(connections.len(), 1, "20 calls one after another");
        callee.expect_calls(20, &[("code", "ok")]).await;
    });
}

#[test]
fn a_reply_that_does_not_wait_for_the_body_is_passed_on() {
    scenario(async |mesh| {
        let app = TcpApp::start(|stream, _| async move {
            let mut wire = Wire::new(stream);
            let Ok(Some(_)) = wire.head().await else {
                return;
            };
            let refusal =
                b"HTTP/1.1 413 Too Large\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbig";
            wire.stream.write_all(refusal).await.unwrap();
            wire.stream.shutdown().await.unwrap();
            while let Ok(true) = wire.fill().await {
                wire.bytes.clear();
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let body = pattern(200_000);
        caller
            .send(format!(
                "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: {}\r\n\r\n",
                body.len() * 10
            ))
            .await;
        caller.send(&body).await;
        let reply = caller.reply().await;
        assert_eq!((reply.status, reply.text()), (413, "big"));
    });
}
