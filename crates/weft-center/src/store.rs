//! What a center keeps: rows in a few tables, committed whole and durable or not at all.
//!
//! | file | defines |
//! |---|---|
//! | `store/redb_file.rs` | the store in one file: the one place that knows the storage crate |
//! | `store/disk.rs` | the folder and the bytes below that file |
//! | `store/memory.rs` | the store of a center that may forget |
//! | `store/opening.rs` | whose store it is, its epoch and its last revision |
//! | `store/writer.rs` | the thread that commits, many changes at a time |
//! | `store/backup.rs` | all rows as one file, and back |
//!
//! A cluster's store will be one more file with the same small trait. Never in here: what the rows mean.

pub mod backup;
mod disk;
mod memory;
mod opening;
mod redb_file;
mod writer;

pub(crate) use memory::SharedRows;
pub use opening::Kept;
pub(crate) use opening::{Opened, clean_mark, take_over};
pub(crate) use writer::{Committer, Writer};

use std::collections::BTreeMap;
use std::fmt;
use std::path::PathBuf;

/// Where a center keeps what it knows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Place {
    /// Nowhere: it forgets all when it ends.
    Memory,
    /// In this file, with a lock beside it.
    File(PathBuf),
}

/// The tables.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Table {
    /// Whose store it is, and its version.
    Meta,
    /// What people declared.
    Objects,
    /// What they declared before.
    History,
    /// Instances that sidecars registered.
    Instances,
}

impl Table {
    /// Every table with its name, which is part of the format.
    pub(crate) const ALL: [(Self, &'static str); 4] = [
        (Self::Meta, "meta"),
        (Self::Objects, "objects"),
        (Self::History, "history"),
        (Self::Instances, "instances"),
    ];

    pub(crate) fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(table, _)| *table == self)
            .map_or("", |(_, name)| name)
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        Self::ALL
            .iter()
            .find(|(_, known)| *known == name)
            .map(|(table, _)| *table)
    }
}

/// All rows of a store.
pub(crate) type Rows = BTreeMap<(Table, String), Vec<u8>>;

/// One row's new value; none: it goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Change {
    pub(crate) table: Table,
    pub(crate) key: String,
    pub(crate) value: Option<Vec<u8>>,
}

impl Change {
    pub(crate) fn put(table: Table, key: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        Self {
            table,
            key: key.into(),
            value: Some(value.into()),
        }
    }

    pub(crate) fn remove(table: Table, key: impl Into<String>) -> Self {
        Self {
            table,
            key: key.into(),
            value: None,
        }
    }
}

/// A place where rows stay.
pub(crate) trait Store: Send {
    /// All rows.
    fn rows(&mut self) -> Result<Rows, StoreError>;

    /// Makes all changes, durably, or none. After a failure the next call tries anew.
    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError>;
}

/// Why a store cannot be used: what was attempted, what was found, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreError(pub(crate) String);

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for StoreError {}

#[cfg(test)]
mod tests;
