//! A connection that is being made: all who want it wait for one attempt.
//!
//! The attempt runs in a task of its own, because the call that asked first may be cancelled while the others
//! still want the connection. Never in here: how it is made.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Poll, Waker};
use weft_model::Failure;

/// An attempt under way, and those who wait for it. One waker per waiting call, which admit limits.
pub(crate) struct Connecting<T> {
    result: RefCell<Option<Result<Rc<T>, Failure>>>,
    waiting: RefCell<Vec<Waker>>,
}

impl<T> Default for Connecting<T> {
    fn default() -> Self {
        Self {
            result: RefCell::new(None),
            waiting: RefCell::default(),
        }
    }
}

impl<T> Connecting<T> {
    /// Waits for the result of the attempt.
    pub(crate) async fn result(&self) -> Result<Rc<T>, Failure> {
        poll_fn(|cx| {
            if let Some(result) = &*self.result.borrow() {
                return Poll::Ready(result.clone());
            }
            let mut waiting = self.waiting.borrow_mut();
            if !waiting.iter().any(|known| known.will_wake(cx.waker())) {
                waiting.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await
    }

    /// The attempt has ended.
    pub(crate) fn finish(&self, result: Result<Rc<T>, Failure>) {
        *self.result.borrow_mut() = Some(result);
        for waker in self.waiting.borrow_mut().drain(..) {
            waker.wake();
        }
    }
}
