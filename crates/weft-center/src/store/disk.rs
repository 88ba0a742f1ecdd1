//! What a store needs of the folder it lies in: a file's bytes, and names that change durably.
//!
//! A seam, so that a simulated disk can lose, tear and reorder what was not synced, be full, and flip bits.
//! Never in here: what the bytes mean.

use std::fmt;
use std::fs::{File, OpenOptions, Permissions};
use std::io;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

/// The bytes of one open file.
pub(super) trait Bytes: fmt::Debug + Send + Sync {
    fn length(&self) -> io::Result<u64>;

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()>;

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Longer: with zeros.
    fn set_length(&self, length: u64) -> io::Result<()>;

    /// Whatever was written before stays, also when the power goes.
    fn sync(&self) -> io::Result<()>;
}

/// A folder and what is in it.
pub(super) trait Disk: Send + Sync {
    /// The file with this name, made if there is none, for its owner's eyes only.
    fn open(&self, path: &Path) -> io::Result<Box<dyn Bytes>>;

    fn exists(&self, path: &Path) -> bool;

    /// A second name for a file, or a copy of it.
    fn link(&self, path: &Path, other: &Path) -> io::Result<()>;

    /// The file gets the other name, whose own file goes, at once or not at all.
    fn rename(&self, path: &Path, other: &Path) -> io::Result<()>;

    fn remove(&self, path: &Path) -> io::Result<()>;

    /// Names that were made, changed or removed beside this file stay so, also when the power goes.
    fn sync_names(&self, path: &Path) -> io::Result<()>;
}

/// The disk of this machine.
#[derive(Debug)]
pub(super) struct Real;

impl Disk for Real {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Bytes>> {
        let mut options = OpenOptions::new();
        options.read(true).write(true).create(true).mode(0o600);
        let file = options.open(path)?;
        // One that an operator brought may be readable for others.
        file.set_permissions(Permissions::from_mode(0o600))?;
        Ok(Box::new(RealFile(file)))
    }

    fn exists(&self, path: &Path) -> bool {
        path.exists()
    }

    fn link(&self, path: &Path, other: &Path) -> io::Result<()> {
        // Not every file system knows links.
        std::fs::hard_link(path, other).or_else(|_| {
            std::fs::copy(path, other)?;
            File::open(other)?.sync_all()
        })
    }

    fn rename(&self, path: &Path, other: &Path) -> io::Result<()> {
        std::fs::rename(path, other)
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        std::fs::remove_file(path)
    }

    fn sync_names(&self, path: &Path) -> io::Result<()> {
        let folder = path
            .parent()
            .filter(|folder| !folder.as_os_str().is_empty());
        File::open(folder.map_or_else(|| PathBuf::from("."), Path::to_path_buf))?.sync_all()
    }
}

#[derive(Debug)]
struct RealFile(File);

impl Bytes for RealFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.0.metadata()?.len())
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        self.0.read_exact_at(out, offset)
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        self.0.write_all_at(bytes, offset)
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        self.0.set_len(length)
    }

    fn sync(&self) -> io::Result<()> {
        self.0.sync_data()
    }
}
