//! What a store remembers over clean stops, crashes, restores and a second owner.

mod sim;

use super::backup;
use super::opening::{open, take_over};
use super::redb_file::RedbFile;
use super::*;
use crate::clock;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// A folder of a test's own, gone with it.
struct Folder(PathBuf);

impl Folder {
    fn new() -> Self {
        static MADE: AtomicU32 = AtomicU32::new(0);
        let number = MADE.fetch_add(1, Ordering::Relaxed);
        let name = format!("weft-store-{}-{number}", std::process::id());
        let path = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn store(&self) -> PathBuf {
        self.0.join("store.redb")
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn open_at(path: &Path, unix_ms: u64) -> Opened {
    open(&Place::File(path.to_owned()), "fresh", unix_ms).unwrap()
}

#[test]
fn an_epoch_goes_on_after_a_clean_stop_and_only_then() {
    let folder = Folder::new();
    let path = folder.store();
    let mut opened = open_at(&path, 100);
    assert_eq!((opened.epoch, opened.revision), (100, 0));
    assert_eq!(opened.clean_note, None);
    opened.store.commit(&clean_mark(7, 42)).unwrap();
    drop(opened);

    let opened = open_at(&path, 200);
    assert_eq!((opened.epoch, opened.revision), (100, 7));
    assert_eq!(opened.clean_note, Some(42));
    drop(opened);

    // That one left no mark: what it may have told is not certain.
    let opened = open_at(&path, 300);
    assert_eq!((opened.epoch, opened.revision), (300, 7));
    drop(opened);

    // A clock that went back makes no epoch smaller.
    let opened = open_at(&path, 5);
    assert_eq!(opened.epoch, 301);
    assert_eq!(opened.store_id, "fresh");
}

#[test]
fn a_mark_of_another_revision_proves_nothing() {
    let folder = Folder::new();
    let mut opened = open_at(&folder.store(), 100);
    opened.store.commit(&clean_mark(7, 1)).unwrap();
    let later = Change::put(Table::Meta, "revision", "9");
    opened.store.commit(&[later]).unwrap();
    drop(opened);
    assert_eq!(open_at(&folder.store(), 200).epoch, 200);
}

#[test]
fn a_second_owner_is_told_who_has_the_store() {
    let folder = Folder::new();
    let _first = open_at(&folder.store(), 1);
    let place = Place::File(folder.store());
    let Err(error) = open(&place, "other", 2) else {
        panic!("two owners");
    };
    let pid = std::process::id().to_string();
    assert!(error.to_string().contains(&pid), "{error}");
    assert!(error.to_string().contains("store.lock"), "{error}");
}

#[test]
fn a_format_of_a_later_weft_is_left_alone() {
    let folder = Folder::new();
    let mut store = RedbFile::open(&folder.store()).unwrap();
    store
        .commit(&[Change::put(Table::Meta, "format", "2")])
        .unwrap();
    let Err(error) = take_over(Box::new(store), "fresh", 1) else {
        panic!("taken over");
    };
    assert!(error.to_string().contains("its format is 2"), "{error}");
}

#[test]
fn a_file_cut_off_anywhere_is_refused_or_read_whole() {
    let folder = Folder::new();
    let path = folder.store();
    let mut opened = open_at(&path, 1);
    let row = Change::put(Table::Objects, "a", "b");
    opened.store.commit(&[row]).unwrap();
    drop(opened);
    let whole = std::fs::read(&path).unwrap();
    for part in 0..8 {
        let cut = folder.0.join(format!("cut-{part}.redb"));
        std::fs::write(&cut, &whole[..whole.len() * part / 8]).unwrap();
        match open(&Place::File(cut), "fresh", 2) {
            // An empty file is a new store.
            Ok(opened) => assert!(part == 0 || opened.rows.len() >= 5, "part {part}"),
            Err(error) => assert!(error.to_string().contains("backup"), "{error}"),
        }
    }
}

#[test]
fn a_copy_made_at_any_commit_holds_all_commits_before_it() {
    // The copy is what a machine that lost its power at that moment finds.
    let folder = Folder::new();
    let path = folder.store();
    let mut opened = open_at(&path, 1);
    for round in 0..10_u32 {
        let row = Change::put(Table::Objects, format!("row-{round}"), "x");
        let revision = Change::put(Table::Meta, "revision", round.to_string());
        opened.store.commit(&[row, revision]).unwrap();
        let copy = folder.0.join(format!("copy-{round}.redb"));
        std::fs::copy(&path, &copy).unwrap();
        let found = open_at(&copy, 50);
        let rows = found
            .rows
            .keys()
            .filter(|(table, _)| *table == Table::Objects);
        assert_eq!(rows.count(), round as usize + 1);
        assert_eq!((found.epoch, found.revision), (50, u64::from(round)));
    }
}

#[test]
fn a_restored_store_has_its_id_its_rows_and_a_new_epoch() {
    let folder = Folder::new();
    let path = folder.store();
    let mut opened = open_at(&path, 100);
    opened
        .store
        .commit(&[Change::put(Table::Objects, "a", vec![0, 255])])
        .unwrap();
    opened.store.commit(&clean_mark(7, 0)).unwrap();
    drop(opened);
    let text = backup::of_closed(&path).unwrap();

    let mut opened = open_at(&path, 100);
    opened
        .store
        .commit(&[Change::put(Table::Objects, "b", "later")])
        .unwrap();
    opened.store.commit(&clean_mark(9, 0)).unwrap();
    drop(opened);

    let restored = backup::restore(&text, &path).unwrap();
    assert_eq!(restored.store_id, "fresh");
    assert!(restored.epoch > 100);
    assert!(restored.former.is_some_and(|former| former.exists()));
    let opened = open_at(&path, 100);
    assert_eq!(opened.store_id, "fresh");
    assert!(opened.epoch > restored.epoch, "a restore is no clean stop");
    assert_eq!(
        opened.rows.get(&(Table::Objects, "a".into())),
        Some(&vec![0, 255])
    );
    assert!(!opened.rows.contains_key(&(Table::Objects, "b".into())));
}

#[test]
fn a_backup_that_is_torn_or_changed_is_refused() {
    let mut rows = Rows::new();
    rows.insert((Table::Objects, "a".into()), b"value".to_vec());
    rows.insert((Table::Meta, "epoch".into()), b"1".to_vec());
    let text = backup::written(&rows);
    assert_eq!(backup::read(&text).unwrap(), rows);
    for length in 0..text.len() - 1 {
        assert!(backup::read(&text[..length]).is_err(), "cut at {length}");
    }
    assert!(backup::read(&text.replace("\"a\"", "\"b\"")).is_err());
    assert!(backup::read(&format!("{text}{text}")).is_err());
}

/// A store whose disk is full as long as the test says so.
#[derive(Clone, Default)]
struct Disk {
    rows: Arc<Mutex<Rows>>,
    commits: Arc<AtomicU32>,
    full: Arc<std::sync::atomic::AtomicBool>,
}

impl Store for Disk {
    fn rows(&mut self) -> Result<Rows, StoreError> {
        Ok(self.rows.lock().unwrap().clone())
    }

    fn commit(&mut self, changes: &[Change]) -> Result<(), StoreError> {
        if self.full.load(Ordering::Relaxed) {
            return Err(StoreError("the disk is full".into()));
        }
        self.commits.fetch_add(1, Ordering::Relaxed);
        let mut rows = self.rows.lock().unwrap();
        for change in changes {
            let key = (change.table, change.key.clone());
            match &change.value {
                Some(value) => rows.insert(key, value.clone()),
                None => rows.remove(&key),
            };
        }
        Ok(())
    }
}

const BOUND: Duration = Duration::from_secs(10);

async fn wait_durable(writer: &Writer, revision: u64) {
    let mut durable = writer.durable();
    let reached = durable.wait_for(|durable| *durable >= revision);
    tokio::time::timeout(BOUND, reached).await.unwrap().unwrap();
}

#[tokio::test]
async fn a_thousand_changes_at_once_are_a_few_commits() {
    let disk = Disk::default();
    let writer = Writer::start(Box::new(disk.clone()), 0).unwrap();
    let began = clock::now();
    for revision in 1..=1_000 {
        let row = Change::put(Table::Instances, revision.to_string(), "x");
        writer.soon(vec![row], revision);
    }
    wait_durable(&writer, 1_000).await;
    let windows = began.elapsed().as_millis() / writer::COMMIT_WINDOW.as_millis();
    let commits = u128::from(disk.commits.load(Ordering::Relaxed));
    assert!(
        commits <= windows + 2,
        "{commits} commits in {windows} windows"
    );
    assert_eq!(disk.rows.lock().unwrap().len(), 1_001);
}

#[tokio::test]
async fn a_full_disk_refuses_people_and_keeps_the_rest_for_later() {
    let disk = Disk::default();
    let writer = Writer::start(Box::new(disk.clone()), 0).unwrap();
    disk.full.store(true, Ordering::Relaxed);
    writer.soon(vec![Change::put(Table::Instances, "a", "x")], 1);
    let asked = writer
        .now(vec![Change::put(Table::Objects, "o", "x")], 2)
        .await;
    assert!(asked.is_err());
    assert_eq!(*writer.durable().borrow(), 0);
    disk.full.store(false, Ordering::Relaxed);
    wait_durable(&writer, 1).await;
    let rows = disk.rows.lock().unwrap();
    assert!(rows.contains_key(&(Table::Instances, "a".into())));
    assert!(
        !rows.contains_key(&(Table::Objects, "o".into())),
        "it was refused"
    );
}

#[tokio::test]
async fn what_was_handed_over_before_the_end_is_kept() {
    let disk = Disk::default();
    let writer = Writer::start(Box::new(disk.clone()), 0).unwrap();
    writer.soon(vec![Change::put(Table::Instances, "a", "x")], 1);
    writer.soon(vec![Change::put(Table::Instances, "b", "x")], 2);
    writer.close(&clean_mark(2, 0)).unwrap();
    let rows = disk.rows.lock().unwrap();
    assert!(rows.contains_key(&(Table::Instances, "b".into())));
    assert!(rows.contains_key(&(Table::Meta, "clean".into())));
}
