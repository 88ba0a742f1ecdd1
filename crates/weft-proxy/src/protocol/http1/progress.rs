//! How fast a request's body comes, and which limits of the table end a request.
//!
//! Only time in which the body is awaited counts: an app that reads slowly is not its caller's doing. What was
//! announced (by a length, or a chunk's size) is there to be sent, so it must come at a least rate; between chunks a
//! request may be a stream that lasts.

use crate::context::Context;
use std::cell::Cell;
use std::time::Duration;
use weft_model::{Code, Limit};

/// The progress of one body.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    /// Since when bytes are awaited, on the coarse clock; 0 while they are not.
    waits_since_ms: Cell<u64>,
    /// How long they were awaited in this window.
    waited_ms: Cell<u64>,
    /// What came in it.
    came_bytes: Cell<u64>,
}

impl Progress {
    /// A new body.
    pub(crate) fn begin(&self) {
        self.waits_since_ms.set(0);
        self.waited_ms.set(0);
        self.came_bytes.set(0);
    }

    /// Bytes came.
    pub(crate) fn came(&self, count: usize, ctx: &Context) {
        let since = self.waits_since_ms.replace(0);
        if since > 0 {
            let waited = ctx.deadlines.now_ms().saturating_sub(since);
            self.waited_ms.set(self.waited_ms.get() + waited);
        }
        let came = self.came_bytes.get() + count as u64;
        if came >= ctx.settings.limits.body_progress_bytes {
            self.begin();
        } else {
            self.came_bytes.set(came);
        }
    }

    /// Bytes are awaited from now on at the latest: how much longer that may last.
    pub(crate) fn left(&self, ctx: &Context) -> Duration {
        if self.waits_since_ms.get() == 0 {
            self.waits_since_ms.set(ctx.deadlines.now_ms().max(1));
        }
        let waited = Duration::from_millis(self.waited_ms.get());
        ctx.settings.limits.body_window.saturating_sub(waited)
    }
}

/// The limit by which a request ends with this code.
pub(crate) fn limit_of(code: Code) -> Option<Limit> {
    match code {
        Code::HeadTimeout => Some(Limit::Head),
        Code::HeadTooLarge => Some(Limit::Http1Head),
        Code::TargetTooLong => Some(Limit::Http1Target),
        _ => None,
    }
}

/// The limit by which a body was refused, where it was one.
pub(crate) fn limit_of_body(status: u16, reason: &str) -> Option<Limit> {
    if status == 431 {
        return Some(Limit::Http1Trailers);
    }
    // The codec ends these sentences so, and only these.
    reason
        .ends_with("than the limit")
        .then_some(Limit::Http1Waste)
}

#[cfg(test)]
mod tests;
