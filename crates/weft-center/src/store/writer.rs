//! The thread that commits: what comes while one commit is under way goes into the next, so that a thousand
//! changes a second cost fifty commits.
//!
//! Never in here: what the rows mean, when sidecars are told (they wait for [`Writer::durable`]).

use super::opening::KEY_REVISION;
use super::{Change, Rows, Store, StoreError, Table};
use crate::{clock, log};
use std::collections::BTreeMap;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::sync::{oneshot, watch};

/// Under load one commit begins this long after the last; without load it begins at once.
pub(crate) const COMMIT_WINDOW: Duration = Duration::from_millis(20);

/// After a failed commit the next is tried this much later.
const RETRY: Duration = Duration::from_secs(1);

/// What a person is waiting for.
struct Asked {
    changes: Vec<Change>,
    revision: u64,
    answer: oneshot::Sender<Result<(), StoreError>>,
}

/// What the next commit takes. Bounded: at most one value for each row, and one asker at a time.
#[derive(Default)]
struct Pending {
    rows: BTreeMap<(Table, String), Option<Vec<u8>>>,
    revision: u64,
    asked: Vec<Asked>,
    readers: Vec<oneshot::Sender<Result<Rows, StoreError>>>,
    stop: bool,
}

impl Pending {
    fn is_empty(&self, durable: u64) -> bool {
        let nothing_asked = self.asked.is_empty() && self.readers.is_empty();
        self.rows.is_empty() && nothing_asked && self.revision <= durable
    }
}

#[derive(Default)]
struct Shared {
    pending: Mutex<Pending>,
    woken: Condvar,
}

impl Shared {
    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The way to the thread that commits.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    durable: watch::Receiver<u64>,
    thread: Mutex<Option<JoinHandle<Committer>>>,
}

impl Writer {
    /// Starts the thread on a store whose last durable revision is known.
    pub(crate) fn start(store: Box<dyn Store>, durable: u64) -> std::io::Result<Self> {
        let (writer, committer) = Self::parts(store, durable);
        let thread = std::thread::Builder::new()
            .name("store".to_owned())
            .spawn(move || run(committer))?;
        *writer.thread() = Some(thread);
        Ok(writer)
    }

    /// What hands changes over, and what commits them, without a thread between the two.
    pub(crate) fn parts(store: Box<dyn Store>, durable: u64) -> (Self, Committer) {
        let shared = Arc::new(Shared::default());
        let (sender, receiver) = watch::channel(durable);
        let writer = Self {
            shared: Arc::clone(&shared),
            durable: receiver,
            thread: Mutex::new(None),
        };
        let committer = Committer {
            shared,
            store,
            durable: sender,
            failing: false,
        };
        (writer, committer)
    }

    fn thread(&self) -> MutexGuard<'_, Option<JoinHandle<Committer>>> {
        self.thread.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The last revision that is durable.
    pub(crate) fn durable(&self) -> watch::Receiver<u64> {
        self.durable.clone()
    }

    /// Commits these soon, however often it takes; all up to `revision` is then durable.
    pub(crate) fn soon(&self, changes: Vec<Change>, revision: u64) {
        let mut pending = self.shared.pending();
        for change in changes {
            pending
                .rows
                .insert((change.table, change.key), change.value);
        }
        pending.revision = pending.revision.max(revision);
        drop(pending);
        self.shared.woken.notify_one();
    }

    /// Commits these now, after all that was handed over for earlier revisions, or says why that failed: then none of them will be.
    pub(crate) async fn now(&self, changes: Vec<Change>, revision: u64) -> Result<(), StoreError> {
        let (answer, answered) = oneshot::channel();
        let asked = Asked {
            changes,
            revision,
            answer,
        };
        self.shared.pending().asked.push(asked);
        self.shared.woken.notify_one();
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError("the store is closed".to_owned())))
    }

    /// All rows, after what is under way.
    pub(crate) async fn rows(&self) -> Result<Rows, StoreError> {
        let (answer, answered) = oneshot::channel();
        self.shared.pending().readers.push(answer);
        self.shared.woken.notify_one();
        answered
            .await
            .unwrap_or_else(|_| Err(StoreError("the store is closed".to_owned())))
    }

    /// Commits what is left, then the mark of a clean stop, and closes the store.
    pub(crate) fn close(&self, mark: &[Change]) -> Result<(), StoreError> {
        self.shared.pending().stop = true;
        self.shared.woken.notify_one();
        let thread = self.thread().take();
        match thread.map(JoinHandle::join) {
            Some(Ok(committer)) => committer.close(mark),
            Some(Err(_)) => Err(StoreError("the store's thread has panicked".to_owned())),
            None => Ok(()),
        }
    }
}

/// What commits.
pub(crate) struct Committer {
    shared: Arc<Shared>,
    store: Box<dyn Store>,
    durable: watch::Sender<u64>,
    failing: bool,
}

impl Committer {
    /// What the next commit takes, if there is anything.
    pub(crate) fn turn_if_any(&mut self) -> Option<bool> {
        let durable = *self.durable.borrow();
        let taken = {
            let mut pending = self.shared.pending();
            if pending.is_empty(durable) {
                return None;
            }
            std::mem::take(&mut *pending)
        };
        Some(self.turn(taken))
    }

    /// Commits all of it, tells those who asked, and whether it was done.
    fn turn(&mut self, taken: Pending) -> bool {
        let asked = taken.asked.iter();
        let mut changes = changes_of(&taken.rows);
        changes.extend(
            asked
                .clone()
                .flat_map(|asked| asked.changes.iter().cloned()),
        );
        let asked = asked.map(|asked| asked.revision).max();
        let revision = taken
            .revision
            .max(asked.unwrap_or(0))
            .max(*self.durable.borrow());
        changes.push(Change::put(Table::Meta, KEY_REVISION, revision.to_string()));
        let committed = self.store.commit(&changes);
        if let Err(error) = &committed {
            if !self.failing {
                let message =
                    "the store cannot be written: nothing new is distributed until it can";
                log::line("error", message, &[("why", &error.to_string())]);
            }
            put_back(&self.shared, taken.rows, taken.revision);
        } else {
            if self.failing {
                log::line("info", "the store can be written again", &[]);
            }
            self.durable.send_replace(revision);
        }
        self.failing = committed.is_err();
        for asked in taken.asked {
            // Whoever no longer waits has gone away.
            let _ = asked.answer.send(committed.clone());
        }
        for reader in taken.readers {
            let _ = reader.send(self.store.rows());
        }
        committed.is_ok()
    }

    /// Commits what is left, then the mark.
    pub(crate) fn close(mut self, mark: &[Change]) -> Result<(), StoreError> {
        let left = std::mem::take(&mut *self.shared.pending());
        let mut changes = changes_of(&left.rows);
        changes.extend_from_slice(mark);
        self.store.commit(&changes)
    }
}

/// Commits until it is told to stop; what is then left, [`Writer::close`] commits.
fn run(mut committer: Committer) -> Committer {
    let mut not_before = clock::now();
    loop {
        // Not held while the new one is sent: that would wait for itself.
        let known = *committer.durable.borrow();
        let Some(taken) = next(&committer.shared, known, not_before) else {
            return committer;
        };
        let began = clock::now();
        not_before = if committer.turn(taken) {
            began + COMMIT_WINDOW
        } else {
            clock::now() + RETRY
        };
    }
}

/// What the next commit takes, once there is something and it is time; none: stop.
fn next(shared: &Shared, durable: u64, not_before: Instant) -> Option<Pending> {
    let mut pending = shared.pending();
    loop {
        if pending.stop {
            return None;
        }
        let now = clock::now();
        if !pending.is_empty(durable) && now >= not_before {
            return Some(std::mem::take(&mut *pending));
        }
        pending = if pending.is_empty(durable) {
            shared
                .woken
                .wait(pending)
                .unwrap_or_else(PoisonError::into_inner)
        } else {
            let wait = not_before.saturating_duration_since(now);
            let woken = shared.woken.wait_timeout(pending, wait);
            woken.unwrap_or_else(PoisonError::into_inner).0
        };
    }
}

/// What could not be committed waits for the next try, unless something newer already does.
fn put_back(shared: &Shared, rows: BTreeMap<(Table, String), Option<Vec<u8>>>, revision: u64) {
    let mut pending = shared.pending();
    for (key, value) in rows {
        pending.rows.entry(key).or_insert(value);
    }
    pending.revision = pending.revision.max(revision);
}

fn changes_of(rows: &BTreeMap<(Table, String), Option<Vec<u8>>>) -> Vec<Change> {
    rows.iter()
        .map(|((table, key), value)| Change {
            table: *table,
            key: key.clone(),
            value: value.clone(),
        })
        .collect()
}
