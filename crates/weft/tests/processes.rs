//! The binary as real processes: `weft run` with its sidecar and app.
//!
//! Here and not beside the code, because the agent reaps any child of its process. Every wait has a bound;
//! every process is ended with its test.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "all of this file is a test; its parts are not marked as one"
)]

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::fs;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

#[path = "processes/activation.rs"]
mod activation;
#[path = "processes/both_protocols.rs"]
mod both_protocols;
#[path = "processes/checks.rs"]
mod checks;
#[path = "processes/first_process.rs"]
mod first_process;
#[path = "processes/leaving.rs"]
mod leaving;
#[path = "processes/offline.rs"]
mod offline;
#[path = "processes/policies.rs"]
mod policies;
#[path = "processes/standing.rs"]
mod standing;

/// No state takes longer to come, not even on a machine that is busy with other tests.
const WAIT: Duration = Duration::from_secs(20);

/// The center's list of instances.
const INSTANCES: &str = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/instances";

/// A folder for runtime and state files, gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Self {
        let path =
            std::env::temp_dir().join(format!("weft-processes-{name}-{}", std::process::id()));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).unwrap();
        Self(path)
    }

    fn weft(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command
            .args(arguments)
            .env("WEFT_RUNTIME_DIR", self.0.join("run"))
            .env("WEFT_STATE_DIR", self.0.join("state"))
            .env_remove("WEFT_CENTER")
            .stdin(Stdio::null());
        command
    }

    /// The runtime file of the only sidecar of a service.
    fn runtime_file(&self, service: &str) -> Option<Value> {
        let path = self.0.join(format!("run/default-{service}-0.json"));
        serde_json::from_slice(&fs::read(path).ok()?).ok()
    }

    fn sidecar(&self, service: &str) -> Option<Pid> {
        pid(self.runtime_file(service)?.get("sidecar_pid")?.as_u64()?)
    }

    fn port(&self, service: &str, role: &str) -> u16 {
        let file = self.runtime_file(service).expect("no runtime file");
        file["ports"][role].as_u64().expect("no port") as u16
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running `weft`, killed with the test. Its sidecar and app then end by themselves: a test is about that.
struct Weft(Child);

impl Weft {
    fn start(mut command: Command) -> Self {
        Self(
            command
                .stdout(Stdio::piped())
                .stderr(Stdio::piped())
                .spawn()
                .unwrap(),
        )
    }

    fn pid(&self) -> Pid {
        pid(self.0.id().into()).unwrap()
    }

    fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    fn end(&mut self) -> ExitStatus {
        wait_for("the agent's end", || self.0.try_wait().unwrap())
    }

    fn errors(&mut self) -> String {
        let mut text = String::new();
        self.0
            .stderr
            .take()
            .unwrap()
            .read_to_string(&mut text)
            .unwrap();
        text
    }
}

impl Drop for Weft {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// The port of the center in this folder.
fn center_port(folder: &Folder) -> Option<u16> {
    let file = fs::read(folder.0.join("run/center.json")).ok()?;
    let file: Value = serde_json::from_slice(&file).ok()?;
    file["url"].as_str()?.rsplit(':').next()?.parse().ok()
}

fn pid(number: u64) -> Option<Pid> {
    Pid::from_raw(i32::try_from(number).ok()?)
}

/// Waits for a state, with a bound.
fn wait_for<T>(what: &str, mut there: impl FnMut() -> Option<T>) -> T {
    let until = now() + WAIT;
    loop {
        if let Some(found) = there() {
            return found;
        }
        assert!(now() < until, "{what} did not come within {WAIT:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[expect(clippy::disallowed_methods, reason = "a test measures real processes")]
fn now() -> Instant {
    Instant::now()
}

/// Whether a process is there and not yet a zombie.
fn lives(pid: Pid) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = status
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim_start().chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// An app that says where it is and then waits for its end.
fn sleeping_app(folder: &Folder) -> [String; 3] {
    let file = folder.0.join("app.pid").display().to_string();
    let script = format!("echo $$ > {file}.new; mv {file}.new {file}; exec sleep 600");
    ["sh".into(), "-c".into(), script]
}

fn app_pid(folder: &Folder) -> Pid {
    let path = folder.0.join("app.pid");
    wait_for("the app", || {
        pid(fs::read_to_string(&path).ok()?.trim().parse().ok()?)
    })
}

#[test]
fn the_exit_code_and_the_output_are_the_apps() {
    let folder = Folder::new("exit");
    let output = folder
        .weft(&[
            "run",
            "--service",
            "orders",
            "--",
            "sh",
            "-c",
            "echo out; echo err >&2; exit 42",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(42));
    assert!(String::from_utf8_lossy(&output.stdout).contains("out\n"));
    assert!(String::from_utf8_lossy(&output.stderr).contains("err\n"));
    assert_eq!(folder.runtime_file("orders"), None);
}

#[test]
fn the_app_finds_its_sidecar_in_its_environment() {
    let folder = Folder::new("environment");
    let script =
        "echo $WEFT_SERVICE $WEFT_INSTANCE $WEFT_OUTBOUND ${http_proxy:-none} ${LISTEN_FDS:-none}";
    let output = folder
        .weft(&["run", "--service", "orders", "--", "sh", "-c", script])
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let line = text
        .lines()
        .find(|line| line.starts_with("orders "))
        .unwrap();
    let words: Vec<&str> = line.split(' ').collect();
    assert!(
        words[1].starts_with("orders-") && words[1].len() == "orders-".len() + 8,
        "{line}"
    );
    assert!(words[2].starts_with("127.0.0.1:"), "{line}");
    assert_eq!(words[3..], ["none", "none"], "{line}");
}

#[test]
fn a_command_that_does_not_exist_ends_with_127_and_a_sentence() {
    let folder = Folder::new("missing");
    let output = folder
        .weft(&["run", "--service", "orders", "--", "/no/such/app"])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(127));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(errors.contains("cannot start \"/no/such/app\""), "{errors}");
}

#[test]
fn a_signal_goes_to_the_app_and_its_answer_comes_back() {
    let folder = Folder::new("signal");
    let file = folder.0.join("up");
    let script = format!(
        "trap 'exit 7' USR1; trap 'exit 9' TERM; : > {}; while :; do sleep 0.01; done",
        file.display()
    );
    for (signal, code) in [(Signal::USR1, 7), (Signal::TERM, 9)] {
        let _ = fs::remove_file(&file);
        let mut weft =
            Weft::start(folder.weft(&["run", "--service", "orders", "--", "sh", "-c", &script]));
        wait_for("the app", || file.exists().then_some(()));
        weft.signal(signal);
        assert_eq!(weft.end().code(), Some(code));
    }
}

#[test]
fn an_app_that_a_signal_ended_counts_128_and_the_signal() {
    let folder = Folder::new("killed");
    let mut weft = Weft::start(folder.weft(&["run", "--service", "orders", "--", "sleep", "600"]));
    wait_for("the sidecar", || folder.sidecar("orders"));
    // The app starts a moment after the sidecar; a signal before that ends the agent in the same way.
    weft.signal(Signal::TERM);
    assert_eq!(weft.end().code(), Some(143));
}

#[test]
fn a_killed_sidecar_is_replaced_at_once_on_the_same_sockets() {
    // The limit is 20 ms from the death to the successor; gated at 5 times it, as rows in time are.
    const LIMIT: Duration = Duration::from_millis(100);
    let folder = Folder::new("replaced");
    let command = sleeping_app(&folder);
    let mut arguments = vec!["run", "--service", "orders", "--"];
    arguments.extend(command.iter().map(String::as_str));
    let mut weft = Weft::start(folder.weft(&arguments));
    let app = app_pid(&folder);
    let first = folder.sidecar("orders").unwrap();
    let ports = folder.runtime_file("orders").unwrap()["ports"].clone();

    kill_process(first, Signal::KILL).unwrap();
    let killed_at = now();
    // The sockets belong to the agent: there is no moment in which a connect is refused.
    TcpStream::connect(("127.0.0.1", folder.port("orders", "outbound"))).unwrap();
    let second = wait_for("the successor", || {
        folder.sidecar("orders").filter(|pid| *pid != first)
    });
    let took = now().duration_since(killed_at);
    println!("successor after {took:?}");
    assert!(took <= LIMIT, "the successor took {took:?}");

    assert_eq!(folder.runtime_file("orders").unwrap()["ports"], ports);
    assert!(lives(app), "the app must not notice");
    let management = folder.port("orders", "management");
    wait_for("the successor's answer", || {
        answer(management, "/live").filter(|text| text.contains(" 200 "))
    });
    assert!(lives(second));
    weft.signal(Signal::TERM);
    assert_eq!(weft.end().code(), Some(143));
    let errors = weft.errors();
    assert!(errors.contains("ended with signal 9"), "{errors}");
    assert!(!lives(second) && !lives(app));
}

#[test]
fn nothing_stays_behind_when_the_agent_is_killed() {
    let folder = Folder::new("orphans");
    let command = sleeping_app(&folder);
    let mut arguments = vec!["run", "--service", "orders", "--"];
    arguments.extend(command.iter().map(String::as_str));
    let mut weft = Weft::start(folder.weft(&arguments));
    let app = app_pid(&folder);
    let sidecar = folder.sidecar("orders").unwrap();
    let port = folder.port("orders", "outbound");
    weft.signal(Signal::KILL);
    weft.end();
    wait_for("the sidecar's end", || (!lives(sidecar)).then_some(()));
    wait_for("the app's end", || (!lives(app)).then_some(()));
    wait_for("the port", || TcpStream::connect(("127.0.0.1", port)).err());
}

#[test]
fn a_taken_port_that_was_asked_for_is_refused_with_its_owner() {
    let folder = Folder::new("taken");
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port().to_string();
    let output = folder
        .weft(&[
            "run",
            "--service",
            "orders",
            "--outbound-port",
            &port,
            "--",
            "true",
        ])
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(1));
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains(&format!("outbound port {port}: taken by")),
        "{errors}"
    );
    assert!(
        errors.contains(&format!("(pid {})", std::process::id())),
        "{errors}"
    );
}

#[test]
fn without_a_command_it_serves_until_asked_to_end() {
    let folder = Folder::new("agent");
    let app = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = format!("http={}", app.local_addr().unwrap().port());
    let mut weft = Weft::start(folder.weft(&["run", "--service", "orders", "--port", &port]));
    wait_for("the sidecar", || folder.sidecar("orders"));
    let management = folder.port("orders", "management");
    wait_for("readiness", || {
        answer(management, "/live").filter(|text| text.contains(" 200 "))
    });
    weft.signal(Signal::TERM);
    assert_eq!(weft.end().code(), Some(0));
    assert_eq!(folder.runtime_file("orders"), None);
}

#[test]
fn an_app_that_something_else_starts_is_noticed_when_it_comes_and_goes() {
    let folder = Folder::new("foreign");
    let mut center = Weft::start(folder.weft(&["center", "--listen", "127.0.0.1:0"]));
    let file = folder.0.join("run/center.json");
    let center_port = wait_for("the center", || center_port(&folder));
    let app = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = app.local_addr().unwrap().port();
    let mut weft = Weft::start(folder.weft(&[
        "run",
        "--service",
        "orders",
        "--port",
        &format!("http={port}"),
    ]));
    let state_becomes = |state: &str, incarnation: u64| {
        wait_for(&format!("{state} {incarnation}"), || {
            let text = answer(center_port, INSTANCES)?;
            let list: Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()?;
            let status = list["items"].get(0)?.get("status")?.clone();
            (status["state"] == state && status["incarnation"] == incarnation).then_some(())
        });
    };
    state_becomes("Ready", 1);
    drop(app);
    state_becomes("Draining", 1);
    let app = wait_for("the port again", || {
        TcpListener::bind(("127.0.0.1", port)).ok()
    });
    state_becomes("Ready", 2);
    drop(app);
    weft.signal(Signal::TERM);
    assert_eq!(weft.end().code(), Some(0));
    wait_for("the goodbye", || {
        answer(center_port, INSTANCES).filter(|text| !text.contains("orders-"))
    });
    center.signal(Signal::TERM);
    assert_eq!(center.end().code(), Some(0));
    assert!(!file.exists());
}

#[test]
fn usage_errors_end_with_2() {
    let folder = Folder::new("usage");
    for arguments in [
        &["run"][..],
        &["run", "--service", "../x", "--", "true"],
        &["run", "--service", "a", "--port", "smtp=25", "--", "true"],
        &["proxy", "--service", "a", "--instance", "a-1"],
        &["nothing"],
    ] {
        let output = folder.weft(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(!output.stderr.is_empty());
    }
}

#[test]
fn more_ports_than_a_center_takes_are_refused_before_anything_starts() {
    let folder = Folder::new("many-ports");
    let run = |count: u16| {
        let mut command = folder.weft(&["run", "--service", "orders"]);
        for number in 1..=count {
            command.args(["--port", &format!("p{number}:tcp={number}")]);
        }
        command.args(["--", "true"]).output().unwrap()
    };
    let output = run(65);
    assert_eq!(output.status.code(), Some(2), "{output:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    let sentence = "--port is written 65 times, and no center takes more than 64 of one instance";
    assert!(errors.contains(sentence), "{errors}");
    assert_eq!(run(64).status.code(), Some(0));
}

#[test]
fn a_center_that_is_not_there_is_exit_code_3() {
    let folder = Folder::new("no-center");
    for arguments in [&["stat"][..], &["stat", "--center", "127.0.0.1:1"]] {
        let output = folder.weft(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(3), "{arguments:?}");
    }
}

/// One plain answer of the management port; none while nobody answers.
fn answer(port: u16, path: &str) -> Option<String> {
    use std::io::Write;
    let mut stream = TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(WAIT)).ok()?;
    let request =
        format!("GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).ok()?;
    let mut text = String::new();
    stream.read_to_string(&mut text).ok()?;
    Some(text)
}
