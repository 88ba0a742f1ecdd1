//! Bytes of which the mesh knows nothing: an upgraded connection, CONNECT, opaque TCP. One call with two bodies.
//!
//! [`CallerBytes`] is the request's body: what the caller sends once its tunnel is open, and not a byte before.
//! [`relay`] gives the reply's body to the caller. Where the caller's tunnel is a stream of a connection with many,
//! [`CallerStream`] and [`Returning`] are the two bodies. [`AppTunnel`] is the other end: it is the reply's body and sends
//! the request's meanwhile. Each direction ends by itself (half close); a reset ends both, and is passed on as one.
//! Never in here: how a tunnel is asked for and granted, which its protocol knows.

mod stream;

pub(crate) use stream::{CallerStream, Returning};

use crate::buffer::{BUFFER_BYTES, Chunk, Inbox};
use crate::call::{Body, BodyStream, Piece};
use crate::context::Context;
use crate::record::CallRecord;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::Shutdown;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker, ready};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use weft_codec::tls::{HELLO_BYTES_MAX, ServerName, server_name};
use weft_model::{Code, Failure, Limit};

/// How long an app may take to end its side after a caller that has closed its own.
const FAREWELL_MAX: Duration = Duration::from_secs(1);

/// A caller's socket, of which a tunnel reads, with what was read of it before.
pub(crate) trait CallerSocket {
    /// The socket.
    fn stream(&self) -> &TcpStream;
    /// What was read and is nobody's yet.
    fn inbox(&self) -> &RefCell<Inbox>;
}

/// What both directions of a caller's tunnel know.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    open: Cell<bool>,
    /// Whether the caller has ended its side.
    ended: Cell<bool>,
    /// Whether bytes have moved since the idle limit was looked at.
    moved: Cell<bool>,
    hello: RefCell<Hello>,
    waiting: RefCell<Option<Waker>>,
}

/// What is known of the name that the caller's first bytes ask for.
#[derive(Debug, Default)]
enum Hello {
    /// No byte came yet.
    #[default]
    Unread,
    /// A part of a hello, of one record at the most.
    Begun(Vec<u8>),
    /// All that it says.
    Read(Option<Box<str>>),
}

impl Hello {
    /// Looks at the next bytes, until it is known.
    fn look(&mut self, bytes: &[u8]) {
        let begun = match self {
            Self::Read(_) => return,
            Self::Unread => None,
            Self::Begun(before) => {
                let room = HELLO_BYTES_MAX.saturating_sub(before.len());
                before.extend_from_slice(bytes.get(..bytes.len().min(room)).unwrap_or_default());
                Some(&*before)
            }
        };
        *self = match server_name(begun.map_or(bytes, Vec::as_slice)) {
            ServerName::Name(name) => Self::Read(Some(name.into())),
            ServerName::NeedMore => Self::Begun(begun.map_or_else(|| bytes.to_vec(), Vec::clone)),
            ServerName::None => Self::Read(None),
        };
    }
}

impl Gate {
    /// The name that the caller's TLS asked for.
    pub(crate) fn tell_name(&self, record: &mut CallRecord) {
        if let Hello::Read(Some(name)) = &*self.hello.borrow() {
            record.server_name(name);
        }
    }

    /// The tunnel was granted: the caller's bytes may go.
    pub(crate) fn open(&self) {
        self.open.set(true);
        if let Some(waker) = self.waiting.take() {
            waker.wake();
        }
    }

    /// Ready when the caller's bytes may go.
    fn poll_open(&self, cx: &TaskContext<'_>) -> Poll<()> {
        if self.open.get() {
            return Poll::Ready(());
        }
        *self.waiting.borrow_mut() = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Looks at what the caller has sent.
    fn sees<E>(&self, piece: &Result<Piece, E>) {
        self.moved.set(true);
        match piece {
            Ok(Piece::Data(chunk)) => self.hello.borrow_mut().look(chunk.bytes()),
            Ok(Piece::End(_)) => self.ended.set(true),
            Err(_) => {}
        }
    }
}

/// What a caller sends through its tunnel: the body of its request. Nothing of it is read before [`relay`] runs, so a
/// call that was not granted has taken nothing, and may be tried elsewhere.
pub(crate) struct CallerBytes<S> {
    socket: Rc<S>,
    gate: Rc<Gate>,
    reader: Reader,
}

impl<S: CallerSocket + 'static> CallerBytes<S> {
    /// The body of a request for a tunnel, and what opens it.
    pub(crate) fn body(socket: &Rc<S>) -> (Body, Rc<Gate>) {
        let gate = Rc::new(Gate::default());
        let bytes = Self {
            socket: Rc::clone(socket),
            gate: Rc::clone(&gate),
            reader: Reader::default(),
        };
        let body = Body::Stream {
            stream: Box::new(bytes),
            length: None,
        };
        (body, gate)
    }
}

impl<S: CallerSocket> BodyStream for CallerBytes<S> {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        ready!(self.gate.poll_open(cx));
        let mut inbox = self.socket.inbox().borrow_mut();
        let piece = ready!(self.reader.poll(&mut inbox, self.socket.stream(), cx));
        self.gate.sees(&piece);
        Poll::Ready(piece.map_err(|error| Failure::with(Code::Cancelled, error.to_string())))
    }
}

/// Polls a tunnel until both its directions have ended, or nothing has moved for the limit.
pub(crate) async fn until_ended(
    ctx: &Context,
    gate: &Gate,
    mut poll: impl FnMut(&mut TaskContext<'_>) -> Poll<Result<(), Failure>>,
) -> Result<(), Failure> {
    let limit = ctx.deadlines.limit();
    let idle = ctx.settings.limits.tunnel_idle;
    poll_fn(|cx| {
        let result = poll(cx);
        if result.is_ready() {
            return result;
        }
        if gate.moved.take() {
            limit.rest();
        }
        ready!(ctx.deadlines.poll_stalled(&limit, idle, cx));
        ctx.counters.limits_hit.add(Limit::TunnelIdle);
        Poll::Ready(Err(idle_failure(idle)))
    })
    .await
}

/// Why a granted tunnel without bytes on their way back is none.
pub(crate) fn nothing_back() -> Failure {
    Failure::with(
        Code::UpstreamMalformed,
        "a tunnel was granted that carries nothing back",
    )
}

/// Reads what comes by a socket: little at a time, and much once one read was full.
#[derive(Default)]
struct Reader {
    much: bool,
}

impl Reader {
    /// The next bytes, or their end.
    fn poll(
        &mut self,
        inbox: &mut Inbox,
        stream: &TcpStream,
        cx: &mut TaskContext<'_>,
    ) -> Poll<std::io::Result<Piece>> {
        if inbox.is_empty() {
            let count = if self.much {
                ready!(inbox.poll_fill_much(stream, cx))?
            } else {
                ready!(inbox.poll_fill(stream, cx))?
            };
            if count == 0 {
                return Poll::Ready(Ok(Piece::End(None)));
            }
            self.much = count >= BUFFER_BYTES;
        }
        Poll::Ready(Ok(Piece::Data(inbox.take(usize::MAX))))
    }
}

/// Opens the gate and gives the caller what comes back, until both directions have ended. After a failure the caller's
/// connection is reset.
pub(crate) async fn relay<S: CallerSocket>(
    ctx: &Context,
    socket: &S,
    gate: &Gate,
    body: Body,
) -> Result<(), Failure> {
    let Body::Stream { stream, .. } = body else {
        reset(socket.stream());
        return Err(nothing_back());
    };
    gate.open();
    let mut outflow = Outflow::new(stream);
    let both = until_ended(ctx, gate, |cx| outflow.poll(socket.stream(), gate, cx));
    let result = tokio::select! {
        biased;
        result = both => result,
        () = aborted(socket.stream()) => Err(Failure::new(Code::Cancelled)),
    };
    let result = match result {
        // A caller that closes its socket has said that it is done: whatever its app still says to that is nobody's.
        Err(failure) if failure.code == Code::Cancelled && gate.ended.get() => {
            let rest = outflow.discard(ctx.settings.limits.discard_bytes_max);
            let in_time = tokio::time::timeout(FAREWELL_MAX, rest).await;
            in_time.unwrap_or(Err(failure))
        }
        result => result,
    };
    if result.is_err() {
        reset(socket.stream());
    }
    result
}

fn idle_failure(idle: Duration) -> Failure {
    Failure::with(
        Code::TunnelIdle,
        format!("nothing came from either side for {} s", idle.as_secs()),
    )
}

/// The reply's body on its way to the caller's socket.
struct Outflow {
    body: Box<dyn BodyStream>,
    pending: Option<Chunk>,
    ended: bool,
}

impl Outflow {
    fn new(body: Box<dyn BodyStream>) -> Self {
        Self {
            body,
            pending: None,
            ended: false,
        }
    }

    /// Throws away what still comes, up to so many bytes, until both directions have ended.
    async fn discard(&mut self, mut left: usize) -> Result<(), Failure> {
        while !self.ended {
            match poll_fn(|cx| self.body.poll_piece(cx)).await? {
                Piece::Data(chunk) => {
                    let rest = left.checked_sub(chunk.bytes().len());
                    left = rest.ok_or(Failure::new(Code::Cancelled))?;
                }
                Piece::End(_) => self.ended = true,
            }
        }
        poll_fn(|cx| self.body.poll_onward(cx)).await
    }

    /// Ready when both directions have ended.
    fn poll(
        &mut self,
        stream: &TcpStream,
        gate: &Gate,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), Failure>> {
        loop {
            if let Some(chunk) = &mut self.pending {
                match poll_write(stream, chunk, cx) {
                    Poll::Ready(Ok(())) => self.pending = None,
                    Poll::Ready(Err(error)) => {
                        let gone = Failure::with(Code::Cancelled, error.to_string());
                        return Poll::Ready(Err(gone));
                    }
                    // The other direction goes on all the same.
                    Poll::Pending => {
                        if let Poll::Ready(Err(failure)) = self.body.poll_onward(cx) {
                            return Poll::Ready(Err(failure));
                        }
                        return Poll::Pending;
                    }
                }
            }
            if self.ended {
                return self.body.poll_onward(cx);
            }
            match ready!(self.body.poll_piece(cx))? {
                Piece::Data(chunk) => {
                    gate.moved.set(true);
                    self.pending = Some(chunk);
                }
                Piece::End(_) => {
                    end_writing(stream);
                    self.ended = true;
                }
            }
        }
    }
}

/// Writes a chunk; ready when all of it is written.
fn poll_write(
    stream: &TcpStream,
    chunk: &mut Chunk,
    cx: &mut TaskContext<'_>,
) -> Poll<std::io::Result<()>> {
    while !chunk.bytes().is_empty() {
        match stream.try_write(chunk.bytes()) {
            Ok(count) => chunk.advance(count),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                ready!(stream.poll_write_ready(cx))?;
            }
            Err(error) => return Poll::Ready(Err(error)),
        }
    }
    Poll::Ready(Ok(()))
}

/// Ends the writing side. A socket that is closed already refuses, and needs no end any more.
fn end_writing(stream: &TcpStream) {
    let _ = socket2::SockRef::from(stream).shutdown(Shutdown::Write);
}

/// Has the socket reset when it is closed, so that its other end sees no proper end of what came.
pub(crate) fn reset(stream: &TcpStream) {
    // A socket that is closed already refuses; there is nobody to tell.
    let _ = socket2::SockRef::from(stream).set_linger(Some(Duration::ZERO));
}

/// Ends when the other side has reset the connection. One that only ended its side may still read.
pub(crate) async fn aborted(stream: &TcpStream) {
    loop {
        match stream.ready(Interest::ERROR).await {
            Ok(ready) if !ready.is_error() => tokio::task::yield_now().await,
            _ => return,
        }
    }
}

/// A granted tunnel at its app: the body of the reply, which sends the request's meanwhile. Dropped before both have
/// ended, the app's connection is reset.
pub(crate) struct AppTunnel {
    stream: TcpStream,
    /// What was read with the reply's head.
    inbox: Inbox,
    reader: Reader,
    request: Option<Box<dyn BodyStream>>,
    pending: Option<Chunk>,
    ended: bool,
}

impl AppTunnel {
    /// The reply's body. `request` is sent from now on.
    pub(crate) fn body(
        stream: TcpStream,
        inbox: Inbox,
        request: Option<Box<dyn BodyStream>>,
    ) -> Body {
        let tunnel = Self {
            stream,
            inbox,
            reader: Reader::default(),
            request,
            pending: None,
            ended: false,
        };
        Body::Stream {
            stream: Box::new(tunnel),
            length: None,
        }
    }

    /// Sends what has come of the request's body; ready at its end.
    fn poll_send(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        loop {
            if let Some(chunk) = &mut self.pending {
                ready!(poll_write(&self.stream, chunk, cx)).map_err(|error| was_reset(&error))?;
                self.pending = None;
            }
            let Some(request) = &mut self.request else {
                return Poll::Ready(Ok(()));
            };
            match ready!(request.poll_piece(cx))? {
                Piece::Data(chunk) => self.pending = Some(chunk),
                Piece::End(_) => {
                    end_writing(&self.stream);
                    self.request = None;
                }
            }
        }
    }
}

fn was_reset(error: &std::io::Error) -> Failure {
    Failure::with(Code::UpstreamReset, error.to_string())
}

impl BodyStream for AppTunnel {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        if let Poll::Ready(Err(failure)) = self.poll_send(cx) {
            return Poll::Ready(Err(failure));
        }
        let piece = ready!(self.reader.poll(&mut self.inbox, &self.stream, cx));
        let piece = piece.map_err(|error| was_reset(&error))?;
        self.ended = matches!(piece, Piece::End(_));
        Poll::Ready(Ok(piece))
    }

    fn poll_onward(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        self.poll_send(cx)
    }
}

impl Drop for AppTunnel {
    fn drop(&mut self) {
        if !self.ended || self.request.is_some() {
            reset(&self.stream);
        }
    }
}
