//! Motan2 for a bench: requests of a fixed shape in batches, and an app that answers each frame.
//!
//! Blocking, one thread a connection: only calls are counted here, never time.

use super::backend::announce;
use super::client::Client;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};
use weft_codec::Fields;
use weft_codec::motan2::{Header, Limits, Step, parse, write_head};

/// Calls of one batch: this many frames in one write, this many replies awaited.
pub(super) const BATCH: u64 = 16;

/// Bytes of a body, both ways.
const BODY_BYTES: usize = 64;

/// Bytes read in one turn at the most.
const READ_BYTES: usize = 64 * 1024;

/// Serialisation "simple", which nobody here decodes.
const SERIALIZE_SIMPLE: u8 = 1 << 3;

/// Sends batches until `times` calls are answered; `times` is a multiple of a batch.
pub(super) fn call_times(client: &mut Client, service: &str, times: u64) -> Result<(), String> {
    let mut fields = Fields::default();
    fields.push(b"M_p", service.as_bytes());
    fields.push(b"M_m", b"get");
    fields.push(b"M_g", b"bench");
    for batch in 0..times / BATCH {
        let mut bytes = Vec::new();
        for call in 0..BATCH {
            let header = Header {
                serialize: SERIALIZE_SIMPLE,
                request_id: batch * BATCH + call + 1,
                ..Header::default()
            };
            write_frame(header, &fields, &mut bytes);
        }
        client.send(&bytes)?;
        for _ in 0..BATCH {
            let frame = client.take(|received| match parse(received, &Limits::default()) {
                Ok(Step::Frame { body, .. }) => Some(body.end),
                // A refused reply is taken whole, so that the check below tells of it.
                Err(_) => Some(received.len()),
                Ok(Step::Need(_)) => None,
            })?;
            check(&frame)?;
        }
    }
    Ok(())
}

fn check(frame: &[u8]) -> Result<(), String> {
    match parse(frame, &Limits::default()) {
        Ok(Step::Frame { header, .. }) if header.response && !header.exception => Ok(()),
        Ok(Step::Frame { meta, .. }) => Err(format!(
            "a Motan2 call failed: {}",
            String::from_utf8_lossy(&frame[meta])
        )),
        other => Err(format!("the reply is no Motan2 frame: {other:?}")),
    }
}

fn write_frame(header: Header, fields: &Fields, out: &mut Vec<u8>) {
    write_head(header, fields, BODY_BYTES as u32, out);
    out.resize(out.len() + BODY_BYTES, b'x');
}

/// The app: answers every request with a body of its own.
pub(super) fn serve() -> io::Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    announce(&listener)?;
    for stream in listener.incoming() {
        let stream = stream?;
        // A connection's error is its own end.
        std::thread::spawn(move || answer(stream));
    }
    Ok(())
}

fn answer(mut stream: TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    let mut received = Vec::new();
    let mut chunk = vec![0; READ_BYTES];
    loop {
        let count = stream.read(&mut chunk)?;
        if count == 0 {
            return Ok(());
        }
        received.extend_from_slice(&chunk[..count]);
        let mut taken = 0;
        let mut replies = Vec::new();
        loop {
            match parse(&received[taken..], &Limits::default()) {
                Ok(Step::Frame { header, body, .. }) => {
                    taken += body.end;
                    let reply = Header {
                        response: true,
                        ..header
                    };
                    write_frame(reply, &Fields::default(), &mut replies);
                }
                Ok(Step::Need(_)) => break,
                Err(_) => return Err(ErrorKind::InvalidData.into()),
            }
        }
        received.drain(..taken);
        stream.write_all(&replies)?;
    }
}
