//! What this sidecar knows of the mesh, on disk: its successor serves from it without waiting for a center.
//!
//! Two files in the sidecar's own folder, the newest and the one before it. A new one is written beside them
//! and renamed when it is whole and on disk, from a thread that may block; a disk that fails costs a line in
//! the log and no call. Never in here: what the bytes mean (`weft-api`), what is true (`sync/world.rs`).

mod file;

use crate::log;
use file::Files;
use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::{JoinHandle, spawn_blocking};
use tokio::time::timeout;
use weft_api::saved;
use weft_api::saved::{FILE_BYTES_MAX, Found, Part, Unusable};
use weft_api::sync::FieldError;

/// After a picture others are waited for this long: many pictures, one write. With the time after which one is
/// taken, and the write itself, it stays below one second.
pub(crate) const GATHER: Duration = Duration::from_millis(50);

/// A write that failed is tried again after this time even when nothing changes.
pub(crate) const RETRY: Duration = Duration::from_secs(10);

/// A sidecar that leaves waits this long for its last write: a disk that others keep busy takes seconds.
const FINISH_WAIT_MAX: Duration = Duration::from_secs(3);

/// Tells the message of what was true at one time, in parts, on the thread that writes.
pub(crate) type Picture = Arc<dyn Fn(&mut dyn FnMut(Part<'_>)) + Send + Sync>;

/// What was found on disk at the start.
pub(crate) struct Loaded<T> {
    /// What the newest usable file says; none without any.
    pub(crate) content: Option<T>,
    /// What is to be told of it.
    pub(crate) told: Vec<(&'static str, String)>,
    files: Files,
}

/// Reads the newest usable file of a folder. `read` may still refuse its content.
pub(crate) fn load<T>(
    folder: &Path,
    read: impl Fn(Found<'_>) -> Result<T, FieldError>,
) -> Loaded<T> {
    let mut loaded = Loaded {
        content: None,
        told: Vec::new(),
        files: Files::new(folder),
    };
    loaded.files.remove_orphans();
    for (path, is_newest) in [
        (loaded.files.newest(), true),
        (loaded.files.before(), false),
    ] {
        let found = file::read(&path).and_then(|file| {
            let found = saved::find(&file).map_err(Unread::Unusable)?;
            let saved_at_ms = found.rest.saved_at_ms;
            read(found)
                .map(|content| (content, saved_at_ms))
                .map_err(|why| Unread::Refused(why.to_string()))
        });
        match found {
            Ok((content, saved_at_ms)) => {
                let age = crate::clock::unix_ms().saturating_sub(saved_at_ms) / 1000;
                let text = format!(
                    "serving from {}, saved {age} s ago, until a center is heard",
                    path.display()
                );
                loaded.told.push(("info", text));
                loaded.content = Some(content);
                return loaded;
            }
            Err(Unread::Missing) => {}
            Err(why) => {
                // The one before it stays the one before the next.
                loaded.files.newest_is_sound &= !is_newest;
                let text = format!("cannot use the saved snapshot {}: {why}", path.display());
                loaded.told.push(("warn", text));
            }
        }
    }
    if !loaded.told.is_empty() {
        let text = "no saved snapshot is usable: starting without, as at a first start".to_owned();
        loaded.told.push(("warn", text));
    }
    loaded
}

/// Why a file was not read.
#[derive(Debug)]
pub(crate) enum Unread {
    /// There is none.
    Missing,
    /// The system would not.
    Failed(io::Error),
    /// It has more bytes than any that weft writes.
    TooLong(u64),
    /// It is not what was written.
    Unusable(Unusable),
    /// It says something that cannot be.
    Refused(String),
}

impl fmt::Display for Unread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Missing => f.write_str("it is missing"),
            Self::Failed(error) => error.fmt(f),
            Self::TooLong(found) => write!(f, "it has {found} bytes, more than {FILE_BYTES_MAX}"),
            Self::Unusable(why) => why.fmt(f),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

/// Writes what it is given, soon.
pub(crate) struct Keeper {
    pictures: watch::Sender<Option<Picture>>,
    task: JoinHandle<()>,
}

impl Keeper {
    /// Goes on in the folder that was loaded.
    pub(crate) fn start<T>(loaded: Loaded<T>) -> Self {
        Self::with_retry(loaded, RETRY)
    }

    fn with_retry<T>(loaded: Loaded<T>, retry: Duration) -> Self {
        let (pictures, taken) = watch::channel(None);
        let task = tokio::spawn(keep(taken, loaded.files, retry));
        Self { pictures, task }
    }

    /// Has this written within a second, unless something newer is.
    pub(crate) fn keep(&self, picture: Picture) {
        self.pictures.send_replace(Some(picture));
    }

    /// Ends when what was given last is on disk, or cannot be.
    pub(crate) async fn finish(self) {
        drop(self.pictures);
        // What a slow disk misses here, a successor learns from the center.
        let _ = timeout(FINISH_WAIT_MAX, self.task).await;
    }
}

async fn keep(mut pictures: watch::Receiver<Option<Picture>>, mut files: Files, retry: Duration) {
    let mut is_behind = false;
    let mut last_why = String::new();
    loop {
        if is_behind {
            // Whichever comes first; at the end once more.
            let _ = timeout(retry, pictures.changed()).await;
        } else if pictures.changed().await.is_err() {
            return;
        }
        // Ends early when nobody is left to change anything.
        let is_last = timeout(GATHER, pictures.wait_for(|_| false)).await.is_ok();
        let Some(picture) = pictures.borrow_and_update().clone() else {
            return;
        };
        let written = spawn_blocking(move || {
            let written = files.write(|part| picture(part));
            (files, written)
        });
        // Only a panic ends here, and that has been told.
        let Ok((back, written)) = written.await else {
            return;
        };
        files = back;
        is_behind = written.is_err();
        let why = written.err().unwrap_or_default();
        if why != last_why {
            let level = if is_behind { "warn" } else { "info" };
            log::line(&log::event(level, &sentence(&why)));
            last_why = why;
        }
        if is_last {
            return;
        }
    }
}

fn sentence(why: &str) -> String {
    if why.is_empty() {
        return "what this sidecar knows of the mesh is on disk again".to_owned();
    }
    format!(
        "cannot save what this sidecar knows of the mesh: {why}; calls go on, but a restart without a center \
         would start from what was saved before; tried again every {} s",
        RETRY.as_secs()
    )
}

/// Where the newest file of a folder lies, for people.
pub(crate) fn newest_of(folder: &Path) -> PathBuf {
    Files::new(folder).newest()
}

#[cfg(test)]
mod tests;
