//! Peers that are silent, slow, or do not read: what each costs, and when it is closed.

use super::app::BIG_BYTES;
use super::beside::Figures;
use super::bytes::{INITIAL_WINDOW_SIZE, get, ping, preface};
use super::plans::ack;
use super::stand::Stand;
use crate::drill::rows::Rows;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

/// Memory of an idle or slow connection of HTTP/1.1, or of one that has said nothing.
const KIB_MAX: f64 = 6.0;

/// Memory of an idle connection of HTTP/2.
const H2_KIB_MAX: f64 = 32.0;

/// Slow heads and bodies are closed by then.
const CLOSED_S_MAX: f64 = 10.0;

/// Slow peers in the full form, and in the short one.
const SLOW: (usize, usize) = (3_000, 300);

/// A slow peer says something so often.
const DRIP_EVERY: Duration = Duration::from_secs(5);

/// Streams of a connection whose windows stay shut.
const STALLED_STREAMS: u32 = 96;

/// All connections of a kind are open, and memory has settled.
const SETTLED: Duration = Duration::from_secs(1);

/// An attacker gives up.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a slow peer does.
#[derive(Clone, Copy, PartialEq)]
enum Slow {
    /// A line of a head at a time (slowhttptest -H).
    Head,
    /// Some bytes of a declared body at a time (-B).
    Body,
    /// One byte a second of a request of which the protocol is not sure (B4).
    Sniffed,
    /// Reads some bytes of a large reply at a time (-X).
    Reader,
}

impl Slow {
    fn title(self) -> &'static str {
        match self {
            Self::Head => "slow heads (-H)",
            Self::Body => "slow bodies (-B)",
            Self::Sniffed => "B4 one byte a second",
            Self::Reader => "slow readers (-X)",
        }
    }

    fn start(self) -> &'static [u8] {
        match self {
            Self::Head => b"GET /slow HTTP/1.1\r\nHost: shop\r\n",
            Self::Body => b"POST /body HTTP/1.1\r\nHost: shop\r\nContent-Length: 1000000\r\n\r\n",
            Self::Sniffed => b"P",
            Self::Reader => b"GET /big HTTP/1.1\r\nHost: shop\r\n\r\n",
        }
    }

    fn drip(self) -> (&'static [u8], Duration) {
        match self {
            Self::Head => (b"X-a: b\r\n", DRIP_EVERY),
            Self::Body => (b"0123456789", DRIP_EVERY),
            Self::Sniffed => (b"O", Duration::from_secs(1)),
            Self::Reader => (b"", DRIP_EVERY),
        }
    }
}

/// Slow heads, bodies and readers.
pub(super) fn slow(stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    let connections = if rows.full() { SLOW.0 } else { SLOW.1 };
    for kind in [Slow::Head, Slow::Body] {
        drip(stand, kind, connections, rows)?;
    }
    readers(stand, connections, rows)
}

/// B1 and B4: a length that is only claimed, and first bytes that come one by one.
pub(super) fn sniffing(stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    drip(stand, Slow::Sniffed, SLOW.1, rows)?;
    let connections = if rows.full() { 1_000 } else { 200 };
    // Motan2: magic, 10 more bytes of head, then a length of metadata that never comes.
    let mut head = vec![0xf1, 0xf1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];
    head.extend_from_slice(&0x009f_ffff_u32.to_be_bytes());
    held(
        stand,
        &Held {
            title: "B1 Motan2 lengths claimed",
            start: &head,
            is_answered: false,
            kib_max: KIB_MAX,
        },
        connections,
        rows,
    )
}

/// Connections that wait for nothing.
pub(super) fn idle(stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    let connections = if rows.full() { SLOW.0 } else { SLOW.1 };
    held(
        stand,
        &Held {
            title: "silent connections",
            start: b"",
            is_answered: false,
            kib_max: KIB_MAX,
        },
        connections,
        rows,
    )?;
    let call = b"GET / HTTP/1.1\r\nHost: shop\r\n\r\n";
    held(
        stand,
        &Held {
            title: "idle HTTP/1.1 connections",
            start: call,
            is_answered: true,
            kib_max: KIB_MAX,
        },
        connections,
        rows,
    )?;
    let mut call = preface(&[]);
    ack(&mut call);
    get(1, "/", &mut call);
    ping(&mut call);
    held(
        stand,
        &Held {
            title: "idle HTTP/2 connections",
            start: &call,
            is_answered: true,
            kib_max: H2_KIB_MAX,
        },
        // Of a third as many each costs the same, and all of them stay below the ceiling.
        connections / 3,
        rows,
    )
}

/// Connections that say something and then nothing.
#[derive(Clone, Copy)]
struct Held<'a> {
    title: &'static str,
    start: &'a [u8],
    is_answered: bool,
    /// What each may cost.
    kib_max: f64,
}

/// Opens connections that say this, awaits an answer where there is one, and looks at what each costs.
fn held(stand: &Stand, held: &Held<'_>, connections: usize, rows: &mut Rows) -> Result<(), String> {
    let Held {
        title,
        start,
        is_answered,
        kib_max,
    } = *held;
    let address = stand.inbound();
    let told = |error: std::io::Error| format!("attack {address}: {error}");
    let (cost, _) = stand.under(title, rows, || {
        let before = stand.memory_kib()?;
        let mut held = Vec::new();
        for _ in 0..connections {
            let mut stream = TcpStream::connect(address).map_err(told)?;
            stream.write_all(start).map_err(told)?;
            if is_answered {
                // So that no more than one call is under way, and buffers are those of one.
                std::io::Read::read(&mut stream, &mut [0; 4096]).map_err(told)?;
            }
            held.push(stream);
        }
        std::thread::sleep(SETTLED);
        Ok((stand.memory_kib()? - before) / connections as f64)
    })?;
    rows.count(
        &format!("{title}: memory of each, KiB"),
        cost.max(0.0),
        kib_max,
    );
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime, String> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("make a runtime for slow peers: {error}"))
}

fn drip(stand: &Stand, kind: Slow, connections: usize, rows: &mut Rows) -> Result<(), String> {
    let title = kind.title();
    let address = stand.inbound();
    let ((times, kib), cost) = stand.under(title, rows, || {
        let before = stand.memory_kib()?;
        runtime()?.block_on(async {
            let mut peers = JoinSet::new();
            for _ in 0..connections {
                peers.spawn(slow_peer(address, kind));
            }
            sleep(DRIP_EVERY.min(SETTLED * 3)).await;
            let kib = (stand.memory_kib()? - before) / connections as f64;
            let times: Vec<f64> = peers
                .join_all()
                .await
                .into_iter()
                .collect::<Result<_, _>>()?;
            Ok((times, kib))
        })
    })?;
    let last = times.iter().copied().fold(0.0, f64::max);
    let open = times.iter().filter(|time| time.is_infinite()).count();
    rows.count(
        &format!("{title}: not closed of {connections}"),
        open as f64,
        0.0,
    );
    if open == 0 {
        rows.time(
            &format!("{title}: the last one closed, s"),
            last,
            CLOSED_S_MAX,
        );
    }
    rows.count(
        &format!("{title}: memory of each, KiB"),
        kib.max(0.0),
        KIB_MAX,
    );
    rows.count(
        &format!("{title}: not stopped at the app"),
        cost.not_stopped,
        0.0,
    );
    Ok(())
}

/// Seconds until it was closed, or refused.
async fn slow_peer(address: SocketAddr, kind: Slow) -> Result<f64, String> {
    let told = |error: std::io::Error| format!("attack {address}: {error}");
    let stream = tokio::net::TcpStream::connect(address)
        .await
        .map_err(told)?;
    let (mut read, mut write) = stream.into_split();
    let began = Stand::now();
    write.write_all(kind.start()).await.map_err(told)?;
    let dripping = async {
        let (bytes, every) = kind.drip();
        loop {
            sleep(every).await;
            if write.write_all(bytes).await.is_err() {
                return;
            }
        }
    };
    let mut reply = [0; 1024];
    let closed = async {
        // An answer is as good as the end: both come when the peer is refused.
        let _ = read.read(&mut reply).await;
    };
    let closed = timeout(PATIENCE, async {
        tokio::select! {
            () = dripping => {}
            () = closed => {}
        }
    });
    Ok(match closed.await {
        Ok(()) => (Stand::now() - began).as_secs_f64(),
        Err(_) => f64::INFINITY,
    })
}

/// Slow readers are not closed: a caller may be slow. What they cost is bounded.
fn readers(stand: &Stand, connections: usize, rows: &mut Rows) -> Result<(), String> {
    /// 16 KiB that wait for the caller, and a connection on either side.
    const READER_KIB_MAX: f64 = 24.0;
    /// Each costs the app a connection and this process two.
    const SHARE: usize = 3;
    let (title, connections) = (Slow::Reader.title(), connections / SHARE);
    let address = stand.inbound();
    let told = |error: std::io::Error| format!("attack {address}: {error}");
    let (kib, cost) = stand.under(title, rows, || {
        let before = stand.memory_kib()?;
        let mut held = Vec::new();
        for _ in 0..connections {
            let mut stream = narrow(address).map_err(told)?;
            stream.write_all(Slow::Reader.start()).map_err(told)?;
            held.push(stream);
        }
        for stream in &mut held {
            std::io::Read::read(stream, &mut [0; 10]).map_err(told)?;
        }
        std::thread::sleep(SETTLED);
        Ok((stand.memory_kib()? - before) / connections as f64)
    })?;
    rows.count(
        &format!("{title}: memory of each, KiB"),
        kib.max(0.0),
        READER_KIB_MAX,
    );
    rows.count(
        &format!("{title}: not stopped at the app"),
        cost.not_stopped,
        0.0,
    );
    Ok(())
}

/// A connection that takes little at a time.
fn narrow(address: SocketAddr) -> std::io::Result<TcpStream> {
    /// What the kernel takes for it.
    const WINDOW_BYTES: u32 = 4096;
    runtime()
        .map_err(std::io::Error::other)?
        .block_on(async {
            let socket = tokio::net::TcpSocket::new_v4()?;
            socket.set_recv_buffer_size(WINDOW_BYTES)?;
            socket.connect(address).await?.into_std()
        })
        .and_then(|stream| stream.set_nonblocking(false).map(|()| stream))
}

/// A10: large replies into windows of nothing, and of one byte.
pub(super) fn zero_windows(stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    const MB_MAX: f64 = 48.0;
    let connections = if rows.full() { 20 } else { 4 };
    let limit = MB_MAX * f64::from(connections) / 20.0;
    for (title, bytes) in [("A10 windows of 0", 0), ("A10b windows of 1 byte", 1)] {
        let address = stand.inbound();
        let ((), cost) = stand.under(title, rows, || stall(address, bytes, connections))?;
        let asked = f64::from(connections) * f64::from(STALLED_STREAMS);
        rows.count(
            &format!("{title}: memory, MB"),
            cost.peak_kib / 1000.0,
            limit,
        );
        rows.shown(
            &format!("{title}: MB asked for"),
            asked * BIG_BYTES as f64 / 1e6,
        );
        rows.count(
            &format!("{title}: not stopped at the app"),
            cost.not_stopped,
            0.0,
        );
        let figures = Figures {
            closed: None,
            peak_kib: cost.peak_kib,
            reached: Some(cost.reached),
            seen: Some(cost.seen),
        };
        stand.keep_figures(title, figures);
    }
    Ok(())
}

/// Asks for large replies on so many connections, with windows of so many bytes, and does not read them for a while.
pub(super) fn stall(address: SocketAddr, window: u32, connections: u32) -> Result<(), String> {
    /// How long they stall.
    const STALLED_FOR: Duration = Duration::from_secs(3);
    let told = |error: std::io::Error| format!("attack {address}: {error}");
    let mut held = Vec::new();
    for _ in 0..connections {
        let mut out = preface(&[(INITIAL_WINDOW_SIZE, window)]);
        ack(&mut out);
        for stream in 0..STALLED_STREAMS {
            get(2 * stream + 1, "/big", &mut out);
        }
        let mut stream = TcpStream::connect(address).map_err(told)?;
        stream.write_all(&out).map_err(told)?;
        held.push(stream);
    }
    std::thread::sleep(STALLED_FOR);
    Ok(())
}
