//! A Motan2 connection: its frames, the end that serves and the end that calls.

use crate::app::StartError;
use crate::wire::Wire;
use bytes::{Buf, Bytes};
use std::fmt;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::timeout;
use weft_codec::Fields;
use weft_codec::motan2::{self, Header, Limits, Step};

/// How long a call may take.
const CALL_WAIT: Duration = Duration::from_secs(5);
/// Idle connections that are kept.
const IDLE_MAX: usize = 64;
/// Replies of one connection that wait to be written; calls beyond wait unread.
const REPLIES_MAX: usize = 64;

/// A frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) header: Header,
    pub(crate) metadata: Fields,
    pub(crate) body: Bytes,
}

impl Frame {
    /// The value of a metadata key; the last one wins.
    pub(crate) fn value(&self, key: &str) -> Option<&str> {
        self.metadata
            .last_exact(key)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The reply to this frame with a body.
    pub(crate) fn reply(&self, body: Vec<u8>) -> Self {
        let header = Header {
            response: true,
            one_way: false,
            gzip: false,
            ..self.header
        };
        let mut metadata = Fields::new();
        metadata.push(b"M_pt", b"0");
        Self {
            header,
            metadata,
            body: body.into(),
        }
    }

    /// The exception that answers this frame. `kind`: 0 framework, 1 service, 2 business.
    pub(crate) fn exception(&self, code: u16, message: &str, kind: u8) -> Self {
        let mut frame = self.reply(Vec::new());
        frame.header.exception = true;
        let json = motan2::exception_json(code, message, kind);
        frame.metadata.push(b"M_e", json.as_bytes());
        frame
    }

    fn write(&self, out: &mut Vec<u8>) {
        // A body came from a frame, or is a few bytes of ours.
        let body_len = u32::try_from(self.body.len()).unwrap_or(u32::MAX);
        motan2::write_head(self.header, &self.metadata, body_len, out);
        out.extend_from_slice(&self.body);
    }
}

/// Waits for the next frame; none at the end of the stream.
async fn next_frame<S: AsyncRead + Unpin>(
    wire: &mut Wire<S>,
    limits: &Limits,
) -> io::Result<Option<Frame>> {
    let refused =
        |refusal: motan2::Refusal| io::Error::new(io::ErrorKind::InvalidData, refusal.reason);
    loop {
        match motan2::parse(&wire.bytes, limits).map_err(refused)? {
            Step::Frame { header, meta, body } => {
                let mut metadata = Fields::new();
                let text = wire.bytes.get(meta).unwrap_or_default();
                motan2::parse_metadata(text, limits, &mut metadata).map_err(refused)?;
                let mut frame = wire.bytes.split_to(body.end);
                frame.advance(body.start);
                return Ok(Some(Frame {
                    header,
                    metadata,
                    body: frame.freeze(),
                }));
            }
            Step::Need(_) => {
                if !wire.fill().await? {
                    return Ok(None);
                }
            }
        }
    }
}

/// Serves Motan2 on a port: heartbeats are answered, one-way calls are not, others as `answer` says and in
/// the order in which it is done.
pub(crate) async fn serve<A, F>(port: u16, answer: A) -> Result<(), StartError>
where
    A: Fn(Frame) -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Frame> + Send + 'static,
{
    let serve_one = move |stream| {
        let answer = answer.clone();
        async move {
            // A connection that breaks is its caller's to notice.
            let _ = serve_connection(stream, answer).await;
        }
    };
    crate::app::serve(port, serve_one).await
}

async fn serve_connection<A, F>(stream: TcpStream, answer: A) -> io::Result<()>
where
    A: Fn(Frame) -> F + Send + Sync,
    F: Future<Output = Frame> + Send + 'static,
{
    let limits = Limits::default();
    let (reading, mut writing) = stream.into_split();
    let mut wire = Wire::new(reading);
    let (replies, mut queue) = mpsc::channel::<Frame>(REPLIES_MAX);
    let writer = tokio::spawn(async move {
        let mut out = Vec::new();
        while let Some(frame) = queue.recv().await {
            out.clear();
            frame.write(&mut out);
            // What is ready leaves in one write.
            while let Ok(more) = queue.try_recv() {
                more.write(&mut out);
            }
            if writing.write_all(&out).await.is_err() {
                return;
            }
        }
    });
    while let Some(frame) = next_frame(&mut wire, &limits).await? {
        // A place in the queue first: a caller that reads no replies is read no further.
        let Ok(place) = replies.clone().reserve_owned().await else {
            break;
        };
        if frame.header.heartbeat {
            place.send(frame.reply(Vec::new()));
            continue;
        }
        let one_way = frame.header.one_way;
        let answering = answer(frame);
        tokio::spawn(async move {
            let reply = answering.await;
            if !one_way {
                place.send(reply);
            }
        });
    }
    drop(replies);
    let _ = writer.await;
    Ok(())
}

/// Why a call brought no reply.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The connection.
    Io(io::Error),
    /// The connection closed before the reply.
    Closed,
    /// It took too long.
    Late,
    /// The reply is an exception: its text.
    Exception(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection to the sidecar failed: {error}"),
            Self::Closed => f.write_str("the sidecar closed the connection before it replied"),
            Self::Late => write!(f, "no reply within {} s", CALL_WAIT.as_secs()),
            Self::Exception(text) => write!(f, "an exception: {text}"),
        }
    }
}

impl From<io::Error> for CallError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// A call.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Request<'a> {
    pub(crate) interface: &'a str,
    pub(crate) method: &'a str,
    pub(crate) body: &'a [u8],
}

/// Kept connections to one address, the sidecar's.
#[derive(Debug)]
pub(crate) struct MotanClient {
    address: SocketAddr,
    idle: Mutex<Vec<Wire>>,
    limits: Limits,
    last_id: AtomicU64,
}

impl MotanClient {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            idle: Mutex::new(Vec::new()),
            limits: Limits::default(),
            last_id: AtomicU64::new(0),
        }
    }

    /// Calls over a kept connection, or a new one; returns the reply's body. `may_repeat` says that a call
    /// whose kept connection broke may be sent again.
    pub(crate) async fn call(
        &self,
        request: Request<'_>,
        may_repeat: bool,
    ) -> Result<Bytes, CallError> {
        let call = async {
            if let Some(kept) = self.take_idle() {
                match self.call_on(kept, request).await {
                    Err(CallError::Closed | CallError::Io(_)) if may_repeat => {}
                    done => return done,
                }
            }
            let stream = TcpStream::connect(self.address).await?;
            stream.set_nodelay(true)?;
            self.call_on(Wire::new(stream), request).await
        };
        timeout(CALL_WAIT, call)
            .await
            .map_err(|_| CallError::Late)?
    }

    async fn call_on(&self, mut wire: Wire, request: Request<'_>) -> Result<Bytes, CallError> {
        let request_id = self.last_id.fetch_add(1, Ordering::Relaxed) + 1;
        let mut metadata = Fields::new();
        metadata.push(b"M_p", request.interface.as_bytes());
        metadata.push(b"M_m", request.method.as_bytes());
        let header = Header {
            serialize: crate::simple::SERIALIZE,
            request_id,
            ..Header::default()
        };
        let body = Bytes::copy_from_slice(request.body);
        let mut out = Vec::new();
        Frame {
            header,
            metadata,
            body,
        }
        .write(&mut out);
        wire.write(&out).await?;
        loop {
            let frame = next_frame(&mut wire, &self.limits)
                .await?
                .ok_or(CallError::Closed)?;
            if frame.header.request_id != request_id || !frame.header.response {
                continue;
            }
            let mut idle = self.idle();
            if idle.len() < IDLE_MAX {
                idle.push(wire);
            }
            drop(idle);
            if frame.header.exception {
                let text = frame.value("M_e").unwrap_or("without a text").to_owned();
                return Err(CallError::Exception(text));
            }
            return Ok(frame.body);
        }
    }

    fn take_idle(&self) -> Option<Wire> {
        let mut idle = self.idle();
        while let Some(kept) = idle.pop() {
            if !kept.is_stale() {
                return Some(kept);
            }
        }
        None
    }

    fn idle(&self) -> MutexGuard<'_, Vec<Wire>> {
        // Nothing panics while it holds the lock; if it did, the list would still be whole.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
