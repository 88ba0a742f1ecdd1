//! All rows of a store as one file of JSON lines, and back: whole and checked, or refused.
//!
//! The file knows nothing of how rows are kept, so a backup of one kind of store can be restored into another.

use super::disk::{Disk, Real};
use super::opening::{KEY_CLEAN, KEY_EPOCH, KEY_STORE_ID, new_epoch, number, text};
use super::redb_file::{self, CACHE_BYTES, RedbFile};
use super::{Change, Rows, Store, StoreError, Table};
use crate::clock;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The format of a backup.
const FORMAT: u64 = 1;

/// Rows committed at a time when a backup is restored.
const CHUNK_ROWS: usize = 4_096;

/// What a restore did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Restored {
    /// The store's id, as it was.
    pub store_id: String,
    /// The new epoch.
    pub epoch: u64,
    /// How many rows it has.
    pub rows: usize,
    /// Where the store that was there before is now.
    pub former: Option<PathBuf>,
}

/// A backup of a store that no center has open.
pub fn of_closed(path: &Path) -> Result<String, StoreError> {
    if !path.exists() {
        return Err(StoreError(format!(
            "cannot make a backup: there is no store {}; start a center once, or name the state folder with \
             WEFT_STATE_DIR",
            path.display()
        )));
    }
    Ok(written(&RedbFile::open(path)?.rows()?))
}

/// Rows as the text of a backup.
pub(crate) fn written(rows: &Rows) -> String {
    let mut text = String::new();
    let mut sum = Sum::default();
    let mut line = |value: Value| {
        let line = value.to_string();
        sum.add(&line);
        text.push_str(&line);
        text.push('\n');
    };
    line(json!({ "weft_backup": FORMAT }));
    for ((table, key), value) in rows {
        line(json!({ "table": table.name(), "key": key, "value": hex(value) }));
    }
    let end = json!({ "rows": rows.len(), "sum": sum.text() });
    text.push_str(&end.to_string());
    text.push('\n');
    text
}

/// Makes a store of a backup. The store that is there is kept beside it. The new one has the backup's id and a
/// new epoch: sidecars then take what it says, although its revisions are older than what they hold.
pub fn restore(backup: &str, path: &Path) -> Result<Restored, StoreError> {
    let rows = read(backup)?;
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder).map_err(|error| failed("make", folder, &error))?;
    }
    let lock = redb_file::lock(path)?;
    let disk: Arc<dyn Disk> = Arc::new(Real);
    let restored = restore_on(&disk, rows, path, clock::unix_millis());
    drop(lock);
    restored
}

/// The same on any disk. At every moment the store's name leads to a whole store, the former or the new one.
pub(super) fn restore_on(
    disk: &Arc<dyn Disk>,
    rows: Rows,
    path: &Path,
    unix_ms: u64,
) -> Result<Restored, StoreError> {
    let open = |path: &Path| RedbFile::open_on(Arc::clone(disk), path, CACHE_BYTES);
    // Sidecars follow an epoch that is greater than any they saw. One that cannot be read, because the store
    // is damaged, was before now.
    let is_there = disk.exists(path);
    let former = is_there.then(|| open(path).and_then(|mut store| store.rows()));
    let former = former.and_then(Result::ok).unwrap_or_default();
    let rows = restored(rows, &former, unix_ms);
    let epoch = number(&rows, KEY_EPOCH).unwrap_or(unix_ms);
    let store_id = text(&rows, KEY_STORE_ID).unwrap_or("").to_owned();
    let fresh = path.with_extension("restoring.redb");
    let removed = |path: &Path| disk.remove(path).map_err(|e| failed("remove", path, &e));
    if disk.exists(&fresh) {
        removed(&fresh)?;
    }
    let changes: Vec<Change> = rows
        .into_iter()
        .map(|((table, key), value)| Change::put(table, key, value))
        .collect();
    let mut store = open(&fresh)?;
    for chunk in changes.chunks(CHUNK_ROWS) {
        store.commit(chunk)?;
    }
    drop(store);
    let mut former = None;
    if is_there {
        let beside = path.with_extension(format!("before-{unix_ms}.redb"));
        let linked = disk.link(path, &beside);
        let linked = linked.and_then(|()| disk.sync_names(path));
        linked.map_err(|error| failed("keep beside the store", &beside, &error))?;
        former = Some(beside);
    }
    let renamed = disk.rename(&fresh, path);
    let renamed = renamed.and_then(|()| disk.sync_names(path));
    renamed.map_err(|error| failed("put in place the store", path, &error))?;
    Ok(Restored {
        store_id,
        epoch,
        rows: changes.len(),
        former,
    })
}

fn failed(what: &str, path: &Path, error: &std::io::Error) -> StoreError {
    StoreError(format!("cannot {what} {}: {error}", path.display()))
}

/// The rows of a backup as a store has them after a restore over `former`.
pub(crate) fn restored(rows: Rows, former: &Rows, unix_ms: u64) -> Rows {
    let epoch = new_epoch(
        number(&rows, KEY_EPOCH).max(number(former, KEY_EPOCH)),
        unix_ms,
    );
    let mut rows = rows;
    rows.remove(&(Table::Meta, KEY_CLEAN.to_owned()));
    let key = (Table::Meta, KEY_EPOCH.to_owned());
    rows.insert(key, epoch.to_string().into_bytes());
    rows
}

/// The rows of a backup, when it is whole.
pub(crate) fn read(backup: &str) -> Result<Rows, StoreError> {
    let wrong = |line: usize, reason: &str| {
        StoreError(format!("cannot read the backup: line {line}: {reason}"))
    };
    let mut rows = Rows::new();
    let mut sum = Sum::default();
    let mut is_whole = false;
    for (index, line) in backup.lines().enumerate() {
        let number = index + 1;
        let value: Value =
            serde_json::from_str(line).map_err(|error| wrong(number, &error.to_string()))?;
        if is_whole {
            return Err(wrong(number, "something stands behind the end"));
        }
        if index == 0 {
            if value["weft_backup"] != FORMAT {
                return Err(wrong(number, "this is no backup that this weft can read"));
            }
            sum.add(line);
            continue;
        }
        if let Some(said) = value["sum"].as_str() {
            if said != sum.text() || value["rows"] != rows.len() {
                return Err(wrong(
                    number,
                    "the sum is wrong: the file was damaged or changed",
                ));
            }
            is_whole = true;
            continue;
        }
        sum.add(line);
        let table = value["table"].as_str().and_then(Table::from_name);
        let bytes = value["value"].as_str().and_then(unhex);
        let (Some(table), Some(key), Some(bytes)) = (table, value["key"].as_str(), bytes) else {
            return Err(wrong(number, "a row needs table, key and value"));
        };
        rows.insert((table, key.to_owned()), bytes);
    }
    if !is_whole {
        return Err(StoreError(
            "cannot read the backup: its end is missing; the file is not whole".to_owned(),
        ));
    }
    Ok(rows)
}

fn hex(bytes: &[u8]) -> String {
    let mut text = String::with_capacity(bytes.len() * 2);
    for byte in bytes {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02x}");
    }
    text
}

fn unhex(text: &str) -> Option<Vec<u8>> {
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| {
            let pair = std::str::from_utf8(pair)
                .ok()
                .filter(|pair| pair.len() == 2)?;
            u8::from_str_radix(pair, 16).ok()
        })
        .collect()
}

/// FNV-1a over lines: against torn and edited files, not against people.
struct Sum(u64);

impl Default for Sum {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Sum {
    fn add(&mut self, line: &str) {
        for byte in line.bytes().chain([b'\n']) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn text(&self) -> String {
        format!("{:016x}", self.0)
    }
}
