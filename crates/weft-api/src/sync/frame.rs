//! A framed `Delta` made of instances that are encoded already: a center encodes an instance once, when it
//! changes, and every delta that carries it copies the bytes.
//!
//! Checked against the generated messages. Never in here: who is sent what.

use super::{Delta, Instance};
use prost::Message as _;
use prost::encoding::{encode_varint, encoded_len_varint};

/// `FromCenter.delta`, a message.
const KEY_DELTA: u8 = (3 << 3) | 2;

/// `Delta.upserted`, a message.
const KEY_UPSERTED: u8 = (5 << 3) | 2;

/// An instance as it stands in a delta, and in a store.
pub fn instance_bytes(instance: &Instance) -> Vec<u8> {
    instance.encode_to_vec()
}

/// Bytes that one instance adds to a delta.
pub fn bytes_in_delta(instance: &[u8]) -> usize {
    1 + encoded_len_varint(instance.len() as u64) + instance.len()
}

/// The frame of a `FromCenter` with this delta, whose `upserted` are given encoded.
pub fn delta_frame(delta: &Delta, upserted: &[&[u8]]) -> Vec<u8> {
    let added: usize = upserted.iter().map(|bytes| bytes_in_delta(bytes)).sum();
    let delta_bytes = delta.encoded_len() + added;
    let message_bytes = 1 + encoded_len_varint(delta_bytes as u64) + delta_bytes;
    let mut out = Vec::with_capacity(5 + message_bytes);
    out.push(0);
    out.extend_from_slice(&(message_bytes as u32).to_be_bytes());
    out.push(KEY_DELTA);
    encode_varint(delta_bytes as u64, &mut out);
    // Fails only when the buffer cannot grow, and a Vec can.
    let _ = delta.encode(&mut out);
    for bytes in upserted {
        out.push(KEY_UPSERTED);
        encode_varint(bytes.len() as u64, &mut out);
        out.extend_from_slice(bytes);
    }
    out
}

#[cfg(test)]
mod tests;
