//! What streams are pushed, encoded once for all sidecars that hold the same revision: after one change a
//! thousand of them want the same bytes.
//!
//! Never in here: who gets which batch.

use crate::catalog::Changes;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;
use weft_api::grpc;
use weft_api::sync::{self, from_center};

/// Bytes of instances in one delta; more become several deltas. Well below what a sidecar takes.
const DELTA_BYTES_MAX: usize = 1024 * 1024;

/// Batches kept, one for each revision that sidecars hold. Most hold the last one or none.
const BATCHES_KEPT_MAX: usize = 8;

/// The messages that bring a sidecar to a revision.
#[derive(Debug)]
pub(crate) struct Batch {
    pub(crate) revision: u64,
    pub(crate) messages: Vec<Bytes>,
}

/// Batches to the present revision, by the revision they start from.
#[derive(Default)]
pub(crate) struct Batches {
    revision: u64,
    kept: HashMap<Option<u64>, Arc<Batch>>,
}

impl Batches {
    /// The batch from `held` to `revision`: one that is kept, or a new one of what `changes` tells.
    pub(crate) fn since(
        &mut self,
        held: Option<u64>,
        revision: u64,
        changes: impl FnOnce() -> Changes,
    ) -> Arc<Batch> {
        if self.revision != revision || self.kept.len() >= BATCHES_KEPT_MAX {
            self.kept.clear();
            self.revision = revision;
        }
        let encode = || {
            Arc::new(Batch {
                revision,
                messages: messages(changes()),
            })
        };
        Arc::clone(self.kept.entry(held).or_insert_with(encode))
    }
}

/// Deltas first; the names end a batch.
fn messages(changes: Changes) -> Vec<Bytes> {
    let deltas = changes
        .deltas
        .into_iter()
        .flat_map(split)
        .map(from_center::Kind::Delta);
    let names = std::iter::once(from_center::Kind::Names(changes.names));
    deltas.chain(names).map(encoded).collect()
}

/// One message with its frame.
pub(crate) fn encoded(kind: from_center::Kind) -> Bytes {
    let mut out = Vec::new();
    grpc::encode(&sync::FromCenter { kind: Some(kind) }, &mut out);
    out.into()
}

/// A delta in pieces that each fit a message; only the first replaces.
fn split(mut delta: sync::Delta) -> Vec<sync::Delta> {
    let mut pieces = Vec::new();
    let mut bytes = 0;
    let mut scratch = Vec::new();
    let upserted = std::mem::take(&mut delta.upserted);
    let mut piece = delta;
    for instance in upserted {
        scratch.clear();
        grpc::encode(&instance, &mut scratch);
        let length = scratch.len();
        if bytes + length > DELTA_BYTES_MAX && !piece.upserted.is_empty() {
            let next = sync::Delta {
                version: piece.version,
                namespace: piece.namespace.clone(),
                service: piece.service.clone(),
                ..sync::Delta::default()
            };
            pieces.push(std::mem::replace(&mut piece, next));
            bytes = 0;
        }
        bytes += length;
        piece.upserted.push(instance);
    }
    pieces.push(piece);
    pieces
}

#[cfg(test)]
mod tests;
