//! Tests of the folders and their slots.

use super::*;
use std::os::unix::fs::PermissionsExt;

/// A folder that is gone with the test.
pub(crate) struct Scratch(pub(crate) PathBuf);

impl Scratch {
    pub(crate) fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weft-host-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        DirBuilder::new().mode(0o700).create(&path).unwrap();
        Self(path)
    }

    fn folders(&self) -> Folders {
        Folders {
            runtime: self.0.join("run"),
            state: self.0.join("state"),
        }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn resolved(variables: &[(&str, &str)], uid: u32) -> (String, String) {
    let variable = |name: &str| {
        variables
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, value)| OsString::from(value))
    };
    let folders = Folders::resolve(variable, uid, Path::new("/tmp"));
    (
        folders.runtime.display().to_string(),
        folders.state.display().to_string(),
    )
}

#[test]
fn folders_follow_the_user_and_the_environment() {
    let check = |variables: &[(&str, &str)], uid, runtime: &str, state: &str| {
        assert_eq!(
            resolved(variables, uid),
            (runtime.to_owned(), state.to_owned())
        );
    };
    check(
        &[("XDG_RUNTIME_DIR", "/run/user/0")],
        0,
        "/run/weft",
        "/var/lib/weft",
    );
    check(
        &[
            ("XDG_RUNTIME_DIR", "/run/user/7"),
            ("XDG_STATE_HOME", "/home/a/state"),
        ],
        7,
        "/run/user/7/weft",
        "/home/a/state/weft",
    );
    check(
        &[("HOME", "/home/a")],
        7,
        "/tmp/weft-7",
        "/home/a/.local/state/weft",
    );
    check(
        &[("WEFT_RUNTIME_DIR", "/x"), ("WEFT_STATE_DIR", "/y")],
        0,
        "/x",
        "/y",
    );
}

#[test]
fn two_sidecars_of_a_service_get_two_slots_and_a_freed_one_is_taken_again() {
    let scratch = Scratch::new("slots");
    let folders = scratch.folders();
    let first = folders.claim_slot("default", "orders").unwrap();
    let second = folders.claim_slot("default", "orders").unwrap();
    let other = folders.claim_slot("default", "stock").unwrap();
    assert_eq!((first.number, second.number, other.number), (0, 1, 0));
    assert!(second.runtime_file.ends_with("default-orders-1.json"));
    drop(first);
    assert_eq!(folders.claim_slot("default", "orders").unwrap().number, 0);
}

#[test]
fn a_slot_has_a_state_folder_of_the_same_name() {
    let scratch = Scratch::new("state");
    let folders = scratch.folders();
    let slot = folders.claim_slot("shop", "orders").unwrap();
    let folder = folders.state_of(&slot).unwrap();
    assert_eq!(folder, folders.state.join("shop-orders-0"));
    assert!(folder.is_dir());
}

#[test]
fn a_folder_that_others_may_write_to_is_refused() {
    let scratch = Scratch::new("open");
    let folders = scratch.folders();
    folders.prepare_runtime().unwrap();
    fs::set_permissions(&folders.runtime, fs::Permissions::from_mode(0o777)).unwrap();
    let error = folders.prepare_runtime().unwrap_err().to_string();
    assert!(
        error.contains("others may write to it (mode 777)"),
        "{error}"
    );
}
