//! What is saved is found again, whatever happens to the disk; and every trouble has its sentence.

use super::*;
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use weft_api::saved::{FORMAT, Saved};
use weft_api::sync;

/// Nothing in these tests takes this long unless it never comes.
const BOUND: Duration = Duration::from_secs(10);

/// A folder of one test.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let number = NUMBER.fetch_add(1, Relaxed);
        let name = format!("weft-saved-{}-{number}", std::process::id());
        let folder = std::env::temp_dir().join(name);
        fs::create_dir_all(&folder).unwrap();
        Self(folder)
    }

    fn newest(&self) -> PathBuf {
        self.0.join("snapshot")
    }

    fn before(&self) -> PathBuf {
        self.0.join("snapshot.before")
    }

    /// The revision found, and what was told of it.
    fn load(&self) -> Loaded<u64> {
        load(&self.0, |found| {
            Ok(found.rest.version.unwrap_or_default().revision)
        })
    }

    fn write(&self, revision: u64) {
        let mut files = self.load().files;
        files
            .write(|part| part(Part::Fields(&saved(revision))))
            .unwrap();
    }

    /// Two generations: 1, then 2.
    fn with_two() -> Self {
        let scratch = Self::new();
        scratch.write(1);
        scratch.write(2);
        scratch
    }

    /// The one before is used, and one line says why the newest is not.
    fn expect_fallback(&self, why: &str) {
        let loaded = self.load();
        assert_eq!(loaded.content, Some(1));
        let expected = format!(
            "cannot use the saved snapshot {}: {why}",
            self.newest().display()
        );
        assert_eq!(loaded.told[0], ("warn", expected));
        let (level, text) = &loaded.told[1];
        assert_eq!(*level, "info");
        assert!(text.contains("snapshot.before, saved "), "{text}");
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::set_permissions(&self.0, fs::Permissions::from_mode(0o700));
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn saved(revision: u64) -> Saved {
    Saved {
        store_id: "store".into(),
        version: Some(sync::Version { epoch: 1, revision }),
        names: (0..revision * 100).collect(),
        ..Saved::default()
    }
}

fn picture(revision: u64) -> Picture {
    Arc::new(move |part: &mut dyn FnMut(Part<'_>)| part(Part::Fields(&saved(revision))))
}

async fn until(what: &str, done: impl Fn() -> bool) {
    let waited = timeout(BOUND, async {
        while !done() {
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    });
    assert!(waited.await.is_ok(), "{what}");
}

#[test]
fn the_first_start_finds_nothing_and_says_nothing() {
    let scratch = Scratch::new();
    let loaded = scratch.load();
    assert_eq!((loaded.content, loaded.told.len()), (None, 0));
}

#[test]
fn what_was_written_last_is_found_and_the_one_before_is_kept() {
    let scratch = Scratch::with_two();
    assert_eq!(scratch.load().content, Some(2));
    let mode = fs::metadata(scratch.newest()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert_eq!(
        fs::read_dir(&scratch.0).unwrap().count(),
        2,
        "no draft stays"
    );
    fs::rename(scratch.before(), scratch.newest()).unwrap();
    assert_eq!(scratch.load().content, Some(1));
}

#[test]
fn a_torn_file_falls_back_to_the_one_before() {
    let scratch = Scratch::with_two();
    let whole = fs::read(scratch.newest()).unwrap();
    for length in [0, 7, 20, whole.len() - 1] {
        fs::write(scratch.newest(), &whole[..length]).unwrap();
        let expected = if length < 28 { 28 } else { whole.len() };
        scratch.expect_fallback(&format!("it has {length} of {expected} bytes"));
    }
}

#[test]
fn a_wrong_checksum_falls_back_to_the_one_before() {
    let scratch = Scratch::with_two();
    let mut file = fs::read(scratch.newest()).unwrap();
    *file.last_mut().unwrap() ^= 1;
    fs::write(scratch.newest(), &file).unwrap();
    scratch.expect_fallback("its checksum is wrong");
}

#[test]
fn another_format_is_named_and_falls_back_to_the_one_before() {
    let scratch = Scratch::with_two();
    let mut file = fs::read(scratch.newest()).unwrap();
    file[8] = 9;
    fs::write(scratch.newest(), &file).unwrap();
    scratch.expect_fallback(&format!("it has format 9, this weft reads format {FORMAT}"));
}

#[test]
fn foreign_bytes_fall_back_to_the_one_before() {
    let scratch = Scratch::with_two();
    fs::write(scratch.newest(), b"{\"kind\":\"list\"}").unwrap();
    scratch.expect_fallback("it is no saved snapshot of weft");
}

#[test]
fn a_file_that_cannot_be_opened_falls_back_to_the_one_before() {
    let scratch = Scratch::with_two();
    fs::remove_file(scratch.newest()).unwrap();
    fs::create_dir(scratch.newest()).unwrap();
    let loaded = scratch.load();
    assert_eq!(loaded.content, Some(1));
    assert_eq!(loaded.told[0].0, "warn");
}

#[test]
fn a_newest_file_that_is_missing_falls_back_to_the_one_before() {
    // The power went between the two renames.
    let scratch = Scratch::with_two();
    fs::remove_file(scratch.newest()).unwrap();
    assert_eq!(scratch.load().content, Some(1));
}

#[test]
fn content_that_is_refused_falls_back_to_the_one_before() {
    let scratch = Scratch::with_two();
    let loaded = load(&scratch.0, |found| {
        let revision = found.rest.version.unwrap_or_default().revision;
        if revision == 2 {
            return Err(FieldError {
                field: "instances[0].address".into(),
                reason: "\"\" is not an IP address".into(),
            });
        }
        Ok(revision)
    });
    assert_eq!(loaded.content, Some(1));
    let text = &loaded.told[0].1;
    assert!(
        text.ends_with(": instances[0].address: \"\" is not an IP address"),
        "{text}"
    );
}

#[test]
fn what_a_killed_writer_left_is_removed_and_a_living_ones_is_not() {
    let scratch = Scratch::with_two();
    let living = scratch.0.join("snapshot.new.1");
    // Beyond the largest process id of any Linux.
    let dead = scratch.0.join("snapshot.new.4194305");
    for draft in [&living, &dead] {
        fs::write(draft, b"weftsave").unwrap();
    }
    assert_eq!(scratch.load().content, Some(2));
    assert!(living.exists() && !dead.exists());
}

#[test]
fn two_bad_files_are_a_start_without_and_three_sentences() {
    let scratch = Scratch::with_two();
    fs::write(scratch.newest(), b"weftsa").unwrap();
    fs::write(scratch.before(), b"").unwrap();
    let loaded = scratch.load();
    assert_eq!(loaded.content, None);
    assert_eq!(loaded.told.len(), 3);
    assert!(loaded.told[2].1.contains("starting without"));
}

#[test]
fn a_bad_newest_file_never_takes_the_place_of_the_one_before() {
    let scratch = Scratch::with_two();
    fs::write(scratch.newest(), b"weftsave").unwrap();
    scratch.write(3);
    assert_eq!(scratch.load().content, Some(3));
    fs::rename(scratch.before(), scratch.newest()).unwrap();
    assert_eq!(scratch.load().content, Some(1));
}

#[tokio::test]
async fn a_change_is_on_disk_within_a_second_and_many_are_one_write() {
    let scratch = Scratch::new();
    let keeper = Keeper::start(scratch.load());
    let began = crate::clock::now();
    for revision in 1..=50 {
        keeper.keep(picture(revision));
    }
    until("the last change is on disk", || {
        scratch.load().content == Some(50)
    })
    .await;
    assert!(crate::clock::now().duration_since(began) < Duration::from_secs(1));
    assert!(!scratch.before().exists(), "it was one write");
    keeper.finish().await;
}

#[tokio::test]
async fn a_sidecar_that_ends_writes_what_it_learned_last() {
    let scratch = Scratch::new();
    let keeper = Keeper::start(scratch.load());
    keeper.keep(picture(7));
    keeper.finish().await;
    assert_eq!(scratch.load().content, Some(7));
    let idle = Keeper::start(scratch.load());
    idle.finish().await;
    assert_eq!(scratch.load().content, Some(7));
}

#[test]
fn a_disk_that_takes_no_writes_is_told_and_what_is_there_stays() {
    let scratch = Scratch::with_two();
    // Root may write into any folder: what stands in the way is a folder of the draft's name.
    let draft = scratch.load().files.draft();
    fs::create_dir(&draft).unwrap();
    fs::set_permissions(&scratch.0, fs::Permissions::from_mode(0o500)).unwrap();
    let why = scratch
        .load()
        .files
        .write(|part| part(Part::Fields(&saved(3))))
        .unwrap_err();
    assert!(
        why.starts_with(&format!("cannot write {}: ", draft.display())),
        "{why}"
    );
    assert_eq!(scratch.load().content, Some(2));
    let told = sentence("cannot write /x: Read-only file system (os error 30)");
    assert_eq!(
        told,
        "cannot save what this sidecar knows of the mesh: cannot write /x: Read-only file system (os error \
         30); calls go on, but a restart without a center would start from what was saved before; tried again \
         every 10 s"
    );
}

#[tokio::test]
async fn a_write_that_failed_is_tried_again_though_nothing_changes() {
    let scratch = Scratch::new();
    let obstacle = scratch.load().files.draft();
    fs::create_dir(&obstacle).unwrap();
    let keeper = Keeper::with_retry(scratch.load(), Duration::from_millis(20));
    keeper.keep(picture(5));
    tokio::time::sleep(GATHER * 2).await;
    assert_eq!(scratch.load().content, None);
    fs::remove_dir(&obstacle).unwrap();
    until("the change is on disk after all", || {
        scratch.load().content == Some(5)
    })
    .await;
    keeper.finish().await;
}
