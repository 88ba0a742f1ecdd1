//! The app's other end of HTTP/1.1: GET calls over kept connections to one address, the sidecar's.

use crate::http_server::next_body;
use crate::wire::Wire;
use bytes::Buf;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::timeout;
use weft_codec::Fields;
use weft_codec::http1::{self, BodyDecoder, Framing, Limits, Parsed, ReplyHead, RequestLine};

/// How long a call may take.
const CALL_WAIT: Duration = Duration::from_secs(5);
/// Idle connections that are kept.
const IDLE_MAX: usize = 64;
/// Bytes of a reply's body, at the most.
const BODY_BYTES_MAX: usize = 1024 * 1024;

/// Why a call brought no reply.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The connection.
    Io(io::Error),
    /// The reply is not HTTP, or too large.
    Refused(&'static str),
    /// The connection closed before the reply began.
    Closed,
    /// It took too long.
    Late,
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection to the sidecar failed: {error}"),
            Self::Refused(reason) => write!(f, "the reply was not understood: {reason}"),
            Self::Closed => f.write_str("the sidecar closed the connection before it replied"),
            Self::Late => write!(f, "no reply within {} s", CALL_WAIT.as_secs()),
        }
    }
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// What came back.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Get<'a> {
    pub(crate) host: &'a str,
    pub(crate) path: &'a str,
    /// Passed on, so that all calls behind one visit carry the same id.
    pub(crate) request_id: Option<&'a [u8]>,
}

/// Kept connections to one address.
#[derive(Debug)]
pub(crate) struct HttpClient {
    address: SocketAddr,
    idle: Mutex<Vec<Connection>>,
}

impl HttpClient {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            idle: Mutex::new(Vec::new()),
        }
    }

    /// Calls over a kept connection, or a new one. A kept one that was closed before any byte of a reply came
    /// is replaced once: GET may be sent twice.
    pub(crate) async fn get(&self, get: Get<'_>) -> Result<Answer, CallError> {
        let call = async {
            if let Some(kept) = self.take_idle() {
                match self.call_on(kept, get).await {
                    Err(CallError::Closed | CallError::Io(_)) => {}
                    done => return done,
                }
            }
            self.call_on(Connection::open(self.address).await?, get)
                .await
        };
        timeout(CALL_WAIT, call)
            .await
            .map_err(|_| CallError::Late)?
    }

    async fn call_on(&self, mut connection: Connection, get: Get<'_>) -> Result<Answer, CallError> {
        let (answer, keep) = connection.get(get).await?;
        if keep {
            let mut idle = self.idle();
            if idle.len() < IDLE_MAX {
                idle.push(connection);
            }
        }
        Ok(answer)
    }

    fn take_idle(&self) -> Option<Connection> {
        let mut idle = self.idle();
        while let Some(kept) = idle.pop() {
            if !kept.is_stale() {
                return Some(kept);
            }
        }
        None
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        // Nothing panics while it holds the lock; if it did, the list would still be whole.
        self.idle
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

/// One connection; one call at a time.
#[derive(Debug)]
pub(crate) struct Connection {
    wire: Wire,
    head: ReplyHead,
    out: Vec<u8>,
    limits: Limits,
}

impl Connection {
    pub(crate) async fn open(address: SocketAddr) -> io::Result<Self> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self {
            wire: Wire::new(stream),
            head: ReplyHead::default(),
            out: Vec::new(),
            limits: Limits::default(),
        })
    }

    /// Whether the connection was closed since its last call.
    pub(crate) fn is_stale(&self) -> bool {
        self.wire.is_stale()
    }

    /// One call; whether the connection serves another one.
    pub(crate) async fn get(&mut self, get: Get<'_>) -> Result<(Answer, bool), CallError> {
        let mut fields = Fields::new();
        if let Some(id) = get.request_id {
            fields.push(b"x-request-id", id);
        }
        let line = RequestLine {
            method: b"GET",
            target: get.path.as_bytes(),
            authority: get.host.as_bytes(),
            framing: Framing::None,
            close: false,
            expect_continue: false,
            upgrade: b"",
        };
        self.out.clear();
        http1::write_request(line, &fields, &mut self.out);
        self.wire.write(&self.out).await?;
        self.read_head().await?;
        let status = self.head.status;
        let mut body = Vec::new();
        let mut decoder = BodyDecoder::new(self.head.framing, &self.limits);
        while let Some(bytes) = next_body(&mut self.wire, &mut decoder).await? {
            if body.len() + bytes.len() > BODY_BYTES_MAX {
                return Err(CallError::Refused(
                    "its body is longer than a demo app reads",
                ));
            }
            body.extend_from_slice(&bytes);
        }
        let keep = self.head.keep_alive && self.head.framing != Framing::Close;
        Ok((Answer { status, body }, keep))
    }

    /// The head of the final reply.
    async fn read_head(&mut self) -> Result<(), CallError> {
        loop {
            let parsed = http1::parse_reply(&self.wire.bytes, false, &self.limits, &mut self.head);
            match parsed.map_err(|refusal| CallError::Refused(refusal.reason))? {
                Parsed::Complete(len) => {
                    self.wire.bytes.advance(len);
                    if self.head.status >= 200 {
                        return Ok(());
                    }
                }
                Parsed::Need => {
                    if !self.wire.fill().await? {
                        return Err(CallError::Closed);
                    }
                }
            }
        }
    }
}
