//! What a center says, as it arrives: a `Delta` whose instances are still bytes, and the reader that makes true
//! instances of them.
//!
//! Thousands of instances come at once and differ in little, so what an instance has in common with one that was
//! read lately is taken from there and not read again. Everything else, and everything that may be wrong, goes
//! through the generated messages and [`instance_from_wire`]. Never in here: what is believed.

use super::{FieldError, FromCenter, Instance, generated, instance_from_wire};
use super::{InstanceState, TEXT_BYTES_MAX, state_from_wire};
use prost::encoding::{WireType, decode_key, decode_varint};
use prost::{DecodeError, Message as _};
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use weft_model::InstanceId;
use weft_model::instance::Shape;

/// What instances have in common is remembered of so many different ones: of more services than change at a time.
const KNOWN_MAX: usize = 256;

/// Fields of a `Delta` and of a `FromCenter`.
const DELTA_IN_FROM_CENTER: u32 = 3;
const UPSERTED_IN_DELTA: u32 = 5;

/// A message of a center.
#[derive(Clone, Debug, PartialEq)]
pub enum Heard {
    /// A change of one service.
    Delta(ArrivingDelta),
    /// Anything else; none of a kind that this version does not know.
    Other(Option<generated::from_center::Kind>),
}

/// A `Delta` whose instances are still bytes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ArrivingDelta {
    /// Everything but the instances.
    pub head: generated::Delta,
    bytes: Vec<u8>,
    upserted: Vec<Range<usize>>,
}

impl ArrivingDelta {
    /// How many instances there are.
    pub fn count(&self) -> usize {
        self.upserted.len()
    }

    /// The bytes of each instance.
    pub fn upserted(&self) -> impl Iterator<Item = &[u8]> {
        let own = self.upserted.iter();
        own.map(|range| self.bytes.get(range.clone()).unwrap_or_default())
    }

    /// Takes a `Delta` apart.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(delta: &[u8]) -> Result<Self, DecodeError> {
        let mut upserted = Vec::new();
        // Everything else is little: it is put together again and left to the generated message.
        let mut head = Vec::new();
        let mut rest = delta;
        while !rest.is_empty() {
            let start = delta.len() - rest.len();
            let Some((field, value)) = field(&mut rest, delta) else {
                return generated::Delta::decode(delta).map(Self::from);
            };
            if let (UPSERTED_IN_DELTA, Value::Bytes(range)) = (field, value) {
                upserted.push(range);
            } else {
                let end = delta.len() - rest.len();
                head.extend_from_slice(delta.get(start..end).unwrap_or_default());
            }
        }
        Ok(Self {
            head: generated::Delta::decode(&*head)?,
            bytes: delta.to_vec(),
            upserted,
        })
    }
}

impl From<generated::Delta> for ArrivingDelta {
    fn from(mut delta: generated::Delta) -> Self {
        let mut arriving = Self::default();
        for instance in std::mem::take(&mut delta.upserted) {
            let start = arriving.bytes.len();
            arriving.bytes.extend(instance.encode_to_vec());
            arriving.upserted.push(start..arriving.bytes.len());
        }
        arriving.head = delta;
        arriving
    }
}

/// Reads one message of a center.
///
/// # Errors
/// When it is none.
pub fn read_message(message: &[u8]) -> Result<Heard, DecodeError> {
    let mut rest = message;
    if let Some((DELTA_IN_FROM_CENTER, Value::Bytes(range))) = field(&mut rest, message)
        && rest.is_empty()
    {
        let delta = message.get(range).unwrap_or_default();
        return ArrivingDelta::read(delta).map(Heard::Delta);
    }
    FromCenter::decode(message).map(|message| Heard::Other(message.kind))
}

/// The value of a field, as far as it is of interest.
pub(crate) enum Value {
    Number(u64),
    Bytes(Range<usize>),
    /// Passed over.
    Other,
}

/// Reads the next field of `whole`, of which `rest` is what is left; none of bytes that are not fields.
pub(crate) fn field(rest: &mut &[u8], whole: &[u8]) -> Option<(u32, Value)> {
    let (number, kind) = decode_key(rest).ok()?;
    let value = match kind {
        WireType::Varint => Value::Number(decode_varint(rest).ok()?),
        WireType::LengthDelimited => {
            let length = usize::try_from(decode_varint(rest).ok()?).ok()?;
            let start = whole.len() - rest.len();
            *rest = rest.get(length..)?;
            Value::Bytes(start..start + length)
        }
        WireType::SixtyFourBit => {
            *rest = rest.get(8..)?;
            Value::Other
        }
        WireType::ThirtyTwoBit => {
            *rest = rest.get(4..)?;
            Value::Other
        }
        WireType::StartGroup | WireType::EndGroup => return None,
    };
    Some((number, value))
}

/// Makes instances of bytes.
#[derive(Debug, Default)]
pub struct InstanceReader {
    /// By its bytes.
    known: HashMap<Box<[u8]>, Arc<Shape>>,
    /// That of the instance before: mostly it is this one again.
    last: Option<(Box<[u8]>, Arc<Shape>)>,
}

/// An instance whose common fields are not read yet.
#[derive(Default)]
struct Parts<'a> {
    id: &'a [u8],
    incarnation: u64,
    address: &'a [u8],
    inbound_port: u64,
    weight: u64,
    state: i32,
    offline: bool,
    /// Where the common fields lie.
    common: [Range<usize>; RUNS_MAX],
    runs: usize,
}

/// Shape fields lie together in so many places at the most.
const RUNS_MAX: usize = 4;

impl<'a> Parts<'a> {
    /// None of bytes that only the generated message should read.
    fn of(wire: &'a [u8]) -> Option<Self> {
        let mut parts = Self::default();
        let mut rest = wire;
        while !rest.is_empty() {
            let start = wire.len() - rest.len();
            let (number, value) = field(&mut rest, wire)?;
            let end = wire.len() - rest.len();
            match (number, value) {
                (3, Value::Bytes(range)) => parts.id = wire.get(range)?,
                (4, Value::Number(number)) => parts.incarnation = number,
                (5, Value::Bytes(range)) => parts.address = wire.get(range)?,
                (6, Value::Number(number)) => parts.inbound_port = number,
                (10, Value::Number(number)) => parts.weight = number,
                (12, Value::Number(number)) => parts.state = i32::try_from(number).ok()?,
                (13 | 14 | 16, Value::Number(_)) => {}
                (15, Value::Number(number)) => parts.offline = number != 0,
                (1 | 2 | 7..=9 | 11 | 17, _) => parts.extend(start..end)?,
                _ => return None,
            }
        }
        Some(parts)
    }

    fn extend(&mut self, range: Range<usize>) -> Option<()> {
        if let Some(last) = self.runs.checked_sub(1)
            && let Some(run) = self.common.get_mut(last)
            && run.end == range.start
        {
            run.end = range.end;
            return Some(());
        }
        *self.common.get_mut(self.runs)? = range;
        self.runs += 1;
        Some(())
    }

    fn common_of(&self, wire: &'a [u8]) -> impl Iterator<Item = &'a [u8]> {
        let runs = self.common.clone().into_iter().take(self.runs);
        runs.map(|run| wire.get(run).unwrap_or_default())
    }

    fn bytes_of_common(&self, wire: &'a [u8]) -> Box<[u8]> {
        let mut bytes = Vec::new();
        for run in self.common_of(wire) {
            bytes.extend_from_slice(run);
        }
        bytes.into()
    }

    fn is_common(&self, wire: &[u8], mut known: &[u8]) -> bool {
        self.common_of(wire)
            .all(|run| match known.strip_prefix(run) {
                Some(rest) => {
                    known = rest;
                    true
                }
                None => false,
            })
            && known.is_empty()
    }

    /// Its own fields, when all is as it should be.
    fn own(&self, common: &Shape) -> Option<Own<'a>> {
        let text = |bytes: &'a [u8]| std::str::from_utf8(bytes).ok();
        if self.id.is_empty() || self.id.len() > TEXT_BYTES_MAX {
            return None;
        }
        let inbound_port = match common.check {
            Some(_) => 0,
            None => u16::try_from(self.inbound_port)
                .ok()
                .filter(|port| *port != 0)?,
        };
        let state = InstanceState::try_from(self.state).unwrap_or(InstanceState::StateUnknown);
        Some(Own {
            id: text(self.id)?,
            incarnation: self.incarnation,
            address: text(self.address)?.parse().ok()?,
            inbound_port,
            weight: u32::try_from(self.weight).ok()?,
            state: if self.offline {
                weft_model::InstanceState::Draining
            } else {
                state_from_wire(state)
            },
        })
    }
}

/// What an instance does not have in common with others.
struct Own<'a> {
    id: &'a str,
    incarnation: u64,
    address: IpAddr,
    inbound_port: u16,
    weight: u32,
    state: weft_model::InstanceState,
}

impl Own<'_> {
    fn is_of(&self, instance: &weft_model::Instance) -> bool {
        self.id == instance.id.as_str()
            && self.incarnation == instance.incarnation
            && self.address == instance.address
            && self.inbound_port == instance.inbound_port
            && self.weight == instance.weight
            && self.state == instance.state
    }

    fn with(self, common: &Arc<Shape>) -> weft_model::Instance {
        weft_model::Instance {
            id: InstanceId::new(self.id),
            incarnation: self.incarnation,
            address: self.address,
            inbound_port: self.inbound_port,
            weight: self.weight,
            state: self.state,
            shape: Arc::clone(common),
        }
    }
}

impl InstanceReader {
    /// The instance that these bytes are; `path` names where they stand.
    ///
    /// # Errors
    /// The field at fault.
    pub fn read(
        &mut self,
        wire: &[u8],
        path: impl Fn() -> String,
    ) -> Result<weft_model::Instance, FieldError> {
        let parts = Parts::of(wire);
        if let Some((own, common)) = self.known_of(parts.as_ref(), wire) {
            return Ok(own.with(common));
        }
        self.read_whole(parts, wire, path)
    }

    /// The same; when it is just as the one that `held` finds by its id, it is that one, and what it has in common
    /// with that one is held once.
    ///
    /// # Errors
    /// The field at fault.
    pub fn read_held<'h>(
        &mut self,
        wire: &[u8],
        path: impl Fn() -> String,
        held: impl Fn(&str) -> Option<&'h Arc<weft_model::Instance>>,
    ) -> Result<Arc<weft_model::Instance>, FieldError> {
        let parts = Parts::of(wire);
        if let Some((own, common)) = self.known_of(parts.as_ref(), wire) {
            let held = held(own.id).filter(|held| held.shape == *common);
            return Ok(match held {
                Some(held) if own.is_of(held) => Arc::clone(held),
                Some(held) => Arc::new(own.with(&held.shape)),
                None => Arc::new(own.with(common)),
            });
        }
        let mut instance = self.read_whole(parts, wire, path)?;
        match held(instance.id.as_str()) {
            Some(held) if **held == instance => return Ok(Arc::clone(held)),
            Some(held) if held.shape == instance.shape => instance.shape = Arc::clone(&held.shape),
            _ => {}
        }
        Ok(Arc::new(instance))
    }

    /// The fields of an instance, if those that it has in common with others are known.
    fn known_of<'a>(
        &mut self,
        parts: Option<&Parts<'a>>,
        wire: &'a [u8],
    ) -> Option<(Own<'a>, &Arc<Shape>)> {
        let parts = parts?;
        let common = self.common(parts, wire)?;
        Some((parts.own(common)?, common))
    }

    fn read_whole(
        &mut self,
        parts: Option<Parts<'_>>,
        wire: &[u8],
        path: impl Fn() -> String,
    ) -> Result<weft_model::Instance, FieldError> {
        let message = Instance::decode(wire).map_err(|error| FieldError {
            field: path(),
            reason: error.to_string(),
        })?;
        let mut instance = instance_from_wire(&message, &path())?;
        let mut known = self.known.values();
        if let Some(common) = known.find(|common| **common == instance.shape) {
            instance.shape = Arc::clone(common);
        }
        if let Some(parts) = parts {
            if self.known.len() >= KNOWN_MAX {
                self.known.clear();
            }
            let common = Arc::clone(&instance.shape);
            self.known.insert(parts.bytes_of_common(wire), common);
        }
        Ok(instance)
    }

    /// What is known of the common fields of an instance.
    fn common(&mut self, parts: &Parts<'_>, wire: &[u8]) -> Option<&Arc<Shape>> {
        let is_last = |(bytes, _): &(Box<[u8]>, _)| parts.is_common(wire, bytes);
        if !self.last.as_ref().is_some_and(is_last) {
            let bytes = parts.bytes_of_common(wire);
            let common = self.known.get(&bytes)?;
            self.last = Some((bytes, Arc::clone(common)));
        }
        self.last.as_ref().map(|(_, common)| common)
    }
}

#[cfg(test)]
mod tests;
