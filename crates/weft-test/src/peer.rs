//! Real clients and servers: found on this machine, or left out with a reason.

use std::path::PathBuf;
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
    let folders = std::env::split_paths(&path).chain(MORE_FOLDERS.iter().map(PathBuf::from));
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
    let own = std::env::current_exe().ok()?;
    // The environment that `cargo xtask peers` makes lies in the target folder.
    let beside = own
        .ancestors()
        .nth(3)
        .map(|target| target.join("peers/bin/python3"));
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

#[allow(clippy::print_stdout, reason = "as above")]
fn leave_out(what: &str, suite: &str) {
    let sentence =
        format!("left out: {suite}: {what} is not installed; cargo xtask peers installs it");
    assert!(std::env::var("CI").as_deref() != Ok("true"), "{sentence}");
    println!("{sentence}");
}
