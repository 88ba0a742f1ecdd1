//! Two files that are whole at every moment, whenever the power goes.
//!
//! Never in here: when to write.

use super::Unread;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufWriter, ErrorKind, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use weft_api::saved::{Encoder, FILE_BYTES_MAX, HEAD_BYTES, Part};

/// Bytes that are handed to the system at a time.
const WRITE_BYTES: usize = 16 * 1024;

/// The name of a file that is being written, up to its writer's process id.
const DRAFT: &str = "snapshot.new.";

/// The files of one folder.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    /// A newest file that cannot be read does not take the place of the one before it.
    pub(super) newest_is_sound: bool,
}

impl Files {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
            newest_is_sound: true,
        }
    }

    pub(super) fn newest(&self) -> PathBuf {
        self.folder.join("snapshot")
    }

    pub(super) fn before(&self) -> PathBuf {
        self.folder.join("snapshot.before")
    }

    /// Where this process writes before it renames: a successor may already write while its predecessor drains.
    pub(super) fn draft(&self) -> PathBuf {
        self.folder.join(format!("{DRAFT}{}", std::process::id()))
    }

    /// Removes what processes that were killed while they wrote left behind.
    pub(super) fn remove_orphans(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else {
            return;
        };
        for entry in entries.flatten() {
            let name = entry.file_name();
            let writer = name.to_str().and_then(|name| name.strip_prefix(DRAFT));
            if writer.is_some_and(|writer| !Path::new("/proc").join(writer).exists()) {
                // What stays is in nobody's way.
                let _ = fs::remove_file(entry.path());
            }
        }
    }

    /// Writes a new newest file, of a message that is told in parts; what was the newest is the one before it. Why
    /// not, else.
    pub(super) fn write(
        &mut self,
        tell: impl FnOnce(&mut dyn FnMut(Part<'_>)),
    ) -> Result<(), String> {
        let (draft, newest, before) = (self.draft(), self.newest(), self.before());
        let step = |what: &str, path: &Path, done: io::Result<()>| {
            done.map_err(|error| format!("cannot {what} {}: {error}", path.display()))
        };
        step("write", &draft, write_through(&draft, tell))?;
        if self.newest_is_sound {
            match fs::rename(&newest, &before) {
                Err(error) if error.kind() != ErrorKind::NotFound => {
                    return step("rename", &newest, Err(error));
                }
                Ok(()) | Err(_) => {}
            }
        }
        step("rename", &draft, fs::rename(&draft, &newest))?;
        self.newest_is_sound = true;
        let folder = File::open(&self.folder).and_then(|folder| folder.sync_all());
        step("flush", &self.folder, folder)
    }
}

fn write_through(path: &Path, tell: impl FnOnce(&mut dyn FnMut(Part<'_>))) -> io::Result<()> {
    let file = OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(path)?;
    let mut out = BufWriter::with_capacity(WRITE_BYTES, file);
    // The head's place: what stands in it is known at the end.
    let mut written = out.write_all(&[0; HEAD_BYTES]);
    let mut encoder = Encoder::default();
    tell(&mut |part| {
        if written.is_err() {
            return;
        }
        let bytes = encoder.part(part);
        written = out.write_all(bytes);
        if encoder.file_bytes() > FILE_BYTES_MAX as u64 {
            let text = format!("more than {FILE_BYTES_MAX} bytes");
            written = Err(io::Error::new(ErrorKind::FileTooLarge, text));
        }
    });
    written?;
    out.seek(SeekFrom::Start(0))?;
    out.write_all(&encoder.head())?;
    out.flush()?;
    out.get_ref().sync_all()
}

/// Reads one file whole.
pub(super) fn read(path: &Path) -> Result<Vec<u8>, Unread> {
    let file = File::open(path).map_err(|error| match error.kind() {
        ErrorKind::NotFound => Unread::Missing,
        _ => Unread::Failed(error),
    })?;
    let length = file.metadata().map_err(Unread::Failed)?.len();
    if length > FILE_BYTES_MAX as u64 {
        return Err(Unread::TooLong(length));
    }
    let mut bytes = Vec::with_capacity(length as usize);
    file.take(FILE_BYTES_MAX as u64)
        .read_to_end(&mut bytes)
        .map_err(Unread::Failed)?;
    Ok(bytes)
}
