//! A memory cgroup around agent and sidecar: what they may take of the machine, kernel memory and page cache included,
//! and how often the kernel had to kill for it. Version 1 or 2 of cgroups, whichever this process may write to.

use std::fs;
use std::path::{Path, PathBuf};

/// What a sidecar under attack may take.
pub(super) const CEILING_MIB: u64 = 64;

/// Where the memory controller of version 1 is mounted.
const VERSION_1: &str = "/sys/fs/cgroup/memory";

/// Where version 2 is mounted.
const VERSION_2: &str = "/sys/fs/cgroup";

/// One cgroup, without its processes once they have ended.
pub(super) struct Ceiling {
    folder: PathBuf,
    names: &'static Names,
}

/// The files of a version.
struct Names {
    limit: &'static str,
    /// The most that was used.
    peak: &'static str,
    /// Has a line `oom_kill N`.
    kills: &'static str,
}

const NAMES_1: Names = Names {
    limit: "memory.limit_in_bytes",
    peak: "memory.max_usage_in_bytes",
    kills: "memory.oom_control",
};

const NAMES_2: Names = Names {
    limit: "memory.max",
    peak: "memory.peak",
    kills: "memory.events",
};

impl Ceiling {
    /// Makes one with the limit, or says why there is none.
    pub(super) fn make() -> Result<Self, String> {
        let (root, names) = if Path::new(VERSION_1).join(NAMES_1.limit).exists() {
            (VERSION_1, &NAMES_1)
        } else {
            (VERSION_2, &NAMES_2)
        };
        let folder = Path::new(root).join(format!("weft-attack-{}", std::process::id()));
        let told = |what: &str, error: &std::io::Error| {
            format!("{what} \"{}\": {error}", folder.display())
        };
        fs::create_dir(&folder).map_err(|error| told("make the cgroup", &error))?;
        let limit = (CEILING_MIB * 1024 * 1024).to_string();
        if let Err(error) = fs::write(folder.join(names.limit), limit) {
            let sentence = told("limit the memory of the cgroup", &error);
            let _ = fs::remove_dir(&folder);
            return Err(sentence);
        }
        Ok(Self { folder, names })
    }

    /// The file that takes the ids of processes.
    pub(super) fn processes(&self) -> PathBuf {
        self.folder.join("cgroup.procs")
    }

    /// Processes that the kernel has killed because the limit was reached.
    pub(super) fn kills(&self) -> Result<f64, String> {
        let text = self.read(self.names.kills)?;
        text.lines()
            .find_map(|line| line.strip_prefix("oom_kill ")?.trim().parse().ok())
            .ok_or_else(|| format!("\"{}\" does not count kills", self.names.kills))
    }

    /// The most that was used, in MiB, with caches that the kernel would have given back.
    pub(super) fn peak_mib(&self) -> Result<f64, String> {
        let text = self.read(self.names.peak)?;
        let bytes: f64 = text
            .trim()
            .parse()
            .map_err(|error| format!("read \"{}\": {error}: \"{text}\"", self.names.peak))?;
        Ok(bytes / 1024.0 / 1024.0)
    }

    fn read(&self, name: &str) -> Result<String, String> {
        let path = self.folder.join(name);
        fs::read_to_string(&path).map_err(|error| format!("read \"{}\": {error}", path.display()))
    }
}

impl Drop for Ceiling {
    fn drop(&mut self) {
        // Busy while a process of it still ends; an empty cgroup that stays costs nothing.
        let _ = fs::remove_dir(&self.folder);
    }
}
