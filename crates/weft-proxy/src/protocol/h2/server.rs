//! An HTTP/2 caller's connection: many calls at a time, each stream in a task of its own (`stream.rs`); replies
//! leave as they come. It drives the connection, keeps it alive, and ends it politely.

use crate::accept::Listener;
use crate::buffer::Chunk;
use crate::context::Context;
use crate::deadline::Limit;
use crate::protocol::h2::guarded::Guard;
use crate::protocol::h2::keepalive::{Keepalive, LOOK_EVERY};
use crate::protocol::h2::socket::Gathered;
use crate::protocol::h2::{
    CONNECTION_WINDOW_BYTES, HEADER_LIST_BYTES_MAX, LITTLE_FRAMES_BYTES_MAX,
    LOCAL_ERROR_RESETS_MAX, PENDING_RESETS_MAX, SEND_BUFFER_BYTES_MAX, STREAM_WINDOW_BYTES,
    STREAMS_MAX,
};
use h2::RecvStream;
use h2::server::SendResponse;
use http::Request;
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::{Rc, Weak};
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use weft_model::{Code, Failure};
use weft_telemetry::Direction;

/// What a caller reads that begins with anything but the preface, which h2 ends without a word: GOAWAY, no stream
/// was served, PROTOCOL_ERROR (RFC 9113 3.4).
const GOAWAY: &[u8] = &[0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

/// How long such a caller may take to read it.
const LINGER: Duration = Duration::from_secs(1);

/// A request as h2 gives it, with the handle for its reply.
pub(crate) type Accepted = (Request<RecvStream>, SendResponse<Chunk>);

/// A connection under way, whoever its streams belong to.
pub(crate) struct Connection<T> {
    h2: h2::server::Connection<Gathered<T>, Chunk>,
    socket: Gathered<T>,
    guard: Guard,
    /// The window of streams that is still to be told: SETTINGS follow one another, each is acknowledged first.
    window: Option<u32>,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Connection<T> {
    /// Exchanges the preface. `guard` watches over what is below `io`.
    pub(crate) async fn begin(
        io: T,
        guard: Guard,
        frame_bytes_max: u32,
    ) -> Result<Self, h2::Error> {
        let socket = Gathered::new(io);
        let mut handshake = Box::pin(
            h2::server::Builder::new()
                .initial_window_size(STREAM_WINDOW_BYTES)
                .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
                .max_frame_size(frame_bytes_max)
                .max_concurrent_streams(STREAMS_MAX)
                .max_header_list_size(HEADER_LIST_BYTES_MAX)
                .max_pending_accept_reset_streams(PENDING_RESETS_MAX)
                .max_local_error_reset_streams(Some(LOCAL_ERROR_RESETS_MAX))
                .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
                .data_frame_budget(LITTLE_FRAMES_BYTES_MAX)
                .enable_connect_protocol()
                .handshake(socket.clone()),
        );
        let begun = poll_fn(|cx| {
            let result = handshake.as_mut().poll(cx);
            // What cannot be written cannot be answered either: the read says so.
            let _ = socket.poll_send(cx);
            result
        })
        .await;
        let h2 = match begun {
            Ok(h2) => h2,
            Err(error) => {
                drop(handshake);
                if error.reason() == Some(h2::Reason::PROTOCOL_ERROR) {
                    let _ = tokio::time::timeout(LINGER, socket.end_with(GOAWAY)).await;
                }
                return Err(error);
            }
        };
        Ok(Self {
            h2,
            socket,
            guard,
            window: None,
        })
    }

    /// The next request; `None` when the connection has ended.
    pub(crate) async fn accept(&mut self) -> Option<Result<Accepted, h2::Error>> {
        poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// Drives the connection until there is a request, and sends what this turn has brought.
    fn poll_accept(
        &mut self,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Option<Result<Accepted, h2::Error>>> {
        if self.guard.must_go() {
            self.h2.graceful_shutdown();
        }
        let mut next = self.h2.poll_accept(cx);
        if next.is_pending()
            && let Some(window) = self.window
            && self.h2.set_initial_window_size(window).is_ok()
        {
            self.window = None;
            next = self.h2.poll_accept(cx);
        }
        if next.is_pending()
            && let Poll::Ready(Err(_)) = self.socket.poll_send(cx)
        {
            return Poll::Ready(None);
        }
        next
    }

    /// Why the connection was cut off, when it was.
    pub(crate) fn failure(&self) -> Option<Failure> {
        self.guard.failure()
    }

    /// Windows out of the way, for a stream with flow control of its own.
    pub(crate) fn open_windows(&mut self, bytes: u32) {
        self.h2.set_target_window_size(bytes);
        self.window = Some(bytes);
    }
}

/// What a connection's tasks and its worker share.
pub(crate) struct Standing {
    pub(crate) ctx: Rc<Context>,
    pub(crate) listener: Listener,
    pub(crate) caller: IpAddr,
    /// Calls under way. A stream that was reset counts until its call has really ended.
    pub(crate) calls: Cell<usize>,
    /// Asked to take no further calls.
    leaving: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// The connections of a worker, to tell them that it leaves.
#[derive(Default)]
pub(crate) struct Connections(RefCell<Vec<Weak<Standing>>>);

impl Connections {
    /// Asks callers of the own app, or all callers, to call elsewhere; calls under way go on.
    pub(crate) fn leave(&self, all: bool) {
        self.0.borrow_mut().retain(|connection| {
            let Some(standing) = connection.upgrade() else {
                return false;
            };
            let is_inbound = standing.listener.direction() == Direction::Inbound;
            if (all || is_inbound) && !standing.leaving.replace(true) {
                standing.wake();
            }
            true
        });
    }

    fn add(&self, standing: &Rc<Standing>) {
        let mut list = self.0.borrow_mut();
        // Those that have ended go when the list would grow: each is moved once.
        if list.len() == list.capacity() {
            list.retain(|connection| connection.strong_count() > 0);
        }
        list.push(Rc::downgrade(standing));
    }
}

impl Standing {
    fn wake(&self) {
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }
}

/// Serves calls until the connection ends; why, when not in the ordinary way. `first` is a request that came already.
pub(crate) async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
    ctx: &Rc<Context>,
    connection: Connection<T>,
    first: Option<Accepted>,
    listener: Listener,
    caller: IpAddr,
) -> Result<(), Failure> {
    let standing = Rc::new(Standing {
        ctx: Rc::clone(ctx),
        listener,
        caller,
        calls: Cell::new(0),
        leaving: Cell::new(false),
        waker: RefCell::default(),
    });
    ctx.h2_connections.add(&standing);
    let mut connection = connection;
    let mut session = Session {
        limit: ctx.deadlines.limit(),
        keepalive: Keepalive::new(connection.h2.ping_pong()),
        connection,
        standing,
        is_leaving: false,
    };
    if let Some(accepted) = first {
        session.take(accepted);
    }
    poll_fn(|cx| session.poll(cx)).await
}

/// One caller's connection.
struct Session<T> {
    connection: Connection<T>,
    standing: Rc<Standing>,
    limit: Rc<Limit>,
    keepalive: Keepalive,
    /// The first GOAWAY is sent.
    is_leaving: bool,
}

impl<T: AsyncRead + AsyncWrite + Unpin> Session<T> {
    fn poll(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        if self.standing.leaving.get() && !std::mem::replace(&mut self.is_leaving, true) {
            self.connection.h2.graceful_shutdown();
        }
        loop {
            match self.connection.poll_accept(cx) {
                Poll::Ready(Some(Ok(accepted))) => self.take(accepted),
                Poll::Ready(Some(Err(error))) => {
                    let cut = self.connection.failure();
                    return Poll::Ready(cut.map_or_else(|| ended(&error), Err));
                }
                Poll::Ready(None) => {
                    return Poll::Ready(self.connection.failure().map_or(Ok(()), Err));
                }
                Poll::Pending => break,
            }
        }
        *self.standing.waker.borrow_mut() = Some(cx.waker().clone());
        let ctx = Rc::clone(&self.standing.ctx);
        while ctx
            .deadlines
            .poll_stalled(&self.limit, LOOK_EVERY, cx)
            .is_ready()
        {
            if let Err(failure) = self.look(cx) {
                return Poll::Ready(Err(failure));
            }
            // What `look` has asked for is sent when h2 is driven again.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    }

    /// Whether the other side lives, and calls.
    fn look(&mut self, cx: &mut TaskContext<'_>) -> Result<(), Failure> {
        let received = self.connection.socket.received();
        let is_called = self.standing.calls.get() > 0;
        let Some(idle) = self.keepalive.look(received, is_called, cx) else {
            let found = "the caller does not answer a ping";
            return Err(Failure::with(Code::Cancelled, found));
        };
        if idle >= self.standing.ctx.settings.limits.idle && !self.is_leaving {
            self.is_leaving = true;
            self.connection.h2.graceful_shutdown();
        }
        Ok(())
    }

    /// Takes one request, in a task of its own.
    fn take(&mut self, (request, mut respond): Accepted) {
        self.keepalive.called();
        if self.standing.calls.get() >= STREAMS_MAX as usize {
            respond.send_reset(h2::Reason::REFUSED_STREAM);
            return;
        }
        super::stream::spawn(&self.standing, request, respond);
    }
}

/// How a connection that h2 has ended is recorded.
fn ended(error: &h2::Error) -> Result<(), Failure> {
    // A caller that is gone closes as it likes; what it did to its calls is in their records.
    if error.is_io() || error.is_remote() {
        return Ok(());
    }
    Err(Failure::with(Code::Malformed, error.to_string()))
}
