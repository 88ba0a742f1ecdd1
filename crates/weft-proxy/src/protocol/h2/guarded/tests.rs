//! A metered socket: asked to go, cut off, and what the peer reads then.

use super::*;
use crate::accept::Listener;
use crate::protocol::motan2::tests::{Sidecar, run};
use crate::settings::Limits;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _, DuplexStream, duplex};
use weft_codec::sniff::HTTP2_PREFACE;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

/// `count` requests, each of them reset at once.
fn pairs(first: u32, count: u32) -> Vec<u8> {
    (first..first + count)
        .flat_map(|n| {
            let id = 2 * n + 1;
            [
                frame(1, 5, id, &[0x82, 0x84]),
                frame(3, 0, id, &[0, 0, 0, 8]),
            ]
            .concat()
        })
        .collect()
}

async fn sidecar(limits: Limits) -> Sidecar {
    Sidecar::start_with("orders", &[], Listener::Inbound, Vec::new(), limits).await
}

fn hits(sidecar: &Sidecar) -> Vec<(&'static str, u64)> {
    sidecar.ctx.counters.limits_hit.counts().collect()
}

/// The peer, the metered socket, and what is known of it.
fn guarded(sidecar: &Sidecar) -> (DuplexStream, Guarded<DuplexStream>, Guard) {
    let (peer, io) = duplex(1024 * 1024);
    let (io, guard) = Guarded::new(&sidecar.ctx, PeerSide::Caller, io);
    (peer, io, guard)
}

#[test]
fn a_peer_is_asked_to_go_and_then_cut_off() {
    run(async {
        let sidecar = sidecar(Limits::default()).await;
        let (mut peer, mut io, guard) = guarded(&sidecar);
        let mut bytes = vec![0; 64 * 1024];
        peer.write_all(HTTP2_PREFACE).await.unwrap();
        peer.write_all(&pairs(0, 100)).await.unwrap();
        assert!(io.read(&mut bytes).await.unwrap() > 0);
        assert!(!guard.must_go());
        peer.write_all(&pairs(100, 1)).await.unwrap();
        assert!(io.read(&mut bytes).await.unwrap() > 0);
        assert!(guard.must_go());
        assert_eq!(guard.failure(), None);
        // The hundredth of a whole flood cuts it off, and the rest is not looked at.
        peer.write_all(&pairs(101, 2000)).await.unwrap();
        let error = io.read(&mut bytes).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(guard.failure().unwrap().code, Code::Flood);
        assert_eq!(sidecar.ctx.counters.h2_frames_caller.load(Relaxed), 400);
        assert_eq!(hits(&sidecar), [("h2_debt", 1)]);
        assert!(io.read(&mut bytes).await.is_err(), "it stays so");
        assert!(io.write(b"x").await.is_err(), "it stays so");
        drop(io);
        let mut told = Vec::new();
        peer.read_to_end(&mut told).await.unwrap();
        let text = String::from_utf8_lossy(&told);
        assert_eq!(told[3], 7, "a GOAWAY");
        assert_eq!(told[9..17], [0, 0, 1, 0x8f, 0, 0, 0, 0xb]);
        assert!(text.ends_with("(WFT-1011)"), "{text}");
    });
}

#[test]
fn resets_that_the_peer_causes_end_what_is_written() {
    run(async {
        let sidecar = sidecar(Limits::default()).await;
        let (mut peer, mut io, guard) = guarded(&sidecar);
        peer.write_all(HTTP2_PREFACE).await.unwrap();
        let mut bytes = vec![0; 64 * 1024];
        for n in 0..200 {
            let id = 2 * n + 1;
            peer.write_all(&frame(1, 5, id, &[0x82, 0x84]))
                .await
                .unwrap();
            assert!(io.read(&mut bytes).await.unwrap() > 0);
            // PROTOCOL_ERROR, in two pieces.
            let reset = frame(3, 0, id, &[0, 0, 0, 1]);
            io.write_all(&reset[..5]).await.unwrap();
            io.write_all(&reset[5..]).await.unwrap();
            assert_eq!(guard.must_go(), n >= 100, "{n}");
        }
        assert!(
            io.write_all(&frame(3, 0, 401, &[0, 0, 0, 1]))
                .await
                .is_err()
        );
        assert_eq!(guard.failure().unwrap().code, Code::Flood);
    });
}

#[test]
fn a_goaway_never_stands_within_a_frame() {
    run(async {
        let sidecar = sidecar(Limits::default()).await;
        let (mut peer, mut io, _) = guarded(&sidecar);
        let mut bytes = vec![0; 64 * 1024];
        io.write_all(&frame(0, 0, 1, &[0; 100])[..50])
            .await
            .unwrap();
        peer.write_all(&[HTTP2_PREFACE, &pairs(0, 1000)].concat())
            .await
            .unwrap();
        assert!(io.read(&mut bytes).await.is_err());
        drop(io);
        let mut told = Vec::new();
        peer.read_to_end(&mut told).await.unwrap();
        assert_eq!(told.len(), 50);
    });
}

#[test]
fn a_header_block_that_does_not_end_is_a_head_that_comes_too_late() {
    run(async {
        let sidecar = sidecar(Limits {
            head: Duration::from_millis(300),
            ..Limits::default()
        })
        .await;
        let (mut peer, mut io, guard) = guarded(&sidecar);
        let mut bytes = vec![0; 64 * 1024];
        peer.write_all(HTTP2_PREFACE).await.unwrap();
        peer.write_all(&frame(1, 1, 1, &[0x82])).await.unwrap();
        assert!(io.read(&mut bytes).await.unwrap() > 0);
        let error = loop {
            match io.read(&mut bytes).await {
                // It drips, which is no excuse.
                Ok(_) => peer.write_all(&frame(9, 0, 1, &[0x84])).await.unwrap(),
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), io::ErrorKind::ConnectionAborted);
        assert_eq!(guard.failure().unwrap().code, Code::HeadTimeout);
        assert_eq!(hits(&sidecar), [("head_seconds", 1)]);
    });
}

#[test]
fn many_little_frames_come_in_turns() {
    run(async {
        let sidecar = sidecar(Limits::default()).await;
        let (mut peer, mut io, _guard) = guarded(&sidecar);
        let little = frame(0, 0, 1, b"x");
        let count = 4 * FRAMES_PER_TURN as usize;
        peer.write_all(HTTP2_PREFACE).await.unwrap();
        peer.write_all(&frame(1, 4, 1, &[0x83, 0x84]))
            .await
            .unwrap();
        peer.write_all(&little.repeat(count)).await.unwrap();
        let all = HTTP2_PREFACE.len() + 11 + count * little.len();
        let (mut came, mut turns) = (0, 0);
        std::future::poll_fn(|cx| {
            turns += 1;
            // As h2 does: on and on, as long as there is something.
            let mut bytes = [0; 64];
            loop {
                let mut into = ReadBuf::new(&mut bytes);
                match Pin::new(&mut io).poll_read(cx, &mut into) {
                    Poll::Ready(read) => read.unwrap(),
                    Poll::Pending => return Poll::Pending,
                }
                came += into.filled().len();
                if came == all {
                    return Poll::Ready(());
                }
            }
        })
        .await;
        assert!(turns > 3, "all in {turns} turns");
    });
}
