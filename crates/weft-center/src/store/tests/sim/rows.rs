//! Rows as the simulation compares and shows them.

use crate::store::{Change, Rows, Table};

pub(super) fn is_out_of_room(text: &str) -> bool {
    text.contains("no storage space")
}

pub(super) fn without_meta(rows: &Rows) -> Rows {
    let rows = rows.iter().filter(|((table, _), _)| *table != Table::Meta);
    rows.map(|(key, value)| (key.clone(), value.clone()))
        .collect()
}

pub(super) fn apply(rows: &mut Rows, changes: &[Change]) {
    for change in changes {
        let key = (change.table, change.key.clone());
        match &change.value {
            Some(value) => rows.insert(key, value.clone()),
            None => rows.remove(&key),
        };
    }
}

/// Rows in few words.
pub(super) fn shown(rows: &Rows) -> String {
    let row = |((table, key), value): (&(Table, String), &Vec<u8>)| {
        let start = String::from_utf8_lossy(&value[..value.len().min(8)]).into_owned();
        format!("{}/{key}={start}", table.name())
    };
    let rows = rows
        .iter()
        .filter(|((table, _), _)| *table != Table::History);
    rows.map(row).collect::<Vec<_>>().join(", ")
}
