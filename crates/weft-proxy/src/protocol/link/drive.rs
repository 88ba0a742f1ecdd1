//! The task of a link: reads and writes until it ends, and keeps its beats.
//!
//! Calls append frames to the link's buffer and wake the task; it lets everything else that is ready run first, so
//! that all of it leaves in one write. Never in here: what a frame means.

use crate::buffer::{Buffer, Chunk, Inbox};
use crate::clock;
use crate::protocol::link::OUT_BYTES_MAX;
use crate::protocol::link::pulse::{BEAT_ACTIVE, Beat};
use crate::protocol::link::slot::{register, wake};
use crate::protocol::link::transport::Transport;
use crate::protocol::link::wire::Core;
use std::future::poll_fn;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::atomic::Ordering::Relaxed;
use std::task::{Context as TaskContext, Poll, ready};
use tokio::time::Sleep;
use weft_codec::Fields;
use weft_codec::link as codec;
use weft_model::{Code, Failure};

impl Core {
    /// Reads and writes until the link ends. `open` takes the calls that the peer opens.
    pub(crate) async fn drive(
        self: &Rc<Self>,
        mut transport: Transport,
        mut open: impl FnMut(&codec::Open<'_>, Fields) -> Result<(), Failure>,
    ) {
        let mut batch = Batch::default();
        let mut rest = Inbox::default();
        let mut timer = Timer::new(self);
        let failure = poll_fn(|cx| {
            register(&self.driver, cx);
            if let Some(failure) = &*self.closed.borrow() {
                return Poll::Ready(failure.clone());
            }
            // First what has come: nobody is doubted over what lies unread, and the first call after a pause
            // quickens the beats at once.
            let take = |bytes: &[u8]| {
                self.pulse.heard(clock::now_ms());
                self.take_frames(bytes, &mut open)
            };
            if let Poll::Ready(failure) = transport.poll_receive(&mut rest, take, cx) {
                return Poll::Ready(failure);
            }
            while let Poll::Ready(late) = timer.poll(self, cx) {
                if let Some(failure) = self.beat(late) {
                    return Poll::Ready(failure);
                }
            }
            self.poll_send(&mut transport, &mut batch, cx)
        })
        .await;
        self.close(&failure);
    }

    /// Says that this side lives, doubts that the other does.
    fn beat(&self, late: bool) -> Option<Failure> {
        let calls = self.slots.borrow().len();
        let was_suspect = self.pulse.is_suspect();
        let beat = self
            .pulse
            .beat(clock::now_ms(), late, self.opened_here, calls);
        if self.opened_here && self.pulse.is_suspect() {
            if !was_suspect {
                self.ctx.counters.links_suspected.fetch_add(1, Relaxed);
            }
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

    /// Sends what has gathered, once everything else that is ready has added to it.
    fn poll_send(
        &self,
        transport: &mut Transport,
        batch: &mut Batch,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Failure> {
        loop {
            if let Poll::Ready(failure) = transport.poll_refusal(cx) {
                return Poll::Ready(failure);
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
            if let Err(failure) = ready!(transport.poll_send(&mut batch.sending, cx)) {
                return Poll::Ready(failure);
            }
        }
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
        ready!(self.sleep.as_mut().poll(cx));
        let late = now.saturating_duration_since(due) > core.pulse.late_max();
        let now_ms = clock::now_ms();
        self.active = core.pulse.is_active(now_ms);
        let next = now + core.pulse.next_beat(now_ms, late);
        self.sleep.as_mut().reset(next);
        Poll::Ready(late)
    }
}

/// The bytes on their way.
#[derive(Default)]
struct Batch {
    sending: Option<Chunk>,
    waited: bool,
}
