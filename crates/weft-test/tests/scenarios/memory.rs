//! What stalled readers cost: little, and nobody but themselves.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpSocket;
use weft_test::http::{Framing, Wire, pattern};
use weft_test::http_app::reply;
use weft_test::wait::{until_within, within};
use weft_test::{HttpConnection, Sidecar, TcpApp, scenario};

/// Callers that read nothing.
const STALLED: usize = 600;

/// What each of them asks for.
const LARGE: &str = "GET /large HTTP/1.1\r\nHost: orders\r\n\r\n";

/// And gets.
const BODY_BYTES: usize = 10_000_000;

/// What they may cost a sidecar together. Each could have more than 300 KiB under way if it read.
const GROWTH_MAX: u64 = 48 * 1024 * 1024;

/// How long a busy machine may take to bring all of them to a stand.
const STAND_BOUND: Duration = Duration::from_mins(1);

/// Room in the kernel for what the app sends.
const APP_SOCKET_BYTES: usize = 128 * 1024;

/// Little room in the kernel, so that it is the sidecars who must wait.
const SOCKET_BYTES: usize = 4 * 1024;

/// An app whose `/large` is large.
async fn app() -> TcpApp {
    TcpApp::start(|stream, _| async move {
        socket2::SockRef::from(&stream)
            .set_send_buffer_size(APP_SOCKET_BYTES)
            .unwrap();
        let mut wire = Wire::new(stream);
        while let Ok(Some(head)) = wire.head().await {
            let is_large = head.word(1) == "/large";
            if wire.message(head, Framing::Length(0)).await.is_err() {
                return;
            }
            let written = if is_large {
                let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BODY_BYTES}\r\n\r\n");
                let piece = pattern(50_000);
                let mut written = wire.stream.write_all(head.as_bytes()).await;
                for _ in 0..BODY_BYTES / piece.len() {
                    if written.is_ok() {
                        written = wire.stream.write_all(&piece).await;
                    }
                }
                written
            } else {
                wire.stream.write_all(&reply(200, &[], b"small")).await
            };
            if written.is_err() {
                return;
            }
        }
    })
    .await
}

async fn stalled_caller(sidecar: &Sidecar) -> HttpConnection {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(SOCKET_BYTES as u32).unwrap();
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, sidecar.outbound_port()));
    let stream = within("a connection", socket.connect(address)).await;
    let mut connection = HttpConnection {
        wire: Wire::new(stream.unwrap()),
    };
    connection.send(LARGE).await;
    connection
}

/// Waits until the buffers of a sidecar no longer change: how large they are then.
async fn stands(sidecar: &Sidecar) -> u64 {
    let mut before = u64::MAX;
    until_within(
        "stalled callers to be at a stand",
        STAND_BOUND,
        async || {
            let held = sidecar.metrics().await.sum("weft_buffer_bytes", &[]);
            (std::mem::replace(&mut before, held) == held).then_some(held)
        },
    )
    .await
}

#[test]
#[allow(
    clippy::print_stdout,
    reason = "the figures that the scenario is about"
)]
fn hundreds_of_readers_that_read_nothing_take_little_and_others_are_served() {
    scenario(async |mesh| {
        let app = app().await;
        let callee = mesh
            .sidecar("orders")
            .port("http", app.port())
            .start()
            .await;
        // One worker: all share one link.
        let caller = mesh.sidecar("web").arg("--workers").arg("1").start().await;
        let mut bystander = caller.outbound().await;
        for _ in 0..100 {
            assert_eq!(bystander.get("orders", "/").await.text(), "small");
        }
        let both = [&caller, &callee];
        let before = both.map(Sidecar::resident_bytes);
        let mut stalled = Vec::new();
        for at in 0..STALLED {
            stalled.push(stalled_caller(&caller).await);
            if at % 20 == 0 {
                assert_eq!(bystander.get("orders", "/").await.text(), "small");
            }
        }
        for (sidecar, before) in both.into_iter().zip(before) {
            let held = stands(sidecar).await;
            let grown = sidecar.resident_bytes().saturating_sub(before);
            println!(
                "{}: {STALLED} stalled callers: {} KiB of buffers, {} KiB more memory",
                sidecar.service(),
                held / 1024,
                grown / 1024
            );
            assert!(held <= GROWTH_MAX, "{held} bytes of buffers are held");
            assert!(grown <= GROWTH_MAX, "{grown} bytes more memory");
        }
        for _ in 0..100 {
            assert_eq!(bystander.get("orders", "/").await.text(), "small");
        }
        drop(stalled);
        let cancelled = STALLED as u64;
        caller
            .expect_calls(cancelled, &[("code", "cancelled")])
            .await;
        callee
            .expect_calls(cancelled, &[("code", "cancelled")])
            .await;
        let given_back = "the buffers of callers that went to be given back";
        until_within(given_back, STAND_BOUND, async || {
            let held = caller.metrics().await.sum("weft_buffer_bytes", &[]);
            (held < GROWTH_MAX / 16).then_some(())
        })
        .await;
    });
}
