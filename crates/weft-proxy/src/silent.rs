//! Connections that were accepted and have said nothing yet: a sidecar that ends waits a moment for those that are
//! new, because their first call is on its way. One that closed at once would break a call that nobody ever saw.

use std::cell::Cell;
use std::rc::Rc;

/// A silent connection is new for this long: its caller has just made it, and not for nothing.
const NEW_FOR_MS: u64 = 200;

/// The silent connections of one worker.
#[derive(Debug, Default)]
pub(crate) struct Silent {
    count: Cell<usize>,
    newest_ms: Cell<u64>,
}

/// One of them; dropped at its first byte, or at its end.
#[derive(Debug)]
pub(crate) struct Quiet(Rc<Silent>);

impl Silent {
    /// A connection was accepted now.
    pub(crate) fn begin(self: &Rc<Self>, now_ms: u64) -> Quiet {
        self.count.set(self.count.get() + 1);
        self.newest_ms.set(now_ms);
        Quiet(Rc::clone(self))
    }

    /// Whether one that is silent may be new.
    pub(crate) fn any_new(&self, now_ms: u64) -> bool {
        self.count.get() > 0 && now_ms.saturating_sub(self.newest_ms.get()) < NEW_FOR_MS
    }
}

impl Drop for Quiet {
    fn drop(&mut self) {
        self.0.count.set(self.0.count.get() - 1);
    }
}

#[cfg(test)]
mod tests;
