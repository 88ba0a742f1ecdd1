//! The store in one file, on redb: pure Rust, transactions, a format that keeps. The one file that knows it.
//!
//! A lock beside the file carries the pid of its owner, so that a second center can say who has it. Never in
//! here: what the rows mean.

use super::{Change, Rows, Store, StoreError, Table};
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, TableError};
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// Bytes of pages kept in memory: the center holds what it knows itself, so the store is only written.
const CACHE_BYTES: usize = 4 * 1024 * 1024;

/// A file of at least so many bytes is compacted when it is opened.
const COMPACT_BYTES_MIN: u64 = 16 * 1024 * 1024;

/// A store in a file.
pub(crate) struct RedbFile {
    path: PathBuf,
    /// None after a failed commit: the next one opens the file anew, because redb refuses all after an
    /// I/O error.
    database: Option<Database>,
    /// Held as long as the store is open.
    _lock: File,
}

impl RedbFile {
    /// Opens the file, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, StoreError> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|error| failed("create the folder of the store", folder, &error))?;
        }
        let lock = lock(path)?;
        let mut database = database(path)?;
        let is_large = std::fs::metadata(path).is_ok_and(|file| file.len() >= COMPACT_BYTES_MIN);
        if is_large {
            let compacted = database.compact();
            compacted.map_err(|error| failed("compact the store", path, &error))?;
        }
        Ok(Self {
            path: path.to_owned(),
            database: Some(database),
            _lock: lock,
        })
    }

    fn database(&mut self) -> Result<&Database, StoreError> {
        if self.database.is_none() {
            self.database = Some(database(&self.path)?);
        }
        self.database
            .as_ref()
            .ok_or_else(|| StoreError("the store is closed".to_owned()))
    }

    fn try_rows(&mut self) -> Result<Rows, redb::Error> {
        let mut rows = Rows::new();
        let Ok(database) = self.database() else {
            return Ok(rows);
        };
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
        Ok(rows)
    }
}

impl Store for RedbFile {
    fn rows(&mut self) -> Result<Rows, StoreError> {
        self.database()?;
        self.try_rows()
            .map_err(|error| failed("read the store", &self.path, &error))
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        let committed = write(self.database()?, changes);
        committed.map_err(|error| {
            self.database = None;
            failed("write the store", &self.path, &error)
        })
    }
}

fn write(database: &Database, changes: &[Change]) -> Result<(), redb::Error> {
    // Durable when it returns: that is redb's default.
    let writing = database.begin_write()?;
    for (table, name) in Table::ALL {
        let own: Vec<_> = changes
            .iter()
            .filter(|change| change.table == table)
            .collect();
        if own.is_empty() {
            continue;
        }
        let mut open = writing.open_table(definition(name))?;
        for change in own {
            match &change.value {
                Some(value) => open.insert(change.key.as_str(), value.as_slice())?,
                None => open.remove(change.key.as_str())?,
            };
        }
    }
    writing.commit()?;
    Ok(())
}

fn definition(name: &str) -> TableDefinition<'_, &'static str, &'static [u8]> {
    TableDefinition::new(name)
}

fn database(path: &Path) -> Result<Database, StoreError> {
    let mut builder = Database::builder();
    builder.set_cache_size(CACHE_BYTES);
    let database = builder.create(path).map_err(|error| {
        let error = failed("open the store", path, &error);
        StoreError(format!(
            "{error}; if the file is damaged, move it away and bring back a backup with \"weft center restore\""
        ))
    })?;
    let own = std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600));
    own.map_err(|error| failed("keep from others the store", path, &error))?;
    Ok(database)
}

/// One process per file.
fn lock(path: &Path) -> Result<File, StoreError> {
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
