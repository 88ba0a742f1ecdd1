//! A center's store and what is known of it, and what happens to them step by step.

use super::counts::Counts;
use super::disk::{SimDisk, SyncFault};
use super::random::Random;
use super::rows::{apply, is_out_of_room, shown, without_meta};
use crate::declared::plan::{Occasion, Wish};
use crate::declared::{Declared, HISTORY_PER_OBJECT_MAX, ObjectKey};
use crate::store::opening::take_over;
use crate::store::redb_file::{CACHE_BYTES, RedbFile};
use crate::store::writer::Committer;
use crate::store::{Change, Opened, Rows, StoreError, Table, Writer, backup, clean_mark};
use serde_json::json;
use std::path::PathBuf;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use weft_api::kinds::{API_VERSION, Kind, Object};
use weft_api::sync::Version;

/// Objects and instances that histories are about: few, so that they meet often.
const NAMES: usize = 5;

/// An open store, as a center has it.
struct Running {
    writer: Writer,
    committer: Committer,
    declared: Declared,
    /// The last revision that was given away.
    revision: u64,
    epoch: u64,
}

pub(super) struct World {
    random: Random,
    disk: SimDisk,
    path: PathBuf,
    now_ms: u64,
    running: Option<Running>,
    /// What was acknowledged: all rows but those of `Meta`.
    acked: Rows,
    /// What may be there instead: `acked` and one set that nobody was told of.
    maybe: Vec<Rows>,
    /// Instances handed over and not acknowledged yet.
    soon: Vec<Change>,
    /// The greatest version that was told to be durable.
    durable: (u64, u64),
    store_id: Option<String>,
    /// (text, rows).
    backups: Vec<(String, Rows)>,
    /// A bit was flipped since the file was last known to be whole.
    flipped: bool,
    written: u64,
    is_told: bool,
    is_calm: bool,
    pub(super) counts: Counts,
}

impl World {
    pub(super) fn new(seed: u64, is_told: bool) -> Self {
        let mut random = Random::new(seed);
        Self {
            disk: SimDisk::new(Random::new(random.next())),
            random,
            path: PathBuf::from("/sim/store.redb"),
            now_ms: 1_000,
            running: None,
            acked: Rows::new(),
            maybe: Vec::new(),
            soon: Vec::new(),
            durable: (0, 0),
            store_id: None,
            backups: Vec::new(),
            flipped: false,
            written: 0,
            is_told,
            is_calm: seed.is_multiple_of(4),
            counts: Counts::default(),
        }
    }

    pub(super) fn step(&mut self) {
        self.now_ms += self.random.below(1_000) as u64;
        // In a calm world histories grow long.
        let die = match self.random.below(100) {
            die if self.is_calm && die > 40 && self.random.below(10) != 0 => die % 40,
            die => die,
        };
        if self.running.is_none() {
            match die {
                0..4 => self.flip(),
                4..14 => self.restore(),
                _ => self.start(),
            }
        } else {
            match die {
                0..40 => self.intake(),
                40..60 => self.instances(),
                60..66 => self.crash(),
                66..72 => self.stop(),
                72..80 => self.arm(),
                80..86 => self.fill(),
                86..92 => self.sync_fault(),
                92..94 => self.flip(),
                _ => self.back_up(),
            }
        }
        if self.disk.is_dead() {
            self.crash();
        }
    }

    fn tell(&self, what: &str) {
        if self.is_told {
            println!("{:>8} {what}", self.disk.changes());
        }
    }

    // What happens.

    /// A center starts on the store.
    fn start(&mut self) {
        if self.random.below(4) == 0 {
            let changes = 1 + self.random.below(30) as u64;
            self.disk.cut_power_in(Some(changes));
        }
        // Without a cache all damage is met.
        let cache_bytes = [0, CACHE_BYTES][self.random.below(2)];
        let disk = Arc::new(self.disk.clone());
        let store = RedbFile::open_on(disk, &self.path, cache_bytes);
        let opened = store.and_then(|store| take_over(Box::new(store), "sim", self.now_ms));
        self.tell(&format!("start: {:?}", opened.as_ref().err()));
        match opened {
            Ok(opened) => self.took_over(opened),
            Err(error) => self.did_not_start(&error),
        }
    }

    fn took_over(&mut self, opened: Opened) {
        let version = (opened.epoch, opened.revision);
        assert!(
            version >= self.durable,
            "{version:?} after {:?}",
            self.durable
        );
        if opened.epoch == self.durable.0 {
            assert!(
                opened.clean_note.is_some(),
                "an epoch goes on after a crash"
            );
        }
        let known = self.store_id.get_or_insert_with(|| opened.store_id.clone());
        assert_eq!(*known, opened.store_id);
        let rows = without_meta(&opened.rows);
        self.settle(rows);
        let (declared, unread) = Declared::load(&opened.rows);
        assert!(unread.is_empty(), "{unread:?}");
        // Whatever was not acknowledged is forgotten with the center that held it.
        self.soon.clear();
        self.durable = version;
        let (writer, committer) = Writer::parts(opened.store, opened.revision);
        self.running = Some(Running {
            writer,
            committer,
            declared,
            revision: opened.revision,
            epoch: opened.epoch,
        });
        self.check();
    }

    /// What is found is what was acknowledged, or that and a set of which nobody heard.
    fn settle(&mut self, found: Rows) {
        let is_known = found == self.acked || self.maybe.contains(&found);
        assert!(
            is_known,
            "found {}\nacked {}\nmaybe {:?}",
            shown(&found),
            shown(&self.acked),
            self.maybe.iter().map(shown).collect::<Vec<_>>()
        );
        self.acked = found;
        self.maybe.clear();
    }

    fn did_not_start(&mut self, error: &StoreError) {
        let text = error.to_string();
        if self.disk.is_dead() {
            return;
        }
        assert!(text.starts_with("cannot "), "{text}");
        if is_out_of_room(&text) {
            self.disk.fill(None);
            return;
        }
        if text.contains("input/output error") {
            return;
        }
        assert!(self.flipped, "a store that nobody damaged: {text}");
        assert!(text.contains("weft center restore"), "{text}");
        self.counts.damaged += 1;
        // As the sentence says.
        self.disk.cut_power_in(None);
        // Moved away or not: a restore keeps what was there beside it.
        if self.backups.is_empty() || self.random.below(2) == 0 {
            let aside = self.path.with_extension(format!("damaged-{}", self.now_ms));
            let disk = &self.disk as &dyn crate::store::disk::Disk;
            disk.rename(&self.path, &aside).unwrap();
            disk.sync_names(&self.path).unwrap();
            self.flipped = false;
        }
        self.maybe = vec![Rows::new()];
        self.acked = Rows::new();
        match self.backups.last().cloned() {
            None => {
                self.store_id = None;
                self.durable = (self.durable.0, u64::MAX);
            }
            Some(backup) => self.restore_from(&backup),
        }
    }

    /// A person applies a set while instances come and go.
    fn intake(&mut self) {
        if self.random.below(3) == 0 {
            self.hand_over();
        }
        let Some(mut running) = self.running.take() else {
            return;
        };
        let wishes = self.wishes(&running.declared);
        let version = Version {
            epoch: running.epoch,
            revision: running.revision + 1,
        };
        let when = Occasion {
            author: "sim",
            at_ms: self.now_ms,
            version,
        };
        let plan = running.declared.plan(wishes, when);
        let Some(plan) = plan.ok().filter(|plan| !plan.is_empty()) else {
            self.running = Some(running);
            return;
        };
        running.revision += plan.revisions();
        let revision = running.revision;
        let mut changes = self.soon.clone();
        changes.extend(plan.changes());
        let (outcome, is_committed) = {
            let mut asked = pin!(running.writer.now(plan.changes(), revision));
            let mut context = Context::from_waker(Waker::noop());
            assert!(asked.as_mut().poll(&mut context).is_pending());
            let is_committed = running.committer.turn_if_any() == Some(true);
            let Poll::Ready(outcome) = asked.poll(&mut context) else {
                panic!("nobody answered");
            };
            (outcome, is_committed)
        };
        self.tell(&format!(
            "intake of {}: {:?}",
            changes.len(),
            outcome.as_ref().err()
        ));
        assert_eq!(outcome.is_ok(), is_committed);
        if outcome.is_ok() {
            running.declared.take(plan);
        }
        self.running = Some(running);
        self.committed(&changes, outcome);
    }

    /// A turn of the writer with instances only.
    fn instances(&mut self) {
        self.hand_over();
        let changes = self.soon.clone();
        let Some(running) = &mut self.running else {
            return;
        };
        let committed = running.committer.turn_if_any();
        self.tell(&format!("instances: {committed:?}"));
        if let Some(is_committed) = committed {
            let outcome = is_committed
                .then_some(())
                .ok_or(StoreError("cannot ".into()));
            self.committed(&changes, outcome);
        }
    }

    /// Instances change: the store may take its time.
    fn hand_over(&mut self) {
        for _ in 0..=self.random.below(4) {
            let key = format!("default/orders/{}", self.random.below(NAMES));
            self.written += 1;
            let change = if self.random.below(4) == 0 {
                Change::remove(Table::Instances, key)
            } else {
                let length = self.random.below(3_000);
                let mut value = format!("{} ", self.written).into_bytes();
                value.resize(value.len() + length, b'.');
                Change::put(Table::Instances, key, value)
            };
            if let Some(running) = &mut self.running {
                running.revision += 1;
                running.writer.soon(vec![change.clone()], running.revision);
            }
            self.soon.push(change);
        }
    }

    fn wishes(&mut self, declared: &Declared) -> Vec<Wish> {
        let mut wishes = Vec::new();
        // Often the same one, so that its history overflows.
        let first = if self.random.below(2) == 0 {
            0
        } else {
            self.random.below(NAMES)
        };
        for name in (first..NAMES).take(1 + self.random.below(3)) {
            let key = ObjectKey::new(Kind::MeshService, "default", &format!("s{name}"));
            let is_there = declared.object(&key).is_some();
            if is_there && self.random.below(8) == 0 {
                wishes.push(Wish::Delete(key, None));
                continue;
            }
            self.written += 1;
            let value = json!({
                "apiVersion": API_VERSION,
                "kind": "MeshService",
                "metadata": { "name": key.name },
                "spec": { "ports": [{ "port": 1 + self.written % 60_000 }] },
            });
            let object = Object::from_json(&value, "default").unwrap();
            wishes.push(Wish::Put(Box::new(object)));
        }
        wishes
    }

    /// Follows what the writer said of these changes.
    fn committed(&mut self, changes: &[Change], outcome: Result<(), StoreError>) {
        let mut with = self.acked.clone();
        apply(&mut with, changes);
        match outcome {
            Ok(()) => {
                self.counts.commits += 1;
                self.acked = with;
                self.maybe.clear();
                self.soon.clear();
                if let Some(running) = &self.running {
                    let durable = *running.writer.durable().borrow();
                    let told = (running.epoch, durable);
                    assert!(told >= self.durable && durable <= running.revision);
                    self.durable = told;
                }
            }
            Err(error) => {
                self.counts.refused += 1;
                assert!(error.to_string().starts_with("cannot "), "{error}");
                self.maybe.push(with);
            }
        }
        self.check();
    }

    /// The process or the whole machine dies.
    fn crash(&mut self) {
        self.counts.crashes += 1;
        self.running = None;
        self.disk.fail_sync(None);
        let is_kill = !self.disk.is_dead() && self.random.below(2) == 0;
        self.tell(if is_kill { "kill" } else { "power cut" });
        if is_kill {
            self.disk.kill();
        } else {
            self.disk.cut_power();
        }
    }

    /// The power goes within the next changes of the disk.
    fn arm(&mut self) {
        let changes = 1 + self.random.below(40) as u64;
        self.tell(&format!("power goes in {changes}"));
        self.disk.cut_power_in(Some(changes));
    }

    fn fill(&mut self) {
        let spare = match self.random.below(3) {
            0 => None,
            _ => Some(self.random.below(4)),
        };
        self.counts.full += u64::from(spare.is_some());
        self.tell(&format!("room for {spare:?}"));
        self.disk.fill(spare);
    }

    fn sync_fault(&mut self) {
        let fault = match self.random.below(2) {
            0 => SyncFault::Again,
            _ => SyncFault::Forgotten,
        };
        self.tell(&format!("sync fails: {fault:?}"));
        let after = self.random.below(4);
        self.disk.fail_sync(Some((after, fault)));
    }

    fn flip(&mut self) {
        if let Some(offset) = self.disk.flip(&self.path) {
            self.counts.flips += 1;
            self.flipped = true;
            self.tell(&format!("flip at {offset}"));
        }
    }

    /// A clean stop.
    fn stop(&mut self) {
        let changes = self.soon.clone();
        let Some(running) = self.running.take() else {
            return;
        };
        let mark = clean_mark(running.revision, 42);
        let told = (running.epoch, running.revision);
        let closed = running.committer.close(&mark);
        self.tell(&format!("stop: {:?}", closed.as_ref().err()));
        let mut with = self.acked.clone();
        apply(&mut with, &changes);
        match closed {
            Ok(()) => {
                self.counts.clean_stops += 1;
                self.acked = with;
                self.maybe.clear();
                self.durable = told;
            }
            Err(_) => self.maybe.push(with),
        }
        self.soon.clear();
    }

    fn back_up(&mut self) {
        let Some(rows) = self.read() else {
            return;
        };
        match rows {
            Ok(rows) => {
                assert_eq!(
                    without_meta(&rows),
                    self.acked,
                    "a reader sees what was acknowledged"
                );
                let text = backup::written(&rows);
                self.backups.push((text, self.acked.clone()));
                self.tell("backup");
            }
            Err(error) => {
                let text = error.to_string();
                self.tell(&text);
                let may = self.flipped || self.disk.is_dead() || text.contains("input/output");
                assert!(may, "a store that works cannot be read: {text}");
                assert!(text.starts_with("cannot "), "{text}");
            }
        }
    }

    /// All rows, asked of the writer, as the API does.
    fn read(&mut self) -> Option<Result<Rows, StoreError>> {
        let changes = self.soon.clone();
        let (rows, committed) = {
            let running = self.running.as_mut()?;
            let mut asked = pin!(running.writer.rows());
            let mut context = Context::from_waker(Waker::noop());
            assert!(asked.as_mut().poll(&mut context).is_pending());
            let committed = running.committer.turn_if_any();
            let Poll::Ready(rows) = asked.poll(&mut context) else {
                panic!("nobody answered");
            };
            (rows, committed)
        };
        let committed = committed == Some(true);
        self.committed(
            &changes,
            committed.then_some(()).ok_or(StoreError("cannot ".into())),
        );
        Some(rows)
    }

    /// A person restores an earlier state.
    fn restore(&mut self) {
        if self.backups.is_empty() {
            return;
        }
        let chosen = self.random.below(self.backups.len());
        let backup = self.backups[chosen].clone();
        if self.random.below(3) == 0 {
            let changes = 1 + self.random.below(60) as u64;
            self.disk.cut_power_in(Some(changes));
        }
        self.restore_from(&backup);
    }

    fn restore_from(&mut self, (text, kept): &(String, Rows)) {
        let rows = backup::read(text).unwrap();
        let disk: Arc<dyn crate::store::disk::Disk> = Arc::new(self.disk.clone());
        let restored = backup::restore_on(&disk, rows, &self.path, self.now_ms);
        self.tell(&format!("restore: {restored:?}"));
        match restored {
            Ok(restored) => {
                self.counts.restores += 1;
                assert!(restored.epoch > self.durable.0 || self.flipped);
                self.acked.clone_from(kept);
                self.maybe.clear();
                self.flipped = false;
                self.durable = (restored.epoch.max(self.durable.0), 0);
            }
            Err(error) => {
                let text = error.to_string();
                assert!(text.starts_with("cannot "), "{text}");
                // The name may have changed all the same.
                self.maybe.push(kept.clone());
                self.disk.fill(None);
            }
        }
    }

    // What must hold.

    fn check(&mut self) {
        let Some(running) = &self.running else {
            return;
        };
        let (read, unread) = Declared::load(&self.acked);
        assert!(unread.is_empty(), "{unread:?}");
        assert!(
            read.is_same(&running.declared),
            "what is declared is what is kept"
        );
        for name in 0..NAMES {
            let key = ObjectKey::new(Kind::MeshService, "default", &format!("s{name}"));
            let generations: Vec<u64> = read.history(&key).map(|past| past.generation).collect();
            assert!(generations.len() <= HISTORY_PER_OBJECT_MAX);
            self.counts.history = self.counts.history.max(generations.len() as u64);
            assert!(generations.is_sorted_by(|a, b| a < b), "{generations:?}");
        }
    }
}
