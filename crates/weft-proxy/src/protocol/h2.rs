//! A connection that begins with the HTTP/2 preface. On the inbound port it may be a link; the app's own
//! HTTP/2 is not carried yet and gets GOAWAY with a sentence.

pub(crate) mod guarded;

use crate::accept::Listener;
use crate::buffer::write_all;
use crate::context::Context;
use crate::detect::Detected;
use crate::protocol::link;
use std::rc::Rc;
use std::time::Duration;
use weft_model::Code;

/// What the caller reads in the GOAWAY's debug data.
const SENTENCE: &[u8] = b"weft does not carry HTTP/2 from apps yet (WFT-1007): call with HTTP/1.1";

/// RFC 9113 7: HTTP_1_1_REQUIRED.
const HTTP_1_1_REQUIRED: u32 = 0xd;

/// How long a refused caller may take to read the refusal.
const REFUSAL_WAIT: Duration = Duration::from_secs(1);

/// Serves a link, or refuses app traffic.
pub(crate) async fn serve(ctx: &Rc<Context>, mut detected: Detected) {
    if detected.listener == Listener::Inbound {
        link::server::serve(ctx, detected).await;
        return;
    }
    detected.record.fail(Code::NotImplemented);
    let limit = ctx.deadlines.limit();
    let refusal = refusal();
    let writing = write_all(&detected.stream, &refusal);
    let _ = ctx.deadlines.within(&limit, REFUSAL_WAIT, writing).await;
}

/// Empty SETTINGS, then GOAWAY (RFC 9113 6.5, 6.8).
pub(crate) fn refusal() -> Vec<u8> {
    let mut out = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
    let length = 8 + SENTENCE.len() as u32;
    out.extend_from_slice(length.to_be_bytes().get(1..).unwrap_or_default());
    out.extend_from_slice(&[7, 0, 0, 0, 0, 0]);
    out.extend_from_slice(&0_u32.to_be_bytes());
    out.extend_from_slice(&HTTP_1_1_REQUIRED.to_be_bytes());
    out.extend_from_slice(SENTENCE);
    out
}
