//! Gathers a body that comes piece by piece: a Motan2 frame says its length before its bytes, and shares its
//! connection with others, so that nothing of it may be written before all of it is there.

use crate::buffer::{Buffer, Chunk};
use crate::call::{BodyStream, Piece};
use crate::context::Context;
use std::future::poll_fn;
use std::sync::Arc;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use weft_model::{Code, Failure};

/// Bytes that one permit of a [`Budget`] stands for.
const PERMIT_BYTES: usize = 1024;

/// A number of bytes that may be gathered at the same time; in turn beyond that.
#[derive(Clone, Debug)]
pub(crate) struct Budget {
    permits: Arc<Semaphore>,
    all: usize,
}

/// A gathered body, and its share of the budget.
pub(crate) struct Gathered {
    /// The body.
    pub(crate) body: Chunk,
    /// Given back when dropped.
    pub(crate) permit: Option<OwnedSemaphorePermit>,
}

/// Whose body is gathered: who is blamed when it is too long or stops.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whose {
    /// The caller's.
    Request,
    /// The app's.
    Reply,
}

impl Budget {
    /// A budget of about this many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        let all = (bytes / PERMIT_BYTES).max(1);
        Self {
            permits: Arc::new(Semaphore::new(all)),
            all,
        }
    }

    /// Waits for a share; a body longer than the whole budget gets it alone.
    async fn take(&self, bytes: usize) -> Option<OwnedSemaphorePermit> {
        let wanted = bytes.div_ceil(PERMIT_BYTES).clamp(1, self.all);
        // The semaphore is never closed.
        Arc::clone(&self.permits)
            .acquire_many_owned(wanted as u32)
            .await
            .ok()
    }
}

/// Gathers the whole body. `length` is what was said of it: it decides the share of the budget, and nothing is
/// allocated for it.
pub(crate) async fn collect(
    ctx: &Context,
    mut stream: Box<dyn BodyStream>,
    length: usize,
    budget: &Budget,
    whose: Whose,
) -> Result<Gathered, Failure> {
    let max = ctx.settings.limits.motan2.body_bytes_max;
    if length > max {
        return Err(too_long(whose, max));
    }
    let permit = budget.take(length).await;
    let limit = ctx.deadlines.limit();
    let mut body = Buffer::take();
    loop {
        let piece = poll_fn(|cx| stream.poll_piece(cx));
        let stall = ctx.settings.limits.stall;
        match ctx.deadlines.within(&limit, stall, piece).await {
            Ok(Ok(Piece::Data(chunk))) => {
                // More than was said would be more than its share of the budget.
                if body.len() + chunk.bytes().len() > length {
                    return Err(broken(whose, "it is longer than it was declared"));
                }
                body.extend_from_slice(chunk.bytes());
            }
            Ok(Ok(Piece::End(_))) if body.len() < length => {
                return Err(broken(whose, "it is shorter than it was declared"));
            }
            Ok(Ok(Piece::End(_))) => {
                return Ok(Gathered {
                    body: Chunk::from(body),
                    permit,
                });
            }
            Ok(Err(failure)) => return Err(failure),
            Err(_) => return Err(stalled(whose)),
        }
    }
}

fn too_long(whose: Whose, max: usize) -> Failure {
    match whose {
        Whose::Request => Failure::with(
            Code::BodyTooLarge,
            format!("a Motan2 body has at most {max} bytes"),
        ),
        Whose::Reply => Failure::with(
            Code::UpstreamMalformed,
            format!("the body of the reply has more than {max} bytes"),
        ),
    }
}

fn broken(whose: Whose, reason: &'static str) -> Failure {
    match whose {
        Whose::Request => Failure::with(Code::BodyBroken, reason),
        Whose::Reply => Failure::with(Code::UpstreamClosed, reason),
    }
}

fn stalled(whose: Whose) -> Failure {
    match whose {
        Whose::Request => Failure::with(Code::BodyBroken, "nothing more of it came"),
        Whose::Reply => Failure::with(Code::UpstreamTimeout, "nothing more of the body came"),
    }
}
