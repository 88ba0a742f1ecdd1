//! `conform tunnel`: tunnels by `Upgrade` and CONNECT against an app that records every byte.
//!
//! | file | what it holds |
//! |---|---|
//! | `recorder.rs` | the app: it answers as a case says, and knows what came before its answer and after |
//! | `cases.rs` | answers that an app gives, and what callers send too early |
//! | `downgrade.rs` | HTTP/2 requests that HTTP/1.1 would read otherwise, written naively |
//!
//! Real processes: each case goes through one sidecar (a plain caller of the inbound port) and over a link through
//! two. Gates: no byte of a tunnel reaches the app before it granted it, none ever after it refused, no connection of
//! an upgrade serves another request, and what was granted carries every byte.

mod cases;
mod downgrade;
mod recorder;

use crate::bench::http1::build;
use crate::bench::processes::{Process, free_port};
use crate::drill::mesh::{Instance, Mesh, SERVICE, ends_at_once};
use crate::report::{Report, Row};
use cases::{Case, Early, all, connects};
use recorder::Recorder;
use serde_json::json;
use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long a caller waits for anything.
const WAIT_MAX: Duration = Duration::from_secs(10);

/// What a granted tunnel is asked to send back.
const PING: &[u8] = b"bytes of a tunnel";

/// Faults printed in full; the rest is counted.
const FAULTS_SHOWN_MAX: usize = 20;

/// What the cases found.
#[derive(Default)]
struct Found {
    cases: u64,
    early: u64,
    after_refusal: u64,
    reused: u64,
    faults: Vec<String>,
    downgrade: downgrade::Found,
}

/// Runs the suite and prints it; whether all gates are met.
pub(crate) fn run(json: bool) -> Result<bool, String> {
    let binary = build("dev")?;
    let mesh = Mesh::new(&binary, "tunnel")?;
    let mut found = conform(&mesh).map_err(|error| format!("{error}\n{}", mesh.logs()))?;
    let count = |count: u64| count as f64;
    let mut rows = vec![
        Row::shown("cases", count(found.cases)),
        Row::at_most("bytes before the grant", count(found.early), 0.0, None),
        Row::at_most(
            "bytes after a refusal",
            count(found.after_refusal),
            0.0,
            None,
        ),
        Row::at_most("requests on a used tunnel", count(found.reused), 0.0, None),
    ];
    let down = &found.downgrade;
    rows.extend([
        Row::shown("downgrade vectors", count(down.vectors)),
        Row::at_most(
            "downgrade vectors too few",
            count(downgrade::VECTORS_MIN.saturating_sub(down.vectors / 2)),
            0.0,
            None,
        ),
        Row::at_most(
            "downgrade vectors let through",
            count(down.through),
            0.0,
            None,
        ),
        Row::at_most("downgrade controls refused", count(down.refused), 0.0, None),
    ]);
    found.faults.extend_from_slice(&found.downgrade.faults);
    let more = found.faults.len().saturating_sub(FAULTS_SHOWN_MAX);
    let mut faults = found.faults;
    faults.truncate(FAULTS_SHOWN_MAX);
    if more > 0 {
        faults.push(format!("and {more} more"));
    }
    let report = Report {
        suite: "conform tunnel".to_owned(),
        rows,
        faults,
        setting: json!({"ways": ["one sidecar", "two sidecars and their link"]}),
    };
    report.print(json);
    Ok(report.pass())
}

/// Where callers go in.
struct Ways {
    _center: Process,
    _callee: Instance,
    caller: Instance,
    inbound: SocketAddr,
}

fn conform(mesh: &Mesh) -> Result<Found, String> {
    let recorder = Recorder::start()?;
    let center = mesh.start_center()?;
    let ports = [
        "--port".to_owned(),
        format!("http={}", recorder.port()),
        "--port".to_owned(),
        format!("tcp={}", recorder.tcp_port()),
    ];
    let callee = mesh.start_instance(SERVICE, &[&ports[..], &ends_at_once()].concat(), &[])?;
    let caller = mesh.start_instance("caller", &ends_at_once(), &[])?;
    let ways = Ways {
        inbound: callee.address("inbound"),
        _center: center,
        _callee: callee,
        caller,
    };
    mesh.wait_for("a first answer over the link", || {
        answered(ways.caller.address("outbound")).then_some(())
    })?;
    let mut found = Found::default();
    for (way, address) in [
        ("one sidecar", ways.inbound),
        ("link", ways.caller.address("outbound")),
    ] {
        for case in all() {
            found.cases += 1;
            let name = format!("{way}, {}", case.name());
            if let Err(error) = upgrade(&recorder, address, &case, &mut found) {
                found.faults.push(format!("{name}: {error}"));
            }
        }
    }
    let proxy = ways.caller.address("http_proxy");
    for case in connects(recorder.tcp_port(), free_port()?) {
        found.cases += 1;
        if let Err(error) = connect(&recorder, proxy, &case, &mut found) {
            found
                .faults
                .push(format!("CONNECT {}: {error}", case.authority));
        }
    }
    found.downgrade = downgrade::run(mesh, &ways.caller)?;
    Ok(found)
}

/// Whether an ordinary call is answered.
fn answered(address: SocketAddr) -> bool {
    is_answered_by(address, SERVICE)
}

fn is_answered_by(address: SocketAddr, service: &str) -> bool {
    let ask = || -> std::io::Result<bool> {
        let mut caller = open(address)?;
        write!(
            caller,
            "GET /plain HTTP/1.1\r\nHost: {service}\r\nConnection: close\r\n\r\n"
        )?;
        Ok(head(&mut caller)?.starts_with("HTTP/1.1 200 "))
    };
    ask().unwrap_or(false)
}

fn open(address: SocketAddr) -> std::io::Result<TcpStream> {
    let stream = TcpStream::connect_timeout(&address, WAIT_MAX)?;
    stream.set_nodelay(true)?;
    stream.set_read_timeout(Some(WAIT_MAX))?;
    stream.set_write_timeout(Some(WAIT_MAX))?;
    Ok(stream)
}

/// Reads a head to its empty line, and no byte more.
fn head(stream: &mut TcpStream) -> std::io::Result<String> {
    let mut bytes = Vec::new();
    let mut byte = [0];
    while !bytes.ends_with(b"\r\n\r\n") {
        if stream.read(&mut byte)? == 0 {
            return Err(ErrorKind::UnexpectedEof.into());
        }
        bytes.push(byte[0]);
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// The final head: interim ones come before it.
fn final_head(stream: &mut TcpStream) -> std::io::Result<String> {
    loop {
        let head = head(stream)?;
        let interim = ["HTTP/1.1 100 ", "HTTP/1.1 103 "];
        if !interim.iter().any(|start| head.starts_with(start)) {
            return Ok(head);
        }
    }
}

/// One request for an upgrade: its answer, what the app saw, and what became of the connection.
fn upgrade(
    recorder: &Recorder,
    address: SocketAddr,
    case: &Case,
    found: &mut Found,
) -> Result<(), String> {
    let told = |error: std::io::Error| format!("the caller's connection: {error}");
    recorder.answer_with(case.answer.bytes, case.grants());
    let mut caller = open(address).map_err(told)?;
    let early = case.early.bytes();
    let ask = format!(
        "GET /asked HTTP/1.1\r\nHost: {SERVICE}\r\nConnection: {}\r\nUpgrade: {}\r\n\r\n",
        case.spelling.0, case.spelling.1
    );
    if case.early == Early::Behind {
        caller.write_all(ask.as_bytes()).map_err(told)?;
        caller.write_all(&early).map_err(told)?;
    } else {
        let both = [ask.as_bytes(), &early].concat();
        caller.write_all(&both).map_err(told)?;
    }
    let head = final_head(&mut caller).map_err(told)?;
    let status = head.get(9..12).unwrap_or_default().to_owned();
    if status != case.answer.status {
        return Err(format!(
            "the caller got {status}, not {}",
            case.answer.status
        ));
    }
    let mut problem = None;
    if case.grants() {
        caller.write_all(PING).map_err(told)?;
        let sent = [&early[..], PING].concat();
        let mut back = vec![0; sent.len()];
        caller.read_exact(&mut back).map_err(told)?;
        if back != sent {
            problem = Some("the tunnel carried other bytes".to_owned());
        }
    } else if !early.is_empty() {
        // Whatever follows the body of the answer, no further answer may.
        let mut rest = Vec::new();
        match caller.read_to_end(&mut rest) {
            Ok(_) => {}
            // Closing with bytes of ours unread is a reset.
            Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
            Err(error) => return Err(format!("the connection stays open: {error}")),
        }
        if rest.windows(5).any(|window| window == b"HTTP/") {
            problem = Some("what was sent early was answered as a request".to_owned());
        }
    }
    drop(caller);
    let seen = recorder.seen(case.grants())?;
    found.early += seen.before;
    found.reused += seen.requests_after;
    if !case.grants() {
        found.after_refusal += seen.after;
    }
    match problem {
        Some(problem) => Err(problem),
        None if seen.requests != 1 => Err(format!("the app saw {} requests", seen.requests)),
        None => Ok(()),
    }
}

/// One CONNECT with bytes right behind it.
fn connect(
    recorder: &Recorder,
    proxy: SocketAddr,
    case: &cases::Connect,
    found: &mut Found,
) -> Result<(), String> {
    let told = |error: std::io::Error| format!("the caller's connection: {error}");
    let before = recorder.tcp_bytes();
    let mut caller = open(proxy).map_err(told)?;
    let early = Early::Request.bytes();
    let ask = format!("CONNECT {0} HTTP/1.1\r\nHost: {0}\r\n\r\n", case.authority);
    let both = [ask.as_bytes(), &early].concat();
    caller.write_all(&both).map_err(told)?;
    let head = head(&mut caller).map_err(told)?;
    let status = head.get(9..12).unwrap_or_default();
    if status != case.status {
        return Err(format!("the caller got {status}, not {}", case.status));
    }
    if case.status == "200" {
        let mut back = vec![0; early.len()];
        caller.read_exact(&mut back).map_err(told)?;
        if back != early {
            return Err("the tunnel carried other bytes".to_owned());
        }
        return Ok(());
    }
    let mut rest = Vec::new();
    // Closing with bytes of ours unread is a reset.
    let _ = caller.read_to_end(&mut rest);
    found.after_refusal += recorder.tcp_bytes() - before;
    if rest.windows(5).any(|window| window == b"HTTP/") {
        return Err("what was sent early was answered as a request".to_owned());
    }
    Ok(())
}
