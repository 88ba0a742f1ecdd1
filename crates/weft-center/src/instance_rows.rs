//! Instances as rows of the store, so that a center that starts anew never knows an emptier world.
//!
//! Never in here: what is true of them (`catalog.rs`).

use crate::store::{Change, Rows, Table};
use weft_api::grpc;
use weft_api::sync;
use weft_model::ServiceName;

/// The row of an instance; without a record it goes.
pub(crate) fn change(service: &ServiceName, id: &str, record: Option<&sync::Instance>) -> Change {
    let key = format!("{}/{}/{id}", service.namespace, service.name);
    match record {
        None => Change::remove(Table::Instances, key),
        Some(record) => {
            let mut value = Vec::new();
            grpc::encode(record, &mut value);
            Change::put(Table::Instances, key, value)
        }
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
