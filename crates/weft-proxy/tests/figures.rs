//! How fast word spreads: from the death of an app to the last of its callers knowing it. One real sidecar in this
//! process; its callers are connections of a light client that speaks the link.
//!
//! Unoptimised it has fewer callers and gates at five times the figure. The stated one:
//! `cargo test --release -p weft-proxy --test figures -- --nocapture`.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::print_stdout,
    clippy::disallowed_methods,
    reason = "a measurement: it reads the clock, prints, and fails when something is not as it must be"
)]

use bytes::Bytes;
use std::io::Write as _;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use weft_api::agent::ToSidecar;
use weft_api::sidecar::SidecarSpec;
use weft_codec::Fields;
use weft_codec::link::{Frame, HealthState, Hello, LINK_VERSION, Step, decode, write_hello};
use weft_proxy::{Config, Listeners};

/// All callers know of the death within this time.
const KNOWN_WITHIN: Duration = Duration::from_millis(100);

/// How much longer it may take on a busy machine, unoptimised.
const BUSY: u32 = 5;

/// Anything else takes less than this.
const BOUND: Duration = Duration::from_mins(1);

/// Callers, and within which time all of them must know.
const STATED: (usize, Duration) = if cfg!(debug_assertions) {
    (200, KNOWN_WITHIN.saturating_mul(BUSY))
} else {
    (1_000, KNOWN_WITHIN)
};

#[test]
fn callers_know_of_a_dead_app_at_once() {
    let (callers, limit) = STATED;
    let took = death_to_last_word(callers);
    assert!(took <= limit, "{took:?}");
}

/// From the moment at which the sidecar is told that its app is dead to the last of so many links having heard it.
fn death_to_last_word(links: usize) -> Duration {
    let inbound = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = inbound.local_addr().unwrap();
    let (mut agent, line) = UnixStream::pair().unwrap();
    let spec = SidecarSpec {
        service: "orders".into(),
        instance: "orders-1".into(),
        incarnation: 1,
        ..SidecarSpec::default()
    };
    let listeners = Listeners {
        inbound: vec![inbound],
        ..Listeners::default()
    };
    let sidecar = std::thread::spawn(move || {
        weft_proxy::run(Config::new(spec, listeners, Some(line))).unwrap();
    });
    let started = ToSidecar::AppStarted {
        incarnation: 1,
        age_ms: 60_000,
    };
    say(&mut agent, &started);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let took = runtime.block_on(async {
        tokio::time::timeout(BOUND, measure(address, links, &mut agent))
            .await
            .expect("the measurement ends in time")
    });
    say(&mut agent, &ToSidecar::End { limit_ms: 0 });
    drop(runtime);
    sidecar.join().unwrap();
    println!("app dead to the last of {links} callers knowing: {took:?} (limit {KNOWN_WITHIN:?})");
    took
}

async fn measure(address: SocketAddr, links: usize, agent: &mut UnixStream) -> Duration {
    let (heard, mut told) = mpsc::unbounded_channel();
    for _ in 0..links {
        let heard = heard.clone();
        let (open, opened) = tokio::sync::oneshot::channel();
        tokio::spawn(async move { caller(address, open, heard).await });
        opened.await.expect("the sidecar said hello");
    }
    let began = Instant::now();
    say(agent, &ToSidecar::AppDead);
    let mut last = began;
    for _ in 0..links {
        last = last.max(told.recv().await.expect("every link hears it"));
    }
    last.saturating_duration_since(began)
}

/// One link: says once that it is open, and once when it heard that the app is dead.
async fn caller(
    address: SocketAddr,
    open: tokio::sync::oneshot::Sender<()>,
    heard: mpsc::UnboundedSender<Instant>,
) {
    let stream = TcpStream::connect(address).await.unwrap();
    let (client, connection) = h2::client::handshake(stream).await.unwrap();
    tokio::spawn(connection);
    let mut client = client.ready().await.unwrap();
    let request = http::Request::post(format!("http://{address}/weft.link.v1.Link/Open"))
        .header("content-type", "application/grpc")
        .body(())
        .unwrap();
    let (response, mut send) = client.send_request(request, false).unwrap();
    let mut hello = Vec::new();
    let said = Hello {
        version: LINK_VERSION,
        instance: b"web-1",
        ..Hello::default()
    };
    write_hello(&said, &mut hello);
    send.send_data(Bytes::from(hello), false).unwrap();
    let mut body = response.await.unwrap().into_body();
    let (mut open, mut bytes, mut fields) = (Some(open), Vec::new(), Fields::new());
    while let Some(Ok(piece)) = body.data().await {
        body.flow_control().release_capacity(piece.len()).unwrap();
        bytes.extend_from_slice(&piece);
        let mut taken = 0;
        while let Ok(Step::Frame(frame, count)) = decode(&bytes[taken..], &mut fields) {
            taken += count;
            match frame {
                Frame::Hello(_) => {
                    if let Some(open) = open.take() {
                        open.send(()).unwrap();
                    }
                }
                Frame::Health(health) if health.state == HealthState::AppDead => {
                    // The one who measures may have seen enough.
                    let _ = heard.send(Instant::now());
                    return;
                }
                _ => {}
            }
        }
        bytes.drain(..taken);
    }
}

fn say(agent: &mut UnixStream, message: &ToSidecar) {
    let mut text = serde_json::to_string(message).unwrap();
    text.push('\n');
    agent.write_all(text.as_bytes()).unwrap();
}
