//! Whose store it is, its epoch and its last revision.
//!
//! A version of the center's state is (store epoch, revision). Within an epoch revisions only grow, so an
//! epoch goes on only where the last revision is certain: after a clean stop, which leaves a mark with that
//! revision. After any other end, and after a restore, a new epoch begins; the store's id stays.

use super::memory::Forgetful;
use super::redb_file::RedbFile;
use super::{Change, Place, Rows, Store, StoreError, Table};
use crate::clock;
use std::fmt;
use std::hash::{BuildHasher as _, RandomState};

/// The format of the rows.
pub(super) const FORMAT: &str = "1";

pub(super) const KEY_FORMAT: &str = "format";
pub(super) const KEY_STORE_ID: &str = "store_id";
pub(super) const KEY_EPOCH: &str = "epoch";
pub(super) const KEY_REVISION: &str = "revision";
pub(super) const KEY_CLEAN: &str = "clean";

/// An open store and what it says of itself.
pub(crate) struct Opened {
    pub(crate) store: Box<dyn Store>,
    pub(crate) store_id: String,
    pub(crate) epoch: u64,
    /// The last revision that the center may have told anybody in this epoch.
    pub(crate) revision: u64,
    /// What the last center noted at its clean stop; none: the epoch is a new one.
    pub(crate) clean_note: Option<u64>,
    pub(crate) rows: Rows,
}

/// A store that is open: from then on nobody else can have it.
pub struct Kept(pub(crate) Opened);

impl Kept {
    /// Opens a store, or makes it.
    pub fn open(place: &Place) -> Result<Self, StoreError> {
        open(place, &random_id(), clock::unix_millis()).map(Self)
    }
}

impl fmt::Debug for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Kept")
            .field("store_id", &self.0.store_id)
            .field("epoch", &self.0.epoch)
            .finish_non_exhaustive()
    }
}

/// 128 random bits as text. The standard library's hasher keys are random per process; nothing here is a
/// secret, two stores only must not be taken for one another.
fn random_id() -> String {
    let part = || RandomState::new().hash_one(clock::unix_millis());
    format!("{:016x}{:016x}", part(), part())
}

/// Opens a store. A new one takes `fresh_id`; a new epoch is `unix_ms`, or one more than the last.
pub(crate) fn open(place: &Place, fresh_id: &str, unix_ms: u64) -> Result<Opened, StoreError> {
    let store: Box<dyn Store> = match place {
        Place::Memory => Box::new(Forgetful),
        Place::File(path) => Box::new(RedbFile::open(path)?),
    };
    take_over(store, fresh_id, unix_ms)
}

/// Reads what a store says of itself and notes that it is in use.
pub(crate) fn take_over(
    mut store: Box<dyn Store>,
    fresh_id: &str,
    unix_ms: u64,
) -> Result<Opened, StoreError> {
    let rows = store.rows()?;
    match text(&rows, KEY_FORMAT) {
        None | Some(FORMAT) => {}
        Some(other) => {
            return Err(StoreError(format!(
                "cannot use the store: its format is {other}, this weft knows {FORMAT}; use the weft that wrote it"
            )));
        }
    }
    let store_id = text(&rows, KEY_STORE_ID).unwrap_or(fresh_id).to_owned();
    let revision = number(&rows, KEY_REVISION).unwrap_or(0);
    let last_epoch = number(&rows, KEY_EPOCH);
    let clean_note = clean_note(&rows, revision);
    let epoch = match (last_epoch, clean_note) {
        (Some(epoch), Some(_)) => epoch,
        (last, _) => new_epoch(last, unix_ms),
    };
    store.commit(&[
        Change::put(Table::Meta, KEY_FORMAT, FORMAT),
        Change::put(Table::Meta, KEY_STORE_ID, store_id.as_str()),
        Change::put(Table::Meta, KEY_EPOCH, epoch.to_string()),
        Change::put(Table::Meta, KEY_REVISION, revision.to_string()),
        Change::remove(Table::Meta, KEY_CLEAN),
    ])?;
    Ok(Opened {
        store,
        store_id,
        epoch,
        revision,
        clean_note,
        rows,
    })
}

/// An epoch after `last`.
pub(super) fn new_epoch(last: Option<u64>, unix_ms: u64) -> u64 {
    unix_ms.max(last.map_or(0, |last| last + 1))
}

/// What a clean stop leaves: the last revision, and the center's note for its next start.
pub(crate) fn clean_mark(revision: u64, note: u64) -> Vec<Change> {
    vec![
        Change::put(Table::Meta, KEY_REVISION, revision.to_string()),
        Change::put(Table::Meta, KEY_CLEAN, format!("{revision} {note}")),
    ]
}

fn clean_note(rows: &Rows, revision: u64) -> Option<u64> {
    let (at, note) = text(rows, KEY_CLEAN)?.split_once(' ')?;
    if at.parse() != Ok(revision) {
        return None;
    }
    note.parse().ok()
}

pub(super) fn text<'a>(rows: &'a Rows, key: &str) -> Option<&'a str> {
    let value = rows.get(&(Table::Meta, key.to_owned()))?;
    std::str::from_utf8(value).ok()
}

pub(super) fn number(rows: &Rows, key: &str) -> Option<u64> {
    text(rows, key)?.parse().ok()
}
