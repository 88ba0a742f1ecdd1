//! HTTP/1.1 from a caller over the link to an app: messages arrive as they were meant.

use tokio::io::AsyncWriteExt;
use weft_test::http::{Framing, Wire, pattern};
use weft_test::{HttpApp, TcpApp, scenario};

#[test]
fn a_get_reaches_the_app_through_both_sidecars() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let reply = caller.get("orders", "/1?a=b").await;
        assert_eq!((reply.status, reply.field("app")), (200, Some("orders")));
        let seen = app.only();
        assert_eq!((seen.method(), seen.target()), ("GET", "/1?a=b"));
        let ok = ("code", "ok");
        pair.caller
            .expect_calls(1, &[("direction", "outbound"), ("service", "orders"), ok])
            .await;
        pair.callee
            .expect_calls(1, &[("direction", "inbound"), ("caller", "web"), ok])
            .await;
    });
}

#[test]
fn a_body_arrives_whole_whatever_its_length() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        for length in [
            0,
            1,
            101,
            16 * 1024,
            16 * 1024 + 1,
            65_537,
            1_000_000,
            2_500_000,
        ] {
            let body = pattern(length);
            let reply = caller.post("orders", "/", &body).await;
            assert_eq!(reply.status, 200, "{length} bytes");
            assert!(
                reply.message.body == body,
                "{length} bytes came back otherwise"
            );
        }
        let lengths: Vec<_> = app
            .seen()
            .iter()
            .map(|request| request.field("content-length").map(str::to_owned))
            .collect();
        assert_eq!(
            lengths[2].as_deref(),
            Some("101"),
            "a length that is known is told: {lengths:?}"
        );
    });
}

#[test]
fn a_chunked_request_arrives_with_its_trailers() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let head = "POST / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\nTrailer: checksum\r\n\r\n";
        caller.send(head).await;
        for chunk in [
            "3\r\nabc\r\n",
            "4;ext=1\r\ndefg\r\n",
            "0\r\nchecksum: 7\r\n\r\n",
        ] {
            caller.send(chunk).await;
        }
        let reply = caller.reply().await;
        assert_eq!(reply.text(), "abcdefg");
        let seen = app.only();
        assert_eq!(
            seen.message.trailers.field("checksum"),
            Some("7"),
            "{seen:?}"
        );
        // The connection serves another call.
        assert_eq!(caller.get("orders", "/").await.status, 200);
    });
}

#[test]
fn a_chunked_reply_arrives_with_its_trailers() {
    scenario(async |mesh| {
        let app = HttpApp::start(|_| {
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTrailer: status\r\n\r\n\
              5\r\nhello\r\n6\r\n world\r\n0\r\nstatus: 9\r\n\r\n"
                .to_vec()
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        for _ in 0..2 {
            let reply = caller.get("orders", "/").await;
            assert_eq!((reply.text(), reply.chunked), ("hello world", true));
            assert_eq!(
                reply.message.trailers.field("status"),
                Some("9"),
                "{reply:?}"
            );
        }
    });
}

#[test]
fn a_piece_of_a_streamed_reply_does_not_wait_for_the_next() {
    scenario(async |mesh| {
        let (go, gone) = tokio::sync::watch::channel(0);
        let app = TcpApp::start(move |stream, _| {
            let mut gone = gone.clone();
            async move {
                let mut wire = Wire::new(stream);
                let Ok(Some(_)) = wire.head().await else {
                    return;
                };
                let stream = &mut wire.stream;
                stream
                    .write_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n")
                    .await
                    .unwrap();
                gone.wait_for(|step| *step >= 1).await.unwrap();
                stream.write_all(b"1\r\nb\r\n0\r\n\r\n").await.unwrap();
                gone.wait_for(|step| *step >= 2).await.unwrap();
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        caller.send("GET / HTTP/1.1\r\nHost: orders\r\n\r\n").await;
        assert_eq!(caller.head().await.word(1), "200");
        while !caller.wire.bytes.ends_with(b"a\r\n") {
            assert!(caller.wire.fill().await.unwrap());
        }
        // Only now does the app write on: the first piece came without the second.
        go.send(1).unwrap();
        while !caller.wire.bytes.ends_with(b"0\r\n\r\n") {
            assert!(caller.wire.fill().await.unwrap());
        }
        go.send(2).unwrap();
    });
}

#[test]
fn replies_to_head_and_204_and_304_have_no_body_and_keep_the_connection() {
    scenario(async |mesh| {
        let app = HttpApp::start(|request| match (request.method(), request.target()) {
            ("HEAD", _) => {
                b"HTTP/1.1 200 OK\r\nContent-Length: 1234\r\nETag: \"x\"\r\n\r\n".to_vec()
            }
            (_, "/204") => b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(),
            (_, "/304") => {
                b"HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 99\r\n\r\n".to_vec()
            }
            _ => b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec(),
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let head = caller.call("HEAD / HTTP/1.1\r\nHost: orders\r\n\r\n").await;
        assert_eq!(
            (
                head.status,
                head.field("content-length"),
                head.field("etag")
            ),
            (200, Some("1234"), Some("\"x\""))
        );
        let no_content = caller.get("orders", "/204").await;
        assert_eq!(
            (no_content.status, no_content.field("content-length")),
            (204, None)
        );
        let not_modified = caller.get("orders", "/304").await;
        assert_eq!(
            (not_modified.status, not_modified.field("etag")),
            (304, Some("\"x\""))
        );
        assert_eq!(caller.get("orders", "/").await.text(), "ok");
    });
}

#[test]
fn interim_replies_arrive_before_the_final_one() {
    scenario(async |mesh| {
        let app = HttpApp::start(|_| {
            b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_vec()
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let reply = caller.get("orders", "/").await;
        assert_eq!((reply.status, reply.text()), (200, "ok"));
        assert_eq!(reply.interim.len(), 1, "{reply:?}");
        assert_eq!(
            (reply.interim[0].word(1), reply.interim[0].field("link")),
            ("103", Some("</a.css>"))
        );
    });
}

/// An app that asks for the body with a 100, or refuses it.
async fn app_that_decides_about_bodies() -> TcpApp {
    TcpApp::start(|stream, _| async move {
        let mut wire = Wire::new(stream);
        while let Ok(Some(head)) = wire.head().await {
            assert_eq!(head.field("expect"), Some("100-continue"), "{head:?}");
            if head.word(1) == "/refused" {
                let refusal =
                    b"HTTP/1.1 417 No\r\nContent-Length: 2\r\nConnection: close\r\n\r\nno";
                wire.stream.write_all(refusal).await.unwrap();
                return;
            }
            wire.stream
                .write_all(b"HTTP/1.1 100 Continue\r\n\r\n")
                .await
                .unwrap();
            let Ok(message) = wire.message(head, Framing::Length(0)).await else {
                return;
            };
            let reply = format!(
                "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n",
                message.body.len()
            );
            wire.stream.write_all(reply.as_bytes()).await.unwrap();
            wire.stream.write_all(&message.body).await.unwrap();
        }
    })
    .await
}

#[test]
fn a_caller_that_expects_100_continue_gets_it_from_the_app() {
    scenario(async |mesh| {
        let app = app_that_decides_about_bodies().await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let head =
            "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        caller.send(head).await;
        assert_eq!(caller.head().await.word(1), "100");
        caller.send("hello").await;
        let reply = caller.reply().await;
        assert_eq!((reply.status, reply.text()), (200, "hello"));
    });
}

#[test]
fn a_body_that_the_app_does_not_want_is_never_sent() {
    scenario(async |mesh| {
        let app = app_that_decides_about_bodies().await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        let head = "POST /refused HTTP/1.1\r\nHost: orders\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n";
        caller.send(head).await;
        let reply = caller.reply().await;
        assert_eq!(
            (reply.status, reply.text(), reply.interim.len()),
            (417, "no", 0)
        );
        assert_eq!(
            reply.field("connection"),
            Some("close"),
            "the body's bytes may follow: the connection cannot be kept"
        );
        caller.expect_end().await;
    });
}

#[test]
fn a_reply_that_ends_with_its_connection_arrives_whole() {
    scenario(async |mesh| {
        let app = TcpApp::start(|stream, _| async move {
            let mut wire = Wire::new(stream);
            if let Ok(Some(_)) = wire.head().await {
                let reply = b"HTTP/1.0 200 OK\r\n\r\nto the end";
                wire.stream.write_all(reply).await.unwrap();
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        for _ in 0..2 {
            // A reply in HTTP/1.0 is re-framed: the caller's connection stays.
            let reply = caller.get("orders", "/").await;
            assert_eq!((reply.text(), reply.chunked), ("to the end", true));
        }
    });
}

#[test]
fn the_forward_proxy_takes_absolute_targets() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.http_proxy().await;
        let reply = caller
            .call("GET http://orders/x?y HTTP/1.1\r\nHost: orders\r\n\r\n")
            .await;
        assert_eq!((reply.status, reply.field("app")), (200, Some("orders")));
        let seen = app.only();
        assert_eq!(
            (seen.target(), seen.field("host")),
            ("/x?y", Some("orders"))
        );
    });
}

#[test]
fn a_plain_caller_reaches_the_app_by_the_inbound_port() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.callee.inbound().await;
        let reply = caller.post("whatever.example", "/p", b"body").await;
        assert_eq!((reply.status, reply.text()), (200, "body"));
        let seen = app.only();
        assert_eq!(seen.field("host"), Some("whatever.example"));
        pair.callee
            .expect_calls(
                1,
                &[("direction", "inbound"), ("caller", ""), ("code", "ok")],
            )
            .await;
        pair.caller.expect_calls(0, &[]).await;
    });
}

#[test]
fn both_loopback_addresses_take_calls() {
    scenario(async |mesh| {
        let app = HttpApp::echo("orders").await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for ip in ["127.0.0.1", "[::1]"] {
            let address = format!("{ip}:{}", pair.caller.outbound_port())
                .parse()
                .unwrap();
            let mut caller = weft_test::HttpConnection::open_at(address).await;
            assert_eq!(caller.get("orders", "/").await.status, 200, "by {ip}");
        }
    });
}
