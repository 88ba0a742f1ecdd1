//! `weft up` as a person starts it: real processes, real calls, nothing left behind.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    reason = "all of this file is a test; its parts are not marked as one"
)]

use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

/// No state takes longer to come, not even on a machine that is busy with other tests.
const WAIT: Duration = Duration::from_secs(30);

/// A temporary folder, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("weft-up-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn up(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command
            .arg("up")
            .args(arguments)
            .env("TMPDIR", &self.0)
            .stdin(Stdio::null());
        command
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `weft up`, killed with the test.
struct Up {
    child: Child,
    lines: BufReader<ChildStdout>,
}

impl Up {
    fn start(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let lines = BufReader::new(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The first line from here on for which `wanted` holds.
    fn line(&mut self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let mut line = String::new();
            let read = self.lines.read_line(&mut line).unwrap();
            assert!(read > 0, "weft up ended before the line came");
            if wanted(&line) {
                return line.trim_end().to_owned();
            }
        }
    }
}

impl Drop for Up {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The processes that were started in a folder of ours; zombies have no environment any more.
fn processes_of(folder: &Path) -> usize {
    let folder = folder.as_os_str().as_encoded_bytes();
    let environments = fs::read_dir("/proc")
        .unwrap()
        .flatten()
        .filter_map(|entry| {
            let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
            fs::read(format!("/proc/{pid}/environ")).ok()
        });
    environments
        .filter(|text| text.windows(folder.len()).any(|piece| piece == folder))
        .count()
}

fn wait_until(what: &str, mut there: impl FnMut() -> bool) {
    let until = now() + WAIT;
    while !there() {
        assert!(now() < until, "{what} did not come within {WAIT:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test measures real processes")]
fn now() -> Instant {
    Instant::now()
}

#[test]
fn five_services_call_each_other_and_nothing_is_left_behind() {
    let folder = Folder::new("whole");
    let output = folder.up(&["--for", "3s", "--json"]).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let errors = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}\n{errors}");
    let last: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
    assert_eq!(
        (&last["services"], &last["sidecars"]),
        (&5.into(), &8.into()),
        "{text}"
    );
    assert_eq!(last["failed"], 0, "{text}");
    assert!(last["calls"].as_u64().unwrap() > 100, "{text}");
    assert!(last["p50_us"].as_u64() <= last["p99_us"].as_u64(), "{text}");
    assert_eq!(processes_of(&folder.0), 0);
    assert_eq!(
        fs::read_dir(&folder.0).unwrap().count(),
        0,
        "the temporary folder stayed"
    );
}

#[test]
fn what_is_proposed_to_try_works() {
    let folder = Folder::new("try");
    let mut up = Up::start(folder.up(&[]));
    let sh = |line: &str| {
        let output = Command::new("sh").args(["-c", line]).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(output.status.success(), "{line}: {text}");
        text
    };
    up.line(|line| line.starts_with("Try in another terminal"));
    let curl = up.line(|line| line.contains("curl "));
    let port = curl
        .split("127.0.0.1:")
        .nth(1)
        .unwrap()
        .split('/')
        .next()
        .unwrap();
    let proposed = up.line(|line| line.contains(" stat --center "));
    let kill = up.line(|line| line.contains("kill -9 "));

    // curl itself may be missing here; what it would send is sent.
    let answer = get_with_host(port.parse().unwrap(), "orders");
    assert!(
        answer.starts_with("HTTP/1.1 200 ") && answer.contains("in_stock"),
        "{answer}"
    );
    let mut table = String::new();
    wait_until("all services in the table", || {
        table = sh(proposed.trim());
        ["visitors", "web", "orders", "stock", "from orders"]
            .iter()
            .all(|name| table.contains(name))
    });
    // The pid is a sidecar's.
    let pid = kill.trim().split(' ').nth(2).unwrap();
    let command = fs::read(format!("/proc/{pid}/cmdline")).unwrap();
    assert!(
        command
            .split(|byte| *byte == 0)
            .any(|word| word == b"proxy")
    );
    sh(kill.trim());
    // The successor must hear of the mesh first; until it is kept on disk, its own calls may fail meanwhile.
    wait_until("an answer after the sidecar's death", || {
        get_with_host(port.parse().unwrap(), "orders").starts_with("HTTP/1.1 200 ")
    });

    let pid = rustix::process::Pid::from_child(&up.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    up.line(|line| line.contains(" calls, ") && line.contains(" failed, p50 "));
    wait_until("the end", || up.child.try_wait().unwrap().is_some());
    wait_until("the end of every process", || processes_of(&folder.0) == 0);
}

/// The pid of a process of this folder whose command begins with these words.
fn process_of(folder: &Path, words: &[&str]) -> u32 {
    let folder = folder.as_os_str().as_encoded_bytes();
    let pids = fs::read_dir("/proc").unwrap().flatten();
    let mut found = pids.filter_map(|entry| {
        let pid: u32 = entry.file_name().to_str()?.parse().ok()?;
        let environment = fs::read(format!("/proc/{pid}/environ")).ok()?;
        let command = fs::read_to_string(format!("/proc/{pid}/cmdline")).ok()?;
        let command: Vec<&str> = command.split_terminator('\0').skip(1).collect();
        let is_ours = environment
            .windows(folder.len())
            .any(|piece| piece == folder);
        (is_ours && command.starts_with(words)).then_some(pid)
    });
    found.next().expect("such a process runs")
}

fn kill(pid: u32) {
    let pid = rustix::process::Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn what_is_killed_is_told_in_words_and_no_call_fails() {
    let folder = Folder::new("news");
    let mut up = Up::start(folder.up(&[]));
    let proposed = up.line(|line| line.contains("kill -9 "));
    let sidecar = proposed.trim().split(' ').nth(2).unwrap().parse().unwrap();
    up.line(|line| line.starts_with("visitors counted"));

    kill(process_of(&folder.0, &["center"]));
    up.line(|line| line.contains("center ended by itself") && line.contains("calls go on"));
    up.line(|line| line.contains("the center is back"));

    kill(sidecar);
    up.line(|line| line.contains(" orders-") && line.contains("ended with signal 9"));
    up.line(|line| line.contains("another sidecar (pid "));

    kill(process_of(&folder.0, &["demo", "orders"]));
    up.line(|line| line.contains("the app ended with signal 9"));

    let pid = rustix::process::Pid::from_child(&up.child);
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let sum = up.line(|line| line.contains(" failed, p50 "));
    assert!(sum.contains(" 0 failed"), "{sum}");
}

#[test]
fn nothing_is_left_behind_when_up_is_killed() {
    let folder = Folder::new("killed");
    let mut up = Up::start(folder.up(&[]));
    // All five instances behind the load are there.
    up.line(|line| line.starts_with("web ") && line.contains("sidecar pid"));
    assert!(processes_of(&folder.0) > 5);
    up.child.kill().unwrap();
    up.child.wait().unwrap();
    wait_until("the end of every process", || processes_of(&folder.0) == 0);
}

/// The answer to `GET /` with this Host.
fn get_with_host(port: u16, host: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).unwrap();
    stream.set_read_timeout(Some(WAIT)).unwrap();
    let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).unwrap();
    let mut text = String::new();
    stream.read_to_string(&mut text).unwrap();
    text
}
