//! Instances as rows of the store, so that a center that starts anew never knows an emptier world.
//!
//! Never in here: what is true of them (`catalog.rs`).

use crate::store::{Change, Rows, Table};
use weft_api::grpc;
use weft_api::sync;
use weft_model::ServiceName;

/// The row of an instance, of its encoded record; without one it goes.
pub(crate) fn change(service: &ServiceName, id: &str, record: Option<&[u8]>) -> Change {
    let key = format!("{}/{}/{id}", service.namespace, service.name);
    match record {
        None => Change::remove(Table::Instances, key),
        Some(record) => Change::put(Table::Instances, key, grpc::framed(record)),
    }
}

/// All instances of a store that sidecars can use, and the keys of those that they cannot.
pub(crate) fn records(rows: &Rows) -> (Vec<sync::Instance>, Vec<String>) {
    let mut records = Vec::new();
    let mut unread = Vec::new();
    for ((table, key), value) in rows {
        if *table != Table::Instances {
            continue;
        }
        let mut decoder = grpc::Decoder::new(grpc::MESSAGE_BYTES_MAX);
        decoder.push(value);
        match decoder.next::<sync::Instance>() {
            Ok(Some(record)) if sync::instance_from_wire(&record, "instance").is_ok() => {
                records.push(record);
            }
            _ => unread.push(format!("{}/{key}", table.name())),
        }
    }
    (records, unread)
}
