//! The app behind both sides of a bench: one thread, one epoll, a constant reply of 1 KiB.
//!
//! A process of its own (`cargo xtask bench backend`), so that it can be pinned. It answers each head that ends and
//! reads nothing else: no bodies, no pipelining limits, no time-outs. Never a part of the product.

use rustix::event::epoll::{self, CreateFlags, EventData, EventFlags};
use std::collections::BTreeMap;
use std::io::{self, ErrorKind, Read, Write};
use std::net::{TcpListener, TcpStream};

/// Bytes of the reply's body.
pub(super) const BODY_BYTES: usize = 1024;

/// Events taken in one turn at the most.
const EVENTS_MAX: usize = 256;

/// Bytes read in one turn from one connection at the most.
const READ_BYTES: usize = 64 * 1024;

/// The listener's own event.
const LISTENER: u64 = 0;

const HEAD_END: [u8; 4] = *b"\r\n\r\n";

struct Connection {
    stream: TcpStream,
    /// How many bytes of the end of a head were the last ones.
    matched: usize,
}

/// What the app speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Kind {
    /// HTTP/1.1.
    Http1,
    /// Motan2.
    Motan2,
    /// HTTP/2, and gRPC to whoever asks for it.
    H2,
}

/// Serves for ever on a free port, which is printed first.
pub(crate) fn run(kind: Kind) -> Result<bool, String> {
    let served = match kind {
        Kind::Http1 => serve(),
        Kind::Motan2 => super::motan::serve(),
        Kind::H2 => super::h2::serve(),
    };
    served
        .map(|()| true)
        .map_err(|error| format!("serve as the app of a bench: {error}"))
}

/// Tells the bench the port: one line.
pub(super) fn announce(listener: &TcpListener) -> io::Result<()> {
    println!("{}", listener.local_addr()?.port());
    io::stdout().flush()
}

fn serve() -> io::Result<()> {
    let reply = reply();
    let listener = TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    announce(&listener)?;
    let epoll = epoll::create(CreateFlags::CLOEXEC)?;
    epoll::add(
        &epoll,
        &listener,
        EventData::new_u64(LISTENER),
        EventFlags::IN,
    )?;
    let mut connections: BTreeMap<u64, Connection> = BTreeMap::new();
    let mut next = LISTENER + 1;
    let mut events = Vec::with_capacity(EVENTS_MAX);
    let mut buffer = vec![0; READ_BYTES];
    loop {
        epoll::wait(&epoll, rustix::buffer::spare_capacity(&mut events), None)?;
        for event in events.drain(..) {
            let id = event.data.u64();
            if id != LISTENER {
                let open = connections
                    .get_mut(&id)
                    .is_some_and(|connection| answer(connection, &mut buffer, &reply).is_ok());
                if !open {
                    connections.remove(&id);
                }
                continue;
            }
            while let Ok((stream, _)) = listener.accept() {
                stream.set_nonblocking(true)?;
                stream.set_nodelay(true)?;
                epoll::add(&epoll, &stream, EventData::new_u64(next), EventFlags::IN)?;
                connections.insert(next, Connection { stream, matched: 0 });
                next += 1;
            }
        }
    }
}

/// Answers what has arrived; an error ends the connection.
fn answer(connection: &mut Connection, buffer: &mut [u8], reply: &[u8]) -> io::Result<()> {
    let count = match connection.stream.read(buffer) {
        Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
        Ok(count) => count,
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
        Err(error) => return Err(error),
    };
    let heads = heads(&buffer[..count], &mut connection.matched);
    for _ in 0..heads {
        connection.stream.write_all(reply)?;
    }
    Ok(())
}

/// How many heads end in these bytes; `matched` carries what a read cut.
fn heads(bytes: &[u8], matched: &mut usize) -> usize {
    let mut heads = 0;
    let mut rest = bytes;
    while !rest.is_empty() {
        if *matched == 0 {
            let Some(at) = rest.iter().position(|byte| *byte == HEAD_END[0]) else {
                break;
            };
            rest = &rest[at + 1..];
            *matched = 1;
            continue;
        }
        if rest[0] == HEAD_END[*matched] {
            *matched += 1;
            rest = &rest[1..];
            if *matched == HEAD_END.len() {
                heads += 1;
                *matched = 0;
            }
        } else {
            *matched = 0;
        }
    }
    heads
}

fn reply() -> Vec<u8> {
    let mut reply = format!(
        "HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: {BODY_BYTES}\r\n\r\n"
    )
    .into_bytes();
    reply.resize(reply.len() + BODY_BYTES, b'x');
    reply
}

#[cfg(test)]
mod tests;
