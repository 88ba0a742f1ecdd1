//! Sockets that somebody else opened, as systemd does: the agent takes them, and nobody below it hears of them.

use super::*;
use command_fds::{CommandFdExt, FdMapping};
use std::os::fd::OwnedFd;

/// A command that has these listeners from descriptor 3 on, and a `LISTEN_PID` that is its own.
fn activated(folder: &Folder, listeners: &[(&str, &TcpListener)], arguments: &[&str]) -> Command {
    let weft = folder.weft(&[]);
    let mut command = Command::new("sh");
    command
        .args(["-c", "LISTEN_PID=$$ exec \"$@\"", "sh"])
        .arg(weft.get_program())
        .args(arguments)
        .env("LISTEN_FDS", listeners.len().to_string())
        .stdin(Stdio::null());
    for (name, value) in weft.get_envs() {
        match value {
            Some(value) => command.env(name, value),
            None => command.env_remove(name),
        };
    }
    let names: Vec<&str> = listeners.iter().map(|(name, _)| *name).collect();
    command.env("LISTEN_FDNAMES", names.join(":"));
    let mappings = listeners
        .iter()
        .zip(3..)
        .map(|((_, listener), child_fd)| FdMapping {
            parent_fd: OwnedFd::from(listener.try_clone().unwrap()),
            child_fd,
        });
    command.fd_mappings(mappings.collect()).unwrap();
    command
}

fn listener() -> (TcpListener, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    (listener, port)
}

#[test]
fn calls_are_answered_on_sockets_that_somebody_else_opened() {
    let folder = Folder::new("activation");
    let mut center = Weft::start(folder.weft(&["center", "--listen", "127.0.0.1:0"]));
    wait_for("the center", || center_port(&folder));
    let (outbound, outbound_port) = listener();
    let (inbound, inbound_port) = listener();
    let (management, management_port) = listener();
    let (app, app_port) = listener();
    drop(app);
    let seen = folder.0.join("seen").display().to_string();
    let script = format!(
        "echo pid=$LISTEN_PID fds=$LISTEN_FDS names=$LISTEN_FDNAMES > {seen}; exec {} demo echo-http --port {app_port}",
        env!("CARGO_BIN_EXE_weft"),
    );
    let declared = format!("http={app_port}");
    let arguments = [
        "run",
        "--service",
        "orders",
        "--port",
        &declared,
        "--",
        "sh",
        "-c",
        &script,
    ];
    let named = [
        ("management", &management),
        ("outbound", &outbound),
        ("inbound", &inbound),
    ];
    let mut weft = Weft::start(activated(&folder, &named, &arguments));
    drop((outbound, inbound, management));
    let call = || {
        use std::io::Write;
        let mut stream = TcpStream::connect(("127.0.0.1", outbound_port)).unwrap();
        stream.set_read_timeout(Some(WAIT)).unwrap();
        let request = "GET /bytes/5 HTTP/1.1\r\nHost: orders\r\nConnection: close\r\n\r\n";
        stream.write_all(request.as_bytes()).unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).ok()?;
        text.starts_with("HTTP/1.1 200").then_some(text)
    };
    wait_for("an answer", call);
    let ports = folder.runtime_file("orders").unwrap()["ports"].clone();
    assert_eq!(ports["outbound"], outbound_port);
    assert_eq!(ports["inbound"], inbound_port);
    assert_eq!(ports["management"], management_port);
    assert!(ports["http_proxy"].as_u64().unwrap() > 0, "{ports}");
    assert!(answer(management_port, "/live").unwrap().contains(" 200 "));
    let text = fs::read_to_string(&seen).unwrap();
    assert_eq!(text.trim(), "pid= fds= names=", "what the app inherits");
    let sidecar = folder.sidecar("orders").unwrap();
    let environment = fs::read(format!("/proc/{sidecar}/environ")).unwrap();
    let environment = String::from_utf8_lossy(&environment).into_owned();
    assert!(!environment.contains("LISTEN_PID="), "{environment}");

    // They stay with the agent, as its own do.
    kill_process(sidecar, Signal::KILL).unwrap();
    wait_for("the successor", || {
        folder.sidecar("orders").filter(|pid| *pid != sidecar)
    });
    wait_for("an answer of the successor", call);
    weft.signal(Signal::TERM);
    weft.end();
    center.signal(Signal::TERM);
    center.end();
}

#[test]
fn a_socket_with_a_name_that_nobody_knows_is_refused_with_those_that_are() {
    let folder = Folder::new("activation-name");
    let (socket, _) = listener();
    let arguments = ["run", "--service", "orders", "--", "true"];
    let mut command = activated(&folder, &[("orders.socket", &socket)], &arguments);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{output:?}");
    let errors = String::from_utf8(output.stderr).unwrap();
    assert!(
        errors.contains("\"orders.socket\" is none of outbound, inbound, http_proxy, management"),
        "{errors}"
    );
}

#[test]
fn sockets_meant_for_another_process_are_left_alone() {
    let folder = Folder::new("activation-other");
    let script = "echo app pid=$LISTEN_PID fds=$LISTEN_FDS names=$LISTEN_FDNAMES";
    let mut command = folder.weft(&["run", "--service", "orders", "--", "sh", "-c", script]);
    command
        .env("LISTEN_PID", "1")
        .env("LISTEN_FDS", "7")
        .env("LISTEN_FDNAMES", "x");
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("app pid= fds= names=\n"), "{text}");
}
