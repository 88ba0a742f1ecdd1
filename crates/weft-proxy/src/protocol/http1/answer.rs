//! How a failure of the mesh is told to an HTTP caller: status, `x-weft-code`, `x-weft-blame`, and a sentence
//! as `text/plain`, or as JSON when the request accepts only that.

use crate::protocol::http::failure_body;
use weft_codec::Fields;
use weft_codec::http1::{Framing, Refusal, StatusLine, write_reply};
use weft_model::{Code, Failure};

/// The failure that a refused head is.
pub(crate) fn failure_of(refusal: Refusal) -> Failure {
    let code = match refusal.status {
        408 => Code::HeadTimeout,
        413 => Code::BodyTooLarge,
        414 => Code::TargetTooLong,
        431 => Code::HeadTooLarge,
        501 => Code::NotImplemented,
        505 => Code::VersionNotSupported,
        _ => Code::Malformed,
    };
    Failure::with(code, refusal.reason)
}

/// Appends the whole reply.
pub(crate) fn write_failure(
    failure: &Failure,
    json: bool,
    close: bool,
    to_head: bool,
    out: &mut Vec<u8>,
) {
    let code = failure.code;
    let (kind, body) = failure_body(failure, json);
    let mut fields = Fields::new();
    fields.push(b"content-type", kind.as_bytes());
    fields.push(b"x-weft-code", code.text().as_bytes());
    fields.push(b"x-weft-blame", code.blame().text().as_bytes());
    let line = StatusLine {
        status: code.http_status(),
        reason: b"",
        framing: if to_head {
            Framing::None
        } else {
            Framing::Length(body.len() as u64)
        },
        declared_length: to_head.then_some(body.len() as u64),
        close,
        upgrade: b"",
    };
    write_reply(line, &fields, out);
    if !to_head {
        out.extend_from_slice(body.as_bytes());
    }
}
