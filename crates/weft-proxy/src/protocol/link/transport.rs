//! What carries the frames of a link: one stream of an HTTP/2 connection, or an HTTP/1.1 connection after its 101.
//!
//! The frames are the same bytes on both. Never in here: how it is opened, and what a frame means.

use crate::buffer::{Chunk, Inbox};
use bytes::{Buf, Bytes};
use std::io;
use std::sync::atomic::AtomicU64;
use std::task::{Context as TaskContext, Poll, ready};
use tokio::net::TcpStream;
use weft_model::{Code, Failure};
use weft_telemetry::series::Counters;

/// What carries a link.
pub(crate) enum Transport {
    /// A stream of an HTTP/2 connection, which somebody else drives.
    Http2 {
        /// Towards the peer.
        send: h2::SendStream<Chunk>,
        /// From the peer.
        receive: h2::RecvStream,
    },
    /// A connection that is nothing but the link any more.
    Http1 {
        /// The socket.
        stream: TcpStream,
        /// What has come and not been taken: frames may follow the head at once.
        inbox: Inbox,
        /// Whether those have been taken.
        begun: bool,
    },
}

fn lost(reason: &dyn ToString) -> Failure {
    Failure::with(Code::LinkLost, reason.to_string())
}

fn ended() -> Failure {
    lost(&"the peer ended the link")
}

/// Where links are counted.
pub(super) struct LinkCounters<'a> {
    /// Those that this side connected.
    pub(super) out: &'a AtomicU64,
    /// Those that the peer connected.
    pub(super) taken: &'a AtomicU64,
}

impl Transport {
    /// A connection after its 101.
    pub(super) fn upgraded(stream: TcpStream, inbox: Inbox) -> Self {
        Self::Http1 {
            stream,
            inbox,
            begun: false,
        }
    }

    /// Where links over this transport are counted.
    pub(super) fn counters<'a>(&self, counters: &'a Counters) -> LinkCounters<'a> {
        let (out, taken) = match self {
            Self::Http2 { .. } => (&counters.links_out, &counters.links_in),
            Self::Http1 { .. } => (&counters.links_out_http1, &counters.links_in_http1),
        };
        LinkCounters { out, taken }
    }

    /// Why nothing can be sent any more, when the other side has said so.
    pub(super) fn poll_refusal(&mut self, cx: &mut TaskContext<'_>) -> Poll<Failure> {
        match self {
            Self::Http2 { send, .. } => match send.poll_reset(cx) {
                Poll::Ready(Err(error)) => Poll::Ready(lost(&error)),
                Poll::Ready(Ok(_)) | Poll::Pending => Poll::Pending,
            },
            // The next read or write tells.
            Self::Http1 { .. } => Poll::Pending,
        }
    }

    /// Hands a batch on; ready when all of it is. What cannot go yet stays in `batch`.
    pub(super) fn poll_send(
        &mut self,
        batch: &mut Option<Chunk>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<(), Failure>> {
        while let Some(mut chunk) = batch.take() {
            match self {
                Self::Http2 { send, .. } => {
                    let len = chunk.remaining();
                    let capacity = match poll_capacity(send, len, cx) {
                        Poll::Pending => {
                            *batch = Some(chunk);
                            return Poll::Pending;
                        }
                        Poll::Ready(capacity) => capacity?,
                    };
                    if capacity < len {
                        // A peer or middlebox with small windows: send what it takes.
                        let piece = chunk.bytes().get(..capacity).unwrap_or_default();
                        send.send_data(Chunk::copy_of(piece), false)
                            .map_err(|error| lost(&error))?;
                        chunk.advance(capacity);
                        *batch = Some(chunk);
                    } else {
                        send.send_data(chunk, false).map_err(|error| lost(&error))?;
                    }
                }
                Self::Http1 { stream, .. } => match stream.try_write(chunk.bytes()) {
                    Ok(0) => return Poll::Ready(Err(ended())),
                    Ok(count) if count == chunk.remaining() => {}
                    Ok(count) => {
                        chunk.advance(count);
                        *batch = Some(chunk);
                    }
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        *batch = Some(chunk);
                        ready!(stream.poll_write_ready(cx)).map_err(|error| lost(&error))?;
                    }
                    Err(error) => return Poll::Ready(Err(lost(&error))),
                },
            }
        }
        Poll::Ready(Ok(()))
    }

    /// Reads what has come, always, and gives HTTP/2's windows back at once: only per-call credit holds back.
    /// `take` takes all whole frames at the beginning and says how many bytes they were; what is left of the last
    /// one waits in `rest`.
    pub(super) fn poll_receive(
        &mut self,
        rest: &mut Inbox,
        mut take: impl FnMut(&[u8]) -> Result<usize, Failure>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Failure> {
        match self {
            Self::Http2 { receive, .. } => loop {
                let bytes: Bytes = match ready!(receive.poll_data(cx)) {
                    None => return Poll::Ready(ended()),
                    Some(Err(error)) => return Poll::Ready(lost(&error)),
                    Some(Ok(bytes)) => bytes,
                };
                if let Err(error) = receive.flow_control().release_capacity(bytes.len()) {
                    return Poll::Ready(lost(&error));
                }
                let result = if rest.is_empty() {
                    take(&bytes)
                        .map(|consumed| rest.push(bytes.get(consumed..).unwrap_or_default()))
                } else {
                    rest.push(&bytes);
                    take(rest.bytes()).map(|consumed| rest.consume(consumed))
                };
                if let Err(failure) = result {
                    return Poll::Ready(failure);
                }
            },
            Self::Http1 {
                stream,
                inbox,
                begun,
            } => loop {
                if std::mem::replace(begun, true) || inbox.is_empty() {
                    match ready!(inbox.poll_fill(stream, cx)) {
                        Ok(0) => return Poll::Ready(ended()),
                        Ok(_) => {}
                        Err(error) => return Poll::Ready(lost(&error)),
                    }
                }
                match take(inbox.bytes()) {
                    Ok(consumed) => inbox.consume(consumed),
                    Err(failure) => return Poll::Ready(failure),
                }
            },
        }
    }
}

/// How many bytes of `len` the stream takes now.
fn poll_capacity(
    send: &mut h2::SendStream<Chunk>,
    len: usize,
    cx: &mut TaskContext<'_>,
) -> Poll<Result<usize, Failure>> {
    send.reserve_capacity(len);
    if send.capacity() >= len {
        return Poll::Ready(Ok(len));
    }
    match ready!(send.poll_capacity(cx)) {
        Some(capacity) => Poll::Ready(capacity.map_err(|error| lost(&error))),
        None => Poll::Ready(Err(lost(&"the stream has ended"))),
    }
}
