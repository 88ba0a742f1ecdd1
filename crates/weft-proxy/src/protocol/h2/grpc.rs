//! What gRPC adds to HTTP/2: the caller's deadline in a field, the result in trailers, and failures of the mesh in
//! those words. Messages are never looked at.

use crate::clock;
use http::{HeaderMap, HeaderValue, Response};
use std::fmt::Write as _;
use std::time::Duration;
use weft_codec::Fields;
use weft_model::Failure;

/// How long the caller waits.
pub(crate) const TIMEOUT: &str = "grpc-timeout";

/// Whether a head belongs to a gRPC call. gRPC-Web is HTTP: its trailers are part of its body.
pub(crate) fn is_grpc(fields: &Fields) -> bool {
    fields.first("content-type").is_some_and(|kind| {
        kind.strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';')))
    })
}

/// Reads a `grpc-timeout`: at most eight digits and a unit. `None` when it is no such thing.
pub(crate) fn timeout(value: &[u8]) -> Option<Duration> {
    /// The specification's limit.
    const DIGITS_MAX: usize = 8;
    let (unit, digits) = value.split_last()?;
    if digits.len() > DIGITS_MAX || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let count: u64 = std::str::from_utf8(digits).ok()?.parse().ok()?;
    Some(match unit {
        b'H' => Duration::from_secs(count * 3600),
        b'M' => Duration::from_secs(count * 60),
        b'S' => Duration::from_secs(count),
        b'm' => Duration::from_millis(count),
        b'u' => Duration::from_micros(count),
        b'n' => Duration::from_nanos(count),
        _ => return None,
    })
}

/// A `grpc-timeout` of what is left until a deadline, in the finest unit that eight digits can say.
pub(crate) fn timeout_until(deadline: clock::Instant) -> String {
    const TOO_MANY: u128 = 100_000_000;
    let left = deadline.saturating_duration_since(clock::now());
    if left.as_micros() < TOO_MANY {
        return format!("{}u", left.as_micros());
    }
    if left.as_millis() < TOO_MANY {
        return format!("{}m", left.as_millis());
    }
    format!("{}S", u128::from(left.as_secs()).min(TOO_MANY - 1))
}

/// A failure of the mesh as trailers.
pub(crate) fn failure_trailers(failure: &Failure) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(5);
    let code = failure.code;
    map.insert("grpc-status", HeaderValue::from(code.grpc_status()));
    if let Ok(message) = HeaderValue::from_str(&encoded(&failure.to_string())) {
        map.insert("grpc-message", message);
    }
    map.insert("x-weft-code", HeaderValue::from_static(code.text()));
    map.insert(
        "x-weft-blame",
        HeaderValue::from_static(code.blame().text()),
    );
    map
}

/// A failure of the mesh as a reply that has trailers only.
pub(crate) fn failure_response(failure: &Failure) -> Response<()> {
    let mut response = Response::new(());
    let mut map = failure_trailers(failure);
    let kind = HeaderValue::from_static("application/grpc");
    map.insert(http::header::CONTENT_TYPE, kind);
    *response.headers_mut() = map;
    response
}

/// Percent-encoding of a `grpc-message`: all but printable ASCII, and the percent sign.
fn encoded(message: &str) -> String {
    let mut out = String::with_capacity(message.len());
    for byte in message.bytes() {
        if (b' '..=b'~').contains(&byte) && byte != b'%' {
            out.push(char::from(byte));
        } else {
            // Writing to a String cannot fail.
            let _ = write!(out, "%{byte:02X}");
        }
    }
    out
}

/// Whether trailers, or a head that is all there is, say that the app failed. What a caller can ask for wrongly
/// (an argument, a permission, a thing that is not there) is an answer, as a 4xx is in HTTP; failures are those
/// that a 5xx would be: UNKNOWN, DEADLINE_EXCEEDED, UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS.
pub(crate) fn says_failed(fields: &Fields) -> bool {
    const FAILED: [&[u8]; 6] = [b"2", b"4", b"12", b"13", b"14", b"15"];
    fields
        .first("grpc-status")
        .is_some_and(|status| FAILED.contains(&status))
}

#[cfg(test)]
mod tests;
