//! Bytes as link frames. Strict: a known field with another wire type, a group, an overlong varint or a
//! length beyond its message is refused. Unknown fields are skipped, unknown enum values become the default.

use super::{
    FIELDS_MAX, FRAME_BYTES_MAX, Frame, Health, HealthState, Hello, Kind, Open, Refusal, Reply,
    Reset, ResetReason, Step,
};
use crate::fields::Fields;

/// Bytes of the gRPC head of a frame: the compressed flag and the length.
const HEAD_BYTES: usize = 5;

const BROKEN: Refusal = Refusal("a link frame ends within a field");
const WRONG_TYPE: Refusal = Refusal("a link frame has a field of another wire type than known");

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
    while let Some(key) = reader.key()? {
        if !matches!(key, (1..=9, LENGTH)) {
            reader.skip_above(9, key)?;
            continue;
        }
        let message = Reader {
            rest: reader.length_delimited()?,
        };
        if !reader.rest.is_empty() {
            reader.skip_all_above(9)?;
        }
        // Each arm builds the step in its place: a frame is too large to be moved about.
        return match key.0 {
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
    while let Some(key) = reader.key()? {
        match key {
            (1, VARINT) => hello.version = reader.uint32()?,
            (2, VARINT) => hello.features = reader.varint()?,
            (3, LENGTH) => hello.namespace = reader.length_delimited()?,
            (4, LENGTH) => hello.service = reader.length_delimited()?,
            (5, LENGTH) => hello.instance = reader.length_delimited()?,
            (6, VARINT) => hello.incarnation = reader.varint()?,
            (7, VARINT) => hello.credit_initial = reader.uint32()?,
            (8, VARINT) => hello.calls_max = reader.uint32()?,
            (9, VARINT) => hello.frame_bytes_max = reader.uint32()?,
            _ => reader.skip_above(9, key)?,
        }
    }
    Ok(hello)
}

fn open<'a>(mut reader: Reader<'a>, fields: &mut Fields) -> Result<Open<'a>, Refusal> {
    let mut open = Open::default();
    while let Some(key) = reader.key()? {
        match key {
            (1, VARINT) => open.call_id = reader.varint()?,
            (2, LENGTH) => open.protocol = reader.length_delimited()?,
            (3, LENGTH) => open.service = reader.length_delimited()?,
            (4, LENGTH) => open.method = reader.length_delimited()?,
            (5, LENGTH) => open.path = reader.length_delimited()?,
            (6, LENGTH) => field(reader.length_delimited()?, fields)?,
            (7, LENGTH) => open.port = reader.length_delimited()?,
            (8, LENGTH) => open.instance = reader.length_delimited()?,
            (9, VARINT) => open.incarnation = reader.varint()?,
            (10, LENGTH) => open.caller_service = reader.length_delimited()?,
            (11, LENGTH) => open.caller_address = reader.length_delimited()?,
            (12, VARINT) => open.deadline_us = reader.varint()?,
            (13, VARINT) => open.attempt = reader.uint32()?,
            (14, LENGTH) => open.lane = reader.length_delimited()?,
            (15, LENGTH) => open.trace = reader.length_delimited()?,
            (16, VARINT) => open.kind = kind(reader.uint32()?),
            (17, LENGTH) => open.opaque = reader.length_delimited()?,
            (18, LENGTH) => open.body = reader.length_delimited()?,
            (19, VARINT) => open.end = reader.varint()? != 0,
            _ => reader.skip_above(19, key)?,
        }
    }
    Ok(open)
}

fn data(mut reader: Reader<'_>, taken: usize) -> Result<Step<'_>, Refusal> {
    let (mut call_id, mut body, mut end) = (0, &[][..], false);
    while let Some(key) = reader.key()? {
        match key {
            (1, VARINT) => call_id = reader.varint()?,
            (2, LENGTH) => body = reader.length_delimited()?,
            (3, VARINT) => end = reader.varint()? != 0,
            _ => reader.skip_above(3, key)?,
        }
    }
    Ok(Step::Frame(Frame::Data(call_id, body, end), taken))
}

fn reply<'a>(mut reader: Reader<'a>, fields: &mut Fields) -> Result<Reply<'a>, Refusal> {
    let mut reply = Reply::default();
    while let Some(key) = reader.key()? {
        match key {
            (1, VARINT) => reply.call_id = reader.varint()?,
            (2, VARINT) => reply.status = reader.uint32()?,
            (3, LENGTH) => field(reader.length_delimited()?, fields)?,
            (4, VARINT) => reply.informational = reader.varint()? != 0,
            (5, LENGTH) => reply.failure = reader.length_delimited()?,
            (6, LENGTH) => reply.opaque = reader.length_delimited()?,
            (7, LENGTH) => reply.body = reader.length_delimited()?,
            (8, VARINT) => reply.end = reader.varint()? != 0,
            _ => reader.skip_above(8, key)?,
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
    while let Some(key) = reader.key()? {
        match key {
            (1, VARINT) => call_id = reader.varint()?,
            (2, LENGTH) => field(reader.length_delimited()?, fields)?,
            _ => reader.skip_above(2, key)?,
        }
    }
    Ok(Step::Frame(Frame::Trailers(call_id), taken))
}

fn reset(mut reader: Reader<'_>) -> Result<Reset<'_>, Refusal> {
    let mut reset = Reset::default();
    while let Some(key) = reader.key()? {
        match key {
            (1, VARINT) => reset.call_id = reader.varint()?,
            (2, VARINT) => reset.reason = reason(reader.uint32()?),
            (3, LENGTH) => reset.code = reader.length_delimited()?,
            (4, LENGTH) => reset.detail = reader.length_delimited()?,
            (5, LENGTH) => reset.service = reader.length_delimited()?,
            (6, LENGTH) => reset.instance = reader.length_delimited()?,
            (7, VARINT) => reset.incarnation = reader.varint()?,
            _ => reader.skip_above(7, key)?,
        }
    }
    Ok(reset)
}

fn credit(mut reader: Reader<'_>, taken: usize) -> Result<Step<'_>, Refusal> {
    let (mut call_id, mut bytes) = (0, 0);
    while let Some(key) = reader.key()? {
        match key {
            (1, VARINT) => call_id = reader.varint()?,
            (2, VARINT) => bytes = reader.uint32()?,
            _ => reader.skip_above(2, key)?,
        }
    }
    Ok(Step::Frame(Frame::Credit(call_id, bytes), taken))
}

fn health(mut reader: Reader<'_>) -> Result<Health<'_>, Refusal> {
    let mut health = Health::default();
    while let Some(key) = reader.key()? {
        match key {
            (1, LENGTH) => health.instance = reader.length_delimited()?,
            (2, VARINT) => health.incarnation = reader.varint()?,
            (3, VARINT) => health.sequence = reader.varint()?,
            (4, VARINT) => health.state = state(reader.uint32()?),
            (5, VARINT) => health.weight = reader.uint32()?,
            _ => reader.skip_above(5, key)?,
        }
    }
    Ok(health)
}

fn goaway(mut reader: Reader<'_>, taken: usize) -> Result<Step<'_>, Refusal> {
    let (mut last_call_id, mut reason) = (0, &[][..]);
    while let Some(key) = reader.key()? {
        match key {
            (1, VARINT) => last_call_id = reader.varint()?,
            (2, LENGTH) => reason = reader.length_delimited()?,
            _ => reader.skip_above(2, key)?,
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
    while let Some(key) = reader.key()? {
        match key {
            (1, LENGTH) => name = reader.length_delimited()?,
            (2, LENGTH) => value = reader.length_delimited()?,
            _ => reader.skip_above(2, key)?,
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

/// Wire types of protobuf.
const VARINT: u8 = 0;
const FIXED64: u8 = 1;
const LENGTH: u8 = 2;
const FIXED32: u8 = 5;

/// The number and the wire type of a field.
type Key = (u32, u8);

/// What is left of a message.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    /// The next field's key; `None` at the end of the message.
    #[inline]
    fn key(&mut self) -> Result<Option<Key>, Refusal> {
        let key = match self.rest {
            [] => return Ok(None),
            [byte @ 0..0x80, rest @ ..] => {
                self.rest = rest;
                u32::from(*byte)
            }
            _ => u32::try_from(self.varint()?)
                .map_err(|_| Refusal("a link frame has a field number beyond 29 bits"))?,
        };
        if key < 8 {
            return Err(Refusal("a link frame has a field number 0"));
        }
        Ok(Some((key >> 3, key as u8 & 7)))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Refusal> {
        if let [byte @ 0..0x80, rest @ ..] = self.rest {
            self.rest = rest;
            return Ok(u64::from(*byte));
        }
        self.long_varint()
    }

    fn long_varint(&mut self) -> Result<u64, Refusal> {
        const OVERLONG: Refusal = Refusal("a link frame has a varint beyond 64 bits");
        let mut value = 0;
        for index in 0..10 {
            let (byte, rest) = self.rest.split_first().ok_or(BROKEN)?;
            self.rest = rest;
            if index == 9 && *byte > 1 {
                return Err(OVERLONG);
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                return Ok(value);
            }
        }
        Err(OVERLONG)
    }

    /// A u32 that a later version may have widened: the upper half is dropped, as protobuf says.
    #[inline]
    fn uint32(&mut self) -> Result<u32, Refusal> {
        Ok(self.varint()? as u32)
    }

    #[inline]
    fn length_delimited(&mut self) -> Result<&'a [u8], Refusal> {
        let length = usize::try_from(self.varint()?).map_err(|_| BROKEN)?;
        let (part, rest) = self.rest.split_at_checked(length).ok_or(BROKEN)?;
        self.rest = rest;
        Ok(part)
    }

    /// Skips a field that this version does not know. Numbers up to `known` are known, so that one of them
    /// comes here only because of its wire type.
    #[cold]
    fn skip_above(&mut self, known: u32, (number, wire): Key) -> Result<(), Refusal> {
        if number <= known {
            return Err(WRONG_TYPE);
        }
        match wire {
            VARINT => self.varint().map(drop),
            LENGTH => self.length_delimited().map(drop),
            FIXED64 => self.drop_front(8),
            FIXED32 => self.drop_front(4),
            _ => Err(Refusal(
                "a link frame has a field of a wire type that proto3 does not have",
            )),
        }
    }

    /// Skips what stands behind the one message of a frame; a second one is refused.
    #[cold]
    fn skip_all_above(&mut self, known: u32) -> Result<(), Refusal> {
        while let Some(key) = self.key()? {
            if key.0 <= known && key.1 == LENGTH {
                return Err(Refusal("a link frame has two kinds"));
            }
            self.skip_above(known, key)?;
        }
        Ok(())
    }

    fn drop_front(&mut self, count: usize) -> Result<(), Refusal> {
        self.rest = self.rest.get(count..).ok_or(BROKEN)?;
        Ok(())
    }
}
