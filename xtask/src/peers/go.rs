//! Peers written in Go: built by the Go on this machine from modules whose versions are committed.
//!
//! Each suite has a module of its own below `xtask/peers`, because their dependencies disagree. The programs say
//! nothing of use about their version, so what `go.mod` names is noted beside each and read back. Never fetches a
//! toolchain, never touches the module files.

use crate::command::{self, found, run};
use std::fs;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

/// A program in a Go module.
pub(super) struct GoProgram {
    /// The folder below `xtask/peers` with `go.mod` and `go.sum`.
    pub(super) folder: &'static str,
    /// The module whose version counts.
    pub(super) module: &'static str,
    /// The package: one of that module's, or our own main below the folder (`./server`).
    pub(super) package: &'static str,
}

/// Where the programs are built to: beside Python's environment, which is cleared when it is made.
pub(super) fn folder() -> PathBuf {
    command::target().join("peers-go")
}

impl GoProgram {
    /// What is to be installed, for the list.
    pub(super) fn told(&self) -> String {
        match self.package.strip_prefix("./") {
            Some(own) => format!("Go {}, own main ({own})", self.module),
            None => format!("Go {}", self.package),
        }
    }

    /// The version that `go.mod` names.
    fn wanted(&self) -> Option<String> {
        let text = fs::read_to_string(self.sources().join("go.mod")).ok()?;
        let line = text
            .lines()
            .find_map(|line| line.trim().strip_prefix(self.module)?.strip_prefix(' '))?;
        let version = line.split(' ').next()?.trim_start_matches('v');
        Some(version.trim_end_matches("+incompatible").to_owned())
    }

    fn sources(&self) -> PathBuf {
        command::root().join("xtask/peers").join(self.folder)
    }

    /// The version that was built; `None` when it is not the one that is wanted.
    pub(super) fn version(&self, name: &str) -> Option<String> {
        let wanted = self.wanted()?;
        let noted = fs::read_to_string(note(name)).ok()?;
        let built = modified(&folder().join(name))?;
        // Of an own main the version says nothing.
        let main = self.sources().join(self.package).join("main.go");
        let is_fresh = modified(&main).is_none_or(|changed| changed < built);
        (noted == wanted && is_fresh).then_some(wanted)
    }

    /// Builds it.
    pub(super) fn build(&self, name: &str) -> Result<(), String> {
        if found("go").is_none() {
            return Err(format!(
                "build {name}: no go on this machine; install Go 1.26 or newer"
            ));
        }
        let wanted = self
            .wanted()
            .ok_or_else(|| format!("build {name}: go.mod does not name {}", self.module))?;
        println!("peers: building {name} {wanted} with Go");
        let program = folder().join(name).to_string_lossy().into_owned();
        // The repository's state is no part of a peer.
        let words = [
            "build",
            "-buildvcs=false",
            "-ldflags=-s -w",
            "-o",
            &program,
            self.package,
        ];
        let mut command = command::command("go", &words);
        command
            .current_dir(self.sources())
            .env("GOTOOLCHAIN", "local");
        run(command)?;
        let note = note(name);
        fs::write(&note, wanted).map_err(|error| format!("write \"{}\": {error}", note.display()))
    }
}

fn modified(path: &Path) -> Option<SystemTime> {
    fs::metadata(path).ok()?.modified().ok()
}

fn note(name: &str) -> PathBuf {
    folder().join(format!("{name}.version"))
}
