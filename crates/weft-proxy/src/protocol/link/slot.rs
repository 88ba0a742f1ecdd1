//! One call's place on a link: what has arrived for it, and how many bytes may still go either way.

use crate::buffer::Chunk;
use crate::call::ReplyHead;
use crate::protocol::link::CREDIT_INITIAL;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};
use weft_codec::Fields;
use weft_codec::link::DATA_BYTES_MAX;
use weft_model::{Code, Failure};

/// What arrives for one call.
pub(crate) enum Event {
    /// A 1xx.
    Interim(ReplyHead),
    /// The reply's head with the first bytes of its body.
    Reply {
        head: ReplyHead,
        body: Option<Chunk>,
        end: bool,
    },
    /// Bytes of the body.
    Data(Chunk),
    /// The end of the body.
    End(Option<Fields>),
    /// The other side ended the call.
    Reset {
        failure: Failure,
        /// The peer is this instance in this incarnation, when it refused a call meant for another.
        incarnation: Option<u64>,
    },
}

/// One call's place on a link.
#[derive(Default)]
pub(crate) struct Slot {
    pub(super) events: RefCell<VecDeque<Event>>,
    pub(super) reader: RefCell<Option<Waker>>,
    /// Where in the link's bytes its Open begins, for a call opened here.
    pub(super) opened_at: Cell<u64>,
    /// Bytes that may be sent.
    pub(super) credit: Cell<u32>,
    pub(super) sender: RefCell<Option<Waker>>,
    /// Bytes that the other side may still send.
    pub(super) granted: Cell<u32>,
    /// What `granted` is filled up to.
    pub(super) window: Cell<u32>,
    /// Bytes read by the call and not yet granted anew.
    pub(super) consumed: Cell<u32>,
    /// No more bytes will come.
    pub(super) ended: Cell<bool>,
    /// It stands in the queue for room in the link's buffer.
    pub(super) waiting: Cell<bool>,
}

impl Slot {
    pub(super) fn new(credit: u32) -> Rc<Self> {
        let slot = Self::default();
        slot.credit.set(credit);
        slot.granted.set(CREDIT_INITIAL);
        slot.window.set(CREDIT_INITIAL);
        Rc::new(slot)
    }

    pub(super) fn push(&self, event: Event) {
        self.events.borrow_mut().push_back(event);
        wake(&self.reader);
    }

    /// Bytes of a body. They join those before them, so that many small frames take no more memory than few
    /// large ones.
    pub(super) fn push_data(&self, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        if let Some(Event::Data(last)) = self.events.borrow_mut().back_mut()
            && last.try_append(bytes)
        {
            return;
        }
        self.push(Event::Data(Chunk::copy_of(bytes)));
    }

    /// The next event.
    pub(crate) fn poll_event(&self, cx: &TaskContext<'_>) -> Poll<Event> {
        if let Some(event) = self.events.borrow_mut().pop_front() {
            return Poll::Ready(event);
        }
        register(&self.reader, cx);
        Poll::Pending
    }

    /// Ready when the other side has ended the call (events before that are dropped: nobody wants them).
    pub(crate) fn poll_reset(&self, cx: &TaskContext<'_>) -> Poll<()> {
        let reset = self
            .events
            .borrow()
            .iter()
            .any(|event| matches!(event, Event::Reset { .. }));
        if reset {
            return Poll::Ready(());
        }
        register(&self.sender, cx);
        Poll::Pending
    }

    /// Takes received bytes off what was granted.
    pub(super) fn receive(&self, count: usize) -> Result<(), Failure> {
        let left = u32::try_from(count)
            .ok()
            .and_then(|count| self.granted.get().checked_sub(count));
        self.granted.set(left.ok_or_else(|| {
            Failure::with(
                Code::LinkMalformed,
                "a call received more bytes than it had credit for",
            )
        })?);
        Ok(())
    }
}

pub(super) fn register(place: &RefCell<Option<Waker>>, cx: &TaskContext<'_>) {
    let mut place = place.borrow_mut();
    if !place
        .as_ref()
        .is_some_and(|known| known.will_wake(cx.waker()))
    {
        *place = Some(cx.waker().clone());
    }
}

pub(super) fn wake(place: &RefCell<Option<Waker>>) {
    if let Some(waker) = place.borrow_mut().take() {
        waker.wake();
    }
}

/// How much of a full body may go with the head of its call.
pub(crate) fn first_bytes_max(slot: &Slot) -> usize {
    (slot.credit.get() as usize).min(DATA_BYTES_MAX)
}

/// Takes the first bytes of a body off its credit.
pub(crate) fn spend(slot: &Slot, count: usize) {
    slot.credit
        .set(slot.credit.get().saturating_sub(count as u32));
}
