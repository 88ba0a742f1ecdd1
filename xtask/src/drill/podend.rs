//! `drill podend`: a pod ends in the order of KEP-753, ten times, with calls under way.
//!
//! App and agent are two processes. The app gets SIGTERM first; when it has ended, the agent gets its own. Calls go
//! to the pod and to one other instance, which stays; every other pod also has a call under way that outlasts the
//! 2 s. The time that counts runs from the app's SIGTERM to the end of the agent, and is held to 2 s, or to 100 ms
//! after the app's last reply when that is later. Beside it Envoy, which is told to end in the same way.

use super::beside::{Beside, Program};
use super::clients::{RATE, both, clients, summed_up, told, warm_up};
use super::load::{Load, Protocol, Target};
use super::mesh::{Mesh, READY_WITHIN, SERVICE, ends_at_once};
use super::rows::Rows;
use crate::bench::processes::{get, now, wait_for};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

const PODS: usize = 10;
const PODS_FULL: usize = 50;

/// Calls that a pod has answered before it ends.
const CALLS_FIRST: u64 = 100;

/// How long a pod may take that has nothing under way.
const EXIT_MAX: Duration = Duration::from_secs(2);

/// How long it may take after its last reply.
const AFTER_LAST_REPLY: Duration = Duration::from_millis(100);

/// How long the long call takes.
const LONG_CALL: &str = "/?ms=2500";

/// Between the long call and the pod's end: it is under way then.
const LONG_CALL_FIRST: Duration = Duration::from_millis(300);

/// How long the load goes on after Envoy's end.
const PEER_AFTER: Duration = Duration::from_millis(500);

/// Runs the drill.
pub(super) fn run(binary: &Path, rows: &mut Rows) -> Result<(), String> {
    let mesh = Mesh::new(binary, "podend")?;
    drill(&mesh, rows).map_err(|error| format!("{error}\n{}", mesh.logs()))
}

fn drill(mesh: &Mesh, rows: &mut Rows) -> Result<(), String> {
    let _center = mesh.start_center()?;
    let stays = mesh.start_app("stays")?;
    let flags = [stays.flags(), ends_at_once()].concat();
    let _staying = mesh.start_instance(SERVICE, &flags, &[])?;
    let caller = mesh.start_instance("caller", &ends_at_once(), &[])?;
    let target = Target::at(caller.address("outbound"));
    warm_up(&target)?;
    let load = Load::start(target, both(false), RATE)?;
    let pods = if rows.full() { PODS_FULL } else { PODS };
    let mut ends = Vec::new();
    let mut long_lost = 0;
    for pod in 0..pods {
        let name = format!("pod-{pod}");
        let (ended, lost) = end_one(mesh, &load, &name, pod % 2 == 1, rows)?;
        ends.push(ended);
        long_lost += lost;
    }
    let counts = load.end();
    rows.shown("calls answered", counts.answered as f64);
    rows.count("calls failed", counts.failed as f64, 0.0);
    rows.count("long calls failed", f64::from(long_lost), 0.0);
    rows.count("connects refused", counts.refused as f64, 0.0);
    let why = counts.failures.iter();
    let why = why.map(|failure| told(failure, ends.iter().copied(), "a pod's SIGTERM"));
    for why in summed_up(why.collect()) {
        rows.note(why);
    }
    peer(mesh, rows)
}

/// Starts a pod, ends it under load; when its app was told to end, and how many long calls were lost.
fn end_one(
    mesh: &Mesh,
    load: &Load,
    name: &str,
    has_long_call: bool,
    rows: &mut Rows,
) -> Result<(Instant, u32), String> {
    let mut app = mesh.start_app(name)?;
    let mut instance = mesh.start_instance(SERVICE, &app.flags(), &[])?;
    mesh.wait_for("calls for a new pod", || {
        let counts = load.counts();
        let answered = counts.answered_by.get(name).copied().unwrap_or(0);
        (answered >= CALLS_FIRST).then_some(())
    })?;
    let inbound = instance.address("inbound");
    let long = has_long_call.then(|| std::thread::spawn(move || get(inbound, LONG_CALL)));
    if has_long_call {
        std::thread::sleep(LONG_CALL_FIRST);
    }
    let began = now();
    app.process.signal(Signal::TERM);
    wait_for("the app's end", READY_WITHIN, || {
        (!app.process.runs()).then_some(())
    })?;
    // It ends with its last reply, or when no more calls come.
    let app_ended = now();
    instance.agent.signal(Signal::TERM);
    wait_for("the agent's end", READY_WITHIN, || {
        (!instance.agent.runs()).then_some(())
    })?;
    let ended = now();
    let allowed = EXIT_MAX.max(app_ended + AFTER_LAST_REPLY - began);
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    let what = if has_long_call {
        "pod with a long call"
    } else {
        "pod"
    };
    let row = format!("{what}: its end, ms after its SIGTERM");
    rows.time(&row, ms(ended - began), ms(allowed));
    let of_app = format!("{what}: the end of its app, ms after its SIGTERM");
    rows.shown_once(&of_app, ms(app_ended - began));
    let answer = long.map(std::thread::JoinHandle::join);
    let lost = answer.is_some_and(|answer| !matches!(answer, Ok(Ok((200, _)))));
    if lost {
        rows.note(format!("{name}: the long call did not come back with 200"));
    }
    Ok((began, u32::from(lost)))
}

/// One Envoy before two more, each before an app; the second of them gets SIGTERM as a container of a pod does.
fn peer(mesh: &Mesh, rows: &mut Rows) -> Result<(), String> {
    let Some(version) = Program::Envoy.version(rows) else {
        return Ok(());
    };
    let start = |name| {
        let app = mesh.start_app(name)?;
        let envoy = Beside::start(Program::Envoy, &[app.http_address()])?;
        Ok::<_, String>((app, envoy))
    };
    let (_stays, beside_it) = start("stays")?;
    let (_ends, mut ended) = start("ends")?;
    let caller = Beside::start(Program::Envoy, &[beside_it.address, ended.address])?;
    let load = Load::start(
        Target::at(caller.address),
        clients(Protocol::Http1, false),
        RATE,
    )?;
    wait_for("calls through both", READY_WITHIN, || {
        (load.counts().answered_by.len() > 1).then_some(())
    })?;
    let address = ended.address;
    let long = std::thread::spawn(move || get(address, LONG_CALL));
    std::thread::sleep(LONG_CALL_FIRST);
    let began = now();
    ended.process.signal(Signal::TERM);
    wait_for("Envoy's end", READY_WITHIN, || {
        (!ended.process.runs()).then_some(())
    })?;
    let took = (now() - began).as_secs_f64() * 1000.0;
    std::thread::sleep(PEER_AFTER);
    let counts = load.end();
    let lost = !matches!(long.join(), Ok(Ok((200, _))));
    rows.shown(&format!("{version}: its end, ms after its SIGTERM"), took);
    let failed = counts.failed as f64;
    rows.shown(&format!("{version}: calls failed at one SIGTERM"), failed);
    let long_failed = f64::from(u8::from(lost));
    rows.shown(&format!("{version}: long calls failed, of 1"), long_failed);
    Ok(())
}
