//! Stage 7: sends the call, over a link or to the app, and brings the reply's head back. The body follows by
//! itself.

use crate::call::{Body, Call, ReplyHead};
use crate::clock;
use crate::context::Context;
use crate::pick::{Others, Picked};
use crate::protocol::link;
use crate::upstream::Upstream;
use std::rc::Rc;
use weft_model::{Code, Failure};

/// Makes one attempt, within the caller's deadline. The request's body is taken when its first byte is needed:
/// as long as it is still in `call`, it can be sent again.
pub(crate) async fn forward(
    ctx: &Rc<Context>,
    picked: Picked<'_>,
    others: Others<'_>,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    let Some(deadline) = call.head.deadline else {
        return attempt(ctx, picked, others, call).await;
    };
    let left = deadline.saturating_duration_since(clock::now());
    match tokio::time::timeout(left, attempt(ctx, picked, others, call)).await {
        Ok(result) => result,
        Err(_) => Err(Failure::new(Code::DeadlinePassed)),
    }
}

async fn attempt(
    ctx: &Rc<Context>,
    picked: Picked<'_>,
    others: Others<'_>,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    match picked {
        Picked::Peer {
            instance,
            port,
            permit,
        } => link::client::exchange(ctx, &instance, port, permit, others, call).await,
        Picked::App { number } => {
            let protocol = call.head.protocol;
            protocol.exchange(ctx, Upstream::App { number }, call).await
        }
        Picked::External { authority } => {
            let protocol = call.head.protocol;
            protocol
                .exchange(
                    ctx,
                    Upstream::External {
                        authority: &authority,
                    },
                    call,
                )
                .await
        }
    }
}
