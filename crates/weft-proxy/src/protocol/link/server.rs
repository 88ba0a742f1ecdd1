//! The called side: takes the calls that a peer opens, many at a time, each in a task of its own.

use crate::accept::Listener;
use crate::buffer::Chunk;
use crate::call::{Body, BodyStream, Call, CallHead, Interim, Meant, Piece, ReplyHead};
use crate::clock;
use crate::context::Context;
use crate::path;
use crate::protocol::ProtocolId;
use crate::protocol::h2::server::Connection;
use crate::protocol::link::sender::Sender;
use crate::protocol::link::slot::{Event, Slot, first_bytes_max, spend};
use crate::protocol::link::transport::Transport;
use crate::protocol::link::wire::Core;
use crate::protocol::link::{PATH, WINDOW_BYTES};
use crate::record::CallRecord;
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use weft_codec::Fields;
use weft_codec::link::{self as codec, Open, ResetReason};
use weft_model::{Code, Failure};
use weft_telemetry::series::bump;

/// Serves a link on the connection on which this request asked for it; why it ended, when not in the ordinary way.
pub(crate) async fn serve<T: AsyncRead + AsyncWrite + Unpin>(
    ctx: &Rc<Context>,
    mut connection: Connection<T>,
    request: http::Request<h2::RecvStream>,
    mut respond: h2::server::SendResponse<Chunk>,
    peer: IpAddr,
) -> Option<Failure> {
    connection.open_windows(WINDOW_BYTES);
    let Ok(send) = respond.send_response(link_response(), false) else {
        return Some(Failure::new(Code::LinkLost));
    };
    let transport = Transport::Http2 {
        send,
        receive: request.into_body(),
    };
    bump(&ctx.counters.links_in, 1);
    let core = Core::new(ctx, false, peer);
    ctx.links.taken(&core);
    let driven = Rc::clone(&core);
    ctx.spawn(async move {
        let opener = Rc::clone(&driven);
        driven
            .drive(transport, move |open, fields| {
                take_open(&opener, open, fields)
            })
            .await;
    });
    // Further requests on the connection of a link are not taken; the loop also drives the connection.
    while let Some(Ok((_, mut respond))) = connection.accept().await {
        respond.send_reset(h2::Reason::REFUSED_STREAM);
    }
    core.close(&Failure::with(Code::LinkLost, "the connection ended"));
    bump(&ctx.counters.links_in, -1);
    connection.failure()
}

/// Whether a request opens a link.
pub(crate) fn is_link(request: &http::Request<h2::RecvStream>) -> bool {
    let kind = request.headers().get("content-type");
    request.method() == http::Method::POST
        && request.uri().path() == PATH
        && kind.is_some_and(|kind| kind.as_bytes().starts_with(b"application/grpc"))
}

fn link_response() -> http::Response<()> {
    let mut response = http::Response::new(());
    let kind = http::HeaderValue::from_static("application/grpc");
    response.headers_mut().insert("content-type", kind);
    response
}

/// Takes one call, in a task of its own.
pub(super) fn take_open(core: &Rc<Core>, open: &Open<'_>, fields: Fields) -> Result<(), Failure> {
    let id = open.call_id;
    let not_taken = |failure: &Failure| core.send(|out| write_failure(core, id, failure, out));
    let Some(slot) = core.accept(id, open.body.len(), open.end)? else {
        not_taken(&Failure::with(
            Code::Overloaded,
            "the link has no room for another call",
        ));
        return Ok(());
    };
    let served = Served {
        core: Rc::clone(core),
        id,
        slot,
    };
    if core.ctx.drained() {
        not_taken(&Failure::new(Code::Draining));
        return Ok(());
    }
    let Some(protocol) = ProtocolId::from_name(open.protocol) else {
        not_taken(&Failure::with(
            Code::NotDispatched,
            format!(
                "this sidecar does not speak \"{}\"",
                String::from_utf8_lossy(open.protocol)
            ),
        ));
        return Ok(());
    };
    let started = clock::now();
    let body = match (open.body, open.end) {
        ([], true) => Body::Empty,
        (bytes, true) => Body::Full(Chunk::copy_of(bytes)),
        (bytes, false) => {
            let first = (!bytes.is_empty()).then(|| Chunk::copy_of(bytes));
            let body = RequestBody {
                core: Rc::clone(core),
                id,
                slot: Rc::clone(&served.slot),
                first,
                last: 0,
            };
            Body::Stream {
                stream: Box::new(body),
                length: None,
            }
        }
    };
    let interim = Rc::new(InterimFrames {
        core: Rc::clone(core),
        id,
    }) as Rc<dyn Interim>;
    let call = Call {
        head: call_head(core, protocol, open, fields),
        body,
        interim: Some(interim),
    };
    let record = CallRecord::open(
        &core.ctx,
        Listener::Inbound.direction(),
        protocol.name(),
        started,
    );
    core.ctx.spawn(serve_call(served, call, record));
    Ok(())
}

fn call_head(core: &Core, protocol: ProtocolId, open: &Open<'_>, fields: Fields) -> CallHead {
    let mut head = CallHead::new(protocol, fields);
    head.service = head.fields.store(open.service);
    head.method = head.fields.store(open.method);
    head.path = head.fields.store(open.path);
    head.opaque = head.fields.store(open.opaque);
    head.trace = head.fields.store(open.trace);
    head.caller = head.fields.store(open.caller_service);
    head.caller_address = std::str::from_utf8(open.caller_address)
        .ok()
        .and_then(|text| text.parse().ok())
        // An app beside its own sidecar calls from its loopback; for everybody else that is where the sidecar is.
        .map(|address: IpAddr| {
            if address.is_loopback() {
                core.peer_address()
            } else {
                address
            }
        });
    head.kind = open.kind;
    head.attempt = open.attempt;
    head.deadline =
        (open.deadline_us > 0).then(|| clock::now() + Duration::from_micros(open.deadline_us));
    head.meant = Some(Meant {
        port: head.fields.store(open.port),
        instance: head.fields.store(open.instance),
        incarnation: open.incarnation,
    });
    head
}

/// A call's place on the link, given back at its end.
struct Served {
    core: Rc<Core>,
    id: u64,
    slot: Rc<Slot>,
}

impl Drop for Served {
    fn drop(&mut self) {
        self.core.forget(self.id);
    }
}

async fn serve_call(served: Served, mut call: Call, mut record: CallRecord) {
    let (core, id, slot) = (&served.core, served.id, &served.slot);
    let ctx = Rc::clone(&core.ctx);
    let result = tokio::select! {
        biased;
        result = path::call(&ctx, &mut call, &mut record) => Some(result),
        () = poll_fn(|cx| slot.poll_reset(cx)) => None,
    };
    let (head, body) = match result {
        Some(Ok(result)) => result,
        None => {
            record.describe(&call.head);
            return;
        }
        Some(Err(failure)) => {
            core.send(|out| write_failure(core, id, &failure, out));
            record.finish();
            return;
        }
    };
    let rest = send_head(core, id, slot, &head, body);
    ctx.recycle(head.fields);
    let Some(rest) = rest else {
        record.finish();
        ctx.recycle(call.head.fields);
        return;
    };
    let mut sender = Sender::new(core, id, slot, rest);
    let sent = tokio::select! {
        biased;
        sent = poll_fn(|cx| sender.poll(cx)) => sent,
        () = poll_fn(|cx| slot.poll_reset(cx)) => return,
    };
    match sent {
        Ok(()) => {
            if sender
                .trailers()
                .is_some_and(|trailers| call.head.protocol.says_failed(trailers))
            {
                record.app_error();
            }
            record.finish();
        }
        Err(failure) => {
            let reset = codec::Reset {
                call_id: id,
                reason: ResetReason::Failed,
                code: failure.code.text().as_bytes(),
                detail: failure.detail.as_bytes(),
                ..codec::Reset::default()
            };
            core.send(|out| codec::write_reset(&reset, out));
            record.fail(&failure);
            record.finish();
        }
    }
}

/// Sends the reply's head, with its body when that is small and whole; what is left of the body.
fn send_head(core: &Core, id: u64, slot: &Slot, head: &ReplyHead, body: Body) -> Option<Body> {
    let mut reply = codec::Reply {
        call_id: id,
        status: u32::from(head.status),
        opaque: head.fields.bytes(head.opaque),
        ..codec::Reply::default()
    };
    match &body {
        Body::Empty | Body::Spent => reply.end = true,
        Body::Full(chunk) if chunk.bytes().len() <= first_bytes_max(slot) => {
            reply.body = chunk.bytes();
            reply.end = true;
        }
        Body::Full(_) | Body::Stream { .. } => {}
    }
    spend(slot, reply.body.len());
    core.send(|out| codec::write_reply(&reply, &head.fields, out));
    (!reply.end).then_some(body)
}

fn write_failure(core: &Core, id: u64, failure: &Failure, out: &mut Vec<u8>) {
    let settings = &core.ctx.settings;
    let reason = if failure.code.proves_not_dispatched() {
        ResetReason::NotDispatched
    } else {
        ResetReason::Failed
    };
    let reset = codec::Reset {
        call_id: id,
        reason,
        code: failure.code.text().as_bytes(),
        detail: failure.detail.as_bytes(),
        service: settings.service.as_bytes(),
        instance: settings.instance.as_bytes(),
        incarnation: core.ctx.incarnation(),
    };
    codec::write_reset(&reset, out);
}

/// Sends interim replies back.
struct InterimFrames {
    core: Rc<Core>,
    id: u64,
}

impl Interim for InterimFrames {
    fn interim(&self, head: &ReplyHead) {
        let reply = codec::Reply {
            call_id: self.id,
            status: u32::from(head.status),
            informational: true,
            ..codec::Reply::default()
        };
        self.core
            .send(|out| codec::write_reply(&reply, &head.fields, out));
    }
}

/// A request's body on its way over the link.
struct RequestBody {
    core: Rc<Core>,
    id: u64,
    slot: Rc<Slot>,
    first: Option<Chunk>,
    /// Bytes of the last piece. Whoever asks for the next one has done with it: only then it is read.
    last: usize,
}

impl BodyStream for RequestBody {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        let last = std::mem::take(&mut self.last);
        if last > 0 {
            self.core.consumed(self.id, &self.slot, last);
        }
        let chunk = match self.first.take() {
            Some(first) => first,
            None => match ready!(self.slot.poll_event(cx)) {
                Event::Data(chunk) => chunk,
                Event::End(trailers) => return Poll::Ready(Ok(Piece::End(trailers))),
                Event::Reset { failure, .. } => return Poll::Ready(Err(failure)),
                Event::Reply { .. } | Event::Interim(_) => {
                    return Poll::Ready(Err(Failure::with(
                        Code::LinkMalformed,
                        "a reply to the called side",
                    )));
                }
            },
        };
        self.last = chunk.bytes().len();
        Poll::Ready(Ok(Piece::Data(chunk)))
    }
}
