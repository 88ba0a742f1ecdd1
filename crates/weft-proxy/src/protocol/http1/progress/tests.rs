//! Bodies that drip, rest, or wait for the app, over real sockets.

use crate::accept::Listener;
use crate::protocol::motan2::tests::{Sidecar, run};
use crate::settings::Limits;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// A sidecar before an app that reads bodies and never answers.
async fn sidecar() -> (Sidecar, TcpListener) {
    let app = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = format!("http={}", app.local_addr().unwrap().port());
    let limits = Limits {
        body_window: Duration::from_millis(400),
        body_progress_bytes: 100,
        stall: Duration::from_secs(2),
        ..Limits::default()
    };
    let ports = [port.as_str()];
    let sidecar = Sidecar::start_with("orders", &ports, Listener::Inbound, Vec::new(), limits);
    (sidecar.await, app)
}

async fn begun(sidecar: &Sidecar, app: &TcpListener, head: &str) -> (TcpStream, TcpStream) {
    let mut caller = TcpStream::connect(sidecar.address).await.unwrap();
    caller.write_all(head.as_bytes()).await.unwrap();
    let (app, _) = app.accept().await.unwrap();
    (caller, app)
}

async fn answer(mut caller: TcpStream) -> String {
    let mut text = String::new();
    let _ = caller.read_to_string(&mut text).await;
    text
}

fn hits(sidecar: &Sidecar) -> Vec<(&'static str, u64)> {
    sidecar.ctx.counters.limits_hit.counts().collect()
}

#[test]
fn a_body_that_drips_is_refused_although_it_never_stalls() {
    run(async {
        let (sidecar, app) = sidecar().await;
        let head = "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: 100000\r\n\r\n";
        let (mut caller, _app) = begun(&sidecar, &app, head).await;
        // 1 byte each 50 ms: never still for a tenth of the window.
        while caller.write_all(b"x").await.is_ok() && hits(&sidecar).is_empty() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        let text = answer(caller).await;
        assert!(text.starts_with("HTTP/1.1 408 "), "{text}");
        assert!(text.contains("x-weft-code: body_timeout"), "{text}");
        assert_eq!(hits(&sidecar), [("body_progress_bytes", 1)]);
        sidecar.quiet().await;
    });
}

#[test]
fn the_rest_of_a_chunk_must_come_in_time() {
    run(async {
        let (sidecar, app) = sidecar().await;
        let head = "POST / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab";
        let (caller, _app) = begun(&sidecar, &app, head).await;
        let text = answer(caller).await;
        assert!(text.contains("x-weft-code: body_timeout"), "{text}");
    });
}

#[test]
fn a_stream_may_rest_between_its_chunks() {
    run(async {
        let (sidecar, app) = sidecar().await;
        let head = "POST / HTTP/1.1\r\nHost: orders\r\nTransfer-Encoding: chunked\r\n\r\n";
        let (mut caller, mut app) = begun(&sidecar, &app, head).await;
        // Three windows pass; each chunk is far below what one asks for.
        for _ in 0..4 {
            caller.write_all(b"1\r\nx\r\n").await.unwrap();
            tokio::time::sleep(Duration::from_millis(350)).await;
        }
        caller.write_all(b"0\r\n\r\n").await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"0\r\n\r\n") {
            assert!(app.read_buf(&mut got).await.unwrap() > 0);
        }
        app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 15];
        caller.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        assert_eq!(hits(&sidecar), []);
    });
}

#[test]
fn an_app_that_reads_slowly_is_not_its_callers_doing() {
    run(async {
        let (sidecar, app) = sidecar().await;
        let body = vec![b'x'; 8 * 1024 * 1024];
        let head = format!(
            "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        let (caller, mut app) = begun(&sidecar, &app, &head).await;
        let (mut read, mut write) = caller.into_split();
        let writing = tokio::task::spawn_local(async move {
            let _ = write.write_all(&body).await;
            write
        });
        // Longer than a window: nothing is awaited of the caller meanwhile.
        tokio::time::sleep(Duration::from_secs(1)).await;
        let mut left = 8 * 1024 * 1024_usize;
        let mut piece = vec![0; 64 * 1024];
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(app.read_u8().await.unwrap());
        }
        while left > 0 {
            left -= app.read(&mut piece).await.unwrap();
        }
        app.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
            .await
            .unwrap();
        let mut first = [0; 15];
        read.read_exact(&mut first).await.unwrap();
        assert_eq!(&first, b"HTTP/1.1 200 OK");
        drop(writing.await);
        assert_eq!(hits(&sidecar), []);
    });
}
