//! `drill health`, the part in which packets are really dropped: an instance in a network namespace of its own.
//!
//! One of three called instances is behind a pair of devices on which packets are dropped under load, all of them or
//! one way's. Then all is well, and both cores are busy with something else: nobody must be taken for silent. Beside
//! it Envoy, before apps of which one is killed and one is behind the same devices.

use super::apart::{Apart, Lost};
use super::beside::{Beside, Program};
use super::clients::{RATE, both, clients, summed_up, told, warm_up};
use super::load::{Counts, Load, Protocol, Target};
use super::mesh::{App, Mesh, READY_WITHIN, SERVICE, app_words, ends_at_once, port_flags};
use super::rows::Rows;
use crate::bench::processes::{free_port, get, metric_sum, now, wait_for};
use crate::command::in_ci;
use rustix::process::Signal;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// How long packets are dropped: shorter than links live in silence.
const LOST_FOR: Duration = Duration::from_secs(2);

/// How long the cores are busy.
const BUSY_FOR: Duration = Duration::from_secs(10);
const BUSY_FOR_FULL: Duration = Duration::from_mins(10);

/// Between calls for everybody and the first loss.
const SETTLED: Duration = Duration::from_millis(500);

/// How long Envoy is looked at after each event.
const PEER_FOR: Duration = Duration::from_millis(1500);

/// A call that waits for longer is over its deadline: the clients' own.
const LATE: &str = "no reply within";

const LEFT_MS_MAX: f64 = 500.0;

/// The metric that counts how often a peer was taken for silent.
const SUSPECTED: &str = "weft_links_suspected_total";

/// The name of the app behind the devices.
const FAR: &str = "far";

/// Runs it, unless this is a machine of a person who may not make namespaces.
pub(super) fn run(binary: &Path, rows: &mut Rows) -> Result<(), String> {
    let apart = match Apart::new() {
        Ok(apart) => apart,
        Err(why) if in_ci() => return Err(why),
        Err(why) => {
            rows.note(format!("left out: {why}"));
            return Ok(());
        }
    };
    let mesh = Mesh::reached_at(apart.here, binary, "health-lost")?;
    drill(&mesh, &apart, rows).map_err(|error| format!("{error}\n{}", mesh.logs()))?;
    peer(&mesh, &apart, rows).map_err(|error| format!("{error}\n{}", mesh.logs()))
}

fn drill(mesh: &Mesh, apart: &Apart, rows: &mut Rows) -> Result<(), String> {
    let _center = mesh.start_center()?;
    let near = [ends_at_once(), flag("--advertise", Ipv4Addr::LOCALHOST)].concat();
    let mut callees = Vec::new();
    for name in ["near-1", "near-2"] {
        let app = mesh.start_app(name)?;
        let flags = [app.flags(), near.clone()].concat();
        callees.push((mesh.start_instance(SERVICE, &flags, &[])?, app));
    }
    let (http, motan) = (free_port()?, free_port()?);
    let there = [
        flag("--inbound", apart.there),
        flag("--advertise", apart.there),
    ]
    .concat();
    let flags = [port_flags(http, motan), ends_at_once(), there].concat();
    let _far = mesh.start_apart(apart.command(), &flags, &app_words(http, motan, FAR))?;
    let caller = mesh.start_instance("caller", &near, &[])?;
    let target = Target::at(caller.address("outbound"));
    warm_up(&target)?;
    let load = Load::start(target, both(false), RATE)?;
    mesh.wait_for("calls for every instance", || {
        (load.counts().answered_by.len() > callees.len()).then_some(())
    })?;
    std::thread::sleep(SETTLED);
    let mut losses = Vec::new();
    for lost in Lost::ALL {
        losses.push(lose(apart, lost, &load, rows)?);
    }
    let busy_from = now();
    let management = caller.address("management");
    let before = suspected(management)?;
    keep_cores_busy(if rows.full() { BUSY_FOR_FULL } else { BUSY_FOR });
    let wrongly = suspected(management)? - before;
    let counts = load.end();
    tell(&counts, &losses, busy_from, rows);
    let name = "cores busy: instances wrongly taken for silent";
    if rows.full() {
        rows.count(name, wrongly, 0.0);
    } else {
        // Ten seconds of a machine that others use too decide nothing.
        rows.shown(name, wrongly);
    }
    Ok(())
}

fn flag(name: &str, value: Ipv4Addr) -> Vec<String> {
    vec![name.to_owned(), value.to_string()]
}

/// Drops packets for a while under load, and waits until the instance is used again; when it began.
fn lose(apart: &Apart, lost: Lost, load: &Load, rows: &mut Rows) -> Result<Instant, String> {
    load.counts().take_slowest();
    let began = now();
    apart.lose(lost)?;
    std::thread::sleep(LOST_FOR);
    let of_far = || load.counts().answered_by.get(FAR).copied();
    apart.carry(lost)?;
    // TCP doubles its waits: the next try of what was lost comes within as long again.
    std::thread::sleep(LOST_FOR);
    let before = of_far();
    wait_for(
        "calls for the instance that came back",
        READY_WITHIN,
        || (of_far() > before).then_some(()),
    )?;
    // Also of calls that waited all the time.
    let slowest = load.counts().take_slowest().as_secs_f64() * 1000.0;
    let name = format!("dropped {}: slowest idempotent call, ms", lost.name());
    rows.time(&name, slowest, LEFT_MS_MAX);
    Ok(began)
}

fn tell(counts: &Counts, losses: &[Instant], busy_from: Instant, rows: &mut Rows) {
    let failed = |which: &dyn Fn(&super::load::Failure) -> bool| {
        let failures = counts.failures.iter();
        failures.filter(|failure| which(failure)).count() as f64
    };
    let left_within = Duration::from_secs_f64(LEFT_MS_MAX / 1000.0);
    let was_there = |began: Instant| {
        let mut losses = losses.iter();
        // A call that began before it, and was not answered, was under way.
        losses.any(|at| began <= *at + left_within && began + LOST_FOR >= *at)
    };
    let idempotent = failed(&|failure| failure.kind.idempotent);
    rows.count("dropped: idempotent calls failed", idempotent, 0.0);
    let later = failed(&|failure| failure.began < busy_from && !was_there(failure.began));
    rows.count("dropped: calls failed that began later", later, 0.0);
    let late = failed(&|failure| failure.why.contains(LATE));
    rows.count("dropped: calls over their deadline", late, 0.0);
    let busy = failed(&|failure| failure.began >= busy_from);
    rows.count("cores busy: calls failed", busy, 0.0);
    let why = counts.failures.iter();
    let why = why.map(|failure| told(failure, losses.iter().copied(), "a loss"));
    for why in summed_up(why.collect()) {
        rows.note(why);
    }
}

fn suspected(management: SocketAddr) -> Result<f64, String> {
    let (_, text) = get(management, "/metrics")?;
    if !text.contains(SUSPECTED) {
        return Err(format!(
            "the sidecar has no metric {SUSPECTED}: is the binary older?"
        ));
    }
    Ok(metric_sum(&text, SUSPECTED))
}

/// As many threads as there are cores, each with something to do at every moment.
fn keep_cores_busy(time: Duration) {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        for _ in 0..cores {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
            });
        }
        std::thread::sleep(time);
        over.store(true, Ordering::Relaxed);
    });
}

/// Envoy before three apps: one is killed; then packets of one are dropped.
fn peer(mesh: &Mesh, apart: &Apart, rows: &mut Rows) -> Result<(), String> {
    let Some(version) = Program::Envoy.version(rows) else {
        return Ok(());
    };
    let killed = mesh.start_app("app")?;
    let stays = mesh.start_app("app")?;
    let far = App::start_at(mesh, apart.command(), apart.there, FAR)?;
    let apps = [&killed, &stays, &far].map(App::http_address);
    let envoy = Beside::start(Program::Envoy, &apps)?;
    let load = Load::start(
        Target::at(envoy.address),
        clients(Protocol::Http1, false),
        RATE,
    )?;
    wait_for("calls through Envoy", READY_WITHIN, || {
        (load.counts().answered_by.len() > 1).then_some(())
    })?;
    killed.process.signal(Signal::KILL);
    std::thread::sleep(PEER_FOR);
    let failed = load.counts().failed;
    rows.shown(
        &format!("{version}, app killed: calls failed"),
        failed as f64,
    );
    apart.lose(Lost::Both)?;
    load.counts().take_slowest();
    std::thread::sleep(PEER_FOR);
    let (waiting, slowest) = {
        let mut counts = load.counts();
        (counts.in_flight(|_| true), counts.take_slowest())
    };
    apart.carry(Lost::Both)?;
    let seconds = PEER_FOR.as_secs_f64();
    let name = format!("{version}, dropped both ways: clients that wait after {seconds} s");
    rows.shown(&name, waiting as f64);
    let name = format!("{version}, dropped both ways: slowest answered call, ms");
    rows.shown(&name, slowest.as_secs_f64() * 1000.0);
    let counts = load.end();
    let after = counts.failed - failed;
    rows.shown(
        &format!("{version}, dropped both ways: calls failed"),
        after as f64,
    );
    Ok(())
}
