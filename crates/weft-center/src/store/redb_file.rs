//! The store in one file, on redb: pure Rust, transactions, a format that keeps. The one file that knows it.
//!
//! A lock beside the file carries the pid of its owner, so that a second center can say who has it. Beside the
//! rows the file keeps a ledger, written with each commit: its number, and a sum over all rows. The number
//! tells, after a commit that failed in its middle, whether the file has it; the sum tells damage that redb did
//! not see, because it checks pages when it opens a file and not when it reads them later. Never in here: what
//! the rows mean.

use super::disk::{Bytes, Disk, Real};
use super::{Change, Rows, Store, StoreError, Table};
use redb::{
    Database, ReadableDatabase, ReadableTable, StorageBackend, TableDefinition, TableError,
};
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Bytes of pages kept in memory: the center holds what it knows itself, so the store is only written.
pub(super) const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// A file of at least so many bytes is compacted when it is opened.
const COMPACT_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// Bytes copied at a time when a file is written anew: a page of redb.
const COPY_BYTES: usize = 4 * 1024;

const LEDGER: TableDefinition<'static, &'static str, (u64, u64)> = TableDefinition::new("ledger");

/// The ledger's one row: (number of the last commit, sum over all rows).
const LEDGER_KEY: &str = "last";

/// A store in a file.
pub(crate) struct RedbFile {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    cache_bytes: usize,
    /// None after a failed commit: the next one opens the file anew, because redb refuses all after an
    /// I/O error.
    database: Option<Database>,
    /// Something failed since the file was opened: see [`write_anew`].
    failed: bool,
    /// A commit that failed, and of which the file may have all or nothing.
    doubt: Option<Doubt>,
    /// Rows that the file has of refused commits, with the values that they should have. The next commit
    /// mends them; until then readers see these. A row each at the most.
    refused: BTreeMap<(Table, String), Option<Vec<u8>>>,
    /// Held as long as the store is open.
    _lock: Option<File>,
}

/// A refused commit: its number, and what takes it back.
struct Doubt {
    number: u64,
    undo: Vec<Change>,
}

/// Why a commit failed, and what would take it back if the file has it all the same.
struct Broken {
    error: redb::Error,
    doubt: Option<Doubt>,
}

impl<E: Into<redb::Error>> From<E> for Broken {
    fn from(error: E) -> Self {
        let error = error.into();
        Self { error, doubt: None }
    }
}

impl RedbFile {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| failed("create the folder of the store", folder, &error))?;
        }
        let lock = lock(path)?;
        Self::open_held(Arc::new(Real), path, CACHE_BYTES, Some(lock))
    }

    /// The same on any disk, without a lock.
    pub(super) fn open_on(
        disk: Arc<dyn Disk>,
        path: &Path,
        cache_bytes: usize,
    ) -> Result<Self, StoreError> {
        Self::open_held(disk, path, cache_bytes, None)
    }

    fn open_held(
        disk: Arc<dyn Disk>,
        path: &Path,
        cache_bytes: usize,
        lock: Option<File>,
    ) -> Result<Self, StoreError> {
        let mut store = Self {
            disk,
            path: path.to_owned(),
            cache_bytes,
            database: None,
            failed: false,
            doubt: None,
            refused: BTreeMap::new(),
            _lock: lock,
        };
        store.reopen(COMPACT_BYTES_MIN)?;
        Ok(store)
    }

    /// Opens the file, compacts it when it is large, and finds out whether it has what was refused.
    fn reopen(&mut self, compact_bytes_min: u64) -> Result<(), StoreError> {
        let (disk, path, cache_bytes) = (&self.disk, &self.path, self.cache_bytes);
        let opened = sound(|| -> Result<_, redb::Error> {
            if !disk.exists(path) {
                make(&**disk, path)?;
            }
            let file = disk.open(path)?;
            let length = file.length()?;
            if self.failed {
                write_anew(&*file, length)?;
            }
            let mut database = database(file, cache_bytes)?;
            if length >= compact_bytes_min {
                database.compact()?;
            }
            Ok(database)
        });
        let opened = opened.map_err(|reason| damaged("open the store", path, &reason));
        self.failed = opened.is_err();
        self.database = Some(opened?);
        let Some(doubt) = self.doubt.take() else {
            return Ok(());
        };
        match self.read(|database| ledger(database).map(|(number, _)| number)) {
            Err(error) => {
                self.doubt = Some(doubt);
                return Err(error);
            }
            Ok(number) if number == doubt.number => {
                let undo = doubt.undo.into_iter();
                // The last one of a row is its oldest value. One that was refused before is older still.
                let undo = undo.map(|change| ((change.table, change.key), change.value));
                for (row, value) in undo.collect::<BTreeMap<_, _>>() {
                    self.refused.entry(row).or_insert(value);
                }
            }
            Ok(_) => {}
        }
        Ok(())
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            self.reopen(u64::MAX)?;
        }
        self.database
            .as_ref()
            .ok_or_else(|| StoreError("the store is closed".to_owned()))
    }

    fn read<T>(
        &mut self,
        read: impl FnOnce(&Database) -> Result<T, redb::Error>,
    ) -> Result<T, StoreError> {
        let database = self.database()?;
        let found = sound(|| read(database));
        found.map_err(|reason| {
            self.close();
            damaged("read the store", &self.path, &reason)
        })
    }

    /// Lets go of the file; redb may fall over damage once more when it is told to end.
    fn close(&mut self) {
        let database = self.database.take();
        self.failed = true;
        let _ = catch_unwind(AssertUnwindSafe(|| drop(database)));
    }
}

impl Drop for RedbFile {
    fn drop(&mut self) {
        self.close();
    }
}

impl Store for RedbFile {
    fn rows(&mut self) -> Result<Rows, StoreError> {
        let (mut rows, sum) = self.read(rows)?;
        if sum.is_some_and(|sum| sum != sum_of(&rows)) {
            let reason = "its rows are not those that were written";
            return Err(damaged("read the store", &self.path, reason));
        }
        for (row, value) in &self.refused {
            match value {
                Some(value) => rows.insert(row.clone(), value.clone()),
                None => rows.remove(row),
            };
        }
        Ok(rows)
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        // First, because it finds out what was refused and is there all the same.
        self.database()?;
        let refused = self.refused.iter();
        let mut all: Vec<Change> = refused
            .map(|((table, key), value)| Change {
                table: *table,
                key: key.clone(),
                value: value.clone(),
            })
            .collect();
        all.extend_from_slice(changes);
        let database = self.database()?;
        let mut doubt = None;
        let written = sound(|| {
            write(database, &all).map_err(|broken| {
                doubt = broken.doubt;
                broken.error
            })
        });
        if let Err(reason) = written {
            self.close();
            self.doubt = doubt;
            return Err(failed("write the store", &self.path, &reason));
        }
        self.refused.clear();
        Ok(())
    }
}

/// A new file gets its name when it is whole: one of which redb has written a part is no store to it.
fn make(disk: &dyn Disk, path: &Path) -> Result<(), redb::Error> {
    let unnamed = path.with_extension("making.redb");
    if disk.exists(&unnamed) {
        disk.remove(&unnamed)?;
    }
    drop(database(disk.open(&unnamed)?, CACHE_BYTES)?);
    disk.open(&unnamed)?.sync()?;
    disk.rename(&unnamed, path)?;
    Ok(disk.sync_names(path)?)
}

fn database(file: Box<dyn Bytes>, cache_bytes: usize) -> Result<Database, redb::Error> {
    let mut builder = Database::builder();
    builder.set_cache_size(cache_bytes);
    // Without this a damaged page is read as it is.
    builder.set_check_integrity_on_open(true);
    Ok(builder.create_with_backend(Backend(file))?)
}

/// Does it, and tells a panic as what it is: redb falls over some kinds of damage instead of refusing them.
fn sound<T>(work: impl FnOnce() -> Result<T, redb::Error>) -> Result<T, String> {
    match catch_unwind(AssertUnwindSafe(work)) {
        Ok(done) => done.map_err(|error| error.to_string()),
        Err(_) => Err("its contents make no sense".to_owned()),
    }
}

/// All rows, and the sum that they should have; none: an older weft wrote them.
fn rows(database: &Database) -> Result<(Rows, Option<u64>), redb::Error> {
    let mut rows = Rows::new();
    let reading = database.begin_read()?;
    for (table, name) in Table::ALL {
        let open = match reading.open_table(definition(name)) {
            Err(TableError::TableDoesNotExist(_)) => continue,
            open => open?,
        };
        for row in open.iter()? {
            let (key, value) = row?;
            rows.insert((table, key.value().to_owned()), value.value().to_vec());
        }
    }
    let sum = match reading.open_table(LEDGER) {
        Err(TableError::TableDoesNotExist(_)) => None,
        open => open?.get(LEDGER_KEY)?.map(|row| row.value().1),
    };
    Ok((rows, sum))
}

/// The number of the last commit and the sum over all rows.
fn ledger(database: &Database) -> Result<(u64, u64), redb::Error> {
    let reading = database.begin_read()?;
    let row = match reading.open_table(LEDGER) {
        Err(TableError::TableDoesNotExist(_)) => None,
        open => open?.get(LEDGER_KEY)?.map(|row| row.value()),
    };
    match row {
        Some(row) => Ok(row),
        None => Ok((0, sum_of(&rows(database)?.0))),
    }
}

fn write(database: &Database, changes: &[Change]) -> Result<(), Broken> {
    let (last, mut sum) = ledger(database)?;
    let number = last + 1;
    let mut writing = database.begin_write().map_err(redb::Error::from)?;
    // Two syncs: the present commit is then certain, and a page of it that was damaged later is told as such.
    // With one, redb would take it for a commit that a crash cut off, and quietly go back to the one before.
    writing.set_two_phase_commit(true);
    let mut undo = Vec::with_capacity(changes.len());
    for (table, name) in Table::ALL {
        let mut own = changes
            .iter()
            .filter(|change| change.table == table)
            .peekable();
        if own.peek().is_none() {
            continue;
        }
        let mut open = writing.open_table(definition(name))?;
        for change in own {
            let key = change.key.as_str();
            let former = match &change.value {
                Some(value) => open.insert(key, value.as_slice())?,
                None => open.remove(key)?,
            };
            let former = former.map(|former| former.value().to_vec());
            let part = |value: &[u8]| row_sum(table, key, value);
            sum = sum.wrapping_sub(former.as_deref().map_or(0, part));
            sum = sum.wrapping_add(change.value.as_deref().map_or(0, part));
            undo.push(Change {
                value: former,
                ..change.clone()
            });
        }
    }
    // The last value of a row that was changed twice is taken back first.
    undo.reverse();
    writing
        .open_table(LEDGER)?
        .insert(LEDGER_KEY, (number, sum))?;
    writing.commit().map_err(|error| Broken {
        error: error.into(),
        doubt: Some(Doubt { number, undo }),
    })
}

/// Rows can be added and taken away in any order.
fn sum_of(rows: &Rows) -> u64 {
    let parts = rows
        .iter()
        .map(|((table, key), value)| row_sum(*table, key, value));
    parts.fold(0, u64::wrapping_add)
}

/// FNV-1a over a row: against damage, not against people.
fn row_sum(table: Table, key: &str, value: &[u8]) -> u64 {
    let parts = [table.name().as_bytes(), &[0], key.as_bytes(), &[0], value];
    let bytes = parts.into_iter().flatten();
    bytes.fold(0xcbf2_9ce4_8422_2325, |sum, byte| {
        (sum ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

/// After a sync that failed, the system may take pages for written that the disk never got; what is read
/// would then differ from what is there after the power went. Writing all of them once more mends that.
fn write_anew(file: &dyn Bytes, length: u64) -> io::Result<()> {
    let mut piece = vec![0; COPY_BYTES];
    let mut offset = 0;
    while offset < length {
        let wanted = (length - offset).min(COPY_BYTES as u64) as usize;
        file.read(offset, &mut piece[..wanted])?;
        // What was never written has no place on the disk yet, which may be full.
        if piece[..wanted].iter().any(|byte| *byte != 0) {
            file.write(offset, &piece[..wanted])?;
        }
        offset += wanted as u64;
    }
    file.sync()
}

/// A file's bytes, as redb wants them.
#[derive(Debug)]
struct Backend(Box<dyn Bytes>);

impl StorageBackend for Backend {
    fn len(&self) -> io::Result<u64> {
        self.0.length()
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read(offset, out)
    }

    fn set_len(&self, length: u64) -> io::Result<()> {
        self.0.set_length(length)
    }

    fn sync_data(&self) -> io::Result<()> {
        self.0.sync()
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write(offset, bytes)
    }
}

fn definition(name: &str) -> TableDefinition<'_, &'static str, &'static [u8]> {
    TableDefinition::new(name)
}

/// One process per file.
pub(super) fn lock(path: &Path) -> Result<File, StoreError> {
    let beside = path.with_extension("lock");
    let attempted = "lock the store";
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).mode(0o600);
    let mut file = options
        .open(&beside)
        .map_err(|error| failed(attempted, &beside, &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            let _ = file.read_to_string(&mut owner);
            let owner = match owner.trim() {
                "" => "another process".to_owned(),
                pid => format!("the process {pid}"),
            };
            return Err(StoreError(format!(
                "cannot open the store {}: {owner} has it open (its lock is {}); stop that center, or start \
                 this one with another WEFT_STATE_DIR or with --memory",
                path.display(),
                beside.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(failed(attempted, &beside, &error)),
    }
    let written = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|error| failed(attempted, &beside, &error))?;
    Ok(file)
}

fn failed(attempted: &str, path: &Path, error: &dyn std::fmt::Display) -> StoreError {
    StoreError(format!("cannot {attempted} {}: {error}", path.display()))
}

fn damaged(attempted: &str, path: &Path, reason: &str) -> StoreError {
    let error = failed(attempted, path, &reason);
    StoreError(format!(
        "{error}; if the file is damaged, move it away and bring back a backup with \"weft center restore\""
    ))
}
