//! Link frames as bytes. Each kind lists its parts once; the list is walked twice, first to count, then to
//! write, so that every length is known before its bytes and nothing is copied twice.
//!
//! Parts at their default value are left out, as proto3 does: the bytes equal those of prost.

use super::{Health, HealthState, Hello, Kind, Open, Reply, Reset, ResetReason};
use crate::fields::Fields;

/// Appends a Hello.
pub fn write_hello(hello: &Hello<'_>, out: &mut Vec<u8>) {
    append(hello, out);
}

/// Appends an Open. Head and first body bytes stay below [`super::FRAME_BYTES_MAX`], the headers below
/// [`super::FIELDS_MAX`]: the caller's own protocol limits are far below both.
pub fn write_open(open: &Open<'_>, headers: &Fields, out: &mut Vec<u8>) {
    append(&OpenParts { open, headers }, out);
}

/// Appends a Data frame; `bytes` are at most [`super::DATA_BYTES_MAX`].
pub fn write_data(call_id: u64, bytes: &[u8], end: bool, out: &mut Vec<u8>) {
    append(
        &DataParts {
            call_id,
            bytes,
            end,
        },
        out,
    );
}

/// Appends a Reply. The limits are those of [`write_open`].
pub fn write_reply(reply: &Reply<'_>, headers: &Fields, out: &mut Vec<u8>) {
    append(&ReplyParts { reply, headers }, out);
}

/// Appends Trailers.
pub fn write_trailers(call_id: u64, trailers: &Fields, out: &mut Vec<u8>) {
    append(&TrailersParts { call_id, trailers }, out);
}

/// Appends a Reset.
pub fn write_reset(reset: &Reset<'_>, out: &mut Vec<u8>) {
    append(reset, out);
}

/// Appends a Credit.
pub fn write_credit(call_id: u64, bytes: u32, out: &mut Vec<u8>) {
    append(&CreditParts { call_id, bytes }, out);
}

/// Appends a Health.
pub fn write_health(health: &Health<'_>, out: &mut Vec<u8>) {
    append(health, out);
}

/// Appends a Goaway.
pub fn write_goaway(last_call_id: u64, reason: &[u8], out: &mut Vec<u8>) {
    append(
        &GoawayParts {
            last_call_id,
            reason,
        },
        out,
    );
}

/// A message whose parts can be listed: the field numbers of `link.proto`, in order.
trait Parts {
    /// The message's field number in `Frame`.
    const NUMBER: u32;

    fn list(&self, sink: &mut impl Sink);
}

impl Parts for Hello<'_> {
    const NUMBER: u32 = 1;

    fn list(&self, sink: &mut impl Sink) {
        sink.uint(1, u64::from(self.version));
        sink.uint(2, self.features);
        sink.bytes(3, self.namespace);
        sink.bytes(4, self.service);
        sink.bytes(5, self.instance);
        sink.uint(6, self.incarnation);
        sink.uint(7, u64::from(self.credit_initial));
        sink.uint(8, u64::from(self.calls_max));
        sink.uint(9, u64::from(self.frame_bytes_max));
    }
}

struct OpenParts<'a> {
    open: &'a Open<'a>,
    headers: &'a Fields,
}

impl Parts for OpenParts<'_> {
    const NUMBER: u32 = 2;

    fn list(&self, sink: &mut impl Sink) {
        let Self { open, headers } = self;
        sink.uint(1, open.call_id);
        sink.bytes(2, open.protocol);
        sink.bytes(3, open.service);
        sink.bytes(4, open.method);
        sink.bytes(5, open.path);
        sink.fields(6, headers);
        sink.bytes(7, open.port);
        sink.bytes(8, open.instance);
        sink.uint(9, open.incarnation);
        sink.bytes(10, open.caller_service);
        sink.bytes(11, open.caller_address);
        sink.uint(12, open.deadline_us);
        sink.uint(13, u64::from(open.attempt));
        sink.bytes(14, open.lane);
        sink.bytes(15, open.trace);
        sink.uint(16, kind_number(open.kind));
        sink.bytes(17, open.opaque);
        sink.bytes(18, open.body);
        sink.uint(19, u64::from(open.end));
    }
}

struct DataParts<'a> {
    call_id: u64,
    bytes: &'a [u8],
    end: bool,
}

impl Parts for DataParts<'_> {
    const NUMBER: u32 = 3;

    fn list(&self, sink: &mut impl Sink) {
        sink.uint(1, self.call_id);
        sink.bytes(2, self.bytes);
        sink.uint(3, u64::from(self.end));
    }
}

struct ReplyParts<'a> {
    reply: &'a Reply<'a>,
    headers: &'a Fields,
}

impl Parts for ReplyParts<'_> {
    const NUMBER: u32 = 4;

    fn list(&self, sink: &mut impl Sink) {
        let Self { reply, headers } = self;
        sink.uint(1, reply.call_id);
        sink.uint(2, u64::from(reply.status));
        sink.fields(3, headers);
        sink.uint(4, u64::from(reply.informational));
        sink.bytes(5, reply.failure);
        sink.bytes(6, reply.opaque);
        sink.bytes(7, reply.body);
        sink.uint(8, u64::from(reply.end));
    }
}

struct TrailersParts<'a> {
    call_id: u64,
    trailers: &'a Fields,
}

impl Parts for TrailersParts<'_> {
    const NUMBER: u32 = 5;

    fn list(&self, sink: &mut impl Sink) {
        sink.uint(1, self.call_id);
        sink.fields(2, self.trailers);
    }
}

impl Parts for Reset<'_> {
    const NUMBER: u32 = 6;

    fn list(&self, sink: &mut impl Sink) {
        sink.uint(1, self.call_id);
        sink.uint(2, reason_number(self.reason));
        sink.bytes(3, self.code);
        sink.bytes(4, self.detail);
        sink.bytes(5, self.service);
        sink.bytes(6, self.instance);
        sink.uint(7, self.incarnation);
    }
}

struct CreditParts {
    call_id: u64,
    bytes: u32,
}

impl Parts for CreditParts {
    const NUMBER: u32 = 7;

    fn list(&self, sink: &mut impl Sink) {
        sink.uint(1, self.call_id);
        sink.uint(2, u64::from(self.bytes));
    }
}

impl Parts for Health<'_> {
    const NUMBER: u32 = 8;

    fn list(&self, sink: &mut impl Sink) {
        sink.bytes(1, self.instance);
        sink.uint(2, self.incarnation);
        sink.uint(3, self.sequence);
        sink.uint(4, state_number(self.state));
        sink.uint(5, u64::from(self.weight));
    }
}

struct GoawayParts<'a> {
    last_call_id: u64,
    reason: &'a [u8],
}

impl Parts for GoawayParts<'_> {
    const NUMBER: u32 = 9;

    fn list(&self, sink: &mut impl Sink) {
        sink.uint(1, self.last_call_id);
        sink.bytes(2, self.reason);
    }
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

/// Appends a frame: the gRPC head, the key and length of the message in `Frame`, the message.
fn append<P: Parts>(parts: &P, out: &mut Vec<u8>) {
    let mut size = Size(0);
    parts.list(&mut size);
    let message = 1 + varint_len(size.0 as u64) + size.0;
    out.reserve(5 + message);
    out.push(0);
    out.extend_from_slice(&(message as u32).to_be_bytes());
    push_varint(out, u64::from(length_key(P::NUMBER)));
    push_varint(out, size.0 as u64);
    parts.list(out);
}

/// Takes the parts of a message one after another; defaults are skipped.
trait Sink {
    fn uint(&mut self, number: u32, value: u64);
    fn bytes(&mut self, number: u32, value: &[u8]);
    fn fields(&mut self, number: u32, fields: &Fields);
}

/// Counts.
struct Size(usize);

impl Sink for Size {
    #[inline]
    fn uint(&mut self, number: u32, value: u64) {
        if value != 0 {
            self.0 += varint_len(u64::from(varint_key(number))) + varint_len(value);
        }
    }

    #[inline]
    fn bytes(&mut self, number: u32, value: &[u8]) {
        if !value.is_empty() {
            self.0 += varint_len(u64::from(length_key(number))) + part_len(value.len());
        }
    }

    #[inline]
    fn fields(&mut self, number: u32, fields: &Fields) {
        let key = varint_len(u64::from(length_key(number)));
        for (name, value) in fields.iter() {
            self.0 += key + part_len(field_len(name, value));
        }
    }
}

/// Writes.
impl Sink for Vec<u8> {
    #[inline]
    fn uint(&mut self, number: u32, value: u64) {
        if value != 0 {
            push_head(self, varint_key(number), value);
        }
    }

    #[inline]
    fn bytes(&mut self, number: u32, value: &[u8]) {
        if !value.is_empty() {
            push_head(self, length_key(number), value.len() as u64);
            self.extend_from_slice(value);
        }
    }

    #[inline]
    fn fields(&mut self, number: u32, fields: &Fields) {
        for (name, value) in fields.iter() {
            push_head(self, length_key(number), field_len(name, value) as u64);
            self.bytes(1, name);
            self.bytes(2, value);
        }
    }
}

/// Appends a key and its number or length: nearly always one byte each, then with one look at the capacity.
#[inline]
fn push_head(out: &mut Vec<u8>, key: u32, value: u64) {
    if key < 0x80 && value < 0x80 {
        out.extend_from_slice(&[key as u8, value as u8]);
    } else {
        push_varint(out, u64::from(key));
        push_varint(out, value);
    }
}

/// Bytes of a `Field` message; its two keys take one byte each.
#[inline]
fn field_len(name: &[u8], value: &[u8]) -> usize {
    let part = |bytes: &[u8]| {
        if bytes.is_empty() {
            0
        } else {
            1 + part_len(bytes.len())
        }
    };
    part(name) + part(value)
}

/// Bytes of a length and what it counts.
#[inline]
const fn part_len(len: usize) -> usize {
    varint_len(len as u64) + len
}

const fn varint_key(number: u32) -> u32 {
    number << 3
}

const fn length_key(number: u32) -> u32 {
    (number << 3) | 2
}

/// Bytes of a varint: one for each seven bits, one for zero.
#[inline]
const fn varint_len(value: u64) -> usize {
    let bits = 64 - (value | 1).leading_zeros() as usize;
    (bits * 9 + 64) / 64
}

#[inline]
fn push_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}
