//! Calls Motan2 apps.

use crate::call::{Body, Call, ReplyHead};
use crate::context::Context;
use crate::upstream::Upstream;
use std::rc::Rc;
use weft_model::{Code, Failure};

/// Connections to Motan2 apps.
#[derive(Debug, Default)]
pub(crate) struct Motan2Pool;

/// Sends a call.
pub(crate) async fn exchange(
    _ctx: &Rc<Context>,
    _upstream: Upstream<'_>,
    _call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    Err(Failure::new(Code::NotImplemented))
}
