//! Processes that do not outlive their test, and what they wrote.

use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsStr;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// The `weft` binary beside the test executable.
pub fn weft() -> PathBuf {
    let own = std::env::current_exe().expect("the test executable has a path");
    // target/<profile>/deps/scenarios-<hash>
    let folder = own.parent().and_then(Path::parent).unwrap_or(&own);
    let binary = folder.join("weft");
    assert!(
        binary.is_file(),
        "looked for the weft binary beside the test executable ({}) and found none; run cargo build -p weft",
        binary.display()
    );
    binary
}

/// A running process; killed when dropped.
#[derive(Debug)]
pub struct Process {
    child: Child,
    output: PathBuf,
}

impl Process {
    /// Starts a verb of weft. Its output goes to a file named after `name` in `folder`.
    pub fn weft<A: AsRef<OsStr>>(
        name: &str,
        folder: &Path,
        args: &[A],
        environment: &[(&str, &OsStr)],
    ) -> Self {
        let weft = weft();
        let mut command = launcher(&weft);
        command.arg(&weft).args(args);
        for (variable, value) in environment {
            command.env(variable, value);
        }
        Self::start(name, folder, command)
    }

    /// Starts another program, with the same care.
    pub fn program<A: AsRef<OsStr>>(name: &str, folder: &Path, program: &Path, args: &[A]) -> Self {
        let mut command = launcher(&weft());
        command.arg(program).args(args);
        Self::start(name, folder, command)
    }

    fn start(name: &str, folder: &Path, mut command: Command) -> Self {
        let output = folder.join(format!("{name}.out"));
        let file = File::options()
            .create(true)
            .append(true)
            .open(&output)
            .expect("the folder of the test can be written");
        let same = file.try_clone().expect("a file can be opened twice");
        let child = command
            .stdin(Stdio::null())
            .stdout(file)
            .stderr(same)
            .spawn()
            .unwrap_or_else(|error| panic!("starting {command:?}: {error}"));
        Self { child, output }
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it wrote so far, on both outputs.
    pub fn written(&self) -> String {
        let bytes = std::fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Sends a signal.
    pub fn signal(&self, signal: Signal) {
        signal_pid(self.pid(), signal);
    }

    /// Whether it has ended, and with which code (none for a signal).
    pub fn ended(&mut self) -> Option<Option<i32>> {
        let status = self.child.try_wait().expect("a child can be waited for")?;
        Some(status.code())
    }

    /// Kills it and waits for its end.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

/// Sends a signal to a process of this test; one that is gone is no fault.
pub fn signal_pid(pid: u32, signal: Signal) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(Pid::from_raw) {
        let _ = kill_process(pid, signal);
    }
}

/// Stops a process where it stands, and waits until all its threads have stopped.
pub async fn freeze(pid: u32) {
    signal_pid(pid, Signal::STOP);
    crate::wait::until("a process to stop", async || {
        let threads = std::fs::read_dir(format!("/proc/{pid}/task")).ok()?;
        let stopped = threads.flatten().all(|thread| {
            let stat = std::fs::read_to_string(thread.path().join("stat")).unwrap_or_default();
            // The state stands behind the name, which is in parentheses.
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest);
            state.is_some_and(|rest| rest.starts_with('T'))
        });
        stopped.then_some(())
    })
    .await;
}

/// Lets a process that was frozen run on.
pub fn thaw(pid: u32) {
    signal_pid(pid, Signal::CONT);
}

/// Memory of a process that is its own, in bytes (`VmRSS` of `/proc/<pid>/status`).
pub fn resident_bytes(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status"))
        .unwrap_or_else(|error| panic!("reading the memory of process {pid}: {error}"));
    let kib = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:"))
        .and_then(|rest| rest.trim().split(' ').next()?.parse::<u64>().ok())
        .unwrap_or_else(|| panic!("process {pid} has no VmRSS"));
    kib * 1024
}

/// A command that becomes another one and is killed when this thread ends, even when the test itself is killed.
fn launcher(weft: &Path) -> Command {
    let mut command = Command::new(weft);
    command
        .args(["launch", "--signal", "kill", "--parent"])
        .arg(std::process::id().to_string())
        .arg("--");
    command
}
