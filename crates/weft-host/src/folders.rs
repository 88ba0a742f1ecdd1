//! The runtime and the state folder, and one slot per sidecar in them.
//!
//! Runtime (ports, pids): `/run/weft` for root, else `$XDG_RUNTIME_DIR/weft`, else `weft-<uid>` in the
//! temporary folder. State (snapshots, the center's store): `/var/lib/weft` for root, else
//! `$XDG_STATE_HOME/weft`. `WEFT_RUNTIME_DIR` and `WEFT_STATE_DIR` override both.

use std::ffi::OsString;
use std::fmt;
use std::fs::{self, DirBuilder, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Sidecars of one service on one machine, at the most.
const SLOTS_MAX: u32 = 1000;

/// Where weft keeps its files on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Folders {
    /// Ports, pids: gone after a reboot.
    pub runtime: PathBuf,
    /// Snapshots, stores: kept.
    pub state: PathBuf,
}

impl Folders {
    /// The folders of this process's user and environment.
    pub fn of_this_user() -> Self {
        Self::resolve(
            |name| std::env::var_os(name),
            rustix::process::getuid().as_raw(),
            &std::env::temp_dir(),
        )
    }

    /// The folders for an environment, a user and a temporary folder.
    fn resolve(variable: impl Fn(&str) -> Option<OsString>, uid: u32, temporary: &Path) -> Self {
        let path = |name: &str| {
            variable(name)
                .filter(|value| !value.is_empty())
                .map(PathBuf::from)
        };
        let root = uid == 0;
        let runtime = path("WEFT_RUNTIME_DIR").unwrap_or_else(|| match path("XDG_RUNTIME_DIR") {
            _ if root => PathBuf::from("/run/weft"),
            Some(base) => base.join("weft"),
            None => temporary.join(format!("weft-{uid}")),
        });
        let state = path("WEFT_STATE_DIR").unwrap_or_else(|| {
            if root {
                return PathBuf::from("/var/lib/weft");
            }
            let base = path("XDG_STATE_HOME")
                .or_else(|| path("HOME").map(|home| home.join(".local/state")))
                .unwrap_or_else(|| temporary.join(format!("weft-{uid}-state")));
            base.join("weft")
        });
        Self { runtime, state }
    }

    /// Makes the runtime folder when it is missing (mode 0700), and refuses one that others may write to.
    pub fn prepare_runtime(&self) -> Result<(), FolderError> {
        prepare(&self.runtime)
    }

    /// The folder in which the sidecar of this slot keeps what it knows, made when it is missing.
    pub fn state_of(&self, slot: &Slot) -> Result<PathBuf, FolderError> {
        prepare(&self.state)?;
        let folder = self.state.join(slot.folder.file_name().unwrap_or_default());
        prepare(&folder)?;
        Ok(folder)
    }

    /// Takes the lowest free slot for a sidecar of this service.
    pub fn claim_slot(&self, namespace: &str, service: &str) -> Result<Slot, FolderError> {
        self.prepare_runtime()?;
        for number in 0..SLOTS_MAX {
            let name = format!("{namespace}-{service}-{number}");
            let folder = self.runtime.join(&name);
            prepare(&folder)?;
            let lock = folder.join("lock");
            let file = OpenOptions::new()
                .write(true)
                .create(true)
                .truncate(false)
                .mode(0o600)
                .open(&lock)
                .map_err(|error| FolderError::new("open", &lock, error.to_string()))?;
            match file.try_lock() {
                Ok(()) => {
                    let runtime_file = self.runtime.join(format!("{name}.json"));
                    return Ok(Slot {
                        number,
                        folder,
                        runtime_file,
                        _lock: file,
                    });
                }
                Err(TryLockError::WouldBlock) => {}
                Err(TryLockError::Error(error)) => {
                    return Err(FolderError::new("lock", &lock, error.to_string()));
                }
            }
        }
        let found = format!("all {SLOTS_MAX} slots of service \"{service}\" are in use");
        Err(FolderError::new("claim a slot in", &self.runtime, found))
    }
}

/// One sidecar's place in the runtime folder; free again when this value or its process ends.
#[derive(Debug)]
pub struct Slot {
    /// Its number among the sidecars of the same service on this machine.
    pub number: u32,
    /// Its folder.
    pub folder: PathBuf,
    /// Where its runtime file lies.
    pub runtime_file: PathBuf,
    /// Held as long as the slot is.
    _lock: File,
}

/// Why a folder cannot be used.
#[derive(Debug)]
pub struct FolderError {
    attempt: &'static str,
    path: PathBuf,
    found: String,
}

impl FolderError {
    pub(crate) fn new(attempt: &'static str, path: &Path, found: String) -> Self {
        Self {
            attempt,
            path: path.to_owned(),
            found,
        }
    }
}

impl fmt::Display for FolderError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "cannot {} {}: {}; name another folder with WEFT_RUNTIME_DIR or WEFT_STATE_DIR",
            self.attempt,
            self.path.display(),
            self.found
        )
    }
}

impl std::error::Error for FolderError {}

/// Makes a folder of mode 0700 unless it is there, then checks that it is ours alone to write: whoever could
/// write here could send our calls elsewhere.
fn prepare(path: &Path) -> Result<(), FolderError> {
    const OTHERS_WRITE: u32 = 0o022;
    let wrong = |attempt, found: io::Error| FolderError::new(attempt, path, found.to_string());
    DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(path)
        .map_err(|error| wrong("create the folder", error))?;
    let found = fs::symlink_metadata(path).map_err(|error| wrong("look at the folder", error))?;
    let uid = rustix::process::getuid().as_raw();
    if found.uid() != uid {
        let text = format!("it belongs to user {}, not to user {uid}", found.uid());
        return Err(FolderError::new("use the folder", path, text));
    }
    if found.mode() & OTHERS_WRITE != 0 {
        let text = format!("others may write to it (mode {:o})", found.mode() & 0o7777);
        return Err(FolderError::new("use the folder", path, text));
    }
    Ok(())
}

#[cfg(test)]
pub(crate) mod tests;
