//! Opaque TCP: by CONNECT and by a declared local listener, whoever speaks first, each way to its own end.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weft_test::http::{pattern, reset};
use weft_test::tcp_app::free_port;
use weft_test::wait::within;
use weft_test::{Sidecar, TcpApp, scenario};

/// Greets at once, sends everything back, and says bye after the caller's end. Whoever sends `reset` first is reset.
/// Sidecars look whether the port answers, so connections without a byte are left alone.
async fn server_that_greets() -> TcpApp {
    TcpApp::start(|mut stream, _| async move {
        if stream.write_all(b"hello ").await.is_err() {
            return;
        }
        let mut bytes = vec![0; 64 * 1024];
        loop {
            match stream.read(&mut bytes).await {
                Ok(0) | Err(_) => break,
                Ok(count) if bytes.get(..count) == Some(b"reset") => {
                    reset(stream);
                    return;
                }
                Ok(count) => {
                    if stream.write_all(&bytes[..count]).await.is_err() {
                        return;
                    }
                }
            }
        }
        let _ = stream.write_all(b" bye").await;
    })
    .await
}

async fn expect(stream: &mut TcpStream, wanted: &[u8]) {
    let mut found = vec![0; wanted.len()];
    within("the bytes of a tunnel", stream.read_exact(&mut found))
        .await
        .expect("the tunnel carries bytes");
    assert!(found == wanted, "{} bytes came otherwise", wanted.len());
}

async fn expect_end(stream: &mut TcpStream) {
    let mut rest = Vec::new();
    let end = within("the end of a tunnel", stream.read_to_end(&mut rest)).await;
    assert_eq!((end.ok(), rest.as_slice()), (Some(0), &b""[..]));
}

async fn connect(port: u16) -> TcpStream {
    within(
        "a connection",
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)),
    )
    .await
    .expect("the sidecar listens")
}

/// A tunnel by CONNECT.
async fn tunnel(sidecar: &Sidecar, authority: &str) -> TcpStream {
    let mut stream = connect(sidecar.http_proxy_port()).await;
    let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    expect(&mut stream, b"HTTP/1.1 200 Connection established\r\n\r\n").await;
    stream
}

/// Speaks with the greeting server until both ends have ended.
async fn converse(mut stream: TcpStream) {
    expect(&mut stream, b"hello ").await;
    for length in [1, 40_000, 1_000_000] {
        let bytes = pattern(length);
        let (mut read, mut write) = stream.split();
        let mut found = vec![0; length];
        let (sent, came) = within("an echo", async {
            tokio::join!(write.write_all(&bytes), read.read_exact(&mut found))
        })
        .await;
        sent.unwrap();
        came.unwrap();
        assert!(found == bytes, "{length} bytes came back otherwise");
    }
    stream.shutdown().await.unwrap();
    expect(&mut stream, b" bye").await;
    expect_end(&mut stream).await;
}

#[test]
fn a_declared_local_listener_leads_to_the_tcp_port_of_a_service() {
    scenario(async |mesh| {
        let app = server_that_greets().await;
        let callee = mesh.sidecar("mysql").port("tcp", app.port()).start().await;
        let port = free_port();
        let upstream = format!("mysql={port}");
        let caller = mesh
            .sidecar("web")
            .arg("--upstream")
            .arg(&upstream)
            .start()
            .await;
        converse(connect(port).await).await;
        let ok = [("protocol", "tcp"), ("code", "ok"), ("service", "mysql")];
        caller.expect_calls(1, &ok).await;
        callee.expect_calls(1, &ok).await;
        // A sidecar that takes the place of another has the same listener.
        let killed = caller.kill_process();
        caller.successor_of(killed).await;
        // It may have to hear of the service anew first.
        let mut stream = weft_test::wait::until("the successor to lead there", async || {
            let mut stream = connect(port).await;
            let mut found = [0; 6];
            stream.read_exact(&mut found).await.ok()?;
            (&found == b"hello ").then_some(stream)
        })
        .await;
        stream.shutdown().await.unwrap();
        expect(&mut stream, b" bye").await;
        expect_end(&mut stream).await;
    });
}

#[test]
fn connect_leads_to_a_service_and_out_of_the_mesh() {
    scenario(async |mesh| {
        let app = server_that_greets().await;
        let outside = server_that_greets().await;
        let callee = mesh.sidecar("mysql").port("tcp", app.port()).start().await;
        let caller = mesh.sidecar("web").start().await;
        for authority in [
            format!("mysql:{}", app.port()),
            "mysql:tcp".to_owned(),
            format!("127.0.0.1:{}", outside.port()),
        ] {
            converse(tunnel(&caller, &authority).await).await;
        }
        let ok = [("protocol", "tcp"), ("code", "ok")];
        caller.expect_calls(3, &ok).await;
        caller
            .expect_calls(1, &[("protocol", "tcp"), ("service", "external")])
            .await;
        callee.expect_calls(2, &ok).await;
    });
}

#[test]
fn a_connect_that_is_refused_says_why_and_takes_no_byte_for_a_request() {
    scenario(async |mesh| {
        let app = server_that_greets().await;
        let closed = free_port();
        mesh.sidecar("mysql").port("tcp", app.port()).start().await;
        let caller = mesh.sidecar("web").start().await;
        for (authority, status, code) in [
            ("mysql:1".to_owned(), 404, "no_port"),
            (format!("127.0.0.1:{closed}"), 503, "connect_refused"),
            (format!("127.0.0.1:{}", caller.outbound_port()), 508, "loop"),
        ] {
            let mut proxy = caller.http_proxy().await;
            let early = "GET http://127.0.0.1/ HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n";
            let head = format!("CONNECT {authority} HTTP/1.1\r\nHost: {authority}\r\n\r\n{early}");
            let reply = proxy.call(head).await;
            assert_eq!(
                (reply.status, reply.field("x-weft-code")),
                (status, Some(code)),
                "{authority}"
            );
            assert_eq!(reply.field("connection"), Some("close"));
            proxy.expect_end().await;
        }
        caller.expect_calls(3, &[]).await;
        for port in [caller.outbound_port(), caller.inbound_port()] {
            let mut elsewhere = weft_test::HttpConnection::open(port).await;
            let reply = elsewhere
                .call("CONNECT mysql:3306 HTTP/1.1\r\nHost: mysql:3306\r\n\r\n")
                .await;
            reply.expect_failure(501, "not_implemented", "caller");
            assert!(reply.text().contains("9983"), "{}", reply.text());
        }
    });
}

#[test]
fn a_reset_of_a_tcp_connection_is_passed_on_as_one() {
    scenario(async |mesh| {
        let app = server_that_greets().await;
        let callee = mesh.sidecar("mysql").port("tcp", app.port()).start().await;
        let caller = mesh.sidecar("web").start().await;
        let mut stream = tunnel(&caller, "mysql:tcp").await;
        expect(&mut stream, b"hello ").await;
        stream.write_all(b"reset").await.unwrap();
        let end = within("the reset", stream.read(&mut [0; 8])).await;
        let kind = end.map_err(|error| error.kind());
        assert_eq!(kind, Err(std::io::ErrorKind::ConnectionReset));
        for sidecar in [&caller, &callee] {
            sidecar.expect_calls(1, &[("code", "upstream_reset")]).await;
        }
    });
}

#[test]
fn one_way_that_is_not_read_does_not_hold_the_other() {
    scenario(async |mesh| {
        // Sends without end, and counts what it is sent.
        let taken = Arc::new(AtomicUsize::new(0));
        let count = Arc::clone(&taken);
        let app = TcpApp::start(move |stream, _| {
            let count = Arc::clone(&count);
            async move {
                let (mut read, mut write) = stream.into_split();
                let mut bytes = vec![0; 64 * 1024];
                let more = vec![7; 64 * 1024];
                let flood = async { while write.write_all(&more).await.is_ok() {} };
                let counted = async {
                    while let Ok(some @ 1..) = read.read(&mut bytes).await {
                        count.fetch_add(some, Relaxed);
                    }
                };
                tokio::join!(flood, counted);
            }
        })
        .await;
        mesh.sidecar("mysql").port("tcp", app.port()).start().await;
        let caller = mesh.sidecar("web").start().await;
        let mut stream = tunnel(&caller, "mysql:tcp").await;
        let bytes = pattern(3_000_000);
        within("an app that floods to take bytes", stream.write_all(&bytes))
            .await
            .unwrap();
        weft_test::wait::until("all bytes to arrive", async || {
            (taken.load(Relaxed) == bytes.len()).then_some(())
        })
        .await;
        reset(stream);
    });
}

#[test]
fn an_instance_whose_app_refuses_is_left_for_another() {
    scenario(async |mesh| {
        let app = server_that_greets().await;
        let dead = server_that_greets().await;
        mesh.sidecar("mysql").port("tcp", app.port()).start().await;
        mesh.sidecar("mysql").port("tcp", dead.port()).start().await;
        let caller = mesh.sidecar("web").start().await;
        dead.stop().await;
        for _ in 0..10 {
            let mut stream = tunnel(&caller, "mysql:tcp").await;
            expect(&mut stream, b"hello ").await;
            stream.shutdown().await.unwrap();
            expect(&mut stream, b" bye").await;
        }
        caller.expect_calls(10, &[("code", "ok")]).await;
    });
}

#[test]
fn a_tunnel_outlives_the_beginning_of_a_drain_and_is_counted_while_it_is_open() {
    scenario(async |mesh| {
        let app = server_that_greets().await;
        let callee = mesh.sidecar("mysql").port("tcp", app.port()).start().await;
        let caller = mesh.sidecar("web").start().await;
        let mut stream = tunnel(&caller, "mysql:tcp").await;
        expect(&mut stream, b"hello ").await;
        let open = async |sidecar: &Sidecar, direction| {
            let metrics = sidecar.metrics().await;
            metrics.sum("weft_streams_active", &[("direction", direction)])
        };
        assert_eq!(open(&caller, "outbound").await, 1);
        assert_eq!(open(&callee, "inbound").await, 1);
        let management = callee.management_port();
        let goes_on = async {
            weft_test::wait::until("the callee to drain", async || {
                let mut probe = weft_test::HttpConnection::open(management).await;
                (probe.get("localhost", "/ready").await.status == 503).then_some(())
            })
            .await;
            stream.write_all(b"still there").await.unwrap();
            expect(&mut stream, b"still there").await;
            stream.shutdown().await.unwrap();
            expect(&mut stream, b" bye").await;
            expect_end(&mut stream).await;
        };
        let (code, ()) = tokio::join!(callee.end(), goes_on);
        assert_eq!(code, Some(0));
        caller.expect_calls(1, &[("code", "ok")]).await;
        assert_eq!(open(&caller, "outbound").await, 0);
    });
}

/// The first bytes of a TLS client that asks for this host.
fn client_hello(host: &str) -> Vec<u8> {
    let sized = |width: usize, bytes: &[u8]| {
        let length = bytes.len().to_be_bytes();
        [&length[length.len() - width..], bytes].concat()
    };
    let name = sized(2, &[&[0][..], &sized(2, host.as_bytes())].concat());
    let extension = [&[0, 0][..], &sized(2, &name)].concat();
    let body = [
        &[3, 3][..],
        &[7; 32],
        &[0],
        &sized(2, &[0x13, 1]),
        &sized(1, &[0]),
        &sized(2, &extension),
    ]
    .concat();
    let handshake = [&[1][..], &sized(3, &body)].concat();
    [&[22, 3, 1][..], &sized(2, &handshake)].concat()
}

#[test]
fn tls_passes_unread_and_its_name_is_recorded() {
    scenario(async |mesh| {
        let app = server_that_greets().await;
        mesh.sidecar("shop").port("tcp", app.port()).start().await;
        let caller = mesh.sidecar("web").start().await;
        let hello = client_hello("shop.example");
        for first in [hello.len(), 1, 7, 40] {
            let mut stream = tunnel(&caller, "shop:tcp").await;
            expect(&mut stream, b"hello ").await;
            let (first, rest) = hello.split_at(first);
            stream.write_all(first).await.unwrap();
            expect(&mut stream, first).await;
            stream.write_all(rest).await.unwrap();
            expect(&mut stream, rest).await;
            stream.shutdown().await.unwrap();
            expect(&mut stream, b" bye").await;
        }
        caller.expect_calls(4, &[("code", "ok")]).await;
        let named = || {
            let records = caller.records();
            let is_named = |record: &&serde_json::Value| record["server_name"] == "shop.example";
            records.iter().filter(is_named).count()
        };
        weft_test::wait::until("four records with the name", async || {
            (named() == 4).then_some(())
        })
        .await;
    });
}
