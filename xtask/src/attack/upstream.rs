//! Hostile upstreams: servers outside of the mesh that flood who calls them. The limits that face callers face them
//! too, and who calls the own app meanwhile sees nothing of it.
//!
//! A caller calls one through the sidecar's outbound port, in HTTP/1.1 or HTTP/2; its call goes out in the same. The
//! server writes a little, looks whether it was cut off, and writes on, so that little is hidden in the kernel's
//! buffers.

use super::bytes::{
    END_HEADERS, NEWEST_ENTRY, continuation, data, entry, frame, get_from, ping, preface, priority,
    settings_frame, window,
};
use super::plans::ack;
use super::stand::Stand;
use crate::drill::rows::Rows;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use weft_codec::h2::Frames;
use weft_codec::h2::frames::{HEADERS, RST_STREAM};

/// Frames of an upstream that were looked at.
const FRAMES: &str = "weft_h2_frames_total{side=\"upstream\"}";

/// Frames of a flood that may be processed on one connection; two more open it.
const FRAMES_MAX: f64 = 1002.0;

/// Bytes that serve nothing after which a flood must have been cut.
const WASTE_BYTES_MAX: f64 = 64.0 * 1024.0;

/// Memory that one flood may cost.
const KIB_MAX: f64 = 1024.0;

/// How long the server looks for a reaction after each piece.
const LOOK_FOR: Duration = Duration::from_millis(1);

/// A server that is not cut off gives up after so long.
const FLOOD_FOR: Duration = Duration::from_secs(4);

/// Within this time after the flood its caller has been told.
const TOLD_WITHIN: Duration = Duration::from_secs(3);

/// What a caller and its upstream speak.
#[derive(Clone, Copy, PartialEq)]
enum Speaks {
    Http1,
    Http2,
}

/// What is to become of the server.
#[derive(Clone, Copy, PartialEq)]
enum Fate {
    /// It is cut off, and its caller told.
    Cut,
    /// It only lasts: a slow server is no crime, and it pays with its own call.
    Lasts,
}

/// One hostile server.
struct Hostile {
    name: &'static str,
    speaks: Speaks,
    fate: Fate,
    /// What comes first.
    start: fn(&mut Vec<u8>),
    /// What comes then, the n-th time.
    unit: fn(u32, &mut Vec<u8>),
}

/// What the server saw.
struct Seen {
    bytes: usize,
    was_cut: bool,
}

/// Runs all of them.
pub(super) fn run(stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    for hostile in http1().into_iter().chain(http2()) {
        one(stand, &hostile, rows)?;
    }
    Ok(())
}

fn one(stand: &Stand, hostile: &Hostile, rows: &mut Rows) -> Result<(), String> {
    let title = format!("upstream, {}", hostile.name);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .map_err(|error| format!("listen as a hostile upstream: {error}"))?;
    let port = listener
        .local_addr()
        .map_err(|error| format!("listen as a hostile upstream: {error}"))?
        .port();
    let seen = serve(listener, hostile);
    let before = stand.metric(FRAMES)?;
    let outbound = stand.outbound();
    let ((seen, was_told), cost) = stand.under(&title, rows, || {
        let caller = call(outbound, port, hostile.speaks)?;
        let seen = seen
            .recv_timeout(FLOOD_FOR + TOLD_WITHIN)
            .map_err(|_| format!("{title}: nobody called it"))??;
        Ok((seen, is_told(caller)))
    })?;
    let frames = stand.metric(FRAMES)? - before;
    if hostile.fate == Fate::Cut {
        let open = f64::from(u8::from(!seen.was_cut));
        rows.count(&format!("{title}: not cut off"), open, 0.0);
        let untold = f64::from(u8::from(!was_told));
        rows.count(&format!("{title}: caller not told"), untold, 0.0);
    }
    match hostile.speaks {
        Speaks::Http2 if hostile.fate == Fate::Cut => {
            rows.count(&format!("{title}: frames processed"), frames, FRAMES_MAX);
        }
        Speaks::Http1 if hostile.fate == Fate::Cut => {
            let waste = seen.bytes as f64;
            rows.count(&format!("{title}: bytes of waste"), waste, WASTE_BYTES_MAX);
        }
        Speaks::Http1 | Speaks::Http2 => {
            rows.shown(&format!("{title}: bytes taken"), seen.bytes as f64);
        }
    }
    rows.count(&format!("{title}: memory, KiB"), cost.peak_kib, KIB_MAX);
    Ok(())
}

fn http1() -> Vec<Hostile> {
    const CHUNKED: &[u8] = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n";
    let hostile = |name, start, unit| Hostile {
        name,
        speaks: Speaks::Http1,
        fate: Fate::Cut,
        start,
        unit,
    };
    vec![
        hostile(
            "fields without end",
            |out| out.extend_from_slice(b"HTTP/1.1 200 OK\r\n"),
            |_, out| out.extend_from_slice(&b"a:b\r\n".repeat(200)),
        ),
        hostile(
            "one endless field",
            |out| out.extend_from_slice(b"HTTP/1.1 200 OK\r\na: "),
            |_, out| out.extend_from_slice(&[b'x'; 1000]),
        ),
        hostile(
            "an endless reason",
            |out| out.extend_from_slice(b"HTTP/1.1 200 "),
            |_, out| out.extend_from_slice(&[b'x'; 1000]),
        ),
        hostile(
            "empty lines",
            |_| {},
            |_, out| out.extend_from_slice(&b"\r\n".repeat(500)),
        ),
        hostile(
            "interim replies without end",
            |_| {},
            |_, out| {
                out.extend_from_slice(&b"HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n".repeat(20));
            },
        ),
        hostile(
            "an endless chunk extension",
            |out| out.extend_from_slice(&[CHUNKED, b"1;"].concat()),
            |_, out| out.extend_from_slice(&[b'x'; 1000]),
        ),
        hostile(
            "chunks of 1 byte with 1 KB of extension",
            |out| out.extend_from_slice(CHUNKED),
            |_, out| {
                out.extend_from_slice(&[b"1;".as_slice(), &[b'a'; 990], b"\r\nx\r\n"].concat());
            },
        ),
        hostile(
            "endless trailers",
            |out| out.extend_from_slice(&[CHUNKED, b"0\r\n"].concat()),
            |_, out| out.extend_from_slice(&b"a: b\r\n".repeat(167)),
        ),
        Hostile {
            name: "a body of 1 byte a millisecond",
            speaks: Speaks::Http1,
            fate: Fate::Lasts,
            start: |out| {
                out.extend_from_slice(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");
            },
            unit: |_, out| out.push(b'x'),
        },
    ]
}

fn http2() -> Vec<Hostile> {
    let hostile = |name, start, unit| Hostile {
        name,
        speaks: Speaks::Http2,
        fate: Fate::Cut,
        start,
        unit,
    };
    vec![
        hostile("SETTINGS", |_| {}, |_, out| settings_frame(&[], out)),
        hostile("PING", |_| {}, |_, out| ping(out)),
        hostile(
            "PRIORITY",
            |_| {},
            |n, out| priority(2 * (n % 1000) + 3, &[0, 0, 0, 1, 7], out),
        ),
        hostile("WINDOW_UPDATE of 1", |_| {}, |_, out| window(0, 1, out)),
        hostile(
            "frames of an unknown type",
            |_| {},
            |_, out| frame(0xbb, 0, 0, &[0; 8], out),
        ),
        hostile(
            "RST_STREAM of its stream",
            |_| {},
            |_, out| frame(RST_STREAM, 0, 1, &8_u32.to_be_bytes(), out),
        ),
        hostile("empty DATA", head, |_, out| data(1, b"", out)),
        hostile(
            "interim replies without end",
            |_| {},
            // :status 103, as a literal with the name of the table.
            |_, out| frame(HEADERS, END_HEADERS, 1, &[0x08, 3, b'1', b'0', b'3'], out),
        ),
        hostile(
            "CONTINUATION without end",
            |out| frame(HEADERS, 0, 1, &[0x88], out),
            |_, out| continuation(1, &[0, 1, b'x', 0].repeat(250), out),
        ),
        hostile(
            "trailers without end",
            |out| {
                head(out);
                frame(HEADERS, 1, 1, &[0, 1, b'x', 0], out);
            },
            |_, out| continuation(1, &[0, 1, b'x', 0].repeat(250), out),
        ),
        hostile("HPACK bombs", |_| {}, bomb),
        // It cannot be told from what was under way when we gave a call up, so it adds no debt.
        Hostile {
            name: "DATA behind its end",
            speaks: Speaks::Http2,
            fate: Fate::Lasts,
            start: whole,
            unit: |_, out| data(1, b"x", out),
        },
        Hostile {
            name: "DATA of 1 byte",
            speaks: Speaks::Http2,
            fate: Fate::Lasts,
            start: head,
            unit: |_, out| data(1, b"x", out),
        },
    ]
}

/// :status 200 of the first call.
fn head(out: &mut Vec<u8>) {
    frame(HEADERS, END_HEADERS, 1, &[0x88], out);
}

/// The whole reply to the first call.
fn whole(out: &mut Vec<u8>) {
    frame(HEADERS, END_HEADERS | 1, 1, &[0x88], out);
}

/// Interim replies that name one large entry of the table again and again.
fn bomb(n: u32, out: &mut Vec<u8>) {
    let mut block = vec![0x08, 3, b'1', b'0', b'3'];
    if n == 0 {
        entry("x", 3_967, &mut block);
    }
    block.extend(std::iter::repeat_n(NEWEST_ENTRY, 12_000));
    frame(HEADERS, END_HEADERS, 1, &block, out);
}

/// Serves the first connection, and tells what became of it.
fn serve(listener: TcpListener, hostile: &Hostile) -> Receiver<Result<Seen, String>> {
    let (tell, seen) = channel();
    let (speaks, start, unit) = (hostile.speaks, hostile.start, hostile.unit);
    std::thread::spawn(move || {
        let told = |error: std::io::Error| format!("serve as a hostile upstream: {error}");
        let flooded = listener.accept().map_err(told).and_then(|(stream, _)| {
            let mut out = Vec::new();
            if speaks == Speaks::Http2 {
                // The server's preface is its SETTINGS.
                settings_frame(&[], &mut out);
                ack(&mut out);
            }
            let opened = out.len();
            start(&mut out);
            flood(stream, speaks, out, opened, unit).map_err(told)
        });
        // Nobody listens any more when the attack has given up.
        let _ = tell.send(flooded);
    });
    seen
}

/// Greets with the first bytes of `out`, waits for a request, answers with the others, and floods.
fn flood(
    mut stream: TcpStream,
    speaks: Speaks,
    mut out: Vec<u8>,
    opened: usize,
    unit: fn(u32, &mut Vec<u8>),
) -> std::io::Result<Seen> {
    stream.set_nodelay(true)?;
    let mut reply = vec![0; 64 * 1024];
    let mut request = Vec::new();
    let greeting: Vec<u8> = out.drain(..opened).collect();
    stream.write_all(&greeting)?;
    while !is_request(&request, speaks) {
        match stream.read(&mut reply)? {
            0 => break,
            count => request.extend_from_slice(&reply[..count]),
        }
    }
    stream.set_read_timeout(Some(LOOK_FOR))?;
    stream.set_write_timeout(Some(FLOOD_FOR))?;
    let began = Stand::now();
    let mut bytes = 0;
    for n in 0.. {
        if Stand::now() - began > FLOOD_FOR {
            break;
        }
        unit(n, &mut out);
        if stream.write_all(&out).is_err() {
            return Ok(Seen {
                bytes,
                was_cut: true,
            });
        }
        let is_gone = match stream.read(&mut reply) {
            Ok(0) => true,
            Ok(_) => false,
            Err(error) => error.kind() != ErrorKind::WouldBlock,
        };
        if is_gone {
            return Ok(Seen {
                bytes,
                was_cut: true,
            });
        }
        bytes += out.len();
        out.clear();
    }
    Ok(Seen {
        bytes,
        was_cut: false,
    })
}

/// Whether a request has come.
fn is_request(bytes: &[u8], speaks: Speaks) -> bool {
    if speaks == Speaks::Http1 {
        return bytes.ends_with(b"\r\n\r\n");
    }
    let (mut frames, mut rest) = (Frames::behind_preface(), bytes);
    while let (count, Some(frame)) = frames.next(rest) {
        if frame.kind == HEADERS {
            return true;
        }
        rest = rest.get(count..).unwrap_or_default();
    }
    false
}

/// Sends a call to the server of this port.
fn call(outbound: SocketAddr, port: u16, speaks: Speaks) -> Result<TcpStream, String> {
    let host = format!("127.0.0.1:{port}");
    let out = match speaks {
        Speaks::Http1 => {
            format!("GET /flood HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n").into_bytes()
        }
        Speaks::Http2 => {
            let mut out = preface(&[]);
            ack(&mut out);
            get_from(1, &host, "/flood", &mut out);
            out
        }
    };
    let told = |error: std::io::Error| format!("call {host} through {outbound}: {error}");
    let mut stream = TcpStream::connect(outbound).map_err(told)?;
    stream.write_all(&out).map_err(told)?;
    Ok(stream)
}

/// Whether the caller's reply came, whole or not, and ended. In HTTP/2: whether its stream did.
fn is_told(mut stream: TcpStream) -> bool {
    let began = Stand::now();
    let mut bytes = Vec::new();
    let mut piece = [0; 4096];
    while Stand::now() - began < TOLD_WITHIN {
        if stream.set_read_timeout(Some(TOLD_WITHIN)).is_err() {
            return false;
        }
        match stream.read(&mut piece) {
            Ok(0) => return true,
            Ok(count) => bytes.extend_from_slice(&piece[..count]),
            Err(error) => return error.kind() == ErrorKind::ConnectionReset,
        }
        let (mut frames, mut rest) = (Frames::new(), bytes.as_slice());
        let is_http2 = !bytes.starts_with(b"HTTP/");
        while is_http2 && let (count, Some(frame)) = frames.next(rest) {
            if frame.stream == 1 && (frame.kind == RST_STREAM || frame.ends_stream()) {
                return true;
            }
            rest = rest.get(count..).unwrap_or_default();
        }
    }
    false
}
