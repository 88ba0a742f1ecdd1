//! A disk as bad as real ones: what was not synced is lost, torn or reordered when the power goes; it can be
//! full, fail a sync, and flip bits. All by seed.

use super::random::Random;
use crate::store::disk::{Bytes, Disk};
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard};

/// What a disk writes at once or not at all.
const SECTOR: usize = 512;

/// What a file takes of the disk at a time.
const BLOCK: u64 = 4096;

/// A write or a change of length that no sync has made certain yet.
#[derive(Clone, Debug)]
enum Unsynced {
    Write(u64, Vec<u8>),
    Length(u64),
}

#[derive(Clone, Debug, Default)]
struct Content {
    /// As a running machine sees it.
    seen: Vec<u8>,
    /// As it would be found if nothing of what is unsynced arrived.
    durable: Vec<u8>,
    unsynced: Vec<Unsynced>,
    /// Which blocks have a place on the disk.
    placed: Vec<bool>,
}

/// How the next sync fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum SyncFault {
    /// The next one that works makes up for it.
    Again,
    /// The system then takes for written what the disk never got.
    Forgotten,
}

#[derive(Debug)]
struct State {
    random: Random,
    contents: Vec<Content>,
    names: BTreeMap<PathBuf, usize>,
    /// The names as they were after each change since the last sync of names, the oldest first.
    unsynced_names: Vec<BTreeMap<PathBuf, usize>>,
    /// Blocks that all files may have together.
    room: Option<usize>,
    /// After how many more syncs one fails, and how.
    sync_fault: Option<(usize, SyncFault)>,
    /// Changes until the power goes.
    power_for: Option<u64>,
    dead: bool,
    /// Handles of an earlier boot are of no use.
    boot: u64,
    /// Some of what is seen is neither durable nor waits for a sync.
    forgot: bool,
    changes: u64,
}

/// A simulated disk; clones are the same disk.
#[derive(Clone, Debug)]
pub(super) struct SimDisk(Arc<Mutex<State>>);

#[derive(Debug)]
struct SimFile {
    disk: SimDisk,
    content: usize,
    boot: u64,
}

impl SimDisk {
    pub(super) fn new(random: Random) -> Self {
        Self(Arc::new(Mutex::new(State {
            random,
            contents: Vec::new(),
            names: BTreeMap::new(),
            unsynced_names: vec![BTreeMap::new()],
            room: None,
            sync_fault: None,
            power_for: None,
            dead: false,
            boot: 0,
            forgot: false,
            changes: 0,
        })))
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    /// The power goes at the n-th change from now; none: it stays.
    pub(super) fn cut_power_in(&self, changes: Option<u64>) {
        self.state().power_for = changes;
    }

    pub(super) fn is_dead(&self) -> bool {
        self.state().dead
    }

    /// Writes, syncs and changes of names and lengths so far.
    pub(super) fn changes(&self) -> u64 {
        self.state().changes
    }

    /// No room for `spare` more blocks than there are; none: room enough.
    pub(super) fn fill(&self, spare: Option<usize>) {
        let mut state = self.state();
        let placed = state.placed();
        state.room = spare.map(|spare| placed + spare);
    }

    /// A sync fails, after so many that work.
    pub(super) fn fail_sync(&self, fault: Option<(usize, SyncFault)>) {
        self.state().sync_fault = fault;
    }

    /// The process dies, and with it its handles; the machine goes on.
    pub(super) fn kill(&self) {
        let mut state = self.state();
        if state.dead || state.forgot {
            drop(state);
            return self.cut_power();
        }
        state.boot += 1;
        state.power_for = None;
    }

    /// The power goes and comes back: some of what was not synced arrived, in any order, torn or not at all.
    pub(super) fn cut_power(&self) {
        let mut state = self.state();
        let state = &mut *state;
        state.boot += 1;
        state.power_for = None;
        state.dead = false;
        state.forgot = false;
        let kept = state.random.below(state.unsynced_names.len());
        state.names = state.unsynced_names.swap_remove(kept);
        state.unsynced_names = vec![state.names.clone()];
        for content in &mut state.contents {
            content.lose_power(&mut state.random);
        }
    }

    /// Flips one bit of a file, also of what is durable. Says where.
    pub(super) fn flip(&self, path: &Path) -> Option<u64> {
        let mut state = self.state();
        let content = *state.names.get(path)?;
        let State {
            contents, random, ..
        } = &mut *state;
        let content = &mut contents[content];
        // Half of them where pages are in use.
        let pages = content.seen.len() / BLOCK as usize;
        let used: Vec<usize> = (0..pages)
            .filter(|page| {
                let at = page * BLOCK as usize;
                content.seen[at..at + BLOCK as usize]
                    .iter()
                    .any(|b| *b != 0)
            })
            .collect();
        if used.is_empty() {
            return None;
        }
        let page = used[random.below(used.len())];
        let offset = page * BLOCK as usize + random.below(BLOCK as usize);
        let mask = 1 << random.below(8);
        content.seen[offset] ^= mask;
        if let Some(byte) = content.durable.get_mut(offset) {
            *byte ^= mask;
        }
        Some(offset as u64)
    }
}

impl State {
    fn placed(&self) -> usize {
        let of = |content: &usize| {
            self.contents[*content]
                .placed
                .iter()
                .filter(|p| **p)
                .count()
        };
        self.names.values().map(of).sum()
    }

    /// Before each change: may be the one at which the power goes.
    fn change(&mut self) -> io::Result<()> {
        self.alive()?;
        self.changes += 1;
        if let Some(left) = &mut self.power_for {
            *left = left.saturating_sub(1);
            if *left == 0 {
                self.dead = true;
            }
        }
        Ok(())
    }

    fn alive(&self) -> io::Result<()> {
        if self.dead {
            return Err(io::Error::other("the power is gone"));
        }
        Ok(())
    }

    fn rename(&mut self, change: impl FnOnce(&mut BTreeMap<PathBuf, usize>)) -> io::Result<()> {
        self.change()?;
        change(&mut self.names);
        self.unsynced_names.push(self.names.clone());
        self.alive()
    }
}

impl Content {
    fn apply(bytes: &mut Vec<u8>, change: &Unsynced) {
        match change {
            Unsynced::Length(length) => bytes.resize(*length as usize, 0),
            Unsynced::Write(offset, written) => {
                let end = *offset as usize + written.len();
                if bytes.len() < end {
                    bytes.resize(end, 0);
                }
                bytes[*offset as usize..end].copy_from_slice(written);
            }
        }
    }

    fn sync(&mut self) {
        for change in self.unsynced.drain(..) {
            Self::apply(&mut self.durable, &change);
        }
    }

    fn lose_power(&mut self, random: &mut Random) {
        // Each sector that was written since the last sync arrived or did not; the length is one of those
        // that the file had since.
        let mut lengths = vec![self.durable.len()];
        let luck = random.below(3);
        let mut found = self.durable.clone();
        for change in self.unsynced.drain(..) {
            let Unsynced::Write(offset, written) = change else {
                if let Unsynced::Length(length) = change {
                    lengths.push(length as usize);
                }
                continue;
            };
            for (index, sector) in written.chunks(SECTOR).enumerate() {
                let arrived = match luck {
                    0 => false,
                    1 => random.below(2) == 0,
                    _ => random.below(8) != 0,
                };
                if arrived {
                    let at = offset + (index * SECTOR) as u64;
                    Self::apply(&mut found, &Unsynced::Write(at, sector.to_vec()));
                }
            }
        }
        found.resize(lengths[random.below(lengths.len())], 0);
        self.durable.clone_from(&found);
        self.seen = found;
    }
}

impl Disk for SimDisk {
    fn open(&self, path: &Path) -> io::Result<Box<dyn Bytes>> {
        let mut state = self.state();
        state.alive()?;
        let known = state.names.get(path).copied();
        let content = known.unwrap_or(state.contents.len());
        if known.is_none() {
            state.contents.push(Content::default());
            state.rename(|names| {
                names.insert(path.to_owned(), content);
            })?;
        }
        Ok(Box::new(SimFile {
            disk: self.clone(),
            content,
            boot: state.boot,
        }))
    }

    fn exists(&self, path: &Path) -> bool {
        self.state().names.contains_key(path)
    }

    fn link(&self, path: &Path, other: &Path) -> io::Result<()> {
        let mut state = self.state();
        let content = state.names.get(path).copied();
        let content = content.ok_or(io::ErrorKind::NotFound)?;
        state.rename(|names| {
            names.insert(other.to_owned(), content);
        })
    }

    fn rename(&self, path: &Path, other: &Path) -> io::Result<()> {
        let mut state = self.state();
        let content = state.names.get(path).copied();
        let content = content.ok_or(io::ErrorKind::NotFound)?;
        state.rename(|names| {
            names.remove(path);
            names.insert(other.to_owned(), content);
        })
    }

    fn remove(&self, path: &Path) -> io::Result<()> {
        self.state().rename(|names| {
            names.remove(path);
        })
    }

    fn sync_names(&self, _: &Path) -> io::Result<()> {
        let mut state = self.state();
        state.change()?;
        state.alive()?;
        state.unsynced_names = vec![state.names.clone()];
        Ok(())
    }
}

impl SimFile {
    fn state(&self) -> io::Result<MutexGuard<'_, State>> {
        let state = self.disk.state();
        state.alive()?;
        if state.boot != self.boot {
            return Err(io::Error::other("this process is gone"));
        }
        Ok(state)
    }
}

impl Bytes for SimFile {
    fn length(&self) -> io::Result<u64> {
        Ok(self.state()?.contents[self.content].seen.len() as u64)
    }

    fn read(&self, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state()?;
        let seen = &state.contents[self.content].seen;
        let end = offset as usize + out.len();
        let found = seen.get(offset as usize..end);
        out.copy_from_slice(found.ok_or(io::ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let mut state = self.state()?;
        state.change()?;
        let mut spare = state.room.map(|room| room.saturating_sub(state.placed()));
        let content = &mut state.contents[self.content];
        let mut written = 0;
        while written < bytes.len() {
            let at = offset + written as u64;
            let block = (at / BLOCK) as usize;
            if content.placed.len() <= block {
                content.placed.resize(block + 1, false);
            }
            if !content.placed[block] {
                if spare == Some(0) {
                    break;
                }
                spare = spare.map(|spare| spare - 1);
                content.placed[block] = true;
            }
            let rest = (BLOCK - at % BLOCK) as usize;
            written = (written + rest).min(bytes.len());
        }
        if written > 0 {
            let change = Unsynced::Write(offset, bytes[..written].to_vec());
            Content::apply(&mut content.seen, &change);
            content.unsynced.push(change);
        }
        state.alive()?;
        if written < bytes.len() {
            return Err(io::ErrorKind::StorageFull.into());
        }
        Ok(())
    }

    fn set_length(&self, length: u64) -> io::Result<()> {
        let mut state = self.state()?;
        state.change()?;
        let content = &mut state.contents[self.content];
        let change = Unsynced::Length(length);
        Content::apply(&mut content.seen, &change);
        content.placed.truncate(length.div_ceil(BLOCK) as usize);
        content.unsynced.push(change);
        state.alive()
    }

    fn sync(&self) -> io::Result<()> {
        let mut state = self.state()?;
        state.change()?;
        state.alive()?;
        let fault = match &mut state.sync_fault {
            Some((left, _)) if *left > 0 => {
                *left -= 1;
                None
            }
            _ => state.sync_fault.take().map(|(_, fault)| fault),
        };
        if fault == Some(SyncFault::Forgotten) {
            state.forgot = true;
        }
        let content = &mut state.contents[self.content];
        match fault {
            None => content.sync(),
            Some(SyncFault::Again) => {}
            // The length is not among a file's pages.
            Some(SyncFault::Forgotten) => {
                content
                    .unsynced
                    .retain(|change| matches!(change, Unsynced::Length(_)));
                content.sync();
            }
        }
        match fault {
            None => Ok(()),
            Some(_) => Err(io::Error::other("input/output error")),
        }
    }
}
