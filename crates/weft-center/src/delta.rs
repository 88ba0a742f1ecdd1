//! Messages for sidecars as framed bytes: deltas of instances that are encoded already, in pieces that fit; and
//! small messages joined, so that a batch leaves in one write.
//!
//! Bytes are shared: what many sidecars are sent is made once. Never in here: who is sent what.

use bytes::{Bytes, BytesMut};
use weft_api::grpc;
use weft_api::sync::{self, frame, from_center};

/// Bytes of instances in one delta; more become several deltas. Well below what a sidecar takes.
const DELTA_BYTES_MAX: usize = 1024 * 1024;

/// Messages up to so many bytes together are copied into one: a copy is cheaper than a frame of HTTP/2.
const JOINED_BYTES_MAX: usize = 16 * 1024;

/// One message with its frame.
pub(crate) fn encoded(kind: from_center::Kind) -> Bytes {
    let mut out = Vec::new();
    grpc::encode(&sync::FromCenter { kind: Some(kind) }, &mut out);
    out.into()
}

/// A delta in pieces that each fit a message; only the first replaces and takes away.
pub(crate) fn frames(mut head: sync::Delta, upserted: Vec<&Bytes>) -> Vec<Bytes> {
    let mut frames = Vec::new();
    let mut piece: Vec<&[u8]> = Vec::with_capacity(upserted.len());
    let mut bytes = 0;
    for instance in upserted {
        let length = frame::bytes_in_delta(instance);
        if bytes + length > DELTA_BYTES_MAX && !piece.is_empty() {
            frames.push(frame::delta_frame(&head, &piece).into());
            head.full = false;
            head.removed.clear();
            piece.clear();
            bytes = 0;
        }
        bytes += length;
        piece.push(instance);
    }
    frames.push(frame::delta_frame(&head, &piece).into());
    frames
}

/// The same bytes in as few pieces as is worth the copying.
pub(crate) fn joined(messages: Vec<Bytes>) -> Vec<Bytes> {
    if messages.len() < 2 {
        return messages;
    }
    let mut pieces = Vec::new();
    let mut small = BytesMut::new();
    for message in messages {
        if small.len() + message.len() > JOINED_BYTES_MAX && !small.is_empty() {
            pieces.push(small.split().freeze());
        }
        if message.len() > JOINED_BYTES_MAX {
            pieces.push(message);
        } else {
            small.extend_from_slice(&message);
        }
    }
    if !small.is_empty() {
        pieces.push(small.freeze());
    }
    pieces
}

#[cfg(test)]
mod tests;
