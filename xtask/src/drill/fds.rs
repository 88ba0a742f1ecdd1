//! `drill fds`: 700 connections to a sidecar that may have 256 files open.
//!
//! Meanwhile it must cost nothing, its management port must answer, and when the connections are gone, calls must
//! be answered at once. Beside it nginx and Envoy under the same limit.

use super::beside::{Beside, Program};
use super::clients::warm_up;
use super::load::{Kind, Load, Protocol, Target};
use super::mesh::{Mesh, SERVICE, ends_at_once, limited};
use super::rows::Rows;
use crate::bench::meter::cpu_ns;
use crate::bench::processes::{get, now, wait_for};
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// Files that the process may have open.
const FILES: &str = "256";

const CONNECTIONS: usize = 700;

/// How long they stay.
const HELD_FOR: Duration = Duration::from_secs(5);
const HELD_FOR_FULL: Duration = Duration::from_secs(30);

/// The same of the proxies beside us in the short form.
const PEER_HELD_FOR: Duration = Duration::from_secs(3);

/// Rounds whose median counts in the full form.
const ROUNDS_FULL: usize = 5;

/// Between two questions to the management port.
const ASK_EVERY: Duration = Duration::from_millis(250);

/// How long one connect may take.
const CONNECT_WITHIN: Duration = Duration::from_secs(1);

const CPU_PERCENT_MAX: f64 = 1.0;
const NORMAL_MS_MAX: f64 = 100.0;

/// Runs the drill.
pub(super) fn run(binary: &Path, rows: &mut Rows) -> Result<(), String> {
    let mesh = Mesh::new(binary, "fds")?;
    drill(&mesh, rows).map_err(|error| format!("{error}\n{}", mesh.logs()))
}

fn drill(mesh: &Mesh, rows: &mut Rows) -> Result<(), String> {
    let _center = mesh.start_center()?;
    let app = mesh.start_app("app")?;
    let flags = [app.flags(), ends_at_once()].concat();
    let _callee = mesh.start_instance(SERVICE, &flags, &[])?;
    let caller = mesh.start_limited(FILES, "caller", &ends_at_once())?;
    let target = Target::at(caller.address("outbound"));
    warm_up(&target)?;
    let management = caller.address("management");
    let pid = caller.sidecar_pid().ok_or("the sidecar is not running")?;
    let rounds = if rows.full() { ROUNDS_FULL } else { 1 };
    let held_for = if rows.full() { HELD_FOR_FULL } else { HELD_FOR };
    let (mut asked, mut answered) = (0, 0);
    for _ in 0..rounds {
        let held = hold(target.address);
        rows.shown_once("connections held", held.len() as f64);
        let (before, began) = (cpu_ns(pid)?, now());
        while now() - began < held_for {
            asked += 1;
            let answer = get(management, "/ready");
            answered += u32::from(answer.is_ok_and(|(status, _)| status == 200));
            std::thread::sleep(ASK_EVERY);
        }
        let used = (cpu_ns(pid)? - before) as f64;
        let share = used / (now() - began).as_nanos() as f64 * 100.0;
        rows.count("CPU, % of a core", share, CPU_PERCENT_MAX);
        drop(held);
        let normal = until_answered(&target)?;
        rows.time(
            "normal again, ms after the last one closed",
            normal,
            NORMAL_MS_MAX,
        );
    }
    let silent = asked - answered;
    rows.shown("questions to the management port", f64::from(asked));
    rows.count("of them not answered", f64::from(silent), 0.0);
    let died = u32::from(caller.sidecar_pid() != Some(pid));
    rows.count("sidecars that died of it", f64::from(died), 0.0);
    for program in Program::ALL {
        peer(program, mesh, rows)?;
    }
    Ok(())
}

/// Opens connections that say nothing, as many as the kernel lets us.
fn hold(address: SocketAddr) -> Vec<TcpStream> {
    (0..CONNECTIONS)
        .filter_map(|_| TcpStream::connect_timeout(&address, CONNECT_WITHIN).ok())
        .collect()
}

/// Milliseconds until a call on a new connection is answered.
fn until_answered(target: &Target) -> Result<f64, String> {
    /// Calls a second of a client that waits for nothing else.
    const EAGER: f64 = 1000.0;
    let began = now();
    let kind = Kind {
        protocol: Protocol::Http1,
        idempotent: true,
        keeps: false,
        retries: false,
    };
    let load = Load::start(target.clone(), vec![kind], EAGER)?;
    wait_for("an answer", Duration::from_secs(30), || {
        (load.counts().answered > 0).then_some(())
    })?;
    Ok(since_ms(began))
}

fn since_ms(began: Instant) -> f64 {
    (now() - began).as_secs_f64() * 1000.0
}

fn peer(program: Program, mesh: &Mesh, rows: &mut Rows) -> Result<(), String> {
    let Some(version) = program.version(rows) else {
        return Ok(());
    };
    let held_for = if rows.full() {
        HELD_FOR_FULL
    } else {
        PEER_HELD_FOR
    };
    let app = mesh.start_app("app")?;
    let proxy = Beside::start_under(limited(FILES), program, &[app.http_address()])?;
    let pid = proxy.process.pid();
    let held = hold(proxy.address);
    let (before, began) = (cpu_ns(pid)?, now());
    std::thread::sleep(held_for);
    let used = (cpu_ns(pid)? - before) as f64;
    let share = used / (now() - began).as_nanos() as f64 * 100.0;
    rows.shown(&format!("{version}: CPU, % of a core"), share);
    drop(held);
    let normal = until_answered(&Target::at(proxy.address))?;
    let name = format!("{version}: normal again, ms after the last one closed");
    rows.shown(&name, normal);
    Ok(())
}
