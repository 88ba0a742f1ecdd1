//! Link frames as bytes, in one pass: the lengths in front of a message are written last. Parts at their
//! default value are left out, as proto3 does: the bytes equal those of prost.

use super::{Health, HealthState, Hello, Kind, Open, Reply, Reset, ResetReason};
use crate::fields::Fields;

/// Appends a Hello.
pub fn write_hello(hello: &Hello<'_>, out: &mut Vec<u8>) {
    frame(1, 0, out, |out| {
        uint(1, u64::from(hello.version), out);
        uint(2, hello.features, out);
        bytes(3, hello.namespace, out);
        bytes(4, hello.service, out);
        bytes(5, hello.instance, out);
        uint(6, hello.incarnation, out);
        uint(7, u64::from(hello.credit_initial), out);
        uint(8, u64::from(hello.calls_max), out);
        uint(9, u64::from(hello.frame_bytes_max), out);
        bytes(10, hello.mesh, out);
    });
}

/// Appends an Open. Head and first body bytes stay below [`super::FRAME_BYTES_MAX`], the headers below
/// [`super::FIELDS_MAX`]: the caller's own protocol limits are far below both.
pub fn write_open(open: &Open<'_>, headers: &Fields, out: &mut Vec<u8>) {
    frame(2, headers.byte_len() + open.body.len() + 128, out, |out| {
        uint(1, open.call_id, out);
        bytes(2, open.protocol, out);
        bytes(3, open.service, out);
        bytes(4, open.method, out);
        bytes(5, open.path, out);
        fields(6, headers, out);
        bytes(7, open.port, out);
        bytes(8, open.instance, out);
        uint(9, open.incarnation, out);
        bytes(10, open.caller_service, out);
        bytes(11, open.caller_address, out);
        uint(12, open.deadline_us, out);
        uint(13, u64::from(open.attempt), out);
        bytes(14, open.lane, out);
        bytes(15, open.trace, out);
        uint(16, kind_number(open.kind), out);
        bytes(17, open.opaque, out);
        bytes(18, open.body, out);
        uint(19, u64::from(open.end), out);
    });
}

/// Appends a Data frame; `body` is at most [`super::DATA_BYTES_MAX`] long.
pub fn write_data(call_id: u64, body: &[u8], end: bool, out: &mut Vec<u8>) {
    frame(3, body.len() + 8, out, |out| {
        uint(1, call_id, out);
        bytes(2, body, out);
        uint(3, u64::from(end), out);
    });
}

/// Appends a Reply. The limits are those of [`write_open`].
pub fn write_reply(reply: &Reply<'_>, headers: &Fields, out: &mut Vec<u8>) {
    frame(4, headers.byte_len() + reply.body.len() + 16, out, |out| {
        uint(1, reply.call_id, out);
        uint(2, u64::from(reply.status), out);
        fields(3, headers, out);
        uint(4, u64::from(reply.informational), out);
        bytes(5, reply.failure, out);
        bytes(6, reply.opaque, out);
        bytes(7, reply.body, out);
        uint(8, u64::from(reply.end), out);
    });
}

/// Appends Trailers.
pub fn write_trailers(call_id: u64, trailers: &Fields, out: &mut Vec<u8>) {
    frame(5, trailers.byte_len() + 16, out, |out| {
        uint(1, call_id, out);
        fields(2, trailers, out);
    });
}

/// Appends a Reset.
pub fn write_reset(reset: &Reset<'_>, out: &mut Vec<u8>) {
    frame(6, 0, out, |out| {
        uint(1, reset.call_id, out);
        uint(2, reason_number(reset.reason), out);
        bytes(3, reset.code, out);
        bytes(4, reset.detail, out);
        bytes(5, reset.service, out);
        bytes(6, reset.instance, out);
        uint(7, reset.incarnation, out);
    });
}

/// Appends a Credit.
pub fn write_credit(call_id: u64, more: u32, out: &mut Vec<u8>) {
    frame(7, 0, out, |out| {
        uint(1, call_id, out);
        uint(2, u64::from(more), out);
    });
}

/// Appends a Health.
pub fn write_health(health: &Health<'_>, out: &mut Vec<u8>) {
    frame(8, 0, out, |out| {
        bytes(1, health.instance, out);
        uint(2, health.incarnation, out);
        uint(3, health.sequence, out);
        uint(4, state_number(health.state), out);
        uint(5, u64::from(health.weight), out);
    });
}

/// Appends a Goaway.
pub fn write_goaway(last_call_id: u64, reason: &[u8], out: &mut Vec<u8>) {
    frame(9, 0, out, |out| {
        uint(1, last_call_id, out);
        bytes(2, reason, out);
    });
}

fn kind_number(kind: Kind) -> u64 {
    match kind {
        Kind::Unary => 0,
        Kind::Stream => 1,
        Kind::OneWay => 2,
        Kind::Tunnel => 3,
    }
}

fn reason_number(reason: ResetReason) -> u64 {
    match reason {
        ResetReason::Unknown => 0,
        ResetReason::Cancelled => 1,
        ResetReason::NotDispatched => 2,
        ResetReason::Failed => 3,
        ResetReason::PeerReset => 4,
    }
}

fn state_number(state: HealthState) -> u64 {
    match state {
        HealthState::Unknown => 0,
        HealthState::Ready => 1,
        HealthState::Warming => 2,
        HealthState::Overloaded => 3,
        HealthState::Draining => 4,
        HealthState::AppDead => 5,
    }
}

/// The key of a field of `Frame` that no version has: its reader skips the frame.
const NO_FRAME: u8 = 15 << 3 | 2;

/// Takes a frame back that was appended and has not left yet: what begins at `start` says nothing any more.
pub fn take_back(start: usize, out: &mut [u8]) {
    if let Some(key) = out.get_mut(start + HEAD_BYTES - 1) {
        *key = NO_FRAME;
    }
}

/// Bytes before the length of a frame's message: the gRPC head and the message's one-byte key in `Frame`.
const HEAD_BYTES: usize = 6;

/// Bytes that a frame is given room for beside its body and headers; more makes the buffer grow as it goes.
const PARTS_BYTES: usize = 256;

/// Appends a frame whose message is what `parts` appends. The width of the message's length is guessed from
/// `size`, the bytes of it that are known beforehand; where the guess was wrong the message is moved.
#[inline]
fn frame(number: u8, size: usize, out: &mut Vec<u8>, parts: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    let guess = varint_len(size as u64);
    out.reserve(HEAD_BYTES + size + PARTS_BYTES);
    out.extend_from_slice(&[0; HEAD_BYTES + VARINT_BYTES_MAX]);
    out.truncate(start + HEAD_BYTES + guess);
    parts(out);
    let message_len = out.len() - (start + HEAD_BYTES + guess);
    let width = varint_len(message_len as u64);
    if width != guess {
        shift(start + HEAD_BYTES + guess, start + HEAD_BYTES + width, out);
    }
    let [a, b, c, d] = ((1 + width + message_len) as u32).to_be_bytes();
    if let Some([flag, l0, l1, l2, l3, key, length @ ..]) = out.get_mut(start..) {
        (*flag, *l0, *l1, *l2, *l3) = (0, a, b, c, d);
        *key = (number << 3) | LENGTH;
        let mut value = message_len;
        for byte in length.iter_mut().take(width - 1) {
            *byte = value as u8 | 0x80;
            value >>= 7;
        }
        if let Some(last) = length.get_mut(width - 1) {
            *last = value as u8;
        }
    }
}

/// Moves all from `from` on to `to`.
#[cold]
fn shift(from: usize, to: usize, out: &mut Vec<u8>) {
    let end = out.len();
    if to > from {
        out.resize(end + (to - from), 0);
        out.copy_within(from..end, to);
    } else {
        out.copy_within(from..end, to);
        out.truncate(end - (from - to));
    }
}

#[inline]
fn uint(number: u8, value: u64, out: &mut Vec<u8>) {
    if value != 0 {
        push_head(number, VARINT, value, out);
    }
}

#[inline]
fn bytes(number: u8, value: &[u8], out: &mut Vec<u8>) {
    if !value.is_empty() {
        push_head(number, LENGTH, value.len() as u64, out);
        out.extend_from_slice(value);
    }
}

/// Each field is a message of two parts, `name = 1` and `value = 2`.
#[inline]
fn fields(number: u8, fields: &Fields, out: &mut Vec<u8>) {
    for (name, value) in fields.iter() {
        if (1..0x3e).contains(&name.len()) && (1..0x3e).contains(&value.len()) {
            // Nearly always: four heads of one byte each and no default.
            let (name_len, value_len) = (name.len() as u8, value.len() as u8);
            let length = 4 + name_len + value_len;
            out.extend_from_slice(&[(number << 3) | LENGTH, length, 0x0a, name_len]);
            out.extend_from_slice(name);
            out.extend_from_slice(&[0x12, value_len]);
            out.extend_from_slice(value);
        } else {
            push_head(
                number,
                LENGTH,
                (part_len(name) + part_len(value)) as u64,
                out,
            );
            bytes(1, name, out);
            bytes(2, value, out);
        }
    }
}

/// Bytes of a part with a key of one byte.
fn part_len(part: &[u8]) -> usize {
    if part.is_empty() {
        0
    } else {
        1 + varint_len(part.len() as u64) + part.len()
    }
}

/// Wire types of protobuf.
const VARINT: u8 = 0;
const LENGTH: u8 = 2;

const VARINT_BYTES_MAX: usize = 10;

/// Appends a key and its number or length: mostly one byte each, then with one look at the capacity.
#[inline]
fn push_head(number: u8, wire: u8, value: u64, out: &mut Vec<u8>) {
    if number < 16 && value < 0x80 {
        out.extend_from_slice(&[(number << 3) | wire, value as u8]);
    } else {
        push_varint(u64::from(number) << 3 | u64::from(wire), out);
        push_varint(value, out);
    }
}

#[inline]
fn push_varint(mut value: u64, out: &mut Vec<u8>) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes of a varint: one for each seven bits, one for zero.
#[inline]
const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    (bits * 9 + 64) / 64
}
