//! The calling side: links to peers, made at the first call, and the calls on them.

use crate::buffer::{Buffer, Chunk};
use crate::call::{Body, BodyStream, Call, Piece, ReplyHead, write_address};
use crate::clock;
use crate::connecting::Connecting;
use crate::context::Context;
use crate::pick::Outstanding;
use crate::protocol::link::sender::Sender;
use crate::protocol::link::slot::{Event, Slot, first_bytes_max, spend};
use crate::protocol::link::wire::Core;
use crate::protocol::link::{BULK_BYTES, H2_FRAME_BYTES, PATH, WINDOW_BYTES};
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use weft_codec::link::{self as codec, Open, ResetReason};
use weft_model::{Code, Failure, Instance};
use weft_telemetry::series::bump;

/// How long an instance is passed over after a connection to it, or to its app, was refused.
const AVOID_FOR: Duration = Duration::from_secs(1);

/// The links of one worker: to each peer one for ordinary calls and one for bulk.
#[derive(Default)]
pub(crate) struct Links {
    /// Those opened here, by the peer's inbound address and whether they are for bulk.
    opened: RefCell<HashMap<(SocketAddr, bool), Entry, foldhash::fast::RandomState>>,
    /// Those that peers opened.
    taken: RefCell<Vec<Weak<Core>>>,
}

#[derive(Clone)]
enum Entry {
    Connecting(Rc<Connecting<Core>>),
    Open(Rc<Core>),
}

impl Links {
    /// The link to this peer, made when there is none.
    async fn link(
        &self,
        ctx: &Rc<Context>,
        peer: SocketAddr,
        bulk: bool,
    ) -> Result<Rc<Core>, Failure> {
        let known = self.opened.borrow().get(&(peer, bulk)).cloned();
        match known {
            Some(Entry::Open(core)) if core.is_usable() => return Ok(core),
            Some(Entry::Connecting(connecting)) => return connecting.result().await,
            Some(Entry::Open(_)) | None => {}
        }
        let connecting = Rc::new(Connecting::default());
        self.opened
            .borrow_mut()
            .insert((peer, bulk), Entry::Connecting(Rc::clone(&connecting)));
        // A task of its own: the call that asked first may be cancelled, the others still want the link.
        let (task_ctx, shared) = (Rc::clone(ctx), Rc::clone(&connecting));
        ctx.spawn(async move {
            let limit = task_ctx.settings.limits.connect;
            let result = match tokio::time::timeout(limit, connect(&task_ctx, peer)).await {
                Ok(result) => result,
                Err(_) => Err(Failure::with(
                    Code::LinkRefused,
                    format!("no link to {peer} within {} ms", limit.as_millis()),
                )),
            };
            let links = &task_ctx.links;
            match &result {
                Ok(core) => links
                    .opened
                    .borrow_mut()
                    .insert((peer, bulk), Entry::Open(Rc::clone(core))),
                Err(_) => links.opened.borrow_mut().remove(&(peer, bulk)),
            };
            shared.finish(result);
        });
        connecting.result().await
    }

    /// Remembers a link that a peer opened.
    pub(crate) fn taken(&self, core: &Rc<Core>) {
        self.taken.borrow_mut().push(Rc::downgrade(core));
    }

    /// Tells every peer with a link to here that this sidecar leaves.
    pub(crate) fn leave(&self) {
        for core in self.taken.borrow().iter().filter_map(Weak::upgrade) {
            core.leave();
        }
    }

    /// Tells every peer how this instance is.
    pub(crate) fn tell_health(&self) {
        for core in self.taken.borrow().iter().filter_map(Weak::upgrade) {
            core.tell_health();
        }
        for entry in self.opened.borrow().values() {
            if let Entry::Open(core) = entry {
                core.tell_health();
            }
        }
    }

    /// Forgets links that have ended.
    pub(crate) fn sweep(&self) {
        self.taken
            .borrow_mut()
            .retain(|core| core.strong_count() > 0);
        self.opened.borrow_mut().retain(|_, entry| match entry {
            Entry::Open(core) => core.is_usable(),
            Entry::Connecting(_) => true,
        });
    }
}

async fn connect(ctx: &Rc<Context>, peer: SocketAddr) -> Result<Rc<Core>, Failure> {
    let refused = |error: &dyn std::fmt::Display| {
        Failure::with(Code::LinkRefused, format!("link to {peer}: {error}"))
    };
    let stream = TcpStream::connect(peer)
        .await
        .map_err(|error| refused(&error))?;
    stream.set_nodelay(true).map_err(|error| refused(&error))?;
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(H2_FRAME_BYTES)
        .enable_push(false)
        .handshake::<_, Chunk>(stream)
        .await
        .map_err(|error| refused(&error))?;
    ctx.spawn(async move {
        // How it ends is told by the stream, to the link's own task.
        let _ = connection.await;
    });
    let mut client = client.ready().await.map_err(|error| refused(&error))?;
    let request = http::Request::post(format!("http://{peer}{PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| refused(&error))?;
    let (response, send) = client
        .send_request(request, false)
        .map_err(|error| refused(&error))?;
    let core = Core::new(ctx, true, peer.ip());
    let driven = Rc::clone(&core);
    ctx.spawn(async move {
        let counters = Rc::clone(&driven.ctx);
        bump(&counters.counters.links_out, 1);
        drive(&driven, response, send).await;
        bump(&counters.counters.links_out, -1);
        // Held to here: with its last handle gone h2 would close the connection.
        drop(client);
    });
    core.greeted()
        .await
        .map_err(|failure| Failure::with(Code::LinkRefused, failure.to_string()))?;
    Ok(core)
}

async fn drive(core: &Rc<Core>, response: h2::client::ResponseFuture, send: h2::SendStream<Chunk>) {
    match response.await {
        Ok(response) if response.status() == 200 => {
            let no_calls =
                |_: &Open<'_>, _| Err(Failure::with(Code::LinkMalformed, "the peer opened a call"));
            core.drive(send, response.into_body(), no_calls).await;
        }
        Ok(response) => {
            let text = format!(
                "the peer answered {} instead of opening a link",
                response.status()
            );
            core.close(&Failure::with(Code::LinkRefused, text));
        }
        Err(error) => core.close(&Failure::with(Code::LinkRefused, error.to_string())),
    }
}

/// Sends a call to an instance over its link and waits for the reply's head.
pub(crate) async fn exchange(
    ctx: &Rc<Context>,
    instance: &Instance,
    port: &str,
    permit: Outstanding,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    let peer = SocketAddr::new(instance.address, instance.inbound_port);
    let bulk = call.body.length().is_some_and(|length| length > BULK_BYTES);
    let core = match ctx.links.link(ctx, peer, bulk).await {
        Ok(core) => core,
        Err(failure) => {
            avoid(&permit);
            return Err(failure);
        }
    };
    core.pulse.meet(permit.load());
    let mut incarnation = instance
        .incarnation
        .max(core.known_incarnation(instance.id.as_str()));
    loop {
        match attempt(
            &core,
            Meant {
                instance,
                port,
                incarnation,
            },
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
                    avoid(&permit);
                }
                return Err(failure);
            }
            Ok((head, body)) => return Ok((head, hold(body, permit))),
        }
    }
}

/// Passes an instance over for a while: it, or its app, takes no connections.
fn avoid(permit: &Outstanding) {
    let until = clock::now_ms() + AVOID_FOR.as_millis() as u64;
    permit.load().avoided_until_ms.store(until, Relaxed);
}

/// For whom a call is meant.
#[derive(Clone, Copy)]
struct Meant<'a> {
    instance: &'a Instance,
    port: &'a str,
    incarnation: u64,
}

async fn attempt(
    core: &Rc<Core>,
    meant: Meant<'_>,
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
    loop {
        let event = poll_fn(|cx| open_call.poll_turn(cx))
            .await
            .map_err(|failure| (failure, None))?;
        match event {
            Event::Interim(head) => {
                if let Some(interim) = call.interim.as_deref() {
                    interim.interim(&head);
                }
                core.ctx.recycle(head.fields);
            }
            Event::Reply {
                head,
                body,
                end: true,
            } => {
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
                        stream: Box::new(LinkBody { call: open_call }),
                        length: None,
                    },
                ));
            }
            Event::Reset {
                failure,
                incarnation,
            } => {
                open_call.ended = true;
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
        instance: meant.instance.id.as_str().as_bytes(),
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
        if let Some(sender) = &mut self.sender {
            match sender.poll(cx) {
                Poll::Ready(Ok(())) => self.sender = None,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {}
            }
        }
        self.slot.poll_event(cx).map(Ok)
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
}

impl BodyStream for LinkBody {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        let call = &mut self.call;
        if let Some(first) = call.first.take() {
            call.core.consumed(call.id, &call.slot, first.bytes().len());
            return Poll::Ready(Ok(Piece::Data(first)));
        }
        match call.poll_turn(cx) {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Err(failure)) => Poll::Ready(Err(failure)),
            Poll::Ready(Ok(Event::Data(chunk))) => {
                call.core.consumed(call.id, &call.slot, chunk.bytes().len());
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
}

/// Keeps the instance's permit as long as its reply streams.
fn hold(body: Body, permit: Outstanding) -> Body {
    match body {
        Body::Stream { stream, length } => Body::Stream {
            stream: Box::new(Held {
                stream,
                _permit: permit,
            }),
            length,
        },
        other @ (Body::Empty | Body::Full(_) | Body::Spent) => other,
    }
}

struct Held {
    stream: Box<dyn BodyStream>,
    _permit: Outstanding,
}

impl BodyStream for Held {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        self.stream.poll_piece(cx)
    }
}
