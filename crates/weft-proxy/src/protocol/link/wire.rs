//! A link as its calls see it: who is at the other end, each call's place, what leaves next, credit.
//!
//! `drive.rs` moves its bytes, `arriving.rs` takes its frames.

use crate::budget::Pressure;
use crate::buffer::Buffer;
use crate::context::Context;
use crate::protocol::link::pulse::Pulse;
use crate::protocol::link::slot::{Event, Slot, wake};
use crate::protocol::link::{CALLS_MAX, CREDIT_INITIAL, CREDIT_MAX, LINK_GROWN_MAX};
use std::cell::{Cell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Poll, Waker};
use weft_codec::link::{self as codec, FRAME_BYTES_MAX, Health, HealthState, Hello, LINK_VERSION};
use weft_model::{Code, Failure, Instance, ServiceName, instance as model};

/// Who is at the other end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Peer {
    /// Its instance id.
    pub(crate) instance: Rc<str>,
    /// What it serves: namespace and name.
    service: (Box<str>, Box<str>),
    /// Its mesh; empty as long as it knows of none.
    mesh: Box<str>,
    credit_initial: u32,
    calls_max: u32,
}

impl Peer {
    fn serves(&self, service: &ServiceName) -> bool {
        *self.service.0 == *service.namespace && *self.service.1 == *service.name
    }

    /// Whether another instance of the same service was there before.
    pub(super) fn has_succeeded(&self, before: &Self, own_mesh: &str) -> bool {
        self.instance != before.instance
            && self.service == before.service
            && self.may_belong_to(own_mesh)
    }

    /// Whether nothing says that it belongs to another mesh. One that has met no center yet says nothing.
    fn may_belong_to(&self, own_mesh: &str) -> bool {
        self.mesh.is_empty() || own_mesh.is_empty() || *self.mesh == *own_mesh
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
    pub(super) handed: Cell<u64>,
    pub(super) driver: RefCell<Option<Waker>>,
    /// Calls that wait for room in `out`, in turn.
    pub(super) waiting: RefCell<VecDeque<Rc<Slot>>>,
    pub(super) slots: RefCell<HashMap<u64, Rc<Slot>, foldhash::fast::RandomState>>,
    call_id: Cell<u64>,
    pub(super) peer: RefCell<Option<Peer>>,
    pub(super) peer_incarnation: Cell<u64>,
    /// Wakes those who wait for the Hello.
    greeted: RefCell<Vec<Waker>>,
    pub(super) closed: RefCell<Option<Failure>>,
    pub(super) leaving: Cell<bool>,
    /// Who lives at the other end.
    pub(crate) pulse: Pulse,
    pub(super) opened_here: bool,
    peer_address: IpAddr,
    /// Bytes that its calls may have under way beyond what each began with.
    grown: Cell<u32>,
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
            grown: Cell::new(0),
        };
        let settings = &ctx.settings;
        let snapshot = ctx.snapshot();
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
            mesh: snapshot.mesh.as_bytes(),
        };
        codec::write_hello(&hello, &mut core.out.borrow_mut());
        let own = ctx.health();
        if own.state != model::HealthState::Ready || own.share != model::SHARE_FULL {
            // Beside the Hello, so that the first call on the link counts with it.
            core.write_health(&mut core.out.borrow_mut());
        }
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
            Some(peer)
                if peer.serves(&instance.service)
                    && peer.may_belong_to(&self.ctx.snapshot().mesh) =>
            {
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
        let is_full = || !ended && self.ctx.is_out_of_room();
        if self.slots.borrow().len() >= CALLS_MAX as usize || is_full() {
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
        if let Some(slot) = self.slots.borrow_mut().remove(&id) {
            let grown = slot.window.get().saturating_sub(CREDIT_INITIAL);
            self.grown.set(self.grown.get().saturating_sub(grown));
        }
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
    pub(super) fn wake_waiting(&self) {
        for slot in self.waiting.borrow_mut().drain(..) {
            slot.waiting.set(false);
            wake(&slot.sender);
        }
    }

    /// Tells the peer how this instance is, at once.
    pub(crate) fn tell_health(&self) {
        self.send(|out| self.write_health(out));
    }

    pub(super) fn write_health(&self, out: &mut Vec<u8>) {
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

    pub(super) fn take_hello(&self, hello: &Hello<'_>) {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        *self.peer.borrow_mut() = Some(Peer {
            instance: text(hello.instance).into(),
            service: (text(hello.namespace).into(), text(hello.service).into()),
            mesh: text(hello.mesh).into(),
            credit_initial: hello.credit_initial,
            calls_max: hello.calls_max,
        });
        self.peer_incarnation.set(hello.incarnation);
        for waker in self.greeted.borrow_mut().drain(..) {
            waker.wake();
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
        slot.consumed.set(0);
        let next = self.next_window(slot, consumed);
        self.grown
            .set((self.grown.get() + next).saturating_sub(window));
        slot.window.set(next);
        // A window that shrinks does so by what was read: what was granted before stays granted.
        let more = (consumed + next).saturating_sub(window);
        if more > 0 {
            slot.granted.set(slot.granted.get() + more);
            self.send(|out| codec::write_credit(id, more, out));
        }
    }

    /// How much of a call may be under way from now on: more when its reader keeps up (nothing waits for it) and
    /// there is room, what it began with when much is held.
    fn next_window(&self, slot: &Slot, consumed: u32) -> u32 {
        let window = slot.window.get();
        if self.ctx.pressure() != Pressure::Easy {
            let shrunk = window.saturating_sub(consumed);
            return shrunk.max(window.min(CREDIT_INITIAL));
        }
        let growth = window.min(CREDIT_MAX - window.min(CREDIT_MAX));
        let has_room = self.grown.get() + growth <= LINK_GROWN_MAX;
        if has_room && slot.events.borrow().is_empty() {
            window + growth
        } else {
            window
        }
    }
}
