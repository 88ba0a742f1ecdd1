//! The calling side of a call: its Open, its request's body, the reply.

use crate::buffer::{Buffer, Chunk};
use crate::call::{Body, BodyStream, Call, Piece, ReplyHead, write_address};
use crate::clock;
use crate::context::Context;
use crate::pick::{Others, Outstanding, hold};
use crate::protocol::link::BULK_BYTES;
use crate::protocol::link::sender::Sender;
use crate::protocol::link::slot::{Event, Slot, first_bytes_max, spend};
use crate::protocol::link::wire::{Core, Holder};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use weft_codec::link::{self as codec, Open, ResetReason};
use weft_model::{Code, Failure, Instance};

/// Sends a call to an instance over its link and waits for the reply's head.
pub(crate) async fn exchange(
    ctx: &Rc<Context>,
    instance: &Instance,
    port: &str,
    permit: Outstanding,
    others: Others<'_>,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    let peer = SocketAddr::new(instance.address, instance.inbound_port);
    let bulk = call.body.length().is_some_and(|length| length > BULK_BYTES);
    let core = match ctx.links.open(peer, bulk) {
        Some(core) => core,
        // Boxed: the ordinary call finds its link made.
        None => Box::pin(ctx.links.reach(ctx, (peer, bulk), &permit, others, call)).await?,
    };
    let (successor, mut incarnation) = match core.holder(instance) {
        Holder::Itself(known) => (None, instance.incarnation.max(known)),
        Holder::Successor(id, known) => (Some(id), known),
        Holder::Stranger => (None, instance.incarnation),
    };
    core.pulse.meet(permit.load(), successor.is_some());
    let id = successor.as_deref().unwrap_or(instance.id.as_str());
    loop {
        match attempt(
            &core,
            Meant {
                instance: id,
                port,
                incarnation,
            },
            others,
            call,
        )
        .await
        {
            // The app was started anew since the snapshot: the instance is the same, and says so.
            Err((failure, Some(newer)))
                if newer != incarnation && !matches!(call.body, Body::Spent) =>
            {
                if incarnation > newer {
                    return Err(failure);
                }
                incarnation = newer;
            }
            Err((failure, _)) => {
                if failure.code == Code::ConnectRefused {
                    permit.avoid();
                }
                return Err(failure);
            }
            Ok((head, body)) => return Ok((head, hold(body, permit))),
        }
    }
}

/// For whom a call is meant.
#[derive(Clone, Copy)]
struct Meant<'a> {
    instance: &'a str,
    port: &'a str,
    incarnation: u64,
}

async fn attempt(
    core: &Rc<Core>,
    meant: Meant<'_>,
    others: Others<'_>,
    call: &mut Call,
) -> Result<(ReplyHead, Body), (Failure, Option<u64>)> {
    let (id, slot) = core.open().map_err(|failure| (failure, None))?;
    let mut open_call = OpenCall {
        core: Rc::clone(core),
        id,
        slot,
        sender: None,
        first: None,
        ended: false,
    };
    send_open(core, meant, call, &mut open_call);
    let mut begun = false;
    loop {
        let event = poll_fn(|cx| match open_call.poll_turn(cx) {
            Poll::Pending if core.pulse.is_suspect() && !begun => {
                open_call.poll_leave(others, call).map(Err)
            }
            event => event,
        });
        let event = event.await.map_err(|failure| (failure, None))?;
        match event {
            Event::Interim(head) => {
                begun = true;
                if let Some(interim) = call.interim.as_deref() {
                    interim.interim(&head);
                }
                core.ctx.recycle(head.fields);
            }
            Event::Reply {
                mut head,
                body,
                end: true,
            } => {
                head.app_error |= call.head.protocol.says_failed(&head.fields);
                open_call.ended = true;
                return Ok((head, body.map_or(Body::Empty, Body::Full)));
            }
            Event::Reply {
                head,
                body,
                end: false,
            } => {
                open_call.first = body;
                return Ok((
                    head,
                    Body::Stream {
                        stream: Box::new(LinkBody {
                            call: open_call,
                            last: 0,
                        }),
                        length: None,
                    },
                ));
            }
            Event::Reset {
                failure,
                incarnation,
            } => {
                open_call.ended = true;
                if let Some(body) = open_call.sender.take().and_then(Sender::untouched) {
                    call.body = body;
                }
                return Err((failure, incarnation));
            }
            Event::Data(_) | Event::End(_) => {
                return Err((
                    Failure::with(Code::LinkMalformed, "a body before its head"),
                    None,
                ));
            }
        }
    }
}

fn send_open(core: &Rc<Core>, meant: Meant<'_>, call: &mut Call, open_call: &mut OpenCall) {
    let head = &call.head;
    let full = match &call.body {
        Body::Full(chunk) => Some(chunk.bytes()),
        Body::Empty | Body::Spent | Body::Stream { .. } => None,
    };
    let fits = full.is_none_or(|bytes| bytes.len() <= first_bytes_max(&open_call.slot));
    let first = full.filter(|_| fits).unwrap_or_default();
    let end = fits && !matches!(call.body, Body::Stream { .. });
    let mut address = Buffer::take();
    if let Some(known) = head.caller_address {
        write_address(known, &mut address);
    }
    let deadline_us = head.deadline.map_or(0, |deadline| {
        (deadline.saturating_duration_since(clock::now()).as_micros() as u64).max(1)
    });
    let open = Open {
        call_id: open_call.id,
        protocol: head.protocol.name().as_bytes(),
        service: head.bytes(head.service),
        method: head.bytes(head.method),
        path: head.bytes(head.path),
        port: meant.port.as_bytes(),
        instance: meant.instance.as_bytes(),
        incarnation: meant.incarnation,
        caller_service: core.ctx.settings.service.as_bytes(),
        caller_address: &address,
        deadline_us,
        attempt: head.attempt,
        lane: b"",
        trace: head.bytes(head.trace),
        kind: head.kind,
        opaque: head.bytes(head.opaque),
        body: first,
        end,
    };
    core.send(|out| codec::write_open(&open, &head.fields, out));
    spend(&open_call.slot, first.len());
    if end {
        return;
    }
    // A body that can be sent again stays with the call; what goes out is a copy.
    let body = match full.map(Chunk::copy_of) {
        Some(copy) => Body::Full(copy),
        None => match call.body.take_stream() {
            Some(stream) => Body::Stream {
                stream,
                length: None,
            },
            None => Body::Empty,
        },
    };
    open_call.sender = Some(Sender::new(core, open_call.id, &open_call.slot, body));
}

/// A call that is open on a link. Dropped before its end, it is cancelled there.
struct OpenCall {
    core: Rc<Core>,
    id: u64,
    slot: Rc<Slot>,
    sender: Option<Sender>,
    /// The first bytes of the reply's body.
    first: Option<Chunk>,
    ended: bool,
}

impl OpenCall {
    /// Sends what can be sent of the request's body; the next event.
    fn poll_turn(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Event, Failure>> {
        if let Poll::Ready(Err(failure)) = self.poll_send(cx) {
            return Poll::Ready(Err(failure));
        }
        self.slot.poll_event(cx).map(Ok)
    }

    /// Sends what can be sent of the request's body; ready when that was all.
    fn poll_send(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        if let Some(sender) = &mut self.sender {
            ready!(sender.poll(cx))?;
            self.sender = None;
        }
        Poll::Ready(Ok(()))
    }

    /// Leaves a link that is silent, when another instance takes the call: that its app never saw it is certain as
    /// long as its Open has not left; after that the call must be idempotent. A reply that comes all the same finds
    /// nobody.
    fn poll_leave(&mut self, others: Others<'_>, call: &Call) -> Poll<Failure> {
        let now_ms = clock::now_ms();
        let silent = |code| Poll::Ready(Failure::with(code, "the peer has fallen silent"));
        if others.take(call, Code::NotDispatched, now_ms)
            && self.core.take_back(self.slot.opened_at.get())
        {
            return silent(Code::NotDispatched);
        }
        if others.take(call, Code::LinkLost, now_ms) {
            return silent(Code::LinkLost);
        }
        Poll::Pending
    }
}

impl Drop for OpenCall {
    fn drop(&mut self) {
        // A reply that ended while the request's body was still under way cancels the rest of it.
        if !self.ended || self.sender.is_some() {
            let id = self.id;
            let reset = codec::Reset {
                call_id: id,
                reason: ResetReason::Cancelled,
                ..codec::Reset::default()
            };
            self.core.send(|out| codec::write_reset(&reset, out));
        }
        self.core.forget(self.id);
    }
}

/// A reply's body on its way over the link.
struct LinkBody {
    call: OpenCall,
    /// Bytes of the last piece. Whoever asks for the next one has done with it: only then it is read.
    last: usize,
}

impl BodyStream for LinkBody {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        let call = &mut self.call;
        let last = std::mem::take(&mut self.last);
        if last > 0 {
            call.core.consumed(call.id, &call.slot, last);
        }
        if let Some(first) = call.first.take() {
            self.last = first.bytes().len();
            return Poll::Ready(Ok(Piece::Data(first)));
        }
        match call.poll_turn(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(failure)) => Poll::Ready(Err(failure)),
            Poll::Ready(Ok(Event::Data(chunk))) => {
                self.last = chunk.bytes().len();
                Poll::Ready(Ok(Piece::Data(chunk)))
            }
            Poll::Ready(Ok(Event::End(trailers))) => {
                call.ended = true;
                Poll::Ready(Ok(Piece::End(trailers)))
            }
            Poll::Ready(Ok(Event::Reset { failure, .. })) => {
                call.ended = true;
                Poll::Ready(Err(failure))
            }
            Poll::Ready(Ok(Event::Reply { .. } | Event::Interim(_))) => {
                Poll::Ready(Err(Failure::with(Code::LinkMalformed, "a second head")))
            }
        }
    }

    /// Sends the request's body. Events stay where they are as long as the reply's is not all read; after it only a
    /// reset can come.
    fn poll_onward(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        let call = &mut self.call;
        let sent = call.poll_send(cx);
        if sent.is_pending()
            && call.ended
            && let Poll::Ready(Event::Reset { failure, .. }) = call.slot.poll_event(cx)
        {
            return Poll::Ready(Err(failure));
        }
        sent
    }
}
