//! Floods of HTTP/1.1, a to j: how much of what serves nothing is taken before the connection is refused.
//!
//! The attacker writes 1 KB, looks for a reaction, and writes on: what it has sent when it sees one is an upper
//! bound, with nothing hidden in the kernel's buffers but the last piece.

use super::stand::Stand;
use crate::drill::rows::Rows;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Bytes that serve nothing after which a flood must have been refused.
const WASTE_BYTES_MAX: f64 = 64.0 * 1024.0;

/// Memory that a flood may cost.
const KIB_MAX: f64 = 256.0;

/// Bytes of a flood that is read on, in the full form and in the short one.
const READ_ON_BYTES: (usize, usize) = (20 * 1024 * 1024, 2 * 1024 * 1024);

/// How long the attacker looks for a reaction after each piece.
const LOOK_FOR: Duration = Duration::from_millis(1);

/// How long it waits with its last piece.
const LAST_LOOK: Duration = Duration::from_millis(500);

const HEAD: &[u8] = b"POST /body HTTP/1.1\r\nHost: shop\r\n";
const CHUNKED: &[u8] = b"POST /body HTTP/1.1\r\nHost: shop\r\nTransfer-Encoding: chunked\r\n\r\n";

struct Flood {
    name: &'static str,
    start: Vec<u8>,
    unit: Vec<u8>,
}

/// Runs all of them.
pub(super) fn run(stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    let address = stand.inbound();
    for flood in refused() {
        let (sent, cost) = stand.under(flood.name, rows, || paced(address, &flood))?;
        rows.count(
            &format!("{}: bytes of waste", flood.name),
            sent,
            WASTE_BYTES_MAX,
        );
        rows.count(
            &format!("{}: memory, KiB", flood.name),
            cost.peak_kib,
            KIB_MAX,
        );
        rows.count(
            &format!("{}: not stopped at the app", flood.name),
            cost.not_stopped,
            0.0,
        );
    }
    let enough = if rows.full() {
        READ_ON_BYTES.0
    } else {
        READ_ON_BYTES.1
    };
    for flood in read_on() {
        let (sent, cost) = stand.under(flood.name, rows, || stream(address, &flood, enough))?;
        rows.shown(&format!("{}: bytes taken", flood.name), sent);
        rows.shown(&format!("{}: CPU, ms", flood.name), cost.cpu_s * 1000.0);
        rows.count(
            &format!("{}: memory, KiB", flood.name),
            cost.peak_kib,
            KIB_MAX,
        );
        rows.count(
            &format!("{}: not stopped at the app", flood.name),
            cost.not_stopped,
            0.0,
        );
    }
    Ok(())
}

fn refused() -> Vec<Flood> {
    let chunked = |tail: &[u8]| [CHUNKED, tail].concat();
    let flood = |name, start: Vec<u8>, unit: Vec<u8>| Flood { name, start, unit };
    vec![
        flood(
            "a fields without end",
            HEAD.to_vec(),
            b"a:b\r\n".repeat(200),
        ),
        flood(
            "b one endless field",
            [HEAD, b"a: "].concat(),
            vec![b'x'; 1000],
        ),
        flood("c an endless target", b"GET /".to_vec(), vec![b'x'; 1000]),
        flood(
            "d an endless chunk extension",
            chunked(b"1;"),
            vec![b'x'; 1000],
        ),
        flood(
            "f chunks of 1 byte with 1 KB of extension",
            chunked(b""),
            [b"1;".as_slice(), &[b'a'; 990], b"\r\nx\r\n"].concat(),
        ),
        flood(
            "g endless trailers",
            chunked(b"0\r\n"),
            b"a: b\r\n".repeat(167),
        ),
        flood("i empty lines", Vec::new(), b"\r\n".repeat(500)),
    ]
}

fn read_on() -> Vec<Flood> {
    let declared = b"Content-Length: 18446744073709551615\r\n\r\n";
    vec![
        Flood {
            name: "e chunks of 1 byte",
            start: CHUNKED.to_vec(),
            unit: b"1\r\nx\r\n".repeat(167),
        },
        Flood {
            name: "h pipelined requests, never reading",
            start: Vec::new(),
            unit: b"GET /ten HTTP/1.1\r\nHost: shop\r\n\r\n".repeat(30),
        },
        Flood {
            name: "j an endless declared body",
            start: [HEAD, declared].concat(),
            unit: vec![b'x'; 1000],
        },
    ]
}

/// Bytes behind the start until a reaction is seen.
fn paced(address: SocketAddr, flood: &Flood) -> Result<f64, String> {
    let told = |error: std::io::Error| format!("attack {address}: {error}");
    let mut stream = TcpStream::connect(address).map_err(told)?;
    stream.set_nodelay(true).map_err(told)?;
    stream.set_read_timeout(Some(LOOK_FOR)).map_err(told)?;
    stream.write_all(&flood.start).map_err(told)?;
    let mut sent = 0;
    let mut reply = [0; 1024];
    while (sent as f64) <= 2.0 * WASTE_BYTES_MAX {
        if stream.write_all(&flood.unit).is_err() {
            return Ok(sent as f64);
        }
        match stream.read(&mut reply) {
            // Nothing yet.
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            // An answer, the end, or a reset.
            _ => return Ok(sent as f64),
        }
        sent += flood.unit.len();
    }
    stream.set_read_timeout(Some(LAST_LOOK)).map_err(told)?;
    let is_refused = !matches!(stream.read(&mut reply), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock);
    // Refused late is as bad as not at all.
    Ok(if is_refused { sent as f64 } else { f64::MAX })
}

/// Bytes that were taken of a flood that honest peers may send too, until it is not taken any more.
fn stream(address: SocketAddr, flood: &Flood, enough: usize) -> Result<f64, String> {
    /// Within this time a piece is taken, or none is.
    const TAKEN_WITHIN: Duration = Duration::from_millis(500);
    /// How long it stands there with its last bytes.
    const HELD_FOR: Duration = Duration::from_secs(1);
    let told = |error: std::io::Error| format!("attack {address}: {error}");
    let mut stream = TcpStream::connect(address).map_err(told)?;
    stream.set_write_timeout(Some(TAKEN_WITHIN)).map_err(told)?;
    stream.write_all(&flood.start).map_err(told)?;
    let unit = flood.unit.repeat(16);
    let mut sent = 0;
    while sent < enough {
        match stream.write(&unit) {
            Ok(count) => sent += count,
            Err(_) => break,
        }
    }
    // What lies in the kernel's buffers is worked on meanwhile.
    std::thread::sleep(HELD_FOR);
    Ok(sent as f64)
}
