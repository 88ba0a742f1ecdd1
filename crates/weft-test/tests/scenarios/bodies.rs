//! Large bodies stream: whole, and without the memory of a sidecar growing with them.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use weft_test::http::{Head, HttpConnection, Wire, pattern};
use weft_test::wait::within;
use weft_test::{Sidecar, TcpApp, scenario};

/// The large body.
const BODY_BYTES: usize = 64 * 1024 * 1024;

/// It is made of this piece, over and over.
const PIECE_BYTES: usize = 64 * 1024;

/// A write that takes this long does not move.
const STUCK_AFTER: Duration = Duration::from_millis(300);

/// What a sidecar may grow by.
const GROWTH_BYTES_MAX: u64 = 8 * 1024 * 1024;

/// An app that reads and checks a body piece by piece and sends one of the same length back, while it reads.
async fn app_of_pieces(checked: Rc<Cell<usize>>) -> TcpApp {
    TcpApp::start(move |stream, _| {
        let checked = Rc::clone(&checked);
        async move {
            let mut wire = Wire::new(stream);
            while let Ok(Some(head)) = wire.head().await {
                if head.word(0) == "POST" {
                    checked.set(checked.get() + read_pieces(&mut wire, &head).await);
                    wire.stream
                        .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
                        .await
                        .unwrap();
                } else {
                    write_pieces(&mut wire, head.word(1) == "/chunked").await;
                }
            }
        }
    })
    .await
}

/// Reads a body of pieces and says how long it was.
async fn read_pieces(wire: &mut Wire, head: &Head) -> usize {
    let piece = pattern(PIECE_BYTES);
    let chunked = head.field("transfer-encoding").is_some();
    let mut read = 0;
    let mut read_to = if chunked { 0 } else { BODY_BYTES };
    let mut body = Vec::new();
    loop {
        if chunked && body.is_empty() && read == read_to {
            let line = next_line(wire).await;
            let length = usize::from_str_radix(&line, 16).unwrap();
            if length == 0 {
                assert_eq!(next_line(wire).await, "");
                return read;
            }
            read_to += length;
        }
        let take = (read_to - read).min(PIECE_BYTES - read % PIECE_BYTES);
        body = wire.take(take).await.unwrap();
        let from = read % PIECE_BYTES;
        assert!(
            body == piece[from..from + take],
            "the body differs at byte {read}"
        );
        read += take;
        body.clear();
        if chunked && read == read_to {
            assert_eq!(next_line(wire).await, "");
        }
        if !chunked && read == BODY_BYTES {
            return read;
        }
    }
}

async fn next_line(wire: &mut Wire) -> String {
    let mut line = Vec::new();
    while !line.ends_with(b"\r\n") {
        line.append(&mut wire.take(1).await.unwrap());
    }
    line.truncate(line.len() - 2);
    String::from_utf8(line).unwrap()
}

async fn write_pieces(wire: &mut Wire, chunked: bool) {
    let piece = pattern(PIECE_BYTES);
    let head = if chunked {
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".to_owned()
    } else {
        format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n")
    };
    wire.stream.write_all(head.as_bytes()).await.unwrap();
    let chunk = [format!("{PIECE_BYTES:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
    for _ in 0..BODY_BYTES / PIECE_BYTES {
        wire.stream
            .write_all(if chunked { &chunk } else { &piece })
            .await
            .unwrap();
    }
    if chunked {
        wire.stream.write_all(b"0\r\n\r\n").await.unwrap();
    }
}

/// Sends a large body of the given framing and reads the short reply.
async fn send_body(caller: &mut HttpConnection, chunked: bool) {
    let piece = pattern(PIECE_BYTES);
    let framing = if chunked {
        "Transfer-Encoding: chunked".to_owned()
    } else {
        format!("Content-Length: {BODY_BYTES}")
    };
    caller
        .send(format!(
            "POST / HTTP/1.1\r\nHost: orders\r\n{framing}\r\n\r\n"
        ))
        .await;
    let chunk = [format!("{PIECE_BYTES:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
    for _ in 0..BODY_BYTES / PIECE_BYTES {
        caller.send(if chunked { &chunk } else { &piece }).await;
    }
    if chunked {
        caller.send("0\r\n\r\n").await;
    }
    let reply = caller.reply().await;
    assert_eq!((reply.status, reply.text()), (200, "ok"));
}

/// Asks for a large body and checks it.
async fn receive_body(caller: &mut HttpConnection, path: &str) {
    caller
        .send(format!("GET {path} HTTP/1.1\r\nHost: orders\r\n\r\n"))
        .await;
    let head = caller.head().await;
    assert_eq!(head.word(1), "200");
    let read = within("a large body", read_pieces(&mut caller.wire, &head)).await;
    assert_eq!(read, BODY_BYTES);
}

/// What a sidecar has grown by since `before`.
fn expect_flat(sidecar: &Sidecar, before: u64) {
    let after = sidecar.resident_bytes();
    let growth = after.saturating_sub(before);
    assert!(
        growth <= GROWTH_BYTES_MAX,
        "the sidecar of {} grew by {growth} bytes, from {before} to {after}",
        sidecar.service()
    );
}

/// Carries bodies of 64 MiB through a pair and looks at the memory of both sidecars during and after.
fn flat_memory(carry: impl AsyncFnOnce(&mut HttpConnection)) {
    scenario(async |mesh| {
        let checked = Rc::new(Cell::new(0));
        let app = app_of_pieces(Rc::clone(&checked)).await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        // What a first small call makes (links, pools) is there already.
        let missing = caller.get("orders:1", "/").await;
        assert_eq!(missing.status, 404);
        let before = (pair.caller.resident_bytes(), pair.callee.resident_bytes());
        let carrying = carry(&mut caller);
        let watching = async {
            loop {
                expect_flat(&pair.caller, before.0);
                expect_flat(&pair.callee, before.1);
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        tokio::select! {
            () = carrying => {}
            () = watching => {}
        }
        expect_flat(&pair.caller, before.0);
        expect_flat(&pair.callee, before.1);
    });
}

#[test]
fn a_request_of_64_mib_declared_beforehand_passes_by_the_bulk_link_with_flat_memory() {
    flat_memory(async |caller| send_body(caller, false).await);
}

#[test]
fn a_request_of_64_mib_in_chunks_passes_with_flat_memory() {
    flat_memory(async |caller| send_body(caller, true).await);
}

#[test]
fn a_reply_of_64_mib_declared_beforehand_passes_with_flat_memory() {
    flat_memory(async |caller| receive_body(caller, "/").await);
}

#[test]
fn a_reply_of_64_mib_in_chunks_passes_with_flat_memory() {
    flat_memory(async |caller| receive_body(caller, "/chunked").await);
}

#[test]
fn a_body_that_the_app_does_not_read_waits_at_its_caller() {
    scenario(async |mesh| {
        let app = TcpApp::start(|stream, _| async move {
            let mut wire = Wire::new(stream);
            let Ok(Some(_)) = wire.head().await else {
                return;
            };
            // Reads nothing more, and answers nothing.
            std::future::pending::<()>().await;
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        assert_eq!(caller.get("orders:1", "/").await.status, 404);
        let before = (pair.caller.resident_bytes(), pair.callee.resident_bytes());
        for framing in [
            "Transfer-Encoding: chunked",
            &format!("Content-Length: {BODY_BYTES}"),
        ] {
            let mut caller = pair.caller.outbound().await;
            caller
                .send(format!(
                    "POST / HTTP/1.1\r\nHost: orders\r\n{framing}\r\n\r\n"
                ))
                .await;
            let piece = pattern(PIECE_BYTES);
            let chunk = [format!("{PIECE_BYTES:x}\r\n").as_bytes(), &piece, b"\r\n"].concat();
            let bytes = if framing.starts_with("Transfer") {
                chunk
            } else {
                piece
            };
            let mut sent = 0;
            // Until nothing moves any more.
            while tokio::time::timeout(STUCK_AFTER, caller.wire.stream.write_all(&bytes))
                .await
                .is_ok()
            {
                sent += bytes.len();
                assert!(
                    sent < BODY_BYTES / 2,
                    "{sent} bytes went to an app that reads nothing"
                );
            }
            expect_flat(&pair.caller, before.0);
            expect_flat(&pair.callee, before.1);
            caller.reset();
        }
        pair.caller.expect_calls(2, &[("code", "cancelled")]).await;
        pair.callee.expect_calls(2, &[("code", "cancelled")]).await;
    });
}

#[test]
fn a_reply_that_its_caller_does_not_read_waits_at_the_app() {
    scenario(async |mesh| {
        let app = app_of_pieces(Rc::default()).await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let mut caller = pair.caller.outbound().await;
        assert_eq!(caller.get("orders:1", "/").await.status, 404);
        let before = (pair.caller.resident_bytes(), pair.callee.resident_bytes());
        let mut stuck = Vec::new();
        for path in ["/", "/chunked"] {
            let mut caller = pair.caller.outbound().await;
            caller
                .send(format!("GET {path} HTTP/1.1\r\nHost: orders\r\n\r\n"))
                .await;
            assert_eq!(caller.head().await.word(1), "200");
            stuck.push(caller);
        }
        // While others are served, the two stand still.
        for _ in 0..200 {
            assert_eq!(caller.get("orders:1", "/").await.status, 404);
            expect_flat(&pair.caller, before.0);
            expect_flat(&pair.callee, before.1);
        }
        for caller in stuck {
            caller.reset();
        }
        pair.caller.expect_calls(2, &[("code", "cancelled")]).await;
        pair.callee.expect_calls(2, &[("code", "cancelled")]).await;
    });
}

#[test]
fn a_large_body_and_a_short_call_take_different_links() {
    scenario(async |mesh| {
        let app = app_of_pieces(Rc::default()).await;
        let callee = mesh
            .sidecar("orders")
            .port("http", app.port())
            .start()
            .await;
        let caller = mesh.sidecar("web").arg("--workers").arg("1").start().await;
        let mut connection = caller.outbound().await;
        send_body(&mut connection, true).await;
        assert_eq!(callee.metrics().await.sum("weft_links_active", &[]), 1);
        send_body(&mut connection, false).await;
        assert_eq!(
            callee.metrics().await.sum("weft_links_active", &[]),
            2,
            "the bulk link is there too"
        );
    });
}

#[test]
fn a_body_that_is_sent_while_the_reply_is_read_flows_both_ways() {
    scenario(async |mesh| {
        let app = TcpApp::start(|stream, _| async move {
            let mut wire = Wire::new(stream);
            let Ok(Some(head)) = wire.head().await else {
                return;
            };
            let length: usize = head.field("content-length").unwrap().parse().unwrap();
            let reply = format!("HTTP/1.1 200 OK\r\nContent-Length: {length}\r\n\r\n");
            let (mut read, mut write) = wire.stream.into_split();
            write.write_all(reply.as_bytes()).await.unwrap();
            write.write_all(&wire.bytes).await.unwrap();
            let mut left = length - wire.bytes.len();
            let mut piece = vec![0; PIECE_BYTES];
            while left > 0 {
                let count = read.read(&mut piece).await.unwrap();
                write.write_all(&piece[..count]).await.unwrap();
                left -= count;
            }
        })
        .await;
        let pair = mesh.pair("orders", "http", app.port()).await;
        let body = pattern(4 * 1024 * 1024);
        let HttpConnection { wire } = pair.caller.outbound().await;
        let (read, mut write) = wire.stream.into_split();
        let head = format!(
            "POST / HTTP/1.1\r\nHost: orders\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        // Nobody in between holds more than a little: without reading at once this would stand still.
        let writing = async {
            write.write_all(head.as_bytes()).await.unwrap();
            write.write_all(&body).await.unwrap();
            write
        };
        let reading = async {
            let mut all = Vec::new();
            let mut read = tokio::io::BufReader::new(read);
            let mut piece = vec![0; PIECE_BYTES];
            while !ends_with_body(&all, body.len()) {
                let count = read.read(&mut piece).await.unwrap();
                assert!(count > 0, "the connection ended after {} bytes", all.len());
                all.extend_from_slice(&piece[..count]);
            }
            all
        };
        let (_write, all) = within("4 MiB both ways at once", async {
            tokio::join!(writing, reading)
        })
        .await;
        assert!(all.ends_with(&body), "the body came back otherwise");
    });
}

fn ends_with_body(all: &[u8], length: usize) -> bool {
    let end = all
        .windows(4)
        .take(4096)
        .position(|four| four == b"\r\n\r\n");
    end.is_some_and(|end| all.len() >= end + 4 + length)
}
