//! Stage 5: whether the call may go on. Takes a permit that lasts as long as the call's way to its reply.

use crate::call::CallHead;
use crate::clock;
use crate::context::Context;
use crate::route::{Destination, Routed};
use std::rc::Rc;
use weft_model::{Code, Failure, Limit};

/// A call that may go on.
pub(crate) struct Admitted<'a> {
    /// Where it goes.
    pub(crate) destination: Destination<'a>,
    _permit: Permit,
}

/// One of the calls in flight that a worker takes.
struct Permit(Rc<Context>);

impl Drop for Permit {
    fn drop(&mut self) {
        self.0
            .calls_active
            .set(self.0.calls_active.get().saturating_sub(1));
    }
}

/// Refuses what is already late, what is over the worker's limit, and what is for an app that has been drained.
pub(crate) fn admit<'a>(
    ctx: &Rc<Context>,
    routed: Routed<'a>,
    head: &CallHead,
) -> Result<Admitted<'a>, Failure> {
    if matches!(routed.destination, Destination::App { .. }) && ctx.has_left() {
        return Err(Failure::new(Code::Draining));
    }
    let active = ctx.calls_active.get();
    if active >= ctx.settings.limits.calls_max {
        ctx.counters.limits_hit.add(Limit::Calls);
        return Err(Failure::with(
            Code::Overloaded,
            format!("{active} calls are in flight in this worker"),
        ));
    }
    if head
        .deadline
        .is_some_and(|deadline| deadline <= clock::now())
    {
        return Err(Failure::new(Code::DeadlinePassed));
    }
    ctx.calls_active.set(active + 1);
    Ok(Admitted {
        destination: routed.destination,
        _permit: Permit(Rc::clone(ctx)),
    })
}
