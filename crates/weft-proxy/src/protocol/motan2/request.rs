//! Reads a request of a Motan2 caller: which call its metadata name, and what is known of a frame that is not
//! complete or not sound.

use crate::call::CallHead;
use crate::context::Context;
use crate::protocol::ProtocolId;
use crate::protocol::motan2::{Extra, is_weft_field};
use std::net::IpAddr;
use weft_codec::Prefix;
use weft_codec::link::Kind;
use weft_codec::motan2::{self as codec, Limits};
use weft_model::{Code, Failure};

/// The longest call id taken from a caller.
const CALL_ID_BYTES_MAX: usize = 64;

/// Where in a frame its request id stands.
const REQUEST_ID_AT: usize = 5;

/// Where the length of its metadata stands.
const META_LENGTH_AT: usize = 13;

/// The call that a request's metadata describe.
pub(crate) fn call_head(
    ctx: &Context,
    peer: IpAddr,
    extra: Extra,
    meta: &[u8],
) -> Result<CallHead, Failure> {
    let limits = &ctx.settings.limits.motan2;
    let mut fields = ctx.fields();
    codec::parse_metadata(meta, limits, &mut fields)
        .map_err(|refusal| Failure::with(Code::Malformed, refusal.reason))?;
    fields.remove(|name, _| is_weft_field(name));
    let named = Named::read(meta);
    if named.service.is_empty() {
        return Err(Failure::with(
            Code::Malformed,
            "the request names no service: its metadata have no M_p",
        ));
    }
    let mut head = CallHead::new(ProtocolId::Motan2, fields);
    head.service = head.fields.store(named.service);
    head.method = head.fields.store(named.method);
    head.path = head.fields.store(named.group);
    head.version = head.fields.store(named.version);
    head.opaque = head.fields.store(&extra.bytes());
    let is_sane = (1..=CALL_ID_BYTES_MAX).contains(&named.call_id.len())
        && named.call_id.iter().all(u8::is_ascii_graphic);
    head.trace = if is_sane {
        head.fields.store(named.call_id)
    } else {
        // As Java and Go write it, where request ids are signed.
        let id = extra.request_id.cast_signed().to_string();
        head.fields.store(id.as_bytes())
    };
    head.caller_address = Some(peer);
    head.kind = if extra.one_way {
        Kind::OneWay
    } else {
        Kind::Unary
    };
    Ok(head)
}

/// The metadata that name a call. Of a repeated key the last one counts.
#[derive(Default)]
struct Named<'a> {
    service: &'a [u8],
    method: &'a [u8],
    group: &'a [u8],
    version: &'a [u8],
    call_id: &'a [u8],
}

impl<'a> Named<'a> {
    /// Reads metadata that the codec has found sound.
    fn read(meta: &'a [u8]) -> Self {
        let mut named = Self::default();
        let mut tokens = meta.split(|byte| *byte == b'\n');
        while let (Some(key), Some(value)) = (tokens.next(), tokens.next()) {
            match key {
                b"M_p" => named.service = value,
                b"M_m" => named.method = value,
                b"M_g" => named.group = value,
                b"M_v" => named.version = value,
                b"M_rid" => named.call_id = value,
                _ => {}
            }
        }
        named
    }
}

fn length_at(bytes: &[u8], at: usize) -> Option<usize> {
    let length = bytes.get(at..)?.first_chunk::<4>()?;
    Some(u32::from_be_bytes(*length) as usize)
}

/// Whether a frame's bytes reach to its body's length.
pub(crate) fn head_is_complete(bytes: &[u8]) -> bool {
    length_at(bytes, META_LENGTH_AT)
        .is_some_and(|meta| bytes.len() >= meta + codec::FRAME_BYTES_MIN)
}

/// The code of a frame that the codec refuses.
pub(crate) fn refusal_code(bytes: &[u8], limits: &Limits) -> Code {
    if codec::motan2_prefix(bytes) == Prefix::Mismatch {
        return Code::Malformed;
    }
    let Some(meta) = length_at(bytes, META_LENGTH_AT) else {
        return Code::Malformed;
    };
    if meta > limits.meta_bytes_max {
        return Code::HeadTooLarge;
    }
    match length_at(bytes, META_LENGTH_AT + 4 + meta) {
        Some(body) if body > limits.body_bytes_max => Code::BodyTooLarge,
        _ => Code::Malformed,
    }
}

/// What is known of a frame of which perhaps only the beginning is there: nothing before its request id.
pub(crate) fn known_of(bytes: &[u8]) -> Option<Extra> {
    if codec::motan2_prefix(bytes) != Prefix::Match {
        return None;
    }
    let kind = bytes.get(2)?;
    let id = bytes.get(REQUEST_ID_AT..)?.first_chunk()?;
    Some(Extra {
        request_id: u64::from_be_bytes(*id),
        // Neither a reply nor a one-way call is answered.
        one_way: kind & 0x05 != 0,
        ..Extra::default()
    })
}
