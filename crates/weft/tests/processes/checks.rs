//! Apps that fail the check that a person named, and apps of others that go away.

use super::*;

/// A center, and what it says of the only instance of orders.
struct Center {
    weft: Weft,
    port: u16,
}

impl Center {
    fn start(folder: &Folder) -> Self {
        let weft = Weft::start(folder.weft(&["center", "--listen", "127.0.0.1:0"]));
        let port = wait_for("the center", || center_port(folder));
        Self { weft, port }
    }

    fn wait_until(&self, state: &str, incarnation: u64) {
        let mut last = None;
        wait_for(&format!("{state} {incarnation}"), || {
            let status = self.status();
            if last != status {
                // Shown when the test fails.
                println!("{status:?}");
                last.clone_from(&status);
            }
            let status = status?;
            (status["state"] == state && status["incarnation"] == incarnation).then_some(())
        });
    }

    fn wait_for_goodbye(&self) {
        wait_for("the goodbye", || self.status().is_none().then_some(()));
    }

    fn status(&self) -> Option<Value> {
        let text = answer(self.port, INSTANCES)?;
        let list: Value = serde_json::from_str(text.split_once("\r\n\r\n")?.1).ok()?;
        list["items"].get(0)?.get("status").cloned()
    }

    fn end(mut self) {
        self.weft.signal(Signal::TERM);
        assert_eq!(self.weft.end().code(), Some(0));
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

/// `weft run` of an app that says where it is and answers at this port, checked ten times a second.
fn checked_app(folder: &Folder, port: u16, restart: &str) -> Weft {
    let file = folder.0.join("app.pid").display().to_string();
    let script = format!(
        "echo $$ > {file}.new; mv {file}.new {file}; exec {} demo echo-http --port {port}",
        env!("CARGO_BIN_EXE_weft"),
    );
    let declared = format!("http={port}");
    let arguments = [
        "run",
        "--service",
        "orders",
        "--port",
        &declared,
        "--check",
        "http:/1",
        "--check-interval",
        "100ms",
        "--check-grace",
        "3s",
        "--restart",
        restart,
        "--drain-limit",
        "0s",
        "--",
        "sh",
        "-c",
        &script,
    ];
    Weft::start(folder.weft(&arguments))
}

#[test]
fn an_app_that_stands_still_is_ended_and_started_again_as_the_next_incarnation() {
    let folder = Folder::new("check");
    let center = Center::start(&folder);
    let mut weft = checked_app(&folder, free_port(), "on-failure");
    center.wait_until("Ready", 1);
    let first = app_pid(&folder);
    kill_process(first, Signal::STOP).unwrap();
    // Stopped, it holds SIGTERM back and needs SIGKILL: callers know long before that.
    center.wait_until("Draining", 1);
    assert!(lives(first), "told before it is gone");
    center.wait_until("Ready", 2);
    assert!(!lives(first));
    weft.signal(Signal::TERM);
    weft.end();
    assert!(weft.errors().contains("fails its check http:/1 (no answer"));
    center.end();
}

#[test]
fn without_a_restart_an_app_that_fails_its_check_ends_all_with_69() {
    let folder = Folder::new("check-never");
    let port = free_port();
    let mut weft = checked_app(&folder, port, "never");
    wait_for("its answer", || answer(port, "/1"));
    kill_process(app_pid(&folder), Signal::STOP).unwrap();
    assert_eq!(weft.end().code(), Some(69));
}

/// An app that `weft run` did not start.
fn foreign_app(port: u16) -> Weft {
    let start = || {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weft"));
        command.args(["demo", "echo-http", "--port", &port.to_string()]);
        Weft::start(command)
    };
    let mut app = start();
    wait_for("the app", || {
        // A connection of somebody else may have the port for a moment.
        if app.0.try_wait().unwrap().is_some() {
            app = start();
        }
        TcpStream::connect(("127.0.0.1", port)).ok()
    });
    app
}

#[test]
fn an_app_of_others_that_fails_its_check_is_dead_until_it_passes_and_stays_the_same_incarnation() {
    let folder = Folder::new("check-foreign");
    let center = Center::start(&folder);
    let port = free_port();
    let declared = format!("http={port}");
    let arguments = [
        "run",
        "--service",
        "orders",
        "--port",
        &declared,
        "--check",
        "http:/1",
        "--check-interval",
        "100ms",
    ];
    let mut weft = Weft::start(folder.weft(&arguments));
    let app = foreign_app(port);
    center.wait_until("Ready", 1);
    // Its kernel still takes connections: the ports alone would not tell.
    app.signal(Signal::STOP);
    center.wait_until("Draining", 1);
    TcpStream::connect(("127.0.0.1", port)).unwrap();
    app.signal(Signal::CONT);
    center.wait_until("Ready", 1);
    app.signal(Signal::STOP);
    center.wait_until("Draining", 1);
    drop(app);
    let _app = foreign_app(port);
    center.wait_until("Ready", 2);
    weft.signal(Signal::TERM);
    assert_eq!(weft.end().code(), Some(0));
    center.end();
}

#[test]
fn an_app_of_others_may_come_back_for_a_while_and_then_its_instance_leaves() {
    const AWAY: Duration = Duration::from_secs(3);
    let folder = Folder::new("away");
    let center = Center::start(&folder);
    let port = free_port();
    let declared = format!("http={port}");
    let arguments = [
        "run",
        "--service",
        "orders",
        "--port",
        &declared,
        "--app-away",
        "3s",
    ];
    let mut weft = Weft::start(folder.weft(&arguments));
    let app = foreign_app(port);
    center.wait_until("Ready", 1);
    drop(app);
    center.wait_until("Draining", 1);
    let app = foreign_app(port);
    center.wait_until("Ready", 2);
    drop(app);
    let gone_at = now();
    center.wait_until("Draining", 2);
    let told = now().duration_since(gone_at);
    assert!(told < AWAY, "callers hear at once, not after {told:?}");
    center.wait_for_goodbye();
    let left = now().duration_since(gone_at);
    println!("told after {told:?}, left after {left:?}");
    assert!(left >= AWAY, "left after {left:?}");
    assert_eq!(weft.end().code(), Some(0));
    assert!(weft.errors().contains("--app-away"));
    center.end();
}

#[test]
fn a_check_needs_a_port() {
    let folder = Folder::new("check-usage");
    for arguments in [
        &["--check", "tcp"][..],
        &["--check", "udp:53"],
        &["--check", "tcp:80", "--check-interval", "1ms"],
        &["--check-failures", "3"],
    ] {
        let mut all = vec!["run", "--service", "orders"];
        all.extend(arguments);
        let output = folder.weft(&all).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
    }
}
