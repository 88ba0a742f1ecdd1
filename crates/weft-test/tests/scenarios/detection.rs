//! What a connection speaks is found out by its first bytes, however they come.

use std::time::Duration;
use tokio::time::{sleep, timeout};
use weft_test::{HttpApp, scenario};

const REQUEST: &str = "POST /p HTTP/1.1\r\nHost: orders\r\nContent-Length: 2\r\n\r\nok";

#[test]
fn a_connection_that_is_silent_at_first_is_served_when_it_speaks() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for mut caller in [pair.caller.outbound().await, pair.callee.inbound().await] {
            let silence = timeout(Duration::from_secs(1), caller.wire.fill()).await;
            assert!(
                silence.is_err(),
                "a silent connection was ended: {silence:?}"
            );
            let reply = caller.call(REQUEST).await;
            assert_eq!((reply.status, reply.text()), (200, "ok"));
        }
    });
}

#[test]
fn a_connection_that_speaks_a_byte_a_second_is_served() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        // The first byte may yet become HTTP/2's preface; the pace is the test.
        let (slow, rest) = REQUEST.split_at(4);
        for byte in slow.as_bytes() {
            caller.send([*byte]).await;
            sleep(Duration::from_secs(1)).await;
        }
        let reply = caller.call(rest).await;
        assert_eq!((reply.status, reply.text()), (200, "ok"));
    });
}

#[test]
fn a_request_may_be_split_anywhere() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for at in 1..REQUEST.len() {
            let mut caller = pair.caller.outbound().await;
            let (first, rest) = REQUEST.split_at(at);
            caller.send(first).await;
            tokio::task::yield_now().await;
            let reply = caller.call(rest).await;
            assert_eq!((reply.status, reply.text()), (200, "ok"), "split at {at}");
        }
    });
}

#[test]
fn bytes_of_no_protocol_end_their_connection() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for (at, bytes) in [
            &b"\x00\x01\x02\x03"[..],
            b"*1\r\n$4\r\nPING\r\n",
            b"\x16\x03\x01\x00\x05",
        ]
        .into_iter()
        .enumerate()
        {
            let mut caller = pair.caller.outbound().await;
            caller.send(bytes).await;
            caller.expect_end().await;
            let ends = pair.caller.metrics().await.sum(
                "weft_connection_ends_total",
                &[("code", "unknown_protocol")],
            );
            assert_eq!(ends, at as u64 + 1);
        }
    });
}
