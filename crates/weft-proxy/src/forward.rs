//! Stage 7: sends the call, over a link or to an app, and brings the reply's head back. The body follows by
//! itself.

use crate::call::{Body, Call, ReplyHead};
use crate::clock;
use crate::context::Context;
use crate::pick::{Others, Outstanding, Picked, hold};
use crate::protocol::link;
use crate::upstream::Upstream;
use std::net::SocketAddr;
use std::rc::Rc;
use weft_model::{Code, Failure, Instance};

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
        Picked::Plain {
            instance,
            port,
            permit,
        } => plain(ctx, &instance, port, permit, others, call).await,
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

/// Calls the app of an instance without a sidecar, in the call's own protocol.
async fn plain(
    ctx: &Rc<Context>,
    instance: &Instance,
    port: &str,
    permit: Outstanding,
    others: Others<'_>,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    let Some(port) = instance.ports.iter().find(|known| &*known.name == port) else {
        let detail = format!("instance \"{}\" has no port \"{port}\"", instance.id);
        return Err(Failure::with(Code::NoPort, detail));
    };
    let upstream = Upstream::Plain {
        address: SocketAddr::new(instance.address, port.number),
        declared: port.protocol,
        group: &port.group,
        is_one_of_many: others.take(call, Code::ConnectTimeout, ctx.deadlines.now_ms()),
    };
    let protocol = call.head.protocol;
    match protocol.exchange(ctx, upstream, call).await {
        Ok((head, body)) => Ok((head, hold(body, permit))),
        Err(failure) => {
            if matches!(failure.code, Code::ConnectRefused | Code::ConnectTimeout) {
                permit.avoid();
            }
            Err(failure)
        }
    }
}

#[cfg(test)]
mod tests;
