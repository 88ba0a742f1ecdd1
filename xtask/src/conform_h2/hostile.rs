//! Plays the cases: a server by hand behind a sidecar, a caller in front of another, and what both saw.
//!
//! Each case has a port of the called service for itself, so that its connections are its own. The server plays
//! its case once, on the first connection with a request, and serves well from then on: the call after it must
//! succeed. Never sleeps: it waits for frames, with a bound.

use super::caller::{Got, call};
use super::cases::{BODY, Caller, Case, Client, End, STREAM, good_reply};
use super::wire::{
    ACK, CANCEL, DATA, END_STREAM, Frame, GOAWAY, HEADERS, NO_ERROR, NO_FLAGS, PING, PREFACE,
    PROTOCOL_ERROR, RST_STREAM, SETTINGS, frame, settings, take,
};
use crate::bench::processes::now;
use std::io::{ErrorKind, Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// How long a client may take to do what it must.
const CLIENT_WITHIN: Duration = Duration::from_secs(3);

/// How long after it answered a PING a stream error may still come.
const RESET_WITHIN: Duration = Duration::from_millis(500);

/// What the PING of a server says that asks whether the connection stands.
const STILL_THERE: [u8; 8] = *b"stands?!";

/// What a server saw of its client.
#[derive(Clone, Debug, Default)]
struct Seen {
    /// The code of its GOAWAY, the last one.
    goaway: Option<u32>,
    /// The code of its RST_STREAM for the request.
    reset: Option<u32>,
    /// It ended the connection.
    ended: bool,
    /// It answered the PING.
    answered: bool,
}

/// The server of one case.
pub(super) struct Server {
    pub(super) port: u16,
    seen: Receiver<Seen>,
    requests: Arc<Mutex<u64>>,
}

/// What came of a case.
pub(super) struct Outcome {
    /// What was wrong; nothing when all was right.
    pub(super) faults: Vec<String>,
    /// A stream error was answered by ending the connection.
    pub(super) ended_for_stream_error: bool,
    /// The connection was ended without a word.
    pub(super) without_goaway: bool,
    /// The connection was ended as it must, with PROTOCOL_ERROR for the code of the RFC.
    pub(super) other_code: bool,
}

impl Server {
    /// Listens for a case. Ends with this process.
    pub(super) fn start(case: Arc<Case>) -> Result<Self, String> {
        let told = |error| format!("listen for a case: {error}");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
        let port = listener.local_addr().map_err(told)?.port();
        let (tell, seen) = channel();
        let requests = Arc::new(Mutex::new(0));
        let script = Script {
            case,
            tell,
            requests: Arc::clone(&requests),
            played: Arc::new(Mutex::new(false)),
        };
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let script = script.clone();
                std::thread::spawn(move || script.serve(stream));
            }
        });
        Ok(Self {
            port,
            seen,
            requests,
        })
    }

    /// Calls through a sidecar and judges.
    pub(super) fn play(&self, case: &Case, outbound: SocketAddr, service: &str) -> Outcome {
        let host = format!("{service}:{}", self.port);
        let got = call(outbound, &host, "POST");
        let seen = self.seen.recv_timeout(CLIENT_WITHIN + CLIENT_WITHIN);
        let requests = *self.requests.lock().unwrap_or_else(PoisonError::into_inner);
        let mut outcome = Outcome {
            faults: Vec::new(),
            ended_for_stream_error: false,
            without_goaway: false,
            other_code: false,
        };
        match seen {
            Ok(seen) => outcome.judge(case.client, &seen),
            Err(_) => outcome.faults.push("nobody connected".to_owned()),
        }
        if let Some(fault) = caller_fault(case.caller, &got) {
            outcome.faults.push(fault);
        }
        // At most once, unless it was proven that nobody saw it.
        if requests > 1 && case.caller != Caller::Clean {
            outcome
                .faults
                .push(format!("the request was made {requests} times"));
        }
        let next = call(outbound, &host, "GET");
        if let Some(fault) = caller_fault(Caller::Gets(200), &next) {
            outcome.faults.push(format!("the call after it: {fault}"));
        }
        outcome
    }
}

impl Outcome {
    fn judge(&mut self, client: Client, seen: &Seen) {
        let ended = seen.ended || seen.goaway.is_some_and(|code| code != NO_ERROR);
        let fault = match client {
            Client::Any => None,
            Client::EndsConnection(codes) => {
                self.without_goaway = ended && seen.goaway.is_none();
                // What the h2 crate says of every error of a header block and of a wrong setting (5.4.1: the code
                // is for a person who looks for the reason; nothing hangs on it).
                self.other_code =
                    seen.goaway == Some(PROTOCOL_ERROR) && !codes.contains(&PROTOCOL_ERROR);
                match seen.goaway {
                    _ if !seen.ended => Some("the connection was not ended".to_owned()),
                    Some(_) if self.other_code => None,
                    Some(code) if !codes.contains(&code) => {
                        Some(format!("GOAWAY said {code}, expected one of {codes:?}"))
                    }
                    _ => None,
                }
            }
            Client::ResetsStream(codes) => {
                self.ended_for_stream_error = ended;
                match seen.reset {
                    _ if ended => None,
                    None => Some("the stream was not reset".to_owned()),
                    Some(code) if !codes.contains(&code) => {
                        Some(format!("RST_STREAM said {code}, expected one of {codes:?}"))
                    }
                    Some(_) => None,
                }
            }
            Client::GoesOn if ended => Some(format!(
                "the connection was ended (GOAWAY {:?})",
                seen.goaway
            )),
            Client::GoesOn => match seen.reset {
                Some(code) if code != NO_ERROR && code != CANCEL => {
                    Some(format!("the stream was reset with {code}"))
                }
                _ if !seen.answered => Some("the PING was not answered".to_owned()),
                _ => None,
            },
        };
        self.faults.extend(fault);
    }
}

/// What a caller was told, in words, when it is not what it must be told.
fn caller_fault(expected: Caller, got: &Result<Got, String>) -> Option<String> {
    let got = match got {
        Ok(got) => got,
        Err(error) => return Some(format!("the caller: {error}")),
    };
    let failed = got.status >= 500 && got.code.is_some() && !got.cut;
    let whole = !got.cut && got.status != 0;
    let right = match expected {
        Caller::Gets(status) => {
            let body: &[u8] = if status == 204 { b"" } else { BODY };
            whole && got.status == status && got.body == body
        }
        Caller::Fails => failed,
        Caller::IsCut => failed || got.cut && got.status == 200,
        Caller::Clean => failed || whole && got.status == 200 && got.body == BODY,
    };
    let told = || {
        format!(
            "the caller got {} with {} bytes{} {}, expected {expected:?}",
            got.status,
            got.body.len(),
            if got.cut { ", cut" } else { "" },
            got.code.as_deref().unwrap_or_default(),
        )
    };
    (!right).then(told)
}

/// What a server does with each connection.
#[derive(Clone)]
struct Script {
    case: Arc<Case>,
    tell: Sender<Seen>,
    requests: Arc<Mutex<u64>>,
    /// The case was played.
    played: Arc<Mutex<bool>>,
}

impl Script {
    fn serve(&self, stream: TcpStream) {
        let Some(mut connection) = Connection::accept(stream) else {
            return;
        };
        let first = {
            let mut played = self.played.lock().unwrap_or_else(PoisonError::into_inner);
            !std::mem::replace(&mut *played, true)
        };
        if first {
            let seen = self.play(&mut connection);
            // Whoever asked may have given up.
            let _ = self.tell.send(seen);
            if self.case.end == End::Closes {
                return;
            }
        } else {
            connection.send(&settings(&[]));
        }
        self.serve_well(&mut connection);
    }

    /// The hostile part.
    fn play(&self, connection: &mut Connection) -> Seen {
        connection.send(&self.case.before);
        let mut seen = Seen::default();
        let mut sent = false;
        let mut until = now() + CLIENT_WITHIN;
        while let Some(got) = connection.frame(until) {
            match (got.kind, got.stream) {
                (SETTINGS, _) => connection.acknowledge(&got),
                (GOAWAY, _) => seen.goaway = Some(got.number_at(4)),
                (RST_STREAM, STREAM) => seen.reset = Some(got.number_at(0)),
                (PING, _) if got.flags & ACK != 0 && got.payload == STILL_THERE => {
                    seen.answered = true;
                    let waits = matches!(self.case.client, Client::ResetsStream(_));
                    until = now() + if waits { RESET_WITHIN } else { Duration::ZERO };
                }
                _ => {}
            }
            if got.stream == STREAM && got.ends_stream() && !sent {
                sent = true;
                self.count();
                connection.send(&self.case.after);
                if self.case.end == End::Closes {
                    // The rest of what the client says is not waited for.
                    connection.close();
                    return seen;
                }
                connection.send(&frame(PING, NO_FLAGS, 0, &STILL_THERE));
                until = now() + CLIENT_WITHIN;
            }
            if seen.answered && seen.reset.is_some() {
                break;
            }
        }
        seen.ended = connection.ended;
        if self.case.end == End::Closes {
            connection.close();
        }
        seen
    }

    /// Every request gets the good reply.
    fn serve_well(&self, connection: &mut Connection) {
        let until = now() + Duration::from_mins(1);
        while let Some(got) = connection.frame(until) {
            match got.kind {
                SETTINGS => connection.acknowledge(&got),
                PING if got.flags & ACK == 0 => {
                    connection.send(&frame(PING, ACK, 0, &got.payload));
                }
                _ if got.stream != 0 && got.ends_stream() => {
                    self.count();
                    connection.send(&good_reply(got.stream));
                }
                _ => {}
            }
        }
    }

    fn count(&self) {
        *self.requests.lock().unwrap_or_else(PoisonError::into_inner) += 1;
    }
}

impl Frame {
    /// Whether the client says no more on this stream.
    fn ends_stream(&self) -> bool {
        matches!(self.kind, DATA | HEADERS) && self.flags & END_STREAM != 0
    }
}

/// A connection of a client.
struct Connection {
    stream: TcpStream,
    received: Vec<u8>,
    /// The client ended it.
    ended: bool,
}

impl Connection {
    /// Reads the preface; none when the client has nothing to say.
    fn accept(stream: TcpStream) -> Option<Self> {
        stream.set_nodelay(true).ok()?;
        let mut connection = Self {
            stream,
            received: Vec::new(),
            ended: false,
        };
        let until = now() + CLIENT_WITHIN;
        while connection.received.len() < PREFACE.len() {
            connection.fill(until)?;
        }
        let preface: Vec<u8> = connection.received.drain(..PREFACE.len()).collect();
        (preface == PREFACE).then_some(connection)
    }

    /// The next frame; none when the client ended the connection, or nothing came in time.
    fn frame(&mut self, until: Instant) -> Option<Frame> {
        loop {
            if let Some(frame) = take(&mut self.received) {
                return Some(frame);
            }
            self.fill(until)?;
        }
    }

    fn fill(&mut self, until: Instant) -> Option<()> {
        let left = until.saturating_duration_since(now());
        // Zero would be no limit at all.
        let left = left.max(Duration::from_millis(1));
        self.stream.set_read_timeout(Some(left)).ok()?;
        let mut chunk = [0; 16 * 1024];
        match self.stream.read(&mut chunk) {
            Ok(0) => {
                self.ended = true;
                None
            }
            Ok(count) => {
                self.received.extend_from_slice(&chunk[..count]);
                Some(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                None
            }
            Err(_) => {
                self.ended = true;
                None
            }
        }
    }

    /// What the client does not take is its own doing.
    fn send(&mut self, bytes: &[u8]) {
        let _ = self.stream.write_all(bytes);
    }

    fn acknowledge(&mut self, theirs: &Frame) {
        if theirs.flags & ACK == 0 {
            self.send(&frame(SETTINGS, ACK, 0, b""));
        }
    }

    fn close(&mut self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }
}
