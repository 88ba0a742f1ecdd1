//! Frames on their way to a socket: whoever has one appends it, the connection's own task writes. It lets
//! everything else that is ready run first, so that all of it leaves in one write.

use crate::buffer::{Buffer, Chunk};
use crate::context::Context;
use crate::deadline::Limit;
use crate::protocol::motan2::OUT_BYTES_MAX;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::io;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};
use tokio::net::TcpStream;

/// The frames of one connection that are not yet written.
pub(crate) struct Outbox {
    pending: RefCell<Option<Buffer>>,
    sending: RefCell<Option<Chunk>>,
    /// Whether the others of this turn had their chance to add to the batch.
    waited: Cell<bool>,
    /// Bytes appended since the connection began.
    appended: Cell<u64>,
    /// Bytes that the socket took.
    written: Cell<u64>,
    /// The connection's task.
    driver: RefCell<Option<Waker>>,
    /// Those who wait for room.
    waiting: RefCell<Vec<Waker>>,
    limit: Rc<Limit>,
}

impl Outbox {
    /// An empty one.
    pub(crate) fn new(ctx: &Context) -> Self {
        Self {
            pending: RefCell::default(),
            sending: RefCell::default(),
            waited: Cell::new(false),
            appended: Cell::new(0),
            written: Cell::new(0),
            driver: RefCell::default(),
            waiting: RefCell::default(),
            limit: ctx.deadlines.limit(),
        }
    }

    /// Appends a frame: where in the connection's bytes it ends.
    pub(crate) fn push(&self, write: impl FnOnce(&mut Vec<u8>)) -> u64 {
        let mut pending = self.pending.borrow_mut();
        let buffer = pending.get_or_insert_with(Buffer::take);
        let before = buffer.len();
        write(buffer);
        let appended = self.appended.get() + (buffer.len() - before) as u64;
        self.appended.set(appended);
        drop(pending);
        self.wake_driver();
        appended
    }

    /// Where in the connection's bytes the next frame begins.
    pub(crate) fn position(&self) -> u64 {
        self.appended.get()
    }

    /// How many of the connection's bytes the socket took.
    pub(crate) fn written(&self) -> u64 {
        self.written.get()
    }

    /// Whether all was written.
    pub(crate) fn is_empty(&self) -> bool {
        self.appended.get() == self.written.get()
    }

    /// Whether another frame may be appended.
    pub(crate) fn has_room(&self) -> bool {
        self.appended.get() - self.written.get() < OUT_BYTES_MAX as u64
    }

    /// Ready when another frame may be appended.
    pub(crate) fn poll_room(&self, cx: &TaskContext<'_>) -> Poll<()> {
        if self.has_room() {
            return Poll::Ready(());
        }
        self.waiting.borrow_mut().push(cx.waker().clone());
        Poll::Pending
    }

    /// Says whom to wake when there is something to do.
    pub(crate) fn register_driver(&self, cx: &TaskContext<'_>) {
        let mut driver = self.driver.borrow_mut();
        if !driver
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *driver = Some(cx.waker().clone());
        }
    }

    /// Wakes the connection's task.
    pub(crate) fn wake_driver(&self) {
        if let Some(waker) = self.driver.borrow_mut().take() {
            waker.wake();
        }
    }

    /// Wakes those who wait for room, to write or to see that the connection has ended.
    pub(crate) fn wake_waiting(&self) {
        for waker in self.waiting.take() {
            waker.wake();
        }
    }

    /// Writes what has gathered; pending when nothing is left or the socket takes no more. Ready only with an
    /// error: the socket's, or that nothing moved within the limit.
    pub(crate) fn poll_write(
        &self,
        ctx: &Context,
        stream: &TcpStream,
        cx: &mut TaskContext<'_>,
    ) -> Poll<io::Result<Infallible>> {
        let mut sending = self.sending.borrow_mut();
        loop {
            let Some(chunk) = sending.as_mut() else {
                if self.pending.borrow().is_none() {
                    return Poll::Pending;
                }
                if !self.waited.replace(true) && self.has_room() {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                self.waited.set(false);
                *sending = self.pending.borrow_mut().take().map(Chunk::from);
                continue;
            };
            match stream.try_write(chunk.bytes()) {
                Ok(count) => {
                    self.limit.rest();
                    self.written.set(self.written.get() + count as u64);
                    chunk.advance(count);
                    if chunk.bytes().is_empty() {
                        *sending = None;
                    }
                    if self.has_room() {
                        self.wake_waiting();
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if stream.poll_write_ready(cx)?.is_ready() {
                        continue;
                    }
                    let stall = ctx.settings.limits.stall;
                    if ctx
                        .deadlines
                        .poll_stalled(&self.limit, stall, cx)
                        .is_ready()
                    {
                        return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
                    }
                    return Poll::Pending;
                }
                Err(error) => return Poll::Ready(Err(error)),
            }
        }
    }
}
