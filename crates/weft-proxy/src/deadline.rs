//! Coarse time limits for waits in seconds: one sweep per worker instead of one timer per wait.
//!
//! A connection sets a limit before each wait (idle, head, stalled write) and clears it after: two stores. The
//! sweep wakes those whose limit has passed, at most [`SWEEP_EVERY`] late.

use crate::clock::CoarseClock;
use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

/// How often limits are looked at.
pub(crate) const SWEEP_EVERY: Duration = Duration::from_millis(100);

/// A time that has always passed; 0 means that nothing is waited for.
const ENDED_MS: u64 = 1;

/// The limits of one worker.
#[derive(Debug)]
pub(crate) struct Deadlines {
    clock: CoarseClock,
    limits: RefCell<Vec<Weak<Limit>>>,
}

/// One connection's limit.
#[derive(Debug, Default)]
pub(crate) struct Limit {
    at_ms: Cell<u64>,
    /// Whether what is waited for is the next call, and nothing is under way.
    is_idle: Cell<bool>,
    waker: RefCell<Option<Waker>>,
}

/// A wait took longer than its limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Expired;

impl Deadlines {
    pub(crate) fn new() -> Self {
        Self {
            clock: CoarseClock::new(),
            limits: RefCell::default(),
        }
    }

    /// A limit for one more connection.
    pub(crate) fn limit(&self) -> Rc<Limit> {
        let limit = Rc::new(Limit::default());
        self.limits.borrow_mut().push(Rc::downgrade(&limit));
        limit
    }

    /// Runs `future`, for at most `time` (to the exactness of the sweep).
    pub(crate) async fn within<F: Future>(
        &self,
        limit: &Limit,
        time: Duration,
        future: F,
    ) -> Result<F::Output, Expired> {
        let mut future = pin!(future);
        limit
            .at_ms
            .set(self.clock.in_ms(time) + SWEEP_EVERY.as_millis() as u64);
        let result = poll_fn(|cx| match future.as_mut().poll(cx) {
            Poll::Ready(output) => Poll::Ready(Ok(output)),
            Poll::Pending if self.clock.now_ms().max(ENDED_MS) >= limit.at_ms.get() => {
                Poll::Ready(Err(Expired))
            }
            Poll::Pending => {
                limit.register(cx);
                Poll::Pending
            }
        })
        .await;
        limit.at_ms.set(0);
        result
    }

    /// Ready when nothing has moved for `time`: the first call starts the limit, [`Limit::rest`] stops it.
    pub(crate) fn poll_stalled(&self, limit: &Limit, time: Duration, cx: &Context<'_>) -> Poll<()> {
        if limit.at_ms.get() == 0 {
            limit.at_ms.set(self.clock.in_ms(time));
        } else if self.clock.now_ms().max(ENDED_MS) >= limit.at_ms.get() {
            limit.rest();
            return Poll::Ready(());
        }
        limit.register(cx);
        Poll::Pending
    }

    /// Milliseconds on the coarse clock.
    pub(crate) fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Ends every wait for a next call: whoever waits looks once more whether one has come.
    pub(crate) fn end_idle(&self) {
        for limit in self.limits.borrow().iter().filter_map(Weak::upgrade) {
            if limit.is_idle.get() {
                limit.at_ms.set(ENDED_MS);
                if let Some(waker) = limit.waker.borrow_mut().take() {
                    waker.wake();
                }
            }
        }
    }

    /// Looks at all limits; to be called every [`SWEEP_EVERY`].
    pub(crate) fn sweep(&self) {
        let now = self.clock.tick();
        self.limits.borrow_mut().retain(|weak| {
            let Some(limit) = weak.upgrade() else {
                return false;
            };
            let at = limit.at_ms.get();
            if at != 0
                && now >= at
                && let Some(waker) = limit.waker.borrow_mut().take()
            {
                waker.wake();
            }
            true
        });
    }
}

impl Limit {
    /// Says whether what is waited for from now on is the next call.
    pub(crate) fn idle(&self, is_idle: bool) {
        self.is_idle.set(is_idle);
    }

    /// Nothing is waited for.
    pub(crate) fn rest(&self) {
        self.at_ms.set(0);
    }

    fn register(&self, cx: &Context<'_>) {
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
    }
}

#[cfg(test)]
mod tests;
