//! The app behind the vectors: it keeps every byte, and answers each whole request that it can read by a grammar
//! that is stricter than any server's.

use crate::bench::processes::wait_for;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a request that has begun may take to become whole, or to break off.
const WAITS_FOR: Duration = Duration::from_secs(5);

const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// What came by one connection since it was last asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Came {
    pub(super) bytes: Vec<u8>,
    pub(super) ended: bool,
}

/// The app.
pub(super) struct App {
    pub(super) port: u16,
    connections: Arc<Mutex<Vec<Came>>>,
}

impl App {
    pub(super) fn start() -> Result<Self, String> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
            .map_err(|error| format!("listen for the app: {error}"))?;
        let port = listener
            .local_addr()
            .map_err(|error| format!("ask the app's port: {error}"))?
            .port();
        let connections = Arc::<Mutex<Vec<Came>>>::default();
        let shared = Arc::clone(&connections);
        thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let shared = Arc::clone(&shared);
                let mut all = shared.lock().unwrap_or_else(PoisonError::into_inner);
                let at = all.len();
                all.push(Came::default());
                drop(all);
                thread::spawn(move || serve(stream, at, &shared));
            }
        });
        Ok(Self { port, connections })
    }

    /// What came since the last time, by connection. A request that has begun is waited for: it becomes whole, or its
    /// connection ends.
    pub(super) fn take(&self) -> Result<Vec<Vec<u8>>, String> {
        wait_for("the end of what the app was sent", WAITS_FOR, || {
            let mut all = self
                .connections
                .lock()
                .unwrap_or_else(PoisonError::into_inner);
            let is_settled =
                |came: &Came| came.ended || came.bytes.is_empty() || request(&came.bytes).is_some();
            if !all.iter().all(is_settled) {
                return None;
            }
            let came = all.iter_mut().map(|came| std::mem::take(&mut came.bytes));
            Some(came.filter(|bytes| !bytes.is_empty()).collect())
        })
    }
}

fn serve(mut stream: TcpStream, at: usize, shared: &Mutex<Vec<Came>>) {
    let mut unread = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        let count = stream.read(&mut buffer).unwrap_or(0);
        let bytes = &buffer[..count];
        let mut all = shared.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(came) = all.get_mut(at) {
            came.bytes.extend_from_slice(bytes);
            came.ended = count == 0;
        }
        drop(all);
        unread.extend_from_slice(bytes);
        while let Some(request) = request(&unread) {
            unread.drain(..request.length);
            if stream.write_all(ANSWER).is_err() {
                return;
            }
        }
        if count == 0 {
            return;
        }
    }
}

/// A request as HTTP/1.1 has it.
#[derive(Clone, Debug, Default)]
pub(super) struct Request {
    /// Its bytes on the wire.
    pub(super) length: usize,
    pub(super) method: Vec<u8>,
    pub(super) target: Vec<u8>,
    /// Names in small letters.
    pub(super) fields: Vec<(Vec<u8>, Vec<u8>)>,
    pub(super) body: Vec<u8>,
    pub(super) trailers: Vec<(Vec<u8>, Vec<u8>)>,
}

impl Request {
    /// All values of a field.
    pub(super) fn values(&self, name: &[u8]) -> Vec<&[u8]> {
        self.fields
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_slice())
            .collect()
    }
}

/// The first whole request; none when there is none yet, or never will be.
pub(super) fn request(bytes: &[u8]) -> Option<Request> {
    let end = find(bytes, b"\r\n\r\n")? + 4;
    let head = bytes.get(..end - 4)?;
    let mut lines = split(head);
    let line = lines.next()?;
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version) = (words.next()?, words.next()?, words.next()?);
    let is_target =
        |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'#' | b'"' | b'\\' | b'<' | b'>');
    if words.next().is_some()
        || version != b"HTTP/1.1"
        || !is_token(method)
        || target.is_empty()
        || !target.iter().all(is_target)
    {
        return None;
    }
    let mut request = Request {
        method: method.to_vec(),
        target: target.to_vec(),
        fields: lines.map(field).collect::<Option<_>>()?,
        ..Request::default()
    };
    let lengths = request.values(b"content-length");
    let codings = request.values(b"transfer-encoding");
    request.length = match (lengths.as_slice(), codings.as_slice()) {
        ([], []) => end,
        ([length], []) => {
            let length: usize = std::str::from_utf8(length).ok()?.parse().ok()?;
            let stop = end.checked_add(length)?;
            request.body = bytes.get(end..stop)?.to_vec();
            stop
        }
        ([], [b"chunked"]) => chunked(bytes, end, &mut request)?,
        _ => return None,
    };
    Some(request)
}

/// Reads a chunked body from a place on: where it ends.
fn chunked(bytes: &[u8], mut at: usize, request: &mut Request) -> Option<usize> {
    loop {
        let line = at + find(bytes.get(at..)?, b"\r\n")?;
        let size =
            usize::from_str_radix(std::str::from_utf8(bytes.get(at..line)?).ok()?, 16).ok()?;
        at = line + 2;
        if size == 0 {
            break;
        }
        request.body.extend_from_slice(bytes.get(at..at + size)?);
        at += size;
        if bytes.get(at..at + 2)? != b"\r\n" {
            return None;
        }
        at += 2;
    }
    loop {
        let line = at + find(bytes.get(at..)?, b"\r\n")?;
        let trailer = bytes.get(at..line)?;
        at = line + 2;
        if trailer.is_empty() {
            return Some(at);
        }
        request.trailers.push(field(trailer)?);
    }
}

fn field(line: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let colon = line.iter().position(|byte| *byte == b':')?;
    let (name, value) = (line.get(..colon)?, line.get(colon + 1..)?);
    let is_value = |byte: &u8| *byte == b'\t' || (*byte >= b' ' && *byte != 0x7f);
    if !is_token(name) || !value.iter().all(is_value) {
        return None;
    }
    Some((name.to_ascii_lowercase(), value.trim_ascii().to_vec()))
}

fn is_token(bytes: &[u8]) -> bool {
    let is_mark = |byte: &u8| b"!#$%&'*+-.^_`|~".contains(byte);
    !bytes.is_empty()
        && bytes
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || is_mark(byte))
}

/// Lines that end with CR LF and hold neither.
fn split(head: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = Some(head);
    std::iter::from_fn(move || {
        let bytes = rest?;
        match find(bytes, b"\r\n") {
            Some(end) => {
                rest = bytes.get(end + 2..);
                bytes.get(..end)
            }
            None => rest.take(),
        }
    })
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}
