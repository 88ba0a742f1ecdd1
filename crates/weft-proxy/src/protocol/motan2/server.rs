//! Serves Motan2 callers.

use crate::context::Context;
use crate::detect::Detected;
use std::rc::Rc;

/// Serves the connection until it ends.
pub(crate) async fn serve(_ctx: &Rc<Context>, _detected: Detected) {}
