//! Stage 3: the protocol file takes the connection over. It yields calls in one shape, one by one or many at
//! a time, gives each to [`crate::path::call`], and writes the replies back.

use crate::context::Context;
use crate::detect::Detected;
use std::rc::Rc;

/// Serves the connection until it ends.
pub(crate) async fn decode(ctx: &Rc<Context>, detected: Detected) {
    detected.protocol.serve(ctx, detected).await;
}
