//! Objects and history as rows of the store: JSON, so that a later weft, or a person, can read them.

use super::{Deed, ObjectKey, Past, PastKey, Stored};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use weft_api::kinds::{API_VERSION, Kind, Object};
use weft_api::sync::Version;

/// `MeshService/default/orders`.
pub(super) fn object_key(key: &ObjectKey) -> String {
    format!("{}/{}/{}", key.kind.name(), key.namespace, key.name)
}

pub(super) fn of_object(stored: &Stored) -> Vec<u8> {
    let row = json!({
        "kind": stored.key.kind.name(),
        "namespace": stored.key.namespace,
        "name": stored.key.name,
        "labels": stored.labels,
        "spec": stored.spec,
        "generation": stored.generation,
        "epoch": stored.version.epoch,
        "revision": stored.version.revision,
        "created_ms": stored.created_ms,
    });
    row.to_string().into_bytes()
}

pub(super) fn object(row: &[u8]) -> Option<Stored> {
    let row: Value = serde_json::from_slice(row).ok()?;
    let key = key_of(&row)?;
    let labels = labels_of(&row)?;
    let as_written = json!({
        "apiVersion": API_VERSION,
        "kind": key.kind.name(),
        "metadata": { "name": key.name, "namespace": key.namespace, "labels": labels },
        "spec": row["spec"],
    });
    Some(Stored {
        meaning: Object::from_json(&as_written, "").map(|object| object.meaning),
        key,
        labels,
        spec: row["spec"].clone(),
        generation: row["generation"].as_u64()?,
        version: Version {
            epoch: row["epoch"].as_u64()?,
            revision: row["revision"].as_u64()?,
        },
        created_ms: row["created_ms"].as_u64()?,
    })
}

pub(super) fn of_past_key((epoch, revision, index): PastKey) -> String {
    format!("{epoch:020}.{revision:020}.{index:06}")
}

pub(super) fn past_key(key: &str) -> Option<PastKey> {
    let mut parts = key.split('.');
    let epoch = parts.next()?.parse().ok()?;
    let revision = parts.next()?.parse().ok()?;
    Some((epoch, revision, parts.next()?.parse().ok()?))
}

pub(super) fn of_past(past: &Past) -> Vec<u8> {
    let row = json!({
        "kind": past.key.kind.name(),
        "namespace": past.key.namespace,
        "name": past.key.name,
        "deed": past.deed.name(),
        "generation": past.generation,
        "labels": past.labels,
        "spec": past.spec,
        "author": past.author,
        "at_ms": past.at_ms,
    });
    row.to_string().into_bytes()
}

pub(super) fn past(row: &[u8]) -> Option<Past> {
    let row: Value = serde_json::from_slice(row).ok()?;
    Some(Past {
        key: key_of(&row)?,
        deed: Deed::from_name(row["deed"].as_str()?)?,
        generation: row["generation"].as_u64()?,
        labels: labels_of(&row)?,
        spec: row["spec"].clone(),
        author: row["author"].as_str()?.to_owned(),
        at_ms: row["at_ms"].as_u64()?,
    })
}

fn key_of(row: &Value) -> Option<ObjectKey> {
    Some(ObjectKey {
        kind: Kind::from_name(row["kind"].as_str()?)?,
        namespace: row["namespace"].as_str()?.to_owned(),
        name: row["name"].as_str()?.to_owned(),
    })
}

fn labels_of(row: &Value) -> Option<BTreeMap<String, String>> {
    serde_json::from_value(row["labels"].clone()).ok()
}
