//! What the kernel knows of a process: scheduler run time and memory.
//!
//! Reads `/proc` only; a process that has ended reads as an error.

use std::fs;

/// Nanoseconds that all threads of a process have run, by the scheduler's own account.
pub(crate) fn cpu_ns(pid: u32) -> Result<u64, String> {
    cpu_ns_of(pid, |_| true)
}

/// The same of the threads with such names.
pub(crate) fn cpu_ns_of(pid: u32, which: impl Fn(&str) -> bool) -> Result<u64, String> {
    let folder = format!("/proc/{pid}/task");
    let threads = fs::read_dir(&folder).map_err(|error| format!("read \"{folder}\": {error}"))?;
    let mut sum = 0;
    for thread in threads {
        let thread = thread.map_err(|error| format!("read \"{folder}\": {error}"))?;
        // A thread that ended between the two reads has nothing to add.
        let read = |file| fs::read_to_string(thread.path().join(file));
        let (Ok(text), Ok(name)) = (read("schedstat"), read("comm")) else {
            continue;
        };
        if !which(name.trim_end()) {
            continue;
        }
        sum += text
            .split_whitespace()
            .next()
            .and_then(|ns| ns.parse::<u64>().ok())
            .unwrap_or(0);
    }
    Ok(sum)
}

/// KiB of memory that belong to a process: its own and its share of what it shares.
pub(crate) fn pss_kib(pid: u32) -> Result<f64, String> {
    field(&format!("/proc/{pid}/smaps_rollup"), "Pss:")
}

/// KiB of a process's memory that it has made itself and that is there now: no pages of files.
pub(crate) fn anonymous_kib(pid: u32) -> Result<f64, String> {
    field(&format!("/proc/{pid}/status"), "RssAnon:")
}

fn field(path: &str, name: &str) -> Result<f64, String> {
    let text = fs::read_to_string(path).map_err(|error| format!("read \"{path}\": {error}"))?;
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|kib| kib.parse().ok())
        .ok_or_else(|| format!("no {name} in \"{path}\""))
}
