//! Motan2 frames (motan.md chapter 3): header, metadata, opaque body. Big-endian throughout.

use crate::fields::Fields;
use crate::sniff::Prefix;
use std::fmt::Write;
use std::ops::Range;

/// Bytes of a frame without metadata and body.
pub const FRAME_BYTES_MIN: usize = 21;

/// Limits of the codec.
#[derive(Clone, Debug)]
pub struct Limits {
    /// Bytes of a frame's metadata.
    pub meta_bytes_max: usize,
    /// Bytes of a frame's body.
    pub body_bytes_max: usize,
    /// Pairs of metadata.
    pub pairs_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            meta_bytes_max: 64 * 1024,
            body_bytes_max: 10 * 1024 * 1024,
            pairs_max: 256,
        }
    }
}

/// The fixed part of a frame.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Header {
    /// A reply (else a request).
    pub response: bool,
    /// Passed through an agent.
    pub proxy: bool,
    /// No reply is awaited.
    pub one_way: bool,
    /// The body is gzipped.
    pub gzip: bool,
    /// A heartbeat.
    pub heartbeat: bool,
    /// The reply is an exception (status 1).
    pub exception: bool,
    /// The serialize byte as it came (code in the upper five bits).
    pub serialize: u8,
    /// The request id.
    pub request_id: u64,
}

/// One step through the bytes of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// At least this many bytes in all are needed (never more than what the frame really takes).
    Need(usize),
    /// A whole frame.
    Frame {
        /// Its header.
        header: Header,
        /// Where its metadata lies.
        meta: Range<usize>,
        /// Where its body lies.
        body: Range<usize>,
    },
}

/// Why a connection's bytes are refused: lower case, no full stop. The connection closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The request id, when it was read (a caller with an unanswered id can be told).
    pub request_id: Option<u64>,
    /// The reason.
    pub reason: &'static str,
}

/// Bytes before the metadata.
const HEAD_BYTES: usize = 17;

const MAGIC: u8 = 0xF1;

/// The version, in the upper five bits of byte 3.
const VERSION: u8 = 1;

/// Bits of byte 2.
const RESPONSE: u8 = 0x01;
const PROXY: u8 = 0x02;
const ONE_WAY: u8 = 0x04;
const GZIP: u8 = 0x08;
const HEARTBEAT: u8 = 0x10;

/// Status 1 in the lower three bits of byte 3.
const STATUS_EXCEPTION: u8 = 1;

/// Reads the frame at the beginning of `bytes`. Lengths are checked before their bytes arrive.
pub fn parse(bytes: &[u8], limits: &Limits) -> Result<Step, Refusal> {
    let refusal = |request_id, reason| Refusal { request_id, reason };
    if motan2_prefix(bytes) == Prefix::Mismatch {
        return Err(refusal(None, mismatch(bytes)));
    }
    let Some((head, _)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(Step::Need(FRAME_BYTES_MIN));
    };
    let [_, _, kind, version, serialize, numbers @ ..] = *head;
    let numbers = numbers
        .iter()
        .fold(0, |value, byte| value << 8 | u128::from(*byte));
    let request_id = (numbers >> 32) as u64;
    let meta_len = numbers as u32 as usize;
    if meta_len > limits.meta_bytes_max {
        return Err(refusal(
            Some(request_id),
            "a motan2 frame declares more metadata than allowed",
        ));
    }
    let meta = HEAD_BYTES..HEAD_BYTES + meta_len;
    let body_start = meta.end + 4;
    let Some(body_len) = bytes.get(meta.end..).and_then(<[u8]>::first_chunk::<4>) else {
        return Ok(Step::Need(body_start));
    };
    let body_len = u32::from_be_bytes(*body_len) as usize;
    if body_len > limits.body_bytes_max {
        return Err(refusal(
            Some(request_id),
            "a motan2 frame declares a longer body than allowed",
        ));
    }
    let body = body_start..body_start + body_len;
    if bytes.len() < body.end {
        return Ok(Step::Need(body.end));
    }
    if version & 7 > STATUS_EXCEPTION {
        return Err(refusal(
            Some(request_id),
            "a motan2 frame has a status other than 0 and 1",
        ));
    }
    let header = Header {
        response: kind & RESPONSE != 0,
        proxy: kind & PROXY != 0,
        one_way: kind & ONE_WAY != 0,
        gzip: kind & GZIP != 0,
        heartbeat: kind & HEARTBEAT != 0,
        exception: version & 7 == STATUS_EXCEPTION,
        serialize,
        request_id,
    };
    Ok(Step::Frame { header, meta, body })
}

/// Why the first bytes are not those of a Motan2 frame.
fn mismatch(bytes: &[u8]) -> &'static str {
    match bytes {
        [MAGIC, MAGIC, _, version, ..] if version >> 3 == 0 => {
            "a motan1 frame stands where a motan2 frame must begin"
        }
        [MAGIC, MAGIC, ..] => "a motan frame has an unknown version",
        _ => "a motan2 frame does not begin with f1f1",
    }
}

/// Reads metadata: `key LF value LF …`, at most one trailing LF; an odd count of tokens or an empty key is
/// refused. Appends to `fields`.
pub fn parse_metadata(meta: &[u8], limits: &Limits, fields: &mut Fields) -> Result<(), Refusal> {
    let refusal = |reason| Refusal {
        request_id: None,
        reason,
    };
    let mut tokens = meta.split(|byte| *byte == b'\n');
    let mut pairs = 0;
    while let Some(key) = tokens.next() {
        let Some(value) = tokens.next() else {
            // What is left of an odd count may only be the nothing behind a trailing LF.
            if key.is_empty() {
                break;
            }
            return Err(refusal("motan2 metadata has a key without a value"));
        };
        if key.is_empty() {
            return Err(refusal("motan2 metadata has an empty key"));
        }
        if pairs == limits.pairs_max {
            return Err(refusal("motan2 metadata has more pairs than allowed"));
        }
        pairs += 1;
        fields.push(key, value);
    }
    Ok(())
}

/// Appends a frame's header and metadata and its body's length; the body's bytes follow by the caller.
/// Pairs with an empty key, or with an LF in key or value, are left out (motan.md 3.3).
pub fn write_head(header: Header, metadata: &Fields, body_len: u32, out: &mut Vec<u8>) {
    let kind = [
        (header.response, RESPONSE),
        (header.proxy, PROXY),
        (header.one_way, ONE_WAY),
        (header.gzip, GZIP),
        (header.heartbeat, HEARTBEAT),
    ];
    let kind = kind
        .iter()
        .filter(|(set, _)| *set)
        .fold(0, |kind, (_, bit)| kind | bit);
    let status = if header.exception {
        STATUS_EXCEPTION
    } else {
        0
    };
    out.extend_from_slice(&[MAGIC, MAGIC, kind, VERSION << 3 | status, header.serialize]);
    out.extend_from_slice(&header.request_id.to_be_bytes());
    let meta_len_at = out.len();
    out.extend_from_slice(&[0; 4]);
    let meta_start = out.len();
    for (key, value) in metadata.iter() {
        if key.is_empty() || key.contains(&b'\n') || value.contains(&b'\n') {
            continue;
        }
        if out.len() > meta_start {
            out.push(b'\n');
        }
        out.extend_from_slice(key);
        out.push(b'\n');
        out.extend_from_slice(value);
    }
    let meta_len = (out.len() - meta_start) as u32;
    if let Some(place) = out.get_mut(meta_len_at..meta_start) {
        place.copy_from_slice(&meta_len.to_be_bytes());
    }
    out.extend_from_slice(&body_len.to_be_bytes());
}

/// The JSON of `M_e` (motan.md 3.5): errcode, errmsg, errtype (0 framework, 1 service, 2 business). An LF in
/// the message is escaped, so that the pair survives as metadata.
pub fn exception_json(errcode: u16, errmsg: &str, errtype: u8) -> String {
    let mut json = format!("{{\"errcode\":{errcode},\"errmsg\":\"");
    for char in errmsg.chars() {
        match char {
            '"' => json.push_str("\\\""),
            '\\' => json.push_str("\\\\"),
            '\n' => json.push_str("\\n"),
            '\r' => json.push_str("\\r"),
            '\t' => json.push_str("\\t"),
            '\0'..='\x1f' => {
                // Writing to a String cannot fail.
                let _ = write!(json, "\\u{:04x}", u32::from(char));
            }
            _ => json.push(char),
        }
    }
    let _ = write!(json, "\",\"errtype\":{errtype}}}");
    json
}

/// What the first bytes say: `F1 F1`, any type, version 1 in the upper five bits of byte 3.
pub fn motan2_prefix(bytes: &[u8]) -> Prefix {
    match *bytes {
        [] | [MAGIC] | [MAGIC, MAGIC] | [MAGIC, MAGIC, _] => Prefix::NeedMore,
        [MAGIC, MAGIC, _, version, ..] if version >> 3 == VERSION => Prefix::Match,
        _ => Prefix::Mismatch,
    }
}

#[cfg(test)]
mod tests;
