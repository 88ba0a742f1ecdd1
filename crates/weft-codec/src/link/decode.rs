//! Bytes as link frames. Strict: a known field with another wire type, a group, an overlong varint or a
//! length beyond its message is refused. Unknown fields are skipped, unknown enum values become the default.

use super::{
    FIELDS_MAX, FRAME_BYTES_MAX, Frame, Health, HealthState, Hello, Kind, Open, Refusal, Reply,
    Reset, ResetReason, Step,
};
use crate::fields::Fields;

/// Bytes of the gRPC head of a frame: the compressed flag and the length.
const HEAD_BYTES: usize = 5;

const OVERLONG: Refusal = Refusal("a link frame has a varint beyond 64 bits");
const BROKEN: Refusal = Refusal("a link frame ends within a field");

/// Reads the frame at the beginning of `bytes`. Headers and trailers are put into `fields`, which is cleared
/// first. A compressed message, one over [`FRAME_BYTES_MAX`] or a broken one is refused.
pub fn decode<'a>(bytes: &'a [u8], fields: &mut Fields) -> Result<Step<'a>, Refusal> {
    fields.clear();
    match bytes.first() {
        None => return Ok(Step::Need),
        Some(0) => {}
        Some(1) => return Err(Refusal("a link frame is compressed")),
        Some(_) => return Err(Refusal("a link frame begins with another byte than 0")),
    }
    let Some((head, rest)) = bytes.split_first_chunk::<HEAD_BYTES>() else {
        return Ok(Step::Need);
    };
    let [_, length @ ..] = head;
    let length = u32::from_be_bytes(*length) as usize;
    if length > FRAME_BYTES_MAX {
        return Err(Refusal("a link frame is longer than 128 KiB"));
    }
    let Some(message) = rest.get(..length) else {
        return Ok(Step::Need);
    };
    frame(Reader { rest: message }, fields, HEAD_BYTES + length)
}

/// `Frame`: one message, and whatever a later version puts beside it.
fn frame<'a>(
    mut reader: Reader<'a>,
    fields: &mut Fields,
    taken: usize,
) -> Result<Step<'a>, Refusal> {
    while let Some((number, value)) = reader.next()? {
        let (1..=9, Bytes(message)) = (number, value) else {
            unknown_above(9, number)?;
            continue;
        };
        let message = Reader { rest: message };
        if !reader.rest.is_empty() {
            only_unknown_above(9, reader)?;
        }
        // Each arm builds the step in its place: a frame is too large to be moved about.
        return match number {
            1 => Ok(Step::Frame(Frame::Hello(hello(message)?), taken)),
            2 => Ok(Step::Frame(Frame::Open(open(message, fields)?), taken)),
            3 => data(message, taken),
            4 => Ok(Step::Frame(Frame::Reply(reply(message, fields)?), taken)),
            5 => trailers(message, fields, taken),
            6 => Ok(Step::Frame(Frame::Reset(reset(message)?), taken)),
            7 => credit(message, taken),
            8 => Ok(Step::Frame(Frame::Health(health(message)?), taken)),
            _ => goaway(message, taken),
        };
    }
    Ok(Step::Frame(Frame::Unknown, taken))
}

fn hello(mut reader: Reader<'_>) -> Result<Hello<'_>, Refusal> {
    let mut hello = Hello::default();
    while let Some(part) = reader.next()? {
        match part {
            (1, Uint(value)) => hello.version = value as u32,
            (2, Uint(value)) => hello.features = value,
            (3, Bytes(value)) => hello.namespace = value,
            (4, Bytes(value)) => hello.service = value,
            (5, Bytes(value)) => hello.instance = value,
            (6, Uint(value)) => hello.incarnation = value,
            (7, Uint(value)) => hello.credit_initial = value as u32,
            (8, Uint(value)) => hello.calls_max = value as u32,
            (9, Uint(value)) => hello.frame_bytes_max = value as u32,
            (10, Bytes(value)) => hello.mesh = value,
            (number, _) => unknown_above(10, number)?,
        }
    }
    Ok(hello)
}

fn open<'a>(mut reader: Reader<'a>, fields: &mut Fields) -> Result<Open<'a>, Refusal> {
    let mut open = Open::default();
    while let Some(part) = reader.next()? {
        match part {
            (1, Uint(value)) => open.call_id = value,
            (2, Bytes(value)) => open.protocol = value,
            (3, Bytes(value)) => open.service = value,
            (4, Bytes(value)) => open.method = value,
            (5, Bytes(value)) => open.path = value,
            (6, Bytes(value)) => field(value, fields)?,
            (7, Bytes(value)) => open.port = value,
            (8, Bytes(value)) => open.instance = value,
            (9, Uint(value)) => open.incarnation = value,
            (10, Bytes(value)) => open.caller_service = value,
            (11, Bytes(value)) => open.caller_address = value,
            (12, Uint(value)) => open.deadline_us = value,
            (13, Uint(value)) => open.attempt = value as u32,
            (14, Bytes(value)) => open.lane = value,
            (15, Bytes(value)) => open.trace = value,
            (16, Uint(value)) => open.kind = kind(value as u32),
            (17, Bytes(value)) => open.opaque = value,
            (18, Bytes(value)) => open.body = value,
            (19, Uint(value)) => open.end = value != 0,
            (number, _) => unknown_above(19, number)?,
        }
    }
    Ok(open)
}

fn data(mut reader: Reader<'_>, taken: usize) -> Result<Step<'_>, Refusal> {
    let (mut call_id, mut body, mut end) = (0, &[][..], false);
    while let Some(part) = reader.next()? {
        match part {
            (1, Uint(value)) => call_id = value,
            (2, Bytes(value)) => body = value,
            (3, Uint(value)) => end = value != 0,
            (number, _) => unknown_above(3, number)?,
        }
    }
    Ok(Step::Frame(Frame::Data(call_id, body, end), taken))
}

fn reply<'a>(mut reader: Reader<'a>, fields: &mut Fields) -> Result<Reply<'a>, Refusal> {
    let mut reply = Reply::default();
    while let Some(part) = reader.next()? {
        match part {
            (1, Uint(value)) => reply.call_id = value,
            (2, Uint(value)) => reply.status = value as u32,
            (3, Bytes(value)) => field(value, fields)?,
            (4, Uint(value)) => reply.informational = value != 0,
            (5, Bytes(value)) => reply.failure = value,
            (6, Bytes(value)) => reply.opaque = value,
            (7, Bytes(value)) => reply.body = value,
            (8, Uint(value)) => reply.end = value != 0,
            (number, _) => unknown_above(8, number)?,
        }
    }
    Ok(reply)
}

fn trailers<'a>(
    mut reader: Reader<'a>,
    fields: &mut Fields,
    taken: usize,
) -> Result<Step<'a>, Refusal> {
    let mut call_id = 0;
    while let Some(part) = reader.next()? {
        match part {
            (1, Uint(value)) => call_id = value,
            (2, Bytes(value)) => field(value, fields)?,
            (number, _) => unknown_above(2, number)?,
        }
    }
    Ok(Step::Frame(Frame::Trailers(call_id), taken))
}

fn reset(mut reader: Reader<'_>) -> Result<Reset<'_>, Refusal> {
    let mut reset = Reset::default();
    while let Some(part) = reader.next()? {
        match part {
            (1, Uint(value)) => reset.call_id = value,
            (2, Uint(value)) => reset.reason = reason(value as u32),
            (3, Bytes(value)) => reset.code = value,
            (4, Bytes(value)) => reset.detail = value,
            (5, Bytes(value)) => reset.service = value,
            (6, Bytes(value)) => reset.instance = value,
            (7, Uint(value)) => reset.incarnation = value,
            (number, _) => unknown_above(7, number)?,
        }
    }
    Ok(reset)
}

fn credit(mut reader: Reader<'_>, taken: usize) -> Result<Step<'_>, Refusal> {
    let (mut call_id, mut bytes) = (0, 0);
    while let Some(part) = reader.next()? {
        match part {
            (1, Uint(value)) => call_id = value,
            (2, Uint(value)) => bytes = value as u32,
            (number, _) => unknown_above(2, number)?,
        }
    }
    Ok(Step::Frame(Frame::Credit(call_id, bytes), taken))
}

fn health(mut reader: Reader<'_>) -> Result<Health<'_>, Refusal> {
    let mut health = Health::default();
    while let Some(part) = reader.next()? {
        match part {
            (1, Bytes(value)) => health.instance = value,
            (2, Uint(value)) => health.incarnation = value,
            (3, Uint(value)) => health.sequence = value,
            (4, Uint(value)) => health.state = state(value as u32),
            (5, Uint(value)) => health.weight = value as u32,
            (number, _) => unknown_above(5, number)?,
        }
    }
    Ok(health)
}

fn goaway(mut reader: Reader<'_>, taken: usize) -> Result<Step<'_>, Refusal> {
    let (mut last_call_id, mut reason) = (0, &[][..]);
    while let Some(part) = reader.next()? {
        match part {
            (1, Uint(value)) => last_call_id = value,
            (2, Bytes(value)) => reason = value,
            (number, _) => unknown_above(2, number)?,
        }
    }
    Ok(Step::Frame(Frame::Goaway(last_call_id, reason), taken))
}

/// `Field`: a name and a value, appended to the fields.
fn field(message: &[u8], fields: &mut Fields) -> Result<(), Refusal> {
    if fields.len() == FIELDS_MAX {
        return Err(Refusal("a link frame has more than 512 fields"));
    }
    if let Some((name, value)) = short_field(message) {
        fields.push(name, value);
        return Ok(());
    }
    let mut reader = Reader { rest: message };
    let (mut name, mut value) = (&[][..], &[][..]);
    while let Some(part) = reader.next()? {
        match part {
            (1, Bytes(bytes)) => name = bytes,
            (2, Bytes(bytes)) => value = bytes,
            (number, _) => unknown_above(2, number)?,
        }
    }
    fields.push(name, value);
    Ok(())
}

/// Nearly every field: a name, then a value, each with a length of one byte, and nothing else.
#[inline]
fn short_field(message: &[u8]) -> Option<(&[u8], &[u8])> {
    let [0x0a, name_len @ 0..0x80, rest @ ..] = message else {
        return None;
    };
    let (name, rest) = rest.split_at_checked(usize::from(*name_len))?;
    let [0x12, value_len @ 0..0x80, value @ ..] = rest else {
        return None;
    };
    (value.len() == usize::from(*value_len)).then_some((name, value))
}

fn kind(number: u32) -> Kind {
    match number {
        1 => Kind::Stream,
        2 => Kind::OneWay,
        3 => Kind::Tunnel,
        _ => Kind::Unary,
    }
}

fn reason(number: u32) -> ResetReason {
    match number {
        1 => ResetReason::Cancelled,
        2 => ResetReason::NotDispatched,
        3 => ResetReason::Failed,
        4 => ResetReason::PeerReset,
        _ => ResetReason::Unknown,
    }
}

fn state(number: u32) -> HealthState {
    match number {
        1 => HealthState::Ready,
        2 => HealthState::Warming,
        3 => HealthState::Overloaded,
        4 => HealthState::Draining,
        5 => HealthState::AppDead,
        _ => HealthState::Unknown,
    }
}

/// What a field holds.
enum Value<'a> {
    Uint(u64),
    Bytes(&'a [u8]),
    /// Eight or four bytes, which no known field has.
    Fixed,
}

use Value::{Bytes, Uint};

/// What is left of a message.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next field's number and value; `None` at the end of the message.
    #[inline(always)]
    #[allow(
        clippy::inline_always,
        reason = "left to the compiler it becomes a call that hands its result through memory: +800 instructions an Open"
    )]
    fn next(&mut self) -> Result<Option<(u32, Value<'a>)>, Refusal> {
        let (key, rest) = match self.rest {
            [] => return Ok(None),
            [key @ 8..0x80, rest @ ..] => (u32::from(*key), rest),
            rest => long_key(rest)?,
        };
        let (number, wire) = (key >> 3, key & 7);
        if wire != LENGTH && wire != VARINT {
            self.rest = after_fixed(wire, rest)?;
            return Ok(Some((number, Value::Fixed)));
        }
        // A number, or a length: both are varints.
        let (uint, rest) = match rest {
            [uint @ 0..0x80, rest @ ..] => (u64::from(*uint), rest),
            rest => long_varint(rest)?,
        };
        if wire == VARINT {
            self.rest = rest;
            return Ok(Some((number, Uint(uint))));
        }
        let length = usize::try_from(uint).map_err(|_| BROKEN)?;
        let (bytes, rest) = rest.split_at_checked(length).ok_or(BROKEN)?;
        self.rest = rest;
        Ok(Some((number, Bytes(bytes))))
    }
}

/// Wire types of protobuf.
const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// A varint of any length, and what follows it.
fn long_varint(rest: &[u8]) -> Result<(u64, &[u8]), Refusal> {
    if let [low, high @ 0..0x80, rest @ ..] = rest
        && *low >= 0x80
    {
        return Ok((u64::from(*low & 0x7f) | u64::from(*high) << 7, rest));
    }
    let mut value = 0;
    for (index, byte) in rest.iter().enumerate().take(10) {
        if index == 9 && *byte > 1 {
            break;
        }
        value |= u64::from(byte & 0x7f) << (7 * index);
        if *byte < 0x80 {
            return Ok((value, rest.get(index + 1..).unwrap_or_default()));
        }
    }
    Err(if rest.len() < 10 { BROKEN } else { OVERLONG })
}

/// A key of more than one byte, or a wrong one, and what follows it.
fn long_key(rest: &[u8]) -> Result<(u32, &[u8]), Refusal> {
    const WRONG: Refusal = Refusal("a link frame has a field number that protobuf does not allow");
    let (key, rest) = long_varint(rest)?;
    let key = u32::try_from(key)
        .ok()
        .filter(|key| *key >= 8)
        .ok_or(WRONG)?;
    Ok((key, rest))
}

/// What follows a value of a wire type that no known field has.
#[cold]
fn after_fixed(wire: u32, rest: &[u8]) -> Result<&[u8], Refusal> {
    match wire {
        FIXED64 => rest.get(8..).ok_or(BROKEN),
        FIXED32 => rest.get(4..).ok_or(BROKEN),
        _ => Err(Refusal(
            "a link frame has a field of a wire type that proto3 does not have",
        )),
    }
}

/// Lets a field of a later version pass. Numbers up to `known` are known: one of them is here only because of
/// its wire type.
#[cold]
fn unknown_above(known: u32, number: u32) -> Result<(), Refusal> {
    if number <= known {
        return Err(Refusal(
            "a link frame has a field of another wire type than known",
        ));
    }
    Ok(())
}

/// Checks what stands behind the one message of a frame.
#[cold]
fn only_unknown_above(known: u32, mut reader: Reader<'_>) -> Result<(), Refusal> {
    while let Some((number, value)) = reader.next()? {
        if number <= known && matches!(value, Bytes(_)) {
            return Err(Refusal("a link frame has two kinds"));
        }
        unknown_above(known, number)?;
    }
    Ok(())
}
