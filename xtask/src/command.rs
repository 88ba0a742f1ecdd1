//! Running outside programs: where the repository is, which cargo, and errors that say what was attempted.

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// The root of the repository.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// The folder that cargo builds into.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), PathBuf::from)
}

/// The cargo that runs this program.
pub(crate) fn cargo() -> String {
    std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned())
}

/// A command in the root of the repository, without standard input.
pub(crate) fn command(program: &str, args: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// A cargo command.
pub(crate) fn cargo_command(args: &[&str]) -> Command {
    command(&cargo(), args)
}

/// Runs to the end with the terminal's output; an error when it fails.
pub(crate) fn run(mut command: Command) -> Result<(), String> {
    let told = told(&command);
    let status = command
        .status()
        .map_err(|error| format!("run {told}: {error}"))?;
    if status.success() {
        Ok(())
    } else {
        Err(format!("{told}: {status}"))
    }
}

/// Runs to the end and takes its output; an error when it fails, with what it said.
pub(crate) fn output(mut command: Command) -> Result<String, String> {
    let told = told(&command);
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .map_err(|error| format!("run {told}: {error}"))?;
    if status.success() {
        return Ok(String::from_utf8_lossy(&stdout).into_owned());
    }
    Err(format!(
        "{told}: {status}: {}",
        String::from_utf8_lossy(&stderr).trim()
    ))
}

/// The command as a person would write it.
pub(crate) fn told(command: &Command) -> String {
    let mut text = command.get_program().to_string_lossy().into_owned();
    for arg in command.get_args() {
        text.push(' ');
        text.push_str(&arg.to_string_lossy());
    }
    text
}

/// The path of a program, if this machine has it.
pub(crate) fn found(program: &str) -> Option<PathBuf> {
    let paths = std::env::var_os("PATH")?;
    std::env::split_paths(&paths)
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Whether a missing peer is a failure.
pub(crate) fn in_ci() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true" || value == "1")
}
