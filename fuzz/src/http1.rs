//! HTTP/1.1: heads in any split, written anew and read again; bodies in any split.

use crate::cut;
use weft_codec::fields::Fields;
use weft_codec::http1::{
    BodyDecoder, BodyStep, Framing, Limits, Parsed, Refusal, ReplyHead, RequestHead, RequestLine,
    StatusLine, http1_prefix, parse_reply, parse_request, write_reply, write_request,
};
use weft_codec::sniff::Prefix;

fn list(fields: &Fields) -> Vec<(Vec<u8>, Vec<u8>)> {
    fields
        .iter()
        .map(|(name, value)| (name.to_vec(), value.to_vec()))
        .collect()
}

/// What is complete was incomplete before its last byte, at every shorter length that this looks at.
fn shorter(end: usize, parse: impl Fn(usize) -> Result<Parsed, Refusal>) {
    let step = (end / 32).max(1);
    for length in (0..end).step_by(step).chain([end - 1]) {
        assert_eq!(parse(length), Ok(Parsed::Need), "at {length} of {end}");
    }
}

pub(crate) fn request(bytes: &[u8]) {
    let limits = Limits::default();
    let mut head = RequestHead::default();
    let Ok(Parsed::Complete(end)) = parse_request(bytes, &limits, &mut head) else {
        return;
    };
    shorter(end, |length| {
        parse_request(&bytes[..length], &limits, &mut RequestHead::default())
    });
    let begins = bytes.iter().position(|byte| !matches!(byte, b'\r' | b'\n'));
    let prefix = http1_prefix(&bytes[begins.unwrap_or(0)..end]);
    assert_eq!(prefix, Prefix::Match, "a request that detection refuses");
    // Whoever closes after this request asks for no tunnel.
    let upgrade = if head.keep_alive {
        head.fields.bytes(head.upgrade)
    } else {
        b""
    };
    let line = RequestLine {
        method: head.fields.bytes(head.method),
        target: head.fields.bytes(head.target),
        authority: head.fields.bytes(head.authority),
        framing: head.framing,
        close: !head.keep_alive,
        expect_continue: head.expect_continue,
        upgrade,
    };
    let mut written = Vec::new();
    write_request(line, &head.fields, &mut written);
    let mut again = RequestHead::default();
    // What is written may be longer than what was read, and so pass a limit.
    let Ok(parsed) = parse_request(&written, &limits, &mut again) else {
        return;
    };
    assert_eq!(parsed, Parsed::Complete(written.len()));
    assert_eq!(list(&head.fields), list(&again.fields));
    assert_eq!(head.framing, again.framing);
    assert_eq!(head.keep_alive, again.keep_alive);
    assert_eq!(upgrade, again.fields.bytes(again.upgrade));
    for (one, other) in [
        (head.method, again.method),
        (head.target, again.target),
        (head.authority, again.authority),
    ] {
        assert_eq!(head.fields.bytes(one), again.fields.bytes(other));
    }
}

pub(crate) fn reply(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let (to_head, limits) = (first & 1 == 1, Limits::default());
    let mut head = ReplyHead::default();
    let Ok(Parsed::Complete(end)) = parse_reply(bytes, to_head, &limits, &mut head) else {
        return;
    };
    shorter(end, |length| {
        parse_reply(
            &bytes[..length],
            to_head,
            &limits,
            &mut ReplyHead::default(),
        )
    });
    let line = StatusLine {
        status: head.status,
        reason: head.fields.bytes(head.reason),
        framing: head.framing,
        declared_length: head.declared_length,
        close: !head.keep_alive,
        upgrade: head.fields.bytes(head.upgrade),
    };
    let mut written = Vec::new();
    write_reply(line, &head.fields, &mut written);
    let mut again = ReplyHead::default();
    let Ok(parsed) = parse_reply(&written, to_head, &limits, &mut again) else {
        return;
    };
    assert_eq!(parsed, Parsed::Complete(written.len()));
    assert_eq!(list(&head.fields), list(&again.fields));
    assert_eq!(head.status, again.status);
}

/// What a body decoder makes of pieces: payload, how it ended, trailers.
fn decoded(framing: Framing, pieces: &[&[u8]]) -> (Vec<u8>, Result<bool, &'static str>) {
    let limits = Limits::default();
    let mut decoder = BodyDecoder::new(framing, &limits);
    let mut payload = Vec::new();
    let mut buffer: Vec<u8> = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match decoder.decode(&buffer) {
                Ok(BodyStep::Data { skip, len }) => {
                    assert!(len > 0, "a step that gets nowhere");
                    payload.extend_from_slice(&buffer[skip..skip + len]);
                    buffer.drain(..skip + len);
                }
                Ok(BodyStep::Need { skip }) => {
                    buffer.drain(..skip);
                    break;
                }
                Ok(BodyStep::End { skip }) => {
                    buffer.drain(..skip);
                    assert!(decoder.is_complete());
                    return (payload, Ok(true));
                }
                Err(refusal) => return (payload, Err(refusal.reason)),
            }
        }
    }
    (payload, Ok(decoder.finish()))
}

pub(crate) fn body(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let framing = match first % 4 {
        0 => Framing::Length(u64::from(*first) / 4),
        1 => Framing::Close,
        _ => Framing::Chunked,
    };
    let (pieces, whole) = cut(bytes);
    let once = decoded(framing, &[whole]);
    let split = decoded(framing, &pieces);
    assert_eq!(once, split, "a split changed what was read");
}
