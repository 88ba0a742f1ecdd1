//! The path of a call. Read this file first.
//!
//! `accept -> detect -> decode -> route -> admit -> pick -> forward -> record`
//!
//! [`connection`] is the life of one accepted connection: accept, detect, then the protocol file, which yields
//! calls. [`call`] is the path of one call. All branching and the retry loop are in these two; each stage is
//! straight, takes the former's value and returns a new type, so that none can be skipped.

use crate::accept::{self, Incoming};
use crate::admit;
use crate::asking;
use crate::call::{Body, Call, ReplyHead};
use crate::context::Context;
use crate::decode;
use crate::detect;
use crate::forward;
use crate::pick::{self, Others, Tried};
use crate::record::CallRecord;
use crate::route;
use std::rc::Rc;
use weft_model::Failure;
use weft_policy::matching::Unmatched;
use weft_policy::retry::may_move_on;

/// The life of one connection.
pub(crate) async fn connection(ctx: Rc<Context>, incoming: Incoming) {
    let accepted = accept::accept(&ctx, incoming);
    if let Some(detected) = detect::detect(&ctx, accepted).await {
        decode::decode(&ctx, detected).await;
    }
}

/// The path of one call: the reply's head, and its body, which follows by itself. The record is the caller's,
/// who closes it with the end of that body; it is told of everything on the way.
pub(crate) async fn call(
    ctx: &Rc<Context>,
    call: &mut Call,
    record: &mut CallRecord,
) -> Result<(ReplyHead, Body), Failure> {
    // One snapshot from beginning to end; the next one where the call has to wait for its service to be told.
    let snapshot = ctx.snapshot();
    let told;
    let routed = match route::route(ctx, &snapshot, &call.head, record) {
        Err(Unmatched::Unknown(key)) => {
            told = match Box::pin(asking::until_told(ctx, *key)).await {
                Ok(told) => told,
                Err(failure) => return failed(call, record, failure),
            };
            route::route(ctx, &told, &call.head, record)
        }
        routed => routed,
    };
    let routed = match routed {
        Ok(routed) => routed,
        Err(unmatched) => return failed(call, record, unmatched.into_failure()),
    };
    let admitted = match admit::admit(ctx, routed, &call.head) {
        Ok(admitted) => admitted,
        Err(failure) => return failed(call, record, failure),
    };
    let mut tried = Tried::nothing(call);
    loop {
        let picked = match pick::pick(ctx, &admitted, call.head.operation(), &mut tried, record) {
            Ok(picked) => picked,
            Err(failure) => return failed(call, record, failure),
        };
        match forward::forward(ctx, picked, Others::new(&admitted, &tried), call).await {
            Ok((head, body)) => {
                record.reply_head(head.status, head.app_error);
                let streams = matches!(body, Body::Stream { .. });
                if streams {
                    record.streams();
                }
                if record.logs_all() || streams {
                    record.describe(&call.head);
                }
                return Ok((head, body));
            }
            Err(failure) => {
                if !may_move_on(failure.code, tried.attempted(call)) {
                    return failed(call, record, failure);
                }
                tried.failed_with(failure);
                call.head.attempt += 1;
            }
        }
    }
}

fn failed(
    call: &Call,
    record: &mut CallRecord,
    failure: Failure,
) -> Result<(ReplyHead, Body), Failure> {
    record.fail(&failure);
    record.describe(&call.head);
    Err(failure)
}
