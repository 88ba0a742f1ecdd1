//! The socket below an HTTP/2 connection: first the bytes that detection has read; writes gather until the end of
//! a turn. The `h2` crate writes frame by frame, with a system call for each larger one; here everything that it
//! has to say in one turn leaves in one write. Never in here: a look at what the bytes mean.

use crate::buffer::{Buffer, Inbox};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that gather before they are written although the turn goes on.
const GATHER_BYTES_MAX: usize = 64 * 1024;

/// A write of at least this size goes out at once when nothing is before it: copying it would gain nothing.
const DIRECT_BYTES_MIN: usize = 16 * 1024;

/// Reads after the last word to a caller, of 256 bytes each.
const END_READS_MAX: usize = 64;

/// Type and place of the type in a frame's header (RFC 9113 4.1), and its length.
const SETTINGS: u8 = 4;
const TYPE_AT: usize = 3;
const FRAME_HEADER_BYTES: usize = 9;

/// How the other side of a connection has begun.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Greeting {
    /// That is not known yet.
    Awaited,
    /// As HTTP/2 begins, with SETTINGS.
    Settings,
    /// Otherwise.
    Other,
    /// It ended, or broke, before that was known.
    Ended,
}

/// A socket of which the first bytes were already read, or are looked at.
pub(crate) struct Prefixed {
    inbox: Inbox,
    stream: TcpStream,
    greeting: Rc<Cell<Greeting>>,
}

impl Prefixed {
    /// `inbox` is what was read from `stream`.
    pub(crate) fn new(inbox: Inbox, stream: TcpStream) -> Self {
        Self {
            inbox,
            stream,
            greeting: Rc::new(Cell::new(Greeting::Settings)),
        }
    }

    /// Nothing is read from `stream` until it begins with SETTINGS; tells how it has begun.
    pub(crate) fn awaiting_settings(stream: TcpStream) -> (Self, Rc<Cell<Greeting>>) {
        let greeting = Rc::new(Cell::new(Greeting::Awaited));
        let prefixed = Self {
            inbox: Inbox::default(),
            stream,
            greeting: Rc::clone(&greeting),
        };
        (prefixed, greeting)
    }

    /// Looks at the first bytes, which stay to be read.
    fn poll_greeting(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while self.inbox.bytes().len() < FRAME_HEADER_BYTES {
            let read = ready!(self.inbox.poll_fill(&self.stream, cx));
            if !matches!(read, Ok(1..)) {
                // Whoever speaks something else may be short.
                let is_nothing = self.inbox.bytes().is_empty();
                self.greeting.set(if is_nothing {
                    Greeting::Ended
                } else {
                    Greeting::Other
                });
                read?;
                return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
            }
        }
        if self.inbox.bytes().get(TYPE_AT) == Some(&SETTINGS) {
            self.greeting.set(Greeting::Settings);
            return Poll::Ready(Ok(()));
        }
        self.greeting.set(Greeting::Other);
        Poll::Ready(Err(io::Error::other("the answer is not HTTP/2")))
    }
}

impl AsyncRead for Prefixed {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.greeting.get() != Greeting::Settings {
            ready!(self.poll_greeting(cx))?;
        }
        if self.inbox.is_empty() {
            return Pin::new(&mut self.stream).poll_read(cx, into);
        }
        let count = self.inbox.bytes().len().min(into.remaining());
        into.put_slice(self.inbox.bytes().get(..count).unwrap_or_default());
        self.inbox.consume(count);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// One end of a socket whose writes gather: `h2` has one, whoever drives it the other, and sends at the end of
/// each turn.
pub(crate) struct Gathered<T>(Rc<RefCell<Inner<T>>>);

struct Inner<T> {
    io: T,
    out: Option<Buffer>,
    sent: usize,
    /// Bytes that came, in all.
    received: u64,
}

impl<T> Clone for Gathered<T> {
    fn clone(&self) -> Self {
        Self(Rc::clone(&self.0))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Gathered<T> {
    pub(crate) fn new(io: T) -> Self {
        Self(Rc::new(RefCell::new(Inner {
            io,
            out: None,
            sent: 0,
            received: 0,
        })))
    }

    /// Writes what has gathered; ready when nothing is left.
    pub(crate) fn poll_send(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.0.borrow_mut().poll_send(cx)
    }

    /// Says this last, and waits until the other side has read it: an early close would reset the connection under
    /// its unread bytes.
    pub(crate) async fn end_with(&self, bytes: &[u8]) {
        let mut socket = self.clone();
        let _ = poll_fn(|cx| {
            ready!(Pin::new(&mut socket).poll_write(cx, bytes))?;
            Poll::Ready(Ok::<_, io::Error>(()))
        })
        .await;
        let _ = poll_fn(|cx| Pin::new(&mut socket).poll_shutdown(cx)).await;
        let mut unread = [0; 256];
        for _ in 0..END_READS_MAX {
            let mut into = ReadBuf::new(&mut unread);
            let read = poll_fn(|cx| Pin::new(&mut socket).poll_read(cx, &mut into)).await;
            if read.is_err() || into.filled().is_empty() {
                return;
            }
        }
    }

    /// Bytes that came, in all.
    pub(crate) fn received(&self) -> u64 {
        self.0.borrow().received
    }
}

impl<T: AsyncWrite + Unpin> Inner<T> {
    fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while let Some(out) = &self.out {
            let rest = out.get(self.sent..).unwrap_or_default();
            if rest.is_empty() {
                self.out = None;
                self.sent = 0;
                break;
            }
            let count = ready!(Pin::new(&mut self.io).poll_write(cx, rest))?;
            if count == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.sent += count;
        }
        Poll::Ready(Ok(()))
    }

    /// Room for more: ready when less has gathered than may.
    fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let gathered = self.out.as_ref().map_or(0, |out| out.len() - self.sent);
        if gathered < GATHER_BYTES_MAX {
            return Poll::Ready(Ok(()));
        }
        self.poll_send(cx)
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for Gathered<T> {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        let before = into.filled().len();
        let result = Pin::new(&mut inner.io).poll_read(cx, into);
        inner.received += (into.filled().len() - before) as u64;
        result
    }
}

impl<T: AsyncWrite + Unpin> AsyncWrite for Gathered<T> {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[io::IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let mut inner = self.0.borrow_mut();
        let len: usize = slices.iter().map(|slice| slice.len()).sum();
        if inner.out.is_none() && len >= DIRECT_BYTES_MIN {
            return Pin::new(&mut inner.io).poll_write_vectored(cx, slices);
        }
        ready!(inner.poll_room(cx))?;
        let out = inner.out.get_or_insert_with(Buffer::take);
        for slice in slices {
            out.extend_from_slice(slice);
        }
        Poll::Ready(Ok(len))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    /// Nothing: what has gathered leaves at the end of the turn.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let mut inner = self.0.borrow_mut();
        ready!(inner.poll_send(cx))?;
        Pin::new(&mut inner.io).poll_shutdown(cx)
    }
}
