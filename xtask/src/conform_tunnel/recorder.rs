//! The app of the suite: it answers as it is told, and knows what came before its answer and after.

use crate::bench::processes::wait_for;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// How long it looks for bytes that come too early, before it answers.
const LOOKS_FOR: Duration = Duration::from_millis(15);

/// How long it waits for what follows a refusal: by then the proxy has closed the connection.
const WAITS_FOR: Duration = Duration::from_secs(5);

/// What one case did to the app.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Seen {
    /// Requests of the case, on whatever connection.
    pub(super) requests: u64,
    /// Bytes behind the head and before the answer.
    pub(super) before: u64,
    /// Bytes after the answer.
    pub(super) after: u64,
    /// Of those after a tunnel or its refusal, requests.
    pub(super) requests_after: u64,
    /// Whether the connection has ended.
    ended: bool,
}

#[derive(Default)]
struct State {
    answer: &'static [u8],
    grants: bool,
    seen: Seen,
}

/// The app, with an HTTP and a TCP port.
pub(super) struct Recorder {
    port: u16,
    tcp_port: u16,
    state: Arc<Mutex<State>>,
    tcp_bytes: Arc<AtomicU64>,
}

impl Recorder {
    pub(super) fn start() -> Result<Self, String> {
        let state = Arc::<Mutex<State>>::default();
        let tcp_bytes = Arc::<AtomicU64>::default();
        let (recording, counting) = (Arc::clone(&state), Arc::clone(&tcp_bytes));
        Ok(Self {
            port: listen(move |stream| record(stream, &recording))?,
            tcp_port: listen(move |stream| echo(stream, &counting))?,
            state,
            tcp_bytes,
        })
    }

    pub(super) fn port(&self) -> u16 {
        self.port
    }

    pub(super) fn tcp_port(&self) -> u16 {
        self.tcp_port
    }

    /// Bytes that came to the TCP port so far.
    pub(super) fn tcp_bytes(&self) -> u64 {
        self.tcp_bytes.load(Relaxed)
    }

    /// The answer to the next request, and whether a tunnel follows it.
    pub(super) fn answer_with(&self, answer: &'static [u8], grants: bool) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        *state = State {
            answer,
            grants,
            seen: Seen::default(),
        };
    }

    /// What the case did, once its connection has ended.
    pub(super) fn seen(&self, grants: bool) -> Result<Seen, String> {
        let what = if grants {
            "the end of a granted tunnel at the app"
        } else {
            "the end of a refused upgrade's connection at the app"
        };
        wait_for(what, WAITS_FOR, || {
            let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
            state.seen.ended.then_some(state.seen)
        })
    }
}

/// Serves every connection of a port in a thread of its own; the port.
fn listen(serve: impl Fn(TcpStream) + Send + Clone + 'static) -> Result<u16, String> {
    let told = |error| format!("listen for the suite's app: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
    let port = listener.local_addr().map_err(told)?.port();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let serve = serve.clone();
            std::thread::spawn(move || serve(stream));
        }
    });
    Ok(port)
}

fn echo(mut stream: TcpStream, bytes: &AtomicU64) {
    let mut buffer = [0; 16 * 1024];
    while let Ok(count @ 1..) = stream.read(&mut buffer) {
        bytes.fetch_add(count as u64, Relaxed);
        let back = buffer.get(..count).unwrap_or_default();
        if stream.write_all(back).is_err() {
            return;
        }
    }
}

/// Serves one connection. A sidecar that looks whether the port answers sends nothing.
fn record(mut stream: TcpStream, state: &Mutex<State>) {
    let mut bytes = Vec::new();
    while !bytes.windows(4).any(|window| window == b"\r\n\r\n") {
        if read(&mut stream, &mut bytes, None) != Read1::Some {
            return;
        }
    }
    if bytes.starts_with(b"GET /plain ") {
        let _ = stream
            .write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok");
        return;
    }
    let behind = bytes
        .windows(4)
        .position(|window| window == b"\r\n\r\n")
        .map_or(0, |at| at + 4);
    let mut early = bytes.split_off(behind);
    while read(&mut stream, &mut early, Some(LOOKS_FOR)) == Read1::Some {}
    let lock = || state.lock().unwrap_or_else(PoisonError::into_inner);
    let (answer, grants) = {
        let mut state = lock();
        state.seen.requests += 1;
        state.seen.before += early.len() as u64;
        (state.answer, state.grants)
    };
    let _ = stream.write_all(answer);
    let mut after = Vec::new();
    if answer.is_empty() {
        drop(stream);
    } else {
        loop {
            let start = after.len();
            match read(&mut stream, &mut after, Some(WAITS_FOR)) {
                Read1::Some if grants => {
                    let _ = stream.write_all(after.get(start..).unwrap_or_default());
                }
                Read1::Some => {}
                Read1::End | Read1::Nothing => break,
            }
        }
    }
    let mut state = lock();
    state.seen.after += after.len() as u64;
    let requests = after.windows(6).filter(|window| *window == b" HTTP/");
    // In a tunnel that was granted they are the caller's own bytes.
    state.seen.requests_after += if grants { 0 } else { requests.count() as u64 };
    state.seen.ended = true;
}

/// How one read went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Read1 {
    Some,
    End,
    Nothing,
}

fn read(stream: &mut TcpStream, into: &mut Vec<u8>, within: Option<Duration>) -> Read1 {
    let mut buffer = [0; 16 * 1024];
    if stream.set_read_timeout(within).is_err() {
        return Read1::End;
    }
    match stream.read(&mut buffer) {
        Ok(count @ 1..) => {
            into.extend_from_slice(buffer.get(..count).unwrap_or_default());
            Read1::Some
        }
        Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
            Read1::Nothing
        }
        Ok(0) | Err(_) => Read1::End,
    }
}
