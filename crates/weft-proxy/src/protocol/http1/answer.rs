//! How a failure of the mesh is told to an HTTP caller: status, `x-weft-code`, `x-weft-blame`, and a sentence
//! as `text/plain`, or as JSON when the request accepts only that.

use crate::call::CallHead;
use weft_codec::Fields;
use weft_codec::http1::{Framing, Refusal, StatusLine, write_reply};
use weft_model::{Code, Failure};

/// Whether the request accepts JSON and no text.
pub(crate) fn wants_json(head: &CallHead) -> bool {
    let Some(accept) = head.fields.first("accept") else {
        return false;
    };
    let accept = String::from_utf8_lossy(accept).to_ascii_lowercase();
    accept.contains("json") && !accept.contains("text/") && !accept.contains("*/*")
}

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
    let (kind, body) = if json {
        let body = serde_json::json!({
            "code": code.text(),
            "number": format!("WFT-{}", code.number()),
            "blame": code.blame().text(),
            "message": failure.to_string(),
        });
        ("application/json", format!("{body}\n"))
    } else {
        ("text/plain; charset=utf-8", format!("{failure}\n"))
    };
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
    };
    write_reply(line, &fields, out);
    if !to_head {
        out.extend_from_slice(body.as_bytes());
    }
}
