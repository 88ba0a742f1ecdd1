//! Streams that become something else (RFC 9113 8.5, RFC 8441): CONNECT, from callers, and extended CONNECT, which names
//! a protocol as HTTP/1.1's `Upgrade` does, from callers and to apps. One call in the mesh, whichever it came in by.
//!
//! A caller's bytes flow after the reply that grants, and not before. Each direction ends by itself; a reset is
//! passed on as one. Never in here: the bytes, which are `tunnel.rs`'s of the crate and `body.rs`'s.

use crate::accept::Listener;
use crate::call::{Body, BodyStream, Call, CallHead, Piece, ReplyHead};
use crate::context::Context;
use crate::protocol::ProtocolId;
use crate::protocol::h2::body::{Received, Sending, Unsent};
use crate::protocol::h2::head::{reply_head, request, response};
use crate::protocol::h2::pool::{Busy, reach};
use crate::protocol::h2::stream::Respond;
use crate::protocol::h2::upstream::{Exchange, hold, receive};
use crate::protocol::http::{Extra, WEBSOCKET_KEY, is_weft_field};
use crate::record::CallRecord;
use crate::tunnel::{Gate, Returning, nothing_back, until_ended};
use crate::upstream::{PoolKey, Upstream};
use h2::Reason;
use h2::ext::Protocol;
use http::{Method, StatusCode};
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use weft_codec::http1::{is_protocol, websocket_accept};
use weft_model::{Code, Failure};
use weft_telemetry::Direction;

/// The status that grants an upgrade everywhere but in HTTP/2.
const SWITCHING: u16 = 101;

/// The protocol whose handshake has words in HTTP/1.1 that it has not in HTTP/2.
const WEBSOCKET: &[u8] = b"websocket";

/// What answers [`WEBSOCKET_KEY`].
const WEBSOCKET_ACCEPT: &str = "sec-websocket-accept";

/// What a stream asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Asked<'a> {
    /// CONNECT: a connection to the authority.
    Connection,
    /// Extended CONNECT: this protocol.
    Protocol(&'a [u8]),
}

impl<'a> Asked<'a> {
    /// What of it is no field.
    pub(super) fn extra(self) -> Extra<'a> {
        Extra {
            upgrade: match self {
                Self::Connection => b"",
                Self::Protocol(protocol) => protocol,
            },
            ..Extra::default()
        }
    }
}

/// When a request asks for a tunnel: for which.
pub(super) fn asked(parts: &http::request::Parts) -> Result<Option<Asked<'_>>, Failure> {
    if parts.method != Method::CONNECT {
        return Ok(None);
    }
    let Some(protocol) = parts.extensions.get::<Protocol>() else {
        return Ok(Some(Asked::Connection));
    };
    let protocol = protocol.as_str().as_bytes();
    if !is_protocol(protocol) {
        let reason = ":protocol is not the name of a protocol";
        return Err(Failure::with(Code::Malformed, reason));
    }
    Ok(Some(Asked::Protocol(protocol)))
}

/// In which protocol a call travels: CONNECT of the own app asks for a connection, not for HTTP.
pub(super) fn protocol(request: &http::Request<h2::RecvStream>, listener: Listener) -> ProtocolId {
    let is_connect =
        request.method() == Method::CONNECT && request.extensions().get::<Protocol>().is_none();
    if is_connect && listener.direction() == Direction::Outbound {
        ProtocolId::Tcp
    } else {
        ProtocolId::H2
    }
}

/// Whether this reply opens the tunnel that was asked for.
pub(super) fn is_granted(call: &CallHead, head: &ReplyHead) -> bool {
    if Extra::read(call.bytes(call.opaque)).upgrade.is_empty() {
        return is_success(head.status);
    }
    head.status == SWITCHING
}

/// A reply that grants nothing and would be read as one that does: an app that ignores `Upgrade` answers so.
pub(super) fn misread(head: &ReplyHead) -> Option<Failure> {
    is_success(head.status).then(|| {
        let status = head.status;
        let found = format!("the app answered {status} and did not switch to what was asked for");
        Failure::with(Code::NotImplemented, found)
    })
}

fn is_success(status: u16) -> bool {
    (200..300).contains(&status)
}

/// Who gave no key is not answered one: it was made on the way.
pub(super) fn forget_answer(head: &mut ReplyHead) {
    let is_answer = |name: &[u8]| name.eq_ignore_ascii_case(WEBSOCKET_ACCEPT.as_bytes());
    head.fields.remove(|name, _| is_answer(name));
}

/// Gives the caller the reply that grants, and what comes back, until both directions have ended.
pub(super) async fn carry(
    ctx: &Context,
    gate: &Rc<Gate>,
    (head, body): (ReplyHead, Body),
    respond: &Respond,
    mut record: CallRecord,
) {
    let broken = if head.status == SWITCHING {
        // RFC 8441 5: what RST is to a connection.
        Reason::CANCEL
    } else {
        Reason::CONNECT_ERROR
    };
    let Some(body) = Returning::body(gate, body) else {
        record.fail(&nothing_back());
        respond.reset(broken);
        return;
    };
    let mut granted = response(&head, None);
    *granted.status_mut() = StatusCode::OK;
    // What follows is no content (RFC 9110 9.3.6).
    granted.headers_mut().remove(http::header::CONTENT_LENGTH);
    ctx.recycle(head.fields);
    let Ok(stream) = respond.send(granted, false) else {
        record.fail(&Failure::new(Code::Cancelled));
        return;
    };
    gate.open();
    let mut sending = Sending::tunnel(stream, body);
    let result = until_ended(ctx, gate, |cx| {
        sending.poll(cx).map(|sent| match sent {
            Ok(_) => Ok(()),
            Err(Unsent::Reset) => Err(Failure::new(Code::Cancelled)),
            Err(Unsent::Broken(failure)) => Err(failure),
        })
    });
    let result = result.await;
    gate.tell_name(&mut record);
    if let Err(failure) = result {
        record.fail(&failure);
        sending.stream().send_reset(broken);
    }
    record.finish();
}

/// Asks an app for a tunnel. Nothing of the caller's is taken before it is granted.
pub(super) async fn exchange(
    ctx: &Rc<Context>,
    upstream: Upstream<'_>,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    let asked = Extra::read(call.head.bytes(call.head.opaque)).upgrade;
    // HTTP/2 names one protocol; a list begins with the one that is wanted most.
    let wanted = asked.split(|byte| *byte == b',').next();
    let wanted = wanted.unwrap_or_default().trim_ascii().to_vec();
    let accept = if wanted.eq_ignore_ascii_case(WEBSOCKET) {
        let key = call.head.fields.first(WEBSOCKET_KEY);
        key.and_then(websocket_accept)
    } else {
        None
    };
    let busy = reach(ctx, upstream).await?;
    let request = if wanted.is_empty() {
        request(&call.head, None)?
    } else {
        allows(&busy, upstream, &wanted).await?;
        let mut request = request(&call.head, None)?;
        *request.method_mut() = Method::CONNECT;
        let text = String::from_utf8_lossy(&wanted);
        request.extensions_mut().insert(Protocol::from(&*text));
        if accept.is_some() {
            request.headers_mut().remove(WEBSOCKET_KEY);
        }
        request
    };
    let (response, stream) = busy.send(request, false)?;
    let mut exchange = Exchange::new(busy);
    let response = receive(&mut exchange, response, call).await?;
    let (parts, received) = response.into_parts();
    let is_external = matches!(upstream.pool_key(), PoolKey::External(_));
    let gone = |name: &[u8]| !is_external && is_weft_field(name);
    let granted = is_success(parts.status.as_u16());
    let mut head = reply_head(ctx, &parts, !received.is_end_stream(), gone)?;
    let received = Received::unread(received, was_reset);
    if !granted {
        // The app waits for nothing more.
        exchange.send(Sending::new(stream, Body::Empty));
        let body = Body::Stream {
            stream: received,
            length: Extra::read(head.fields.bytes(head.opaque)).length,
        };
        return Ok((head, hold(body, exchange)));
    }
    if !wanted.is_empty() {
        head.status = SWITCHING;
        let mut opaque = Vec::new();
        Asked::Protocol(&wanted).extra().write(&mut opaque);
        head.opaque = head.fields.store(&opaque);
        if let Some(accept) = accept {
            head.fields.set(WEBSOCKET_ACCEPT, &accept);
        }
    }
    let bytes = call.body.take_stream();
    let body = bytes.map_or(Body::Empty, |stream| Body::Stream {
        stream,
        length: None,
    });
    let tunnel = AppStream {
        received,
        sending: Some(Sending::new(stream, body)),
        _busy: exchange.into_busy(),
    };
    let body = Body::Stream {
        stream: Box::new(tunnel),
        length: None,
    };
    Ok((head, body))
}

/// Waits until the app has said what it takes.
async fn allows(busy: &Busy, upstream: Upstream<'_>, wanted: &[u8]) -> Result<(), Failure> {
    busy.greeted().await?;
    if busy.takes_extended_connect() {
        return Ok(());
    }
    Err(Failure::with(
        Code::NotImplemented,
        format!(
            "{} is called in HTTP/2 and its SETTINGS allow no extended CONNECT (RFC 8441), so it cannot be asked for \"{}\"; \
             let it announce that, or declare a port of it that speaks HTTP/1.1",
            upstream.text(),
            String::from_utf8_lossy(wanted)
        ),
    ))
}

fn was_reset(error: &h2::Error) -> Failure {
    let code = if error.is_library() {
        Code::UpstreamMalformed
    } else {
        Code::UpstreamReset
    };
    Failure::with(code, error.to_string())
}

/// A granted tunnel at its app: what comes back, which sends what the caller sends meanwhile. Dropped before both
/// have ended, h2 resets the stream.
struct AppStream {
    received: Box<dyn BodyStream>,
    sending: Option<Sending>,
    _busy: Busy,
}

impl AppStream {
    /// Sends what has come of the caller; ready at its end.
    fn poll_send(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        let Some(sending) = &mut self.sending else {
            return Poll::Ready(Ok(()));
        };
        match ready!(sending.poll(cx)) {
            Ok(_) => {
                self.sending = None;
                Poll::Ready(Ok(()))
            }
            Err(Unsent::Reset) => Poll::Ready(Err(Failure::new(Code::UpstreamReset))),
            Err(Unsent::Broken(failure)) => Poll::Ready(Err(failure)),
        }
    }
}

impl BodyStream for AppStream {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        if let Poll::Ready(Err(failure)) = self.poll_send(cx) {
            return Poll::Ready(Err(failure));
        }
        self.received.poll_piece(cx)
    }

    fn poll_onward(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        self.poll_send(cx)
    }
}
