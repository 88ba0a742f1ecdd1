//! Calls an HTTP/2 app or external host: few connections, many streams on each. The request's body is sent while
//! the reply is read, as both come.

use crate::buffer::Chunk;
use crate::call::{Body, BodyStream, Call, Interim, Piece, ReplyHead};
use crate::context::Context;
use crate::protocol::h2::body::{Received, Sending, Unsent};
use crate::protocol::h2::grpc;
use crate::protocol::h2::head::{reply_head, request};
use crate::protocol::h2::pool::{Busy, reach};
use crate::protocol::h2::tunnel;
use crate::protocol::http::{Extra, introduce, is_weft_field};
use crate::upstream::{PoolKey, Upstream};
use h2::client::ResponseFuture;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use weft_codec::link::Kind;
use weft_model::{Code, Failure};

/// Interim replies (1xx) to one call at the most.
const INTERIM_MAX: usize = 32;

/// Sends a call and brings the reply's head back.
pub(crate) async fn exchange(
    ctx: &Rc<Context>,
    upstream: Upstream<'_>,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    introduce(ctx, &upstream, &mut call.head);
    if call.head.kind == Kind::Tunnel {
        return tunnel::exchange(ctx, upstream, call).await;
    }
    let is_grpc = grpc::is_grpc(&call.head.fields);
    if is_grpc && let Some(deadline) = call.head.deadline {
        let left = grpc::timeout_until(deadline);
        call.head.fields.set(grpc::TIMEOUT, left.as_bytes());
    }
    let busy = reach(ctx, upstream).await?;
    let length = match &call.body {
        Body::Full(chunk) => Some(chunk.bytes().len() as u64),
        Body::Stream { length, .. } => *length,
        Body::Empty | Body::Spent => None,
    };
    let ends = matches!(call.body, Body::Empty | Body::Spent);
    let (response, stream) = busy.send(request(&call.head, length)?, ends)?;
    // A body that can be sent again stays with the call; what goes out is a copy.
    let body = match &call.body {
        Body::Full(chunk) => Some(Body::Full(Chunk::copy_of(chunk.bytes()))),
        _ => call.body.take_stream().map(|stream| Body::Stream {
            stream,
            length: None,
        }),
    };
    let mut exchange = Exchange {
        sending: body.map(|body| Sending::new(stream, body)),
        busy,
    };
    let response = receive(&mut exchange, response, call).await?;
    let (parts, body) = response.into_parts();
    let has_body = !body.is_end_stream();
    let is_external = matches!(upstream.pool_key(), PoolKey::External(_));
    // An external host may be the sidecar of another mesh, whose word stays.
    let gone = |name: &[u8]| !is_external && is_weft_field(name);
    let mut head = reply_head(ctx, &parts, has_body, gone)?;
    drop(parts);
    head.app_error |= is_grpc && grpc::says_failed(&head.fields);
    let length = Extra::read(head.fields.bytes(head.opaque)).length;
    let mut body = Some(body);
    let body = poll_fn(|cx| {
        let body = body.take().map_or(Body::Empty, |body| {
            Received::begin(body, length, reply_broke, cx)
        });
        Poll::Ready(body)
    })
    .await;
    Ok((head, hold(body, exchange)))
}

/// A reply of which the request is still being sent, or whose body is still to come, keeps its stream.
pub(super) fn hold(body: Body, exchange: Exchange) -> Body {
    match body {
        Body::Stream { stream, length } => Body::Stream {
            stream: Box::new(UpstreamBody {
                stream,
                exchange,
                ended: false,
            }),
            length,
        },
        // The reply is complete: what is left of the request is nobody's wish any more.
        whole @ (Body::Empty | Body::Full(_) | Body::Spent) => whole,
    }
}

/// A stream with a call under way. Dropped before its end, h2 resets it: CANCEL.
pub(super) struct Exchange {
    /// The request's body, as long as it is being sent.
    sending: Option<Sending>,
    busy: Busy,
}

impl Exchange {
    /// A call of which nothing is being sent.
    pub(super) fn new(busy: Busy) -> Self {
        Self {
            sending: None,
            busy,
        }
    }

    /// Sends this from now on.
    pub(super) fn send(&mut self, sending: Sending) {
        self.sending = Some(sending);
    }

    /// The connection alone.
    pub(super) fn into_busy(self) -> Busy {
        self.busy
    }

    /// Sends what can be sent.
    fn poll_request(&mut self, cx: &mut TaskContext<'_>) -> Result<(), Failure> {
        let Some(sending) = &mut self.sending else {
            return Ok(());
        };
        match sending.poll(cx) {
            Poll::Pending => {}
            // It takes no more of it; its reply may still come.
            Poll::Ready(Ok(_) | Err(Unsent::Reset)) => self.sending = None,
            Poll::Ready(Err(Unsent::Broken(failure))) => return Err(failure),
        }
        Ok(())
    }
}

/// Waits for the head of the reply, passing interim ones on.
pub(super) async fn receive(
    exchange: &mut Exchange,
    mut response: ResponseFuture,
    call: &Call,
) -> Result<http::Response<h2::RecvStream>, Failure> {
    let mut interims = 0;
    poll_fn(|cx| {
        if let Err(failure) = exchange.poll_request(cx) {
            return Poll::Ready(Err(failure));
        }
        while let Poll::Ready(Some(Ok(interim))) = response.poll_informational(cx) {
            interims += 1;
            if interims > INTERIM_MAX {
                return Poll::Ready(Err(Failure::with(
                    Code::UpstreamMalformed,
                    "more interim replies than the limit",
                )));
            }
            let (parts, ()) = interim.into_parts();
            if let Some(taker) = call.interim.as_deref()
                && let Ok(head) = reply_head(exchange.busy.context(), &parts, false, is_weft_field)
            {
                Interim::interim(taker, &head);
            }
        }
        Pin::new(&mut response).poll(cx).map_err(|error| {
            exchange
                .busy
                .failure()
                .unwrap_or_else(|| reply_broke(&error))
        })
    })
    .await
}

/// What an error of a stream to an app proves.
pub(crate) fn reply_broke(error: &h2::Error) -> Failure {
    let refused = error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM);
    // GOAWAY fails the streams above the last one that was taken; the others go on.
    let code = if error.is_remote() && (refused || error.is_go_away()) {
        Code::AppRefused
    } else if error.is_library() {
        Code::UpstreamMalformed
    } else {
        Code::UpstreamClosed
    };
    Failure::with(code, error.to_string())
}

/// A reply's body on its way from the app.
struct UpstreamBody {
    stream: Box<dyn BodyStream>,
    exchange: Exchange,
    ended: bool,
}

impl BodyStream for UpstreamBody {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        if let Err(failure) = self.exchange.poll_request(cx) {
            return Poll::Ready(Err(failure));
        }
        let piece = ready!(self.stream.poll_piece(cx));
        self.ended = matches!(piece, Ok(Piece::End(_)));
        Poll::Ready(piece)
    }

    /// Sends the request's body while nobody takes the reply's. With the end of the reply it is nobody's wish any
    /// more.
    fn poll_onward(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        self.exchange.poll_request(cx)?;
        match self.exchange.sending {
            Some(_) if !self.ended => Poll::Pending,
            _ => Poll::Ready(Ok(())),
        }
    }
}
