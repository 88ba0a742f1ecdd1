//! How many bytes of buffers the process holds, and what follows when that is much.
//!
//! Each worker counts its own without looking at the others', and tells the process in coarse steps: the path of a
//! call pays two additions. As long as little is held, links let more be under way for readers that keep up. When much is,
//! nothing grows any more; when the budget is full, request bodies are not read and calls that bring one are not taken,
//! until readers have taken theirs. Never in here: whose bytes they are.

use crate::context::Context;
use std::cell::{Cell, RefCell};
use std::sync::atomic::{AtomicIsize, Ordering::Relaxed};
use std::task::{Context as TaskContext, Poll, Waker};
use weft_model::Limit;

/// What a worker may hold without telling the process.
const STEP_BYTES: isize = 256 * 1024;

/// From this part of the budget on nothing grows any more.
const TIGHT_PART: usize = 3;

/// All that the workers of this process have told.
static PROCESS: AtomicIsize = AtomicIsize::new(0);

/// One worker's count. Below 0 where a buffer ends in another thread than it began in: the sum stays right.
struct Own {
    held: Cell<isize>,
    told: Cell<isize>,
}

thread_local! {
    static OWN: Own = const { Own { held: Cell::new(0), told: Cell::new(0) } };
}

/// This worker holds so many bytes more.
#[inline]
pub(crate) fn hold(bytes: usize) {
    change(bytes.cast_signed());
}

/// This worker holds so many bytes less.
#[inline]
pub(crate) fn release(bytes: usize) {
    change(-bytes.cast_signed());
}

#[inline]
fn change(by: isize) {
    OWN.with(|own| {
        let held = own.held.get() + by;
        own.held.set(held);
        if (held - own.told.get()).abs() >= STEP_BYTES {
            PROCESS.fetch_add(held - own.told.replace(held), Relaxed);
        }
    });
}

/// The bytes that the process holds, to the exactness of the steps.
pub(crate) fn held() -> usize {
    PROCESS.load(Relaxed).max(0).cast_unsigned()
}

/// How much of the budget is taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pressure {
    /// Little.
    Easy,
    /// So much that nothing grows any more.
    Tight,
    /// All of it.
    Full,
}

fn pressure_of(held: usize, max: usize) -> Pressure {
    if held >= max {
        Pressure::Full
    } else if held >= max / TIGHT_PART {
        Pressure::Tight
    } else {
        Pressure::Easy
    }
}

/// Those of one worker who wait for room. Each is a body's reader, of which admit limits the number.
#[derive(Debug, Default)]
pub(crate) struct Waiting(RefCell<Vec<Waker>>);

impl Context {
    /// How much of the process's budget is taken.
    pub(crate) fn pressure(&self) -> Pressure {
        pressure_of(held(), self.settings.limits.buffer_bytes_max)
    }

    /// Whether the budget is full; counts that it had to be asked in vain.
    pub(crate) fn is_out_of_room(&self) -> bool {
        let is_full = self.pressure() == Pressure::Full;
        if is_full {
            self.counters.limits_hit.add(Limit::BufferBytes);
        }
        is_full
    }

    /// Ready when more of a body may be read: while the budget is full its sender waits.
    pub(crate) fn poll_room(&self, cx: &TaskContext<'_>) -> Poll<()> {
        if !self.is_out_of_room() {
            return Poll::Ready(());
        }
        let mut waiting = self.waiting_for_room.0.borrow_mut();
        if !waiting.iter().any(|known| known.will_wake(cx.waker())) {
            waiting.push(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Wakes those who wait for room when there is some; to be called with each sweep.
    pub(crate) fn give_room(&self) {
        if self.pressure() != Pressure::Full {
            for waker in self.waiting_for_room.0.take() {
                waker.wake();
            }
        }
    }
}

#[cfg(test)]
mod tests;
