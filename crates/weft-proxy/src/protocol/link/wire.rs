//! What both sides of a link do: frames out in batches, frames in to their calls, credit, heartbeats.
//!
//! One task per link reads and writes ([`Core::drive`]). Calls append frames to the link's buffer and wake the
//! task; it lets everything else that is ready run first, so that all of it leaves in one write.

use crate::buffer::{Buffer, Chunk, Inbox};
use crate::call::ReplyHead;
use crate::clock;
use crate::context::Context;
use crate::protocol::link::pulse::{BEAT_ACTIVE, Beat, LATE_MAX, Pulse, Word};
use crate::protocol::link::slot::{Event, Slot, register, wake};
use crate::protocol::link::{CALLS_MAX, CREDIT_INITIAL, CREDIT_MAX, OUT_BYTES_MAX};
use bytes::{Buf, Bytes};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};
use tokio::time::Sleep;
use weft_codec::Fields;
use weft_codec::link::{
    self as codec, FRAME_BYTES_MAX, Frame, Health, HealthState, Hello, LINK_VERSION, ResetReason,
    Step,
};
use weft_model::{Code, Failure, Instance, ServiceName, instance as model};

/// Who is at the other end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// Its instance id.
    pub(crate) instance: Rc<str>,
    /// What it serves: namespace and name.
    service: (Box<str>, Box<str>),
    credit_initial: u32,
    calls_max: u32,
}

impl Peer {
    fn serves(&self, service: &ServiceName) -> bool {
        *self.service.0 == *service.namespace && *self.service.1 == *service.name
    }

    /// Whether another instance of the same service was there before.
    pub(super) fn has_succeeded(&self, before: &Self) -> bool {
        self.instance != before.instance && self.service == before.service
    }
}

/// Who is found at an instance's address.
#[derive(Debug)]
pub(crate) enum Holder {
    /// The instance, in this incarnation.
    Itself(u64),
    /// Another instance of its service, which has taken its address over.
    Successor(Rc<str>, u64),
    /// Somebody else, who will refuse the call.
    Stranger,
}

/// One link.
pub(crate) struct Core {
    /// The worker.
    pub(crate) ctx: Rc<Context>,
    pub(super) out: RefCell<Buffer>,
    /// Bytes that have left `out` since the link began.
    handed: Cell<u64>,
    driver: RefCell<Option<Waker>>,
    /// Calls that wait for room in `out`, in turn.
    pub(super) waiting: RefCell<VecDeque<Rc<Slot>>>,
    slots: RefCell<HashMap<u64, Rc<Slot>, foldhash::fast::RandomState>>,
    call_id: Cell<u64>,
    peer: RefCell<Option<Peer>>,
    peer_incarnation: Cell<u64>,
    /// Wakes those who wait for the Hello.
    greeted: RefCell<Vec<Waker>>,
    pub(super) closed: RefCell<Option<Failure>>,
    leaving: Cell<bool>,
    /// Who lives at the other end.
    pub(crate) pulse: Pulse,
    opened_here: bool,
    peer_address: IpAddr,
}

impl Core {
    /// A link that has just been made; its Hello is in the buffer.
    pub(crate) fn new(ctx: &Rc<Context>, opened_here: bool, peer_address: IpAddr) -> Rc<Self> {
        let now = ctx.deadlines.now_ms();
        let core = Self {
            ctx: Rc::clone(ctx),
            out: RefCell::new(Buffer::take()),
            handed: Cell::new(0),
            driver: RefCell::default(),
            waiting: RefCell::default(),
            slots: RefCell::default(),
            call_id: Cell::new(0),
            peer: RefCell::default(),
            peer_incarnation: Cell::new(0),
            greeted: RefCell::default(),
            closed: RefCell::default(),
            leaving: Cell::new(false),
            pulse: Pulse::new(now),
            opened_here,
            peer_address,
        };
        let settings = &ctx.settings;
        let hello = Hello {
            version: LINK_VERSION,
            features: 0,
            namespace: settings.namespace.as_bytes(),
            service: settings.service_name.as_bytes(),
            instance: settings.instance.as_bytes(),
            incarnation: ctx.incarnation(),
            credit_initial: CREDIT_INITIAL,
            calls_max: CALLS_MAX,
            frame_bytes_max: FRAME_BYTES_MAX as u32,
        };
        codec::write_hello(&hello, &mut core.out.borrow_mut());
        Rc::new(core)
    }

    /// Appends a frame; it leaves with all others of this turn.
    pub(crate) fn send(&self, write: impl FnOnce(&mut Vec<u8>)) {
        write(&mut self.out.borrow_mut());
        wake(&self.driver);
    }

    /// Where the peer's sidecar is.
    pub(crate) fn peer_address(&self) -> IpAddr {
        self.peer_address
    }

    /// Whether new calls may be opened.
    pub(crate) fn is_usable(&self) -> bool {
        !self.leaving.get() && self.closed.borrow().is_none()
    }

    /// Who is at the other end, for a call to this instance.
    pub(crate) fn holder(&self, instance: &Instance) -> Holder {
        let peer = self.peer.borrow();
        let incarnation = self.peer_incarnation.get();
        match &*peer {
            Some(peer) if *peer.instance == *instance.id.as_str() => Holder::Itself(incarnation),
            Some(peer) if peer.serves(&instance.service) => {
                Holder::Successor(Rc::clone(&peer.instance), incarnation)
            }
            Some(_) | None => Holder::Stranger,
        }
    }

    /// The peer as it said in its Hello.
    pub(super) fn peer(&self) -> Option<Peer> {
        self.peer.borrow().clone()
    }

    /// Waits for the peer's Hello.
    pub(crate) async fn greeted(&self) -> Result<(), Failure> {
        poll_fn(|cx| {
            if let Some(failure) = &*self.closed.borrow() {
                return Poll::Ready(Err(failure.clone()));
            }
            if self.peer.borrow().is_some() {
                return Poll::Ready(Ok(()));
            }
            self.greeted.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Opens a call: its id and its place.
    pub(crate) fn open(&self) -> Result<(u64, Rc<Slot>), Failure> {
        let (credit, calls_max) = match &*self.peer.borrow() {
            Some(peer) => (peer.credit_initial, peer.calls_max),
            None => {
                return Err(Failure::with(
                    Code::LinkRefused,
                    "the peer has not said hello",
                ));
            }
        };
        if !self.is_usable() {
            return Err(Failure::with(Code::LinkRefused, "the link is closing"));
        }
        let open = self.slots.borrow().len();
        if open >= calls_max as usize {
            return Err(Failure::with(
                Code::Overloaded,
                format!("{open} calls are open on this link"),
            ));
        }
        let id = self.call_id.get() + 1;
        self.call_id.set(id);
        let slot = Slot::new(credit);
        slot.opened_at.set(self.position());
        self.slots.borrow_mut().insert(id, Rc::clone(&slot));
        self.pulse.used(self.ctx.deadlines.now_ms());
        Ok((id, slot))
    }

    /// A place for a call that the peer opened.
    pub(crate) fn accept(
        &self,
        id: u64,
        first: usize,
        ended: bool,
    ) -> Result<Option<Rc<Slot>>, Failure> {
        if self.opened_here || id <= self.call_id.get() {
            return Err(Failure::with(Code::LinkMalformed, "an Open out of turn"));
        }
        self.call_id.set(id);
        if self.slots.borrow().len() >= CALLS_MAX as usize {
            return Ok(None);
        }
        let credit = self
            .peer
            .borrow()
            .as_ref()
            .map_or(0, |peer| peer.credit_initial);
        let slot = Slot::new(credit);
        slot.receive(first)?;
        slot.ended.set(ended);
        self.slots.borrow_mut().insert(id, Rc::clone(&slot));
        self.pulse.used(self.ctx.deadlines.now_ms());
        Ok(Some(slot))
    }

    /// Where in the link's bytes the next frame begins.
    pub(crate) fn position(&self) -> u64 {
        self.handed.get() + self.out.borrow().len() as u64
    }

    /// Takes a frame back that began there and has not left yet; whether that was so.
    pub(crate) fn take_back(&self, position: u64) -> bool {
        let Some(start) = position.checked_sub(self.handed.get()) else {
            return false;
        };
        codec::take_back(start as usize, &mut self.out.borrow_mut());
        true
    }

    /// Forgets a call.
    pub(crate) fn forget(&self, id: u64) {
        self.slots.borrow_mut().remove(&id);
    }

    /// Asks the peer to open no further call here. Those on their way are still taken: nobody is told yet that
    /// one will not be dispatched.
    pub(crate) fn leave(&self) {
        if !self.leaving.replace(true) {
            self.send(|out| codec::write_goaway(u64::MAX, b"the instance is leaving", out));
        }
    }

    /// Ends the link and every call on it.
    pub(crate) fn close(&self, failure: &Failure) {
        if self.closed.borrow().is_some() {
            return;
        }
        *self.closed.borrow_mut() = Some(failure.clone());
        let slots: Vec<Rc<Slot>> = self
            .slots
            .borrow_mut()
            .drain()
            .map(|(_, slot)| slot)
            .collect();
        for slot in slots {
            // What never left was never dispatched.
            let unsent = self.opened_here && slot.opened_at.get() >= self.handed.get();
            let failure = if unsent {
                Failure::with(Code::NotDispatched, failure.to_string())
            } else {
                failure.clone()
            };
            slot.push(Event::Reset {
                failure,
                incarnation: None,
            });
            wake(&slot.sender);
        }
        for waker in self.greeted.borrow_mut().drain(..) {
            waker.wake();
        }
        self.wake_waiting();
        wake(&self.driver);
    }

    /// There is room in the buffer again: those who wait take it in turn.
    fn wake_waiting(&self) {
        for slot in self.waiting.borrow_mut().drain(..) {
            slot.waiting.set(false);
            wake(&slot.sender);
        }
    }

    /// Reads and writes until the link ends. `open` takes the calls that the peer opens.
    pub(crate) async fn drive(
        self: &Rc<Self>,
        mut send: h2::SendStream<Chunk>,
        mut receive: h2::RecvStream,
        mut open: impl FnMut(&codec::Open<'_>, Fields) -> Result<(), Failure>,
    ) {
        let mut batch = Batch::default();
        let mut inbox = Inbox::default();
        let mut timer = Timer::new(self);
        let failure = poll_fn(|cx| {
            register(&self.driver, cx);
            if let Some(failure) = &*self.closed.borrow() {
                return Poll::Ready(failure.clone());
            }
            // First what has come: nobody is doubted over what lies unread, and the first call after a pause
            // quickens the beats at once.
            if let Poll::Ready(failure) = self.poll_receive(&mut receive, &mut inbox, &mut open, cx)
            {
                return Poll::Ready(failure);
            }
            while let Poll::Ready(late) = timer.poll(self, cx) {
                if let Some(failure) = self.beat(late) {
                    return Poll::Ready(failure);
                }
            }
            self.poll_send(&mut send, &mut batch, cx)
        })
        .await;
        self.close(&failure);
    }

    /// Says that this side lives, doubts that the other does.
    fn beat(&self, late: bool) -> Option<Failure> {
        let calls = self.slots.borrow().len();
        let beat = self
            .pulse
            .beat(clock::now_ms(), late, self.opened_here, calls);
        if self.opened_here && self.pulse.is_suspect() {
            // Whether a call leaves is its own decision; at each beat, for another instance may have come back.
            for slot in self.slots.borrow().values() {
                wake(&slot.reader);
            }
        }
        match beat {
            Beat::Rest => None,
            Beat::Speak => {
                self.write_health(&mut self.out.borrow_mut());
                None
            }
            Beat::Silent => Some(Failure::with(
                Code::LinkLost,
                "nothing was heard from the peer",
            )),
            Beat::Idle => Some(Failure::with(Code::LinkLost, "the link was idle")),
        }
    }

    /// Tells the peer how this instance is, at once.
    pub(crate) fn tell_health(&self) {
        self.send(|out| self.write_health(out));
    }

    fn write_health(&self, out: &mut Vec<u8>) {
        let own = self.ctx.health();
        let health = Health {
            instance: self.ctx.settings.instance.as_bytes(),
            incarnation: self.ctx.incarnation(),
            sequence: own.sequence,
            state: match own.state {
                model::HealthState::Ready => HealthState::Ready,
                model::HealthState::Warming => HealthState::Warming,
                model::HealthState::Overloaded => HealthState::Overloaded,
                model::HealthState::Draining => HealthState::Draining,
                model::HealthState::AppDead => HealthState::AppDead,
            },
            weight: own.share,
        };
        codec::write_health(&health, out);
    }

    fn take_health(&self, health: &Health<'_>) {
        let state = match health.state {
            HealthState::Unknown => return,
            HealthState::Ready => model::HealthState::Ready,
            HealthState::Warming => model::HealthState::Warming,
            HealthState::Overloaded => model::HealthState::Overloaded,
            HealthState::Draining => model::HealthState::Draining,
            HealthState::AppDead => model::HealthState::AppDead,
        };
        self.pulse.told(Word {
            incarnation: health.incarnation,
            sequence: health.sequence,
            state,
            share: health.weight,
        });
    }

    /// Sends what has gathered, once everything else that is ready has added to it.
    fn poll_send(
        &self,
        send: &mut h2::SendStream<Chunk>,
        batch: &mut Batch,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Failure> {
        let lost = |error: h2::Error| Failure::with(Code::LinkLost, error.to_string());
        loop {
            if let Poll::Ready(Err(error)) = send.poll_reset(cx) {
                return Poll::Ready(lost(error));
            }
            if batch.sending.is_none() {
                let len = self.out.borrow().len();
                if len == 0 {
                    return Poll::Pending;
                }
                // Whoever is ready now adds to this batch before it leaves: one more turn of the worker's queue.
                if !std::mem::replace(&mut batch.waited, true) && len < OUT_BYTES_MAX {
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
                batch.waited = false;
                let full = std::mem::replace(&mut *self.out.borrow_mut(), Buffer::take_large());
                self.handed.set(self.handed.get() + len as u64);
                batch.sending = Some(Chunk::from(full));
                self.pulse.sent(self.ctx.deadlines.now_ms());
                self.wake_waiting();
            }
            let Some(mut chunk) = batch.sending.take() else {
                return Poll::Pending;
            };
            let len = chunk.remaining();
            send.reserve_capacity(len);
            let capacity = if send.capacity() >= len {
                len
            } else {
                match send.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(capacity))) => capacity,
                    Poll::Ready(Some(Err(error))) => return Poll::Ready(lost(error)),
                    Poll::Ready(None) => {
                        return Poll::Ready(Failure::with(Code::LinkLost, "the stream has ended"));
                    }
                    Poll::Pending => {
                        batch.sending = Some(chunk);
                        return Poll::Pending;
                    }
                }
            };
            if capacity < len {
                // A peer or middlebox with small windows: send what it takes.
                let piece = Chunk::copy_of(chunk.bytes().get(..capacity).unwrap_or_default());
                chunk.advance(capacity);
                batch.sending = Some(chunk);
                if let Err(error) = send.send_data(piece, false) {
                    return Poll::Ready(lost(error));
                }
                continue;
            }
            if let Err(error) = send.send_data(chunk, false) {
                return Poll::Ready(lost(error));
            }
        }
    }

    /// Reads what has come, always, and gives HTTP/2's windows back at once: only per-call credit holds back.
    fn poll_receive(
        &self,
        receive: &mut h2::RecvStream,
        inbox: &mut Inbox,
        open: &mut impl FnMut(&codec::Open<'_>, Fields) -> Result<(), Failure>,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Failure> {
        loop {
            let bytes: Bytes = match receive.poll_data(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    return Poll::Ready(Failure::with(Code::LinkLost, "the peer ended the link"));
                }
                Poll::Ready(Some(Err(error))) => {
                    return Poll::Ready(Failure::with(Code::LinkLost, error.to_string()));
                }
                Poll::Ready(Some(Ok(bytes))) => bytes,
            };
            self.pulse.heard(clock::now_ms());
            if let Err(error) = receive.flow_control().release_capacity(bytes.len()) {
                return Poll::Ready(Failure::with(Code::LinkLost, error.to_string()));
            }
            let result = if inbox.is_empty() {
                self.take_frames(&bytes, open)
                    .map(|consumed| inbox.push(bytes.get(consumed..).unwrap_or_default()))
            } else {
                inbox.push(&bytes);
                self.take_frames(inbox.bytes(), open)
                    .map(|consumed| inbox.consume(consumed))
            };
            if let Err(failure) = result {
                return Poll::Ready(failure);
            }
        }
    }

    /// Takes all whole frames at the beginning of `bytes`: how many bytes they were.
    fn take_frames(
        &self,
        bytes: &[u8],
        open: &mut impl FnMut(&codec::Open<'_>, Fields) -> Result<(), Failure>,
    ) -> Result<usize, Failure> {
        let mut consumed = 0;
        let mut fields = self.ctx.fields();
        loop {
            let rest = bytes.get(consumed..).unwrap_or_default();
            match codec::decode(rest, &mut fields) {
                Err(refusal) => return Err(Failure::with(Code::LinkMalformed, refusal.0)),
                Ok(Step::Need) => break,
                Ok(Step::Frame(frame, count)) => {
                    consumed += count;
                    if let Frame::Open(call) = &frame {
                        open(call, std::mem::replace(&mut fields, self.ctx.fields()))?;
                    } else {
                        self.take_frame(frame, &mut fields)?;
                    }
                }
            }
        }
        self.ctx.recycle(fields);
        Ok(consumed)
    }

    fn take_frame(&self, frame: Frame<'_>, fields: &mut Fields) -> Result<(), Failure> {
        match frame {
            Frame::Hello(hello) => self.take_hello(&hello),
            Frame::Data(id, bytes, end) => {
                if let Some(slot) = self.slot(id) {
                    slot.receive(bytes.len())?;
                    slot.push_data(bytes);
                    if end {
                        slot.ended.set(true);
                        slot.push(Event::End(None));
                    }
                }
            }
            Frame::Reply(reply) => {
                if let Some(slot) = self.slot(reply.call_id) {
                    slot.receive(reply.body.len())?;
                    let mut head = ReplyHead {
                        fields: std::mem::replace(fields, self.ctx.fields()),
                        status: u16::try_from(reply.status).unwrap_or(502),
                        app_error: reply.status >= 500,
                        ..ReplyHead::default()
                    };
                    head.opaque = head.fields.store(reply.opaque);
                    if reply.informational {
                        slot.push(Event::Interim(head));
                    } else {
                        slot.ended.set(reply.end);
                        let body = (!reply.body.is_empty()).then(|| Chunk::copy_of(reply.body));
                        slot.push(Event::Reply {
                            head,
                            body,
                            end: reply.end,
                        });
                    }
                }
            }
            Frame::Trailers(id) => {
                if let Some(slot) = self.slot(id) {
                    slot.ended.set(true);
                    slot.push(Event::End(Some(std::mem::replace(
                        fields,
                        self.ctx.fields(),
                    ))));
                }
            }
            Frame::Reset(reset) => self.take_reset(&reset),
            Frame::Credit(id, bytes) => {
                if let Some(slot) = self.slot(id) {
                    slot.credit.set(slot.credit.get().saturating_add(bytes));
                    wake(&slot.sender);
                }
            }
            Frame::Goaway(last, _) => {
                self.leaving.set(true);
                self.refuse_above(last);
            }
            Frame::Health(health) => self.take_health(&health),
            // Of a later version; Open has been taken before.
            Frame::Unknown | Frame::Open(_) => {}
        }
        Ok(())
    }

    fn slot(&self, id: u64) -> Option<Rc<Slot>> {
        self.slots.borrow().get(&id).cloned()
    }

    fn take_hello(&self, hello: &Hello<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        *self.peer.borrow_mut() = Some(Peer {
            instance: text(hello.instance).into(),
            service: (text(hello.namespace).into(), text(hello.service).into()),
            credit_initial: hello.credit_initial,
            calls_max: hello.calls_max,
        });
        self.peer_incarnation.set(hello.incarnation);
        for waker in self.greeted.borrow_mut().drain(..) {
            waker.wake();
        }
    }

    fn take_reset(&self, reset: &codec::Reset<'_>) {
        let Some(slot) = self.slot(reset.call_id) else {
            return;
        };
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let named = Code::from_text(&text(reset.code));
        let code = match reset.reason {
            ResetReason::NotDispatched => named.unwrap_or(Code::NotDispatched),
            ResetReason::Cancelled => Code::Cancelled,
            ResetReason::Failed | ResetReason::PeerReset | ResetReason::Unknown => named
                .filter(|code| !code.proves_not_dispatched())
                .unwrap_or(Code::LinkLost),
        };
        let is_peer = self
            .peer
            .borrow()
            .as_ref()
            .is_some_and(|peer| peer.instance.as_bytes() == reset.instance);
        let incarnation = (code == Code::WrongInstance && is_peer).then_some(reset.incarnation);
        if let Some(incarnation) = incarnation {
            self.peer_incarnation.set(incarnation);
        }
        slot.push(Event::Reset {
            failure: Failure::with(code, text(reset.detail)),
            incarnation,
        });
        wake(&slot.sender);
    }

    /// Calls above `last` were not dispatched.
    fn refuse_above(&self, last: u64) {
        let slots = self.slots.borrow();
        for slot in slots
            .iter()
            .filter(|(id, _)| **id > last)
            .map(|(_, slot)| slot)
        {
            let failure = Failure::with(Code::NotDispatched, "the peer is leaving");
            slot.push(Event::Reset {
                failure,
                incarnation: None,
            });
            wake(&slot.sender);
        }
    }

    /// A call has read bytes of its body; grants more when that is worth a frame.
    pub(crate) fn consumed(&self, id: u64, slot: &Slot, count: usize) {
        if slot.ended.get() {
            return;
        }
        let consumed = slot.consumed.get() + count as u32;
        let window = slot.window.get();
        if consumed < window / 2 {
            slot.consumed.set(consumed);
            return;
        }
        // The reader keeps up when nothing waits for it: let more be under way.
        let keeps_up = slot.events.borrow().is_empty();
        let growth = if keeps_up {
            window.min(CREDIT_MAX - window.min(CREDIT_MAX))
        } else {
            0
        };
        slot.window.set(window + growth);
        slot.consumed.set(0);
        slot.granted.set(slot.granted.get() + consumed + growth);
        self.send(|out| codec::write_credit(id, consumed + growth, out));
    }
}

/// The timer of a link's beats.
struct Timer {
    sleep: Pin<Box<Sleep>>,
    /// Whether it is set to the pace of a link in use.
    active: bool,
}

impl Timer {
    fn new(core: &Core) -> Self {
        let interval = core.pulse.interval(clock::now_ms());
        Self {
            sleep: Box::pin(tokio::time::sleep(interval)),
            active: interval == BEAT_ACTIVE,
        }
    }

    /// Ready at each beat, with whether this worker was late for it.
    fn poll(&mut self, core: &Core, cx: &mut TaskContext<'_>) -> Poll<bool> {
        let now = tokio::time::Instant::now();
        if !self.active && core.pulse.is_active(core.ctx.deadlines.now_ms()) {
            self.active = true;
            self.sleep.as_mut().reset(now + BEAT_ACTIVE);
        }
        let due = self.sleep.deadline();
        std::task::ready!(self.sleep.as_mut().poll(cx));
        let late = now.saturating_duration_since(due) > LATE_MAX;
        let now_ms = clock::now_ms();
        self.active = core.pulse.is_active(now_ms);
        let next = now + core.pulse.next_beat(now_ms, late);
        self.sleep.as_mut().reset(next);
        Poll::Ready(late)
    }
}

/// The bytes on their way to HTTP/2.
#[derive(Default)]
struct Batch {
    sending: Option<Chunk>,
    waited: bool,
}
