//! Real clients and servers: found on this machine, or left out with a reason.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Where Debian keeps programs that only root looks for.
const MORE_FOLDERS: &[&str] = &["/usr/sbin", "/sbin"];

/// The program with this name. When it is not there the suite says what it leaves out; with `CI=true` that is a
/// failure.
#[allow(
    clippy::print_stdout,
    reason = "a suite that is left out says so where its tests are listed"
)]
pub fn program(name: &str, suite: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let built = target().map(|target| target.join("peers-go"));
    let folders = built
        .into_iter()
        .chain(std::env::split_paths(&path))
        .chain(MORE_FOLDERS.iter().map(PathBuf::from));
    let found = folders
        .map(|folder| folder.join(name))
        .find(|path| path.is_file());
    if found.is_none() {
        leave_out(name, suite);
    }
    found
}

/// A Python that has this module.
pub fn python_with(module: &str, suite: &str) -> Option<PathBuf> {
    let beside = target().map(|target| target.join("peers/bin/python3"));
    let candidates = beside.into_iter().chain([PathBuf::from("python3")]);
    let has = |python: &PathBuf| {
        let asked = Command::new(python)
            .args(["-c", &format!("import {module}")])
            .output();
        asked.is_ok_and(|output| output.status.success())
    };
    let found = candidates.into_iter().find(has);
    if found.is_none() {
        leave_out(&format!("Python's {module}"), suite);
    }
    found
}

/// The target folder, where `cargo xtask peers` puts what it makes and builds.
fn target() -> Option<PathBuf> {
    let own = std::env::current_exe().ok()?;
    own.ancestors().nth(3).map(Path::to_path_buf)
}

#[allow(clippy::print_stdout, reason = "as above")]
fn leave_out(what: &str, suite: &str) {
    let sentence =
        format!("left out: {suite}: {what} is not installed; cargo xtask peers installs it");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{sentence}");
    println!("{sentence}");
}
