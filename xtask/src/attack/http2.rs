//! Runs a flood of frames: whether the sidecar ends it, after how many units, and at what cost.

use super::beside::Figures;
use super::bytes::{END_STREAM, frame, post, preface};
use super::plans::{Plan, REACHED_MAX, ack};
use super::stand::Stand;
use crate::drill::rows::Rows;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use weft_codec::h2::frames::DATA;

/// Bytes that an attacker writes at once.
const WRITE_BYTES: usize = 16 * 1024;

/// How long a write may take before the attacker looks whether it was cut off.
const WRITE_WITHIN: Duration = Duration::from_secs(2);

/// How long it waits for the end when it has sent all.
const CLOSED_WITHIN: Duration = Duration::from_secs(2);

/// Memory that one attacking connection may cost.
const KIB_PER_CONNECTION_MAX: f64 = 1024.0;

/// Memory that a claimed length without bytes may cost.
const CLAIM_KIB_MAX: f64 = 256.0;

/// Runs one flood and writes its rows.
pub(super) fn run(stand: &Stand, plan: &Plan, rows: &mut Rows) -> Result<(), String> {
    let full = rows.full();
    let units = if full { plan.units.0 } else { plan.units.1 };
    let connections = if full {
        plan.connections.0
    } else {
        plan.connections.1
    };
    let address = stand.inbound();
    let title = plan.title();
    let (closed, cost) = stand.under(&title, rows, || {
        attackers(address, plan, units, connections)
    })?;
    let per_connection = connections as f64;
    let processed = cost.frames / f64::from(plan.frames) / per_connection;
    if let Some(units_max) = plan.units_max {
        let open = connections - closed;
        rows.count(
            &format!("{title}: not closed of {connections}"),
            open as f64,
            0.0,
        );
        // Two frames more: the preface's SETTINGS and what opens the stream of the flood.
        rows.count(
            &format!("{title}: units processed per connection"),
            processed.floor(),
            f64::from(units_max) + 2.0,
        );
    } else {
        rows.shown(&format!("{title}: units processed"), processed);
        rows.shown(&format!("{title}: closed"), closed as f64);
    }
    if plan.calls {
        rows.count(
            &format!("{title}: reached the app per connection"),
            cost.reached / per_connection,
            f64::from(REACHED_MAX),
        );
        rows.count(
            &format!("{title}: not stopped at the app"),
            cost.not_stopped,
            0.0,
        );
    }
    rows.count(
        &format!("{title}: memory per connection, KiB"),
        cost.peak_kib / per_connection,
        match plan.units_max {
            Some(_) => KIB_PER_CONNECTION_MAX,
            // What h2 holds of little frames until it gives the connection up, and their bodies.
            None => 2.0 * KIB_PER_CONNECTION_MAX,
        },
    );
    rows.shown(&format!("{title}: CPU, ms"), cost.cpu_s * 1000.0);
    let figures = Figures {
        closed: Some((closed, connections)),
        peak_kib: cost.peak_kib,
        reached: Some(cost.reached),
        seen: Some(cost.seen),
    };
    stand.keep_figures(&title, figures);
    Ok(())
}

/// Attacks on so many connections at once; how many of them were closed.
pub(super) fn attackers(
    address: SocketAddr,
    plan: &Plan,
    units: u32,
    connections: usize,
) -> Result<usize, String> {
    let closed = std::thread::scope(|scope| {
        let attackers: Vec<_> = (0..connections)
            .map(|_| scope.spawn(|| flood(address, plan, units)))
            .collect();
        attackers
            .into_iter()
            .map(|attacker| {
                attacker
                    .join()
                    .unwrap_or_else(|_| Err("it panicked".into()))
            })
            .collect::<Result<Vec<bool>, String>>()
    })?;
    Ok(closed.into_iter().filter(|closed| *closed).count())
}

/// One attacking connection: whether it was closed.
fn flood(address: SocketAddr, plan: &Plan, units: u32) -> Result<bool, String> {
    let told = |error: std::io::Error| format!("attack {address}: {error}");
    let mut stream = TcpStream::connect(address).map_err(told)?;
    stream.set_write_timeout(Some(WRITE_WITHIN)).map_err(told)?;
    let closed = Arc::new(AtomicBool::new(false));
    let mut reader = None;
    if plan.reads {
        reader = Some(read_on(&stream, &closed).map_err(told)?);
    }
    let mut out = (plan.start)();
    let mut blocked = false;
    for n in 0..units {
        (plan.unit)(n, &mut out);
        if out.len() < WRITE_BYTES && n + 1 < units {
            continue;
        }
        match stream.write_all(&out) {
            Ok(()) => {}
            // It is not read any more: it may have been cut off, or is held back.
            Err(error) if is_timeout(&error) => {
                blocked = true;
                break;
            }
            Err(_) => closed.store(true, Relaxed),
        }
        out.clear();
        if closed.load(Relaxed) {
            break;
        }
    }
    let reader = match reader {
        Some(reader) => reader,
        None => read_on(&stream, &closed).map_err(told)?,
    };
    let waited = Stand::now();
    while !closed.load(Relaxed) && Stand::now() - waited < CLOSED_WITHIN {
        std::thread::sleep(Duration::from_millis(5));
    }
    let was_closed = closed.load(Relaxed);
    // A connection that only held the attacker back is no closed one.
    let _ = (blocked, stream.shutdown(std::net::Shutdown::Both));
    let _ = reader.join();
    Ok(was_closed)
}

fn is_timeout(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{TimedOut, WouldBlock};
    matches!(error.kind(), TimedOut | WouldBlock)
}

/// Reads what comes until the end, and says that it has come.
fn read_on(
    stream: &TcpStream,
    closed: &Arc<AtomicBool>,
) -> std::io::Result<std::thread::JoinHandle<()>> {
    let mut stream = stream.try_clone()?;
    let closed = Arc::clone(closed);
    Ok(std::thread::spawn(move || {
        let mut bytes = vec![0; 64 * 1024];
        while matches!(stream.read(&mut bytes), Ok(1..)) {}
        closed.store(true, Relaxed);
    }))
}

/// B5: what a gRPC message claims costs nothing, and a large status message or a body after trailers is only bytes.
pub(super) fn grpc(stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    const CONNECTIONS: usize = 20;
    /// How long the claims stand.
    const HELD_FOR: Duration = Duration::from_millis(500);
    let title = "B5 gRPC, a message of 4 GiB claimed";
    let address = stand.inbound();
    let ((), cost) = stand.under(title, rows, || {
        let told = |error: std::io::Error| format!("attack {address}: {error}");
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(address).map_err(told)?;
            let mut out = preface(&[]);
            ack(&mut out);
            post(1, "/body", &mut out);
            frame(DATA, 0, 1, &[0, 0xff, 0xff, 0xff, 0xff, 1, 2, 3], &mut out);
            // The compressed flag without any encoding said.
            post(3, "/body", &mut out);
            frame(DATA, END_STREAM, 3, &[1, 0, 0, 0, 1, 9], &mut out);
            stream.write_all(&out).map_err(told)?;
            held.push(stream);
        }
        std::thread::sleep(HELD_FOR);
        Ok(())
    })?;
    let per_connection = cost.peak_kib / CONNECTIONS as f64;
    rows.count(
        &format!("{title}: memory per connection, KiB"),
        per_connection,
        CLAIM_KIB_MAX,
    );
    rows.count(
        &format!("{title}: not stopped at the app"),
        cost.not_stopped,
        0.0,
    );
    Ok(())
}
