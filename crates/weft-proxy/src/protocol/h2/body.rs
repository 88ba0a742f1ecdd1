//! Bodies of HTTP/2 streams, either way, within the windows of both sides: what was received is acknowledged when
//! its reader asks for more, and no more is sent than the other side takes.

use crate::buffer::Chunk;
use crate::call::{Body, BodyStream, Piece};
use crate::protocol::h2::head::{header_map, trailers};
use bytes::Buf;
use h2::{RecvStream, SendStream};
use std::collections::VecDeque;
use std::task::{Context, Poll, ready};
use weft_codec::Fields;
use weft_model::Failure;

/// The body of a stream on its way here.
pub(crate) struct Received {
    stream: RecvStream,
    /// Pieces that were there with the head.
    early: VecDeque<Chunk>,
    /// Bytes handed to the reader and not yet acknowledged: it has not asked for more.
    taken: usize,
    /// What an error of the stream means for the call.
    failure: fn(&h2::Error) -> Failure,
}

impl Received {
    /// Takes what is there already: all of it, or the beginning of a stream.
    pub(crate) fn begin(
        mut stream: RecvStream,
        length: Option<u64>,
        failure: fn(&h2::Error) -> Failure,
        cx: &mut Context<'_>,
    ) -> Body {
        let mut early: VecDeque<Chunk> = VecDeque::new();
        let mut ended = stream.is_end_stream();
        // One window at the most: none of it is acknowledged here.
        while !ended && let Poll::Ready(Some(Ok(bytes))) = stream.poll_data(cx) {
            let joined = early.back_mut().is_some_and(|last| last.try_append(&bytes));
            if !joined && !bytes.is_empty() {
                early.push_back(Chunk::copy_of(&bytes));
            }
            ended = stream.is_end_stream();
        }
        if ended && early.len() <= 1 {
            return early.pop_front().map_or(Body::Empty, Body::Full);
        }
        let received = Self {
            stream,
            early,
            taken: 0,
            failure,
        };
        Body::Stream {
            stream: Box::new(received),
            length,
        }
    }

    /// Takes nothing until it is asked for.
    pub(crate) fn unread(
        stream: RecvStream,
        failure: fn(&h2::Error) -> Failure,
    ) -> Box<dyn BodyStream> {
        Box::new(Self {
            stream,
            early: VecDeque::new(),
            taken: 0,
            failure,
        })
    }
}

impl BodyStream for Received {
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>> {
        let taken = std::mem::take(&mut self.taken);
        if taken > 0 {
            // An error says that the stream has ended, which the next look at it says better.
            let _ = self.stream.flow_control().release_capacity(taken);
        }
        if let Some(chunk) = self.early.pop_front() {
            self.taken = chunk.bytes().len();
            return Poll::Ready(Ok(Piece::Data(chunk)));
        }
        loop {
            match ready!(self.stream.poll_data(cx)) {
                Some(Ok(bytes)) if bytes.is_empty() => {}
                Some(Ok(bytes)) => {
                    self.taken = bytes.len();
                    return Poll::Ready(Ok(Piece::Data(Chunk::copy_of(&bytes))));
                }
                Some(Err(error)) => return Poll::Ready(Err((self.failure)(&error))),
                None => break,
            }
        }
        Poll::Ready(match ready!(self.stream.poll_trailers(cx)) {
            Ok(None) => Ok(Piece::End(None)),
            Ok(Some(map)) => trailers(&map).map(|fields| Piece::End(Some(fields))),
            Err(error) => Err((self.failure)(&error)),
        })
    }
}

/// Why a body was not sent to its end.
pub(crate) enum Unsent {
    /// The other side takes no more of it, or is gone.
    Reset,
    /// The body itself broke off.
    Broken(Failure),
}

/// A body on its way to the other side.
pub(crate) struct Sending {
    stream: SendStream<Chunk>,
    body: Option<Box<dyn BodyStream>>,
    pending: Option<Chunk>,
    /// What follows `pending`, when that is known already: an end goes with the last bytes.
    next: Option<Result<Piece, Failure>>,
    /// Whether what the body moves the other way goes on behind its end.
    is_tunnel: bool,
    /// The end of it was sent.
    ended: bool,
}

impl Sending {
    /// Sends `body`, of which nothing has been sent, and its end.
    pub(crate) fn new(stream: SendStream<Chunk>, body: Body) -> Self {
        let (body, pending) = match body {
            Body::Empty | Body::Spent => (None, None),
            Body::Full(chunk) => (None, Some(chunk)),
            Body::Stream { stream, .. } => (Some(stream), None),
        };
        let next = body.is_none().then_some(Ok(Piece::End(None)));
        Self {
            stream,
            body,
            pending,
            next,
            is_tunnel: false,
            ended: false,
        }
    }

    /// The same for what comes back through a tunnel: done only when the other direction has ended too.
    pub(crate) fn tunnel(stream: SendStream<Chunk>, body: Body) -> Self {
        Self {
            is_tunnel: true,
            ..Self::new(stream, body)
        }
    }

    /// The stream, to end it in another way.
    pub(crate) fn stream(&mut self) -> &mut SendStream<Chunk> {
        &mut self.stream
    }

    /// Ready when h2 has all of it, its end included: the trailers that were sent. A tunnel has none.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Fields>, Unsent>> {
        if self.stream.poll_reset(cx).is_ready() {
            return Poll::Ready(Err(Unsent::Reset));
        }
        let mut trailers = None;
        if !self.ended {
            trailers = ready!(self.poll_end(cx))?;
            self.ended = true;
        }
        if self.is_tunnel
            && let Some(body) = &mut self.body
        {
            ready!(body.poll_onward(cx)).map_err(Unsent::Broken)?;
        }
        Poll::Ready(Ok(trailers))
    }

    /// Ready when h2 has the end of it.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Fields>, Unsent>> {
        loop {
            // One piece waits for a reader that takes nothing; the next one is looked at when it does.
            let capacity = match &self.pending {
                Some(_) => Some(ready!(self.poll_capacity(cx))?),
                None => None,
            };
            // A reader that takes a byte at a time holds one piece, like one that takes none.
            let is_last_of_piece = self
                .pending
                .as_ref()
                .is_none_or(|chunk| capacity.is_some_and(|taken| taken >= chunk.remaining()));
            if self.next.is_none()
                && is_last_of_piece
                && let Some(body) = &mut self.body
                && let Poll::Ready(next) = body.poll_piece(cx)
            {
                if !self.is_tunnel && !matches!(next, Ok(Piece::Data(_))) {
                    self.body = None;
                }
                self.next = Some(next);
            }
            if let Some(capacity) = capacity {
                self.send(capacity)?;
                if self.pending.is_none() && matches!(self.next, Some(Ok(Piece::End(None)))) {
                    return Poll::Ready(Ok(None));
                }
                continue;
            }
            match self.next.take() {
                None => return Poll::Pending,
                Some(Ok(Piece::Data(chunk))) => self.pending = Some(chunk),
                Some(Ok(Piece::End(None))) => {
                    self.stream
                        .send_data(Chunk::copy_of(b""), true)
                        .map_err(|_| Unsent::Reset)?;
                    return Poll::Ready(Ok(None));
                }
                Some(Ok(Piece::End(Some(trailers)))) => {
                    self.stream
                        .send_trailers(header_map(&trailers))
                        .map_err(|_| Unsent::Reset)?;
                    return Poll::Ready(Ok(Some(trailers)));
                }
                Some(Err(failure)) => return Poll::Ready(Err(Unsent::Broken(failure))),
            }
        }
    }

    /// How much of `pending` the other side takes. While it takes nothing, what goes the other way goes on.
    fn poll_capacity(&mut self, cx: &mut Context<'_>) -> Poll<Result<usize, Unsent>> {
        let wanted = self.pending.as_ref().map_or(0, Buf::remaining);
        if wanted == 0 {
            return Poll::Ready(Ok(0));
        }
        self.stream.reserve_capacity(wanted);
        loop {
            let capacity = self.stream.capacity().min(wanted);
            if capacity > 0 {
                return Poll::Ready(Ok(capacity));
            }
            match self.stream.poll_capacity(cx) {
                Poll::Ready(Some(Ok(_))) => {}
                Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(Err(Unsent::Reset)),
                Poll::Pending => {
                    if let Some(body) = &mut self.body
                        && let Poll::Ready(Err(failure)) = body.poll_onward(cx)
                    {
                        return Poll::Ready(Err(Unsent::Broken(failure)));
                    }
                    return Poll::Pending;
                }
            }
        }
    }

    /// Hands so many bytes of `pending` to h2, with the end when it is known to follow.
    fn send(&mut self, capacity: usize) -> Result<(), Unsent> {
        let Some(mut chunk) = self.pending.take() else {
            return Ok(());
        };
        let piece = if capacity < chunk.remaining() {
            let piece = Chunk::copy_of(chunk.bytes().get(..capacity).unwrap_or_default());
            chunk.advance(capacity);
            self.pending = Some(chunk);
            piece
        } else {
            chunk
        };
        let is_last = self.pending.is_none() && matches!(self.next, Some(Ok(Piece::End(None))));
        self.stream
            .send_data(piece, is_last)
            .map_err(|_| Unsent::Reset)
    }
}
