//! Tunnels in HTTP/2: CONNECT and extended CONNECT (RFC 8441), to apps of either version and from callers of either.

use bytes::Bytes;
use h2::{Reason, RecvStream, SendStream};
use http::Response;
use tokio::io::AsyncWriteExt;
use tokio::sync::watch;
use weft_test::http::{Wire, pattern, reset};
use weft_test::wait::within;
use weft_test::{H2App, H2Connection, H2Message, TcpApp, scenario};

/// An HTTP/1.1 app that switches to what it is asked for, says hello, sends everything back and says bye after the
/// caller's end; by the path it declines, ignores the wish or resets.
async fn old_app() -> TcpApp {
    TcpApp::start(|stream, _| async move {
        let mut wire = Wire::new(stream);
        let Ok(Some(head)) = wire.head().await else {
            return;
        };
        assert_eq!(head.word(0), "GET");
        let answer = match head.field("x-answer") {
            Some("200") => "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok".to_owned(),
            Some("403") => "HTTP/1.1 403 No\r\nContent-Length: 2\r\n\r\nno".to_owned(),
            _ => {
                let asked = head.field("upgrade").expect("an upgrade is asked for");
                let key = head.field("sec-websocket-key").unwrap_or_default();
                assert_eq!(
                    (asked, key.len(), head.word(1)),
                    ("websocket", 24, "/chat"),
                    "{head:?}"
                );
                format!(
                    "HTTP/1.1 101 Up\r\nUpgrade: {asked}\r\nConnection: upgrade\r\nX-App: old\r\nSec-WebSocket-Accept: x\r\n\r\nhello "
                )
            }
        };
        if wire.stream.write_all(answer.as_bytes()).await.is_err() {
            return;
        }
        echo(wire).await;
    })
    .await
}

/// Gives back what comes, until its end or the word that asks for a reset.
async fn echo(mut wire: Wire) {
    while wire.fill().await.unwrap_or(false) {
        let bytes = std::mem::take(&mut wire.bytes);
        if bytes == b"reset" {
            reset(wire.stream);
            return;
        }
        if wire.stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
    let _ = wire.stream.write_all(b" bye").await;
}

/// How a tunnel ended, at its app.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum End {
    /// Not yet.
    #[default]
    Open,
    /// With an end of what came.
    Whole,
    /// With this.
    Reset(Option<Reason>),
}

/// An HTTP/2 app that does the same, and tells how its tunnels end: without words, or with which reset.
async fn new_app(ends: watch::Sender<End>) -> H2App {
    H2App::tunnels(move |request, mut respond| {
        let ends = ends.clone();
        async move {
            let protocol = request.extensions().get::<h2::ext::Protocol>();
            assert_eq!(protocol.map(h2::ext::Protocol::as_str), Some("websocket"));
            assert_eq!(request.uri().path(), "/chat");
            assert_eq!(request.headers().get("sec-websocket-key"), None);
            if request.headers().contains_key("x-answer") {
                let _ = weft_test::h2::send_reply(respond, &H2Message::reply(403, b"no")).await;
                return;
            }
            let response = Response::builder().header("x-app", "new").body(());
            let mut stream = respond.send_response(response.unwrap(), false).unwrap();
            stream
                .send_data(Bytes::from_static(b"hello "), false)
                .unwrap();
            let mut body = request.into_body();
            while let Some(piece) = body.data().await {
                let Ok(piece) = piece.inspect_err(|error| {
                    ends.send_replace(End::Reset(error.reason()));
                }) else {
                    return;
                };
                body.flow_control().release_capacity(piece.len()).unwrap();
                if &*piece == b"reset" {
                    stream.send_reset(Reason::CANCEL);
                    return;
                }
                send(&mut stream, &piece).await;
            }
            stream.send_data(Bytes::from_static(b" bye"), true).unwrap();
            ends.send_replace(End::Whole);
        }
    })
    .await
}

async fn send(stream: &mut SendStream<Bytes>, bytes: &[u8]) {
    let mut rest = Bytes::copy_from_slice(bytes);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let taken = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(Ok(taken)) = taken else {
            return;
        };
        let piece = rest.split_to(taken.min(rest.len()));
        stream.send_data(piece, false).unwrap();
    }
}

async fn expect(body: &mut RecvStream, wanted: &[u8]) {
    let mut found = Vec::new();
    within("the bytes of a tunnel", async {
        while found.len() < wanted.len() {
            let piece = body.data().await.expect("the tunnel is open").unwrap();
            body.flow_control().release_capacity(piece.len()).unwrap();
            found.extend_from_slice(&piece);
        }
    })
    .await;
    assert!(found == wanted, "{} bytes came otherwise", wanted.len());
}

/// Speaks with either app until both ends have ended.
async fn converse(response: Response<RecvStream>, mut stream: SendStream<Bytes>) {
    let mut body = response.into_body();
    expect(&mut body, b"hello ").await;
    for length in [1, 20_000, 300_000] {
        let bytes = pattern(length);
        tokio::join!(send(&mut stream, &bytes), expect(&mut body, &bytes));
    }
    stream.send_data(Bytes::new(), true).unwrap();
    expect(&mut body, b" bye").await;
    let (rest, trailers) = within("the end", weft_test::h2::read_body(&mut body))
        .await
        .unwrap();
    assert_eq!((rest.len(), trailers), (0, None));
}

#[test]
fn extended_connect_reaches_an_http_1_app_as_an_upgrade() {
    scenario(async |mesh| {
        let app = old_app().await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        for port in [pair.caller.outbound_port(), pair.callee.inbound_port()] {
            let caller = H2Connection::open(port).await;
            let (response, stream) = caller.tunnel("orders", Some("websocket")).await.unwrap();
            assert_eq!(response.status(), 200);
            let fields = response.headers();
            assert_eq!(fields["x-app"], "old");
            assert!(!fields.contains_key("upgrade") && !fields.contains_key("connection"));
            assert!(!fields.contains_key("sec-websocket-accept"));
            converse(response, stream).await;
        }
        pair.callee.expect_calls(2, &[("code", "ok")]).await;
        pair.caller
            .expect_record(&[("status", "101"), ("path", "/chat"), ("code", "ok")])
            .await;
    });
}

#[test]
fn extended_connect_and_upgrade_reach_an_http_2_app_as_extended_connect() {
    scenario(async |mesh| {
        let (ends, mut ended) = watch::channel(End::Open);
        let app = new_app(ends.clone()).await;
        let pair = mesh.pair("orders", "h2", app.port()).await;
        for port in [pair.caller.outbound_port(), pair.callee.inbound_port()] {
            ends.send_replace(End::Open);
            let caller = H2Connection::open(port).await;
            let (response, stream) = caller.tunnel("orders", Some("websocket")).await.unwrap();
            assert_eq!(
                (response.status().as_u16(), &response.headers()["x-app"]),
                (200, &http::HeaderValue::from_static("new"))
            );
            converse(response, stream).await;
            assert_eq!(
                *within("the app's end", ended.wait_for(|end| *end != End::Open))
                    .await
                    .unwrap(),
                End::Whole
            );
        }
        for mut caller in [pair.caller.outbound().await, pair.callee.inbound().await] {
            caller
                .send("GET /chat HTTP/1.1\r\nHost: orders\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\nearly")
                .await;
            let head = caller.head().await;
            assert_eq!(
                (
                    head.word(1),
                    head.field("upgrade"),
                    head.field("sec-websocket-accept"),
                    head.field("x-app")
                ),
                (
                    "101",
                    Some("websocket"),
                    Some("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="),
                    Some("new")
                )
            );
            caller.half_close().await;
            while within("the end of a tunnel", caller.wire.fill())
                .await
                .unwrap()
            {}
            assert_eq!(caller.wire.bytes, b"hello early bye");
        }
        pair.callee.expect_calls(4, &[("code", "ok")]).await;
    });
}

#[test]
fn what_is_declined_is_no_tunnel() {
    scenario(async |mesh| {
        let old = old_app().await;
        let new = new_app(watch::channel(End::Open).0).await;
        // It announces nothing.
        let mute = H2App::echo("mute").await;
        mesh.sidecar("old").port("http", old.port()).start().await;
        mesh.sidecar("new").port("h2", new.port()).start().await;
        mesh.sidecar("mute").port("h2", mute.port()).start().await;
        let web = mesh.sidecar("web").start().await;
        let caller = H2Connection::open(web.outbound_port()).await;
        for (service, answer, status, code) in [
            ("old", "403", 403, None),
            ("new", "403", 403, None),
            // Read as HTTP/2, it would open the tunnel.
            ("old", "200", 501, Some("not_implemented")),
            ("mute", "-", 501, Some("not_implemented")),
        ] {
            let (response, _stream) = caller
                .tunnel_with(service, Some("websocket"), &[("x-answer", answer)])
                .await
                .unwrap();
            let found = response.headers().get("x-weft-code");
            assert_eq!(
                (
                    response.status().as_u16(),
                    found.map(|code| code.to_str().unwrap())
                ),
                (status, code),
                "{service} {answer}"
            );
        }
        assert!(mute.seen().is_empty());
        let mut caller = web.outbound().await;
        let reply = caller
            .call("GET /chat HTTP/1.1\r\nHost: mute\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
            .await;
        assert_eq!(reply.status, 501);
        assert!(reply.text().contains("RFC 8441"), "{}", reply.text());
    });
}

#[test]
fn a_reset_of_a_stream_that_is_a_tunnel_is_passed_on_as_one() {
    scenario(async |mesh| {
        let old = old_app().await;
        let (ends, mut ended) = watch::channel(End::Open);
        let new = new_app(ends.clone()).await;
        mesh.sidecar("old").port("http", old.port()).start().await;
        mesh.sidecar("new").port("h2", new.port()).start().await;
        let web = mesh.sidecar("web").start().await;
        let caller = H2Connection::open(web.outbound_port()).await;
        for service in ["old", "new"] {
            let (response, mut stream) = caller.tunnel(service, Some("websocket")).await.unwrap();
            let mut body = response.into_body();
            expect(&mut body, b"hello ").await;
            send(&mut stream, b"reset").await;
            let end = within("the reset", body.data()).await.unwrap();
            assert_eq!(end.unwrap_err().reason(), Some(Reason::CANCEL), "{service}");
        }
        web.expect_calls(2, &[("code", "upstream_reset")]).await;
        ends.send_replace(End::Open);
        let (response, mut stream) = caller.tunnel("new", Some("websocket")).await.unwrap();
        let mut body = response.into_body();
        expect(&mut body, b"hello ").await;
        stream.send_reset(Reason::CANCEL);
        let end = within("the app to see it", ended.wait_for(|end| *end != End::Open)).await;
        assert_eq!(*end.unwrap(), End::Reset(Some(Reason::CANCEL)));
        web.expect_calls(1, &[("code", "cancelled")]).await;
    });
}

#[test]
fn connect_makes_a_connection() {
    scenario(async |mesh| {
        let app = TcpApp::start(|stream, _| async move {
            let mut wire = Wire::new(stream);
            if wire.stream.write_all(b"hello ").await.is_err() {
                return;
            }
            echo(wire).await;
        })
        .await;
        let pair = mesh.pair("db", "tcp", app.port()).await;
        let outside = format!("127.0.0.1:{}", app.port());
        for port in [pair.caller.outbound_port(), pair.caller.http_proxy_port()] {
            let caller = H2Connection::open(port).await;
            for authority in ["db:tcp", &outside] {
                let (response, stream) = caller.tunnel(authority, None).await.unwrap();
                assert_eq!(response.status(), 200, "{authority}");
                converse(response, stream).await;
            }
            let (response, mut stream) = caller.tunnel("db:tcp", None).await.unwrap();
            let mut body = response.into_body();
            expect(&mut body, b"hello ").await;
            send(&mut stream, b"reset").await;
            let end = within("the reset", body.data()).await.unwrap();
            assert_eq!(end.unwrap_err().reason(), Some(Reason::CONNECT_ERROR));
            let (response, _) = caller.tunnel("db:1", None).await.unwrap();
            assert_eq!(response.status(), 404);
        }
        let tcp = ("protocol", "tcp");
        pair.caller.expect_calls(4, &[tcp, ("code", "ok")]).await;
        pair.caller
            .expect_calls(2, &[tcp, ("code", "upstream_reset")])
            .await;
    });
}

#[test]
fn an_app_that_speaks_http_2_alone_is_found_out_by_an_http_1_caller() {
    scenario(async |mesh| {
        let app = H2App::echo("new").await;
        let port = app.port().to_string();
        mesh.sidecar("new").port_spec(&port).start().await;
        let web = mesh.sidecar("web").start().await;
        let mut caller = web.outbound().await;
        for path in ["/1", "/2"] {
            let reply = caller.post("new", path, b"body").await;
            assert_eq!((reply.status, reply.text()), (200, "body"), "{path}");
        }
        assert_eq!(app.seen().len(), 2);
    });
}

#[test]
fn the_first_request_does_not_wait_for_the_settings_of_an_app_that_declares_http_2() {
    scenario(async |mesh| {
        // It says nothing before it has a request's head.
        let app = TcpApp::start(|stream, _| async move {
            let mut wire = Wire::new(stream);
            let headers = |bytes: &[u8]| {
                let mut at = 24;
                while let Some([a, b, c, kind, ..]) = bytes.get(at..) {
                    if *kind == 1 {
                        return true;
                    }
                    at += 9 + (usize::from(*a) << 16 | usize::from(*b) << 8 | usize::from(*c));
                }
                false
            };
            while !headers(&wire.bytes) {
                if !wire.fill().await.unwrap_or(false) {
                    return;
                }
            }
            let mut answer = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
            answer.extend_from_slice(&[0, 0, 1, 1, 5, 0, 0, 0, 1, 0x88]);
            let _ = wire.stream.write_all(&answer).await;
            while wire.fill().await.unwrap_or(false) {}
        })
        .await;
        let pair = mesh.pair("orders", "h2", app.port()).await;
        let caller = H2Connection::open(pair.caller.outbound_port()).await;
        assert_eq!(caller.get("orders", "/").await.status, 200);
    });
}
