//! The instances of a saved file: thousands of them, so they are written without messages in between, and are read
//! one by one.
//!
//! The bytes are those of the generated messages, against which they are checked. Never in here: what is believed.

use super::Saved;
use crate::sync::arriving::{Value, field};
use crate::sync::{self, instance_to_wire, state_to_wire};
use prost::encoding::{encode_varint, encoded_len_varint};
use prost::{DecodeError, Message as _};
use std::borrow::Cow;
use std::io::Write as _;
use std::net::IpAddr;
use std::ops::Range;
use std::sync::Arc;
use weft_model::Instance;
use weft_model::instance::Shape;

/// In which of its lists an instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Place {
    /// `Saved.instances`.
    Instances = 6,
    /// `Saved.unconfirmed`.
    Unconfirmed = 7,
    /// `Saved.departed`.
    Departed = 8,
}

impl Place {
    /// Every place.
    pub const ALL: [Self; 3] = [Self::Instances, Self::Unconfirmed, Self::Departed];

    /// The field's name.
    pub fn name(self) -> &'static str {
        match self {
            Self::Instances => "instances",
            Self::Unconfirmed => "unconfirmed",
            Self::Departed => "departed",
        }
    }
}

/// Keys of an `Instance`'s own fields: its number and its kind.
const KEY_ID: u8 = (3 << 3) | 2;
const KEY_INCARNATION: u8 = 4 << 3;
const KEY_ADDRESS: u8 = (5 << 3) | 2;
const KEY_INBOUND_PORT: u8 = 6 << 3;
const KEY_WEIGHT: u8 = 10 << 3;
const KEY_STATE: u8 = 12 << 3;

/// Writes instances. What one has in common with the one before is written from there.
#[derive(Debug, Default)]
pub(super) struct InstanceWriter {
    common: Option<ShapeBytes>,
    message: Vec<u8>,
    address: Vec<u8>,
}

/// The bytes of what instances have in common, as they lie between their own fields.
#[derive(Debug)]
struct ShapeBytes {
    shape: Arc<Shape>,
    /// Before the id.
    begin: Vec<u8>,
    /// Between the inbound port and the weight.
    ports: Vec<u8>,
    /// Between the weight and the state.
    idempotent: Vec<u8>,
    /// At the end.
    check: Vec<u8>,
}

impl ShapeBytes {
    fn of(instance: &Instance) -> Self {
        let all = instance_to_wire(instance);
        let bytes = |part: sync::Instance| part.encode_to_vec();
        let none = sync::Instance::default;
        Self {
            shape: Arc::clone(&instance.shape),
            begin: bytes(sync::Instance {
                namespace: all.namespace,
                service: all.service,
                ..none()
            }),
            ports: bytes(sync::Instance {
                ports: all.ports,
                labels: all.labels,
                zone: all.zone,
                ..none()
            }),
            idempotent: bytes(sync::Instance {
                idempotent: all.idempotent,
                ..none()
            }),
            check: bytes(sync::Instance {
                check: all.check,
                ..none()
            }),
        }
    }
}

impl InstanceWriter {
    /// Adds the bytes of an instance as a field of `Saved`.
    pub(super) fn write(&mut self, place: Place, instance: &Instance, out: &mut Vec<u8>) {
        let known = self.common.take();
        let known = known.filter(|known| Arc::ptr_eq(&known.shape, &instance.shape));
        let common = known.unwrap_or_else(|| ShapeBytes::of(instance));
        self.address.clear();
        text_of(instance.address, &mut self.address);
        let message = &mut self.message;
        message.clear();
        message.extend_from_slice(&common.begin);
        put_bytes(message, KEY_ID, instance.id.as_str().as_bytes());
        put_number(message, KEY_INCARNATION, instance.incarnation);
        put_bytes(message, KEY_ADDRESS, &self.address);
        put_number(message, KEY_INBOUND_PORT, instance.inbound_port.into());
        message.extend_from_slice(&common.ports);
        put_number(message, KEY_WEIGHT, instance.weight.into());
        message.extend_from_slice(&common.idempotent);
        put_number(message, KEY_STATE, state_to_wire(instance.state) as u64);
        message.extend_from_slice(&common.check);
        out.reserve(1 + encoded_len_varint(message.len() as u64) + message.len());
        out.push(((place as u8) << 3) | 2);
        encode_varint(message.len() as u64, out);
        out.extend_from_slice(message);
        self.common = Some(common);
    }
}

/// What is empty is not written.
fn put_bytes(out: &mut Vec<u8>, key: u8, bytes: &[u8]) {
    if !bytes.is_empty() {
        out.push(key);
        encode_varint(bytes.len() as u64, out);
        out.extend_from_slice(bytes);
    }
}

fn put_number(out: &mut Vec<u8>, key: u8, number: u64) {
    if number != 0 {
        out.push(key);
        encode_varint(number, out);
    }
}

/// The text of an address; that of an IPv4 one by hand, for formatting it costs as much as all the rest.
fn text_of(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(address) = address else {
        // Fails only when the buffer cannot grow, and a Vec can.
        let _ = write!(out, "{address}");
        return;
    };
    for (position, octet) in address.octets().into_iter().enumerate() {
        if position > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
}

/// What a file says, with its instances still as bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Found<'a> {
    /// Everything but the instances.
    pub rest: Saved,
    bytes: Cow<'a, [u8]>,
    instances: Vec<(Place, Range<usize>)>,
}

impl From<Saved> for Found<'static> {
    fn from(mut saved: Saved) -> Self {
        let mut bytes = Vec::new();
        let mut instances = Vec::new();
        for (place, list) in [
            (Place::Instances, std::mem::take(&mut saved.instances)),
            (Place::Unconfirmed, std::mem::take(&mut saved.unconfirmed)),
            (Place::Departed, std::mem::take(&mut saved.departed)),
        ] {
            for instance in list {
                let start = bytes.len();
                bytes.extend(instance.encode_to_vec());
                instances.push((place, start..bytes.len()));
            }
        }
        Self {
            rest: saved,
            bytes: bytes.into(),
            instances,
        }
    }
}

impl<'a> Found<'a> {
    /// Takes a message apart.
    ///
    /// # Errors
    /// When it is none.
    pub fn read(message: &'a [u8]) -> Result<Self, DecodeError> {
        let mut instances = Vec::new();
        // Everything else is little: it is put together again and left to the generated message.
        let mut rest_bytes = Vec::new();
        let mut rest = message;
        while !rest.is_empty() {
            let start = message.len() - rest.len();
            let Some((number, value)) = field(&mut rest, message) else {
                return Saved::decode(message).map(Found::from);
            };
            let place = Place::ALL.into_iter().find(|place| *place as u32 == number);
            if let (Some(place), Value::Bytes(range)) = (place, value) {
                instances.push((place, range));
            } else {
                let end = message.len() - rest.len();
                rest_bytes.extend_from_slice(message.get(start..end).unwrap_or_default());
            }
        }
        Ok(Self {
            rest: Saved::decode(&*rest_bytes)?,
            bytes: message.into(),
            instances,
        })
    }

    /// How many instances there are, in all places.
    pub fn count(&self) -> usize {
        self.instances.len()
    }

    /// The bytes of each instance in one place.
    pub fn instances(&self, place: Place) -> impl Iterator<Item = &[u8]> {
        let there = self.instances.iter().filter(move |(at, _)| *at == place);
        there.map(|(_, range)| self.bytes.get(range.clone()).unwrap_or_default())
    }
}

#[cfg(test)]
mod tests;
