//! For how long the threads of a process were kept waiting for a core, as the kernel counts it.
//!
//! A sidecar that says nothing because others have the machine is not one that hangs. Never in here: what follows.

use rustix::process::Pid;
use std::fs;
use std::path::Path;
use std::time::Duration;

/// Threads that are looked at, at the most: more than a sidecar has.
const THREADS_MAX: usize = 512;

/// One thread at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Thread {
    id: u64,
    /// It has a core or wants one.
    wants_core: bool,
    /// How long it had one.
    ran: Duration,
    /// How long it waited for one, up to the last time it got it.
    waited: Duration,
}

#[cfg(test)]
impl Thread {
    /// One that has no use for a core.
    pub(super) const fn asleep(id: u64, ran: Duration) -> Self {
        Self {
            id,
            wants_core: false,
            ran,
            waited: Duration::ZERO,
        }
    }

    /// One that takes all it gets.
    pub(super) const fn busy(id: u64, ran: Duration, waited: Duration) -> Self {
        Self {
            id,
            wants_core: true,
            ran,
            waited,
        }
    }
}

/// All threads of a process; none when the kernel does not tell.
pub(super) fn of(pid: Pid) -> Vec<Thread> {
    let folder = format!("/proc/{}/task", super::pid_number(pid));
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .take(THREADS_MAX)
        .filter_map(|entry| {
            let id = entry.file_name().to_str()?.parse().ok()?;
            read(id, &entry.path())
        })
        .collect()
}

fn read(id: u64, folder: &Path) -> Option<Thread> {
    let stat = fs::read_to_string(folder.join("stat")).ok()?;
    // The name before it may hold anything.
    let state = stat.rsplit_once(')')?.1.trim_start();
    let times = fs::read_to_string(folder.join("schedstat")).ok()?;
    let mut times = times.split_ascii_whitespace().map(str::parse);
    let mut next = || times.next()?.ok().map(Duration::from_nanos);
    Some(Thread {
        id,
        wants_core: state.starts_with('R'),
        ran: next()?,
        waited: next()?,
    })
}

/// For how long, of the time between two looks, the thread that fared worst was kept from a core.
pub(super) fn kept_waiting(before: &[Thread], after: &[Thread], between: Duration) -> Duration {
    let kept = after.iter().filter_map(|now| {
        let before = before.iter().find(|thread| thread.id == now.id)?;
        // A wait is counted when it ends: of one that has not ended only this is seen.
        if now.wants_core && now.ran == before.ran {
            return Some(between);
        }
        Some(now.waited.saturating_sub(before.waited).min(between))
    });
    kept.max().unwrap_or_default()
}

#[cfg(test)]
mod tests;
