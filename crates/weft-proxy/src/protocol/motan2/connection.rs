//! One connection to a Motan2 app, shared by many calls. Requests get ids of our own; replies find their calls
//! by them, in any order.

use crate::buffer::{Chunk, Inbox};
use crate::call::{Body, BodyStream, Call, Piece, ReplyHead};
use crate::context::Context;
use crate::protocol::motan2::outbox::Outbox;
use crate::protocol::motan2::{Extra, HELD_BYTES_MAX, HELD_FROM, is_weft_field};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};
use tokio::net::TcpStream;
use weft_codec::Fields;
use weft_codec::motan2::{self as codec, Header, Step};
use weft_model::{Code, Failure};

/// How an attempt ended.
pub(crate) enum Outcome {
    /// The app answered.
    Reply(ReplyHead, Body),
    /// It did not.
    Failed(Failure),
    /// The connection ended before the first byte of the call was written.
    Unsent,
}

fn write_request(id: u64, extra: Extra, call: &Call, out: &mut Vec<u8>) {
    let body = match &call.body {
        Body::Full(chunk) => chunk.bytes(),
        Body::Empty | Body::Spent | Body::Stream { .. } => &[],
    };
    let header = Header {
        proxy: true,
        one_way: extra.one_way,
        gzip: extra.gzip,
        serialize: extra.serialize,
        request_id: id,
        ..Header::default()
    };
    // A body is no longer than the codec's limit, which is below 4 GiB.
    codec::write_head(header, &call.head.fields, body.len() as u32, out);
    out.extend_from_slice(body);
}

/// A call that waits for its reply on a connection; forgotten when dropped, so that a late reply finds nobody.
struct OpenCall<'a> {
    connection: &'a Rc<Connection>,
    id: u64,
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        self.connection.slots.borrow_mut().remove(&self.id);
    }
}

/// One call's place on a connection.
struct Slot {
    /// Where in the connection's bytes its frame begins.
    start: u64,
    outcome: RefCell<Option<Outcome>>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    fn put(&self, outcome: Outcome) {
        *self.outcome.borrow_mut() = Some(outcome);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn poll_outcome(&self, cx: &TaskContext<'_>) -> Poll<Outcome> {
        if let Some(outcome) = self.outcome.borrow_mut().take() {
            return Poll::Ready(outcome);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// One connection to an app.
pub(crate) struct Connection {
    stream: TcpStream,
    outbox: Outbox,
    slots: RefCell<HashMap<u64, Rc<Slot>>>,
    /// One-way calls that the socket has not taken yet, and where their frames end.
    one_way: RefCell<VecDeque<(u64, Rc<Slot>)>>,
    /// Bytes of reply bodies that their callers have not taken yet.
    held: Cell<usize>,
    closed: RefCell<Option<Failure>>,
    used_ms: Cell<u64>,
}

/// A reply's body that counts as held until its caller has taken it, or is gone.
struct HeldBody {
    connection: Rc<Connection>,
    length: usize,
    body: Option<Chunk>,
}

impl HeldBody {
    fn new(connection: &Rc<Connection>, body: Chunk) -> Self {
        let length = body.bytes().len();
        connection.held.set(connection.held.get() + length);
        Self {
            connection: Rc::clone(connection),
            length,
            body: Some(body),
        }
    }
}

impl BodyStream for HeldBody {
    fn poll_piece(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        let piece = self.body.take().map_or(Piece::End(None), Piece::Data);
        Poll::Ready(Ok(piece))
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        let held = &self.connection.held;
        held.set(held.get() - self.length);
        self.connection.outbox.wake_driver();
    }
}

impl Connection {
    /// A connection that has just been made.
    pub(crate) fn new(ctx: &Context, stream: TcpStream) -> Self {
        Self {
            stream,
            outbox: Outbox::new(ctx),
            slots: RefCell::default(),
            one_way: RefCell::default(),
            held: Cell::new(0),
            closed: RefCell::default(),
            used_ms: Cell::new(ctx.deadlines.now_ms()),
        }
    }

    /// Whether calls may be sent.
    pub(crate) fn is_open(&self) -> bool {
        self.closed.borrow().is_none()
    }

    /// Calls that wait for their replies.
    pub(crate) fn calls(&self) -> usize {
        self.slots.borrow().len()
    }

    /// Whether nothing was to be done for this long.
    pub(crate) fn is_idle(&self, now_ms: u64, limit_ms: u64) -> bool {
        self.slots.borrow().is_empty()
            && self.outbox.is_empty()
            && now_ms.saturating_sub(self.used_ms.get()) >= limit_ms
    }

    /// Sends a call and waits for its reply; one-way, for the socket to take it.
    pub(crate) async fn call(
        self: &Rc<Self>,
        ctx: &Context,
        id: u64,
        extra: Extra,
        call: &Call,
    ) -> Outcome {
        poll_fn(|cx| {
            if self.is_open() {
                self.outbox.poll_room(cx)
            } else {
                Poll::Ready(())
            }
        })
        .await;
        if !self.is_open() {
            return Outcome::Unsent;
        }
        self.used_ms.set(ctx.deadlines.now_ms());
        let start = self.outbox.position();
        let end = self.outbox.push(|out| write_request(id, extra, call, out));
        let slot = Rc::new(Slot {
            start,
            outcome: RefCell::default(),
            waker: RefCell::default(),
        });
        let _open = if extra.one_way {
            let one_way = (end, Rc::clone(&slot));
            self.one_way.borrow_mut().push_back(one_way);
            None
        } else {
            self.slots.borrow_mut().insert(id, Rc::clone(&slot));
            Some(OpenCall {
                connection: self,
                id,
            })
        };
        poll_fn(|cx| slot.poll_outcome(cx)).await
    }

    /// Ends the connection and every call on it.
    pub(crate) fn close(&self, failure: &Failure) {
        if self.closed.borrow().is_some() {
            return;
        }
        *self.closed.borrow_mut() = Some(failure.clone());
        let slots = self.slots.take();
        let one_way = self.one_way.take();
        for slot in slots
            .into_values()
            .chain(one_way.into_iter().map(|(_, slot)| slot))
        {
            let unsent = self.outbox.written() <= slot.start;
            slot.put(if unsent {
                Outcome::Unsent
            } else {
                Outcome::Failed(failure.clone())
            });
        }
        self.outbox.wake_waiting();
        self.outbox.wake_driver();
    }

    /// Reads first: a connection that the app has closed is noticed before anything is written to it.
    pub(crate) fn poll_drive(
        self: &Rc<Self>,
        ctx: &Context,
        inbox: &mut Inbox,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Failure> {
        self.outbox.register_driver(cx);
        if let Some(failure) = &*self.closed.borrow() {
            return Poll::Ready(failure.clone());
        }
        loop {
            if let Err(failure) = self.take_frames(ctx, inbox) {
                return Poll::Ready(failure);
            }
            if self.is_held() {
                break;
            }
            match inbox.poll_fill(&self.stream, cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Poll::Ready(Failure::new(Code::UpstreamClosed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Failure::with(Code::UpstreamClosed, error.to_string()));
                }
            }
        }
        let wrote = self.outbox.poll_write(ctx, &self.stream, cx);
        self.end_one_way();
        match wrote {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(never)) => match never {},
            Poll::Ready(Err(error)) => {
                Poll::Ready(Failure::with(Code::UpstreamClosed, error.to_string()))
            }
        }
    }

    /// Whether callers leave too much of what the app has answered.
    fn is_held(&self) -> bool {
        self.held.get() >= HELD_BYTES_MAX
    }

    /// One-way calls end when the socket has taken them.
    fn end_one_way(&self) {
        let written = self.outbox.written();
        let mut one_way = self.one_way.borrow_mut();
        while one_way.front().is_some_and(|(end, _)| *end <= written) {
            if let Some((_, slot)) = one_way.pop_front() {
                let head = ReplyHead {
                    status: 200,
                    ..ReplyHead::default()
                };
                slot.put(Outcome::Reply(head, Body::Empty));
            }
        }
    }

    fn take_frames(self: &Rc<Self>, ctx: &Context, inbox: &mut Inbox) -> Result<(), Failure> {
        let malformed = |reason| Failure::with(Code::UpstreamMalformed, reason);
        while !inbox.is_empty() && !self.is_held() {
            let step = codec::parse(inbox.bytes(), &ctx.settings.limits.motan2)
                .map_err(|refusal| malformed(refusal.reason))?;
            let Step::Frame { header, meta, body } = step else {
                break;
            };
            match (header.heartbeat, header.response) {
                (false, true) => self.take_reply(ctx, inbox, header, meta, body),
                (false, false) => return Err(malformed("a request stands where a reply must")),
                (true, true) => inbox.consume(body.end),
                (true, false) => {
                    inbox.consume(body.end);
                    self.answer_heartbeat(header)?;
                }
            }
        }
        Ok(())
    }

    fn take_reply(
        self: &Rc<Self>,
        ctx: &Context,
        inbox: &mut Inbox,
        header: Header,
        meta: Range<usize>,
        body: Range<usize>,
    ) {
        let slot = self.slots.borrow_mut().remove(&header.request_id);
        let Some(slot) = slot else {
            // Its call was cancelled.
            inbox.consume(body.end);
            return;
        };
        let mut fields = ctx.fields();
        let meta = inbox.bytes().get(meta).unwrap_or_default();
        let sound = codec::parse_metadata(meta, &ctx.settings.limits.motan2, &mut fields);
        fields.remove(|name, _| is_weft_field(name));
        inbox.consume(body.start);
        let length = body.len();
        let body = match length {
            0 => Body::Empty,
            1..HELD_FROM => Body::Full(inbox.take(length)),
            _ => Body::Stream {
                stream: Box::new(HeldBody::new(self, inbox.take(length))),
                length: Some(length as u64),
            },
        };
        if let Err(refusal) = sound {
            slot.put(Outcome::Failed(Failure::with(
                Code::UpstreamMalformed,
                refusal.reason,
            )));
            return;
        }
        let opaque = fields.store(&Extra::of(header, length).bytes());
        let head = ReplyHead {
            fields,
            status: if header.exception { 500 } else { 200 },
            opaque,
            app_error: header.exception,
        };
        slot.put(Outcome::Reply(head, body));
    }

    fn answer_heartbeat(&self, header: Header) -> Result<(), Failure> {
        if !self.outbox.has_room() {
            return Err(Failure::with(
                Code::UpstreamMalformed,
                "the app sends heartbeats and reads no answer",
            ));
        }
        let header = Header {
            response: true,
            proxy: true,
            ..header
        };
        self.outbox
            .push(|out| codec::write_head(header, &Fields::new(), 0, out));
        Ok(())
    }
}
