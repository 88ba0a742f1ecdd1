//! `drill podend`: a pod ends in the order of KEP-753, ten times, with calls under way.
//!
//! App and agent are two processes. The app gets SIGTERM first; when it has ended, the agent gets its own. Calls go
//! to the pod and to one other instance, which stays. The time that counts runs from the app's SIGTERM to the end
//! of the agent, and is held to 2 s, or to 100 ms after the app's last reply when that is later.

use super::clients::{RATE, both, summed_up, told, warm_up};
use super::load::{Load, Target};
use super::mesh::{Mesh, READY_WITHIN, SERVICE, ends_at_once};
use super::rows::Rows;
use crate::bench::processes::{now, wait_for};
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
    for pod in 0..pods {
        ends.push(end_one(mesh, &load, &format!("pod-{pod}"), rows)?);
    }
    let counts = load.end();
    rows.shown("calls answered", counts.answered as f64);
    rows.count("calls failed", counts.failed as f64, 0.0);
    rows.count("connects refused", counts.refused as f64, 0.0);
    let why = counts.failures.iter();
    let why = why.map(|failure| told(failure, ends.iter().copied(), "a pod's SIGTERM"));
    for why in summed_up(why.collect()) {
        rows.note(why);
    }
    Ok(())
}

/// Starts a pod, ends it under load; when its app was told to end.
fn end_one(mesh: &Mesh, load: &Load, name: &str, rows: &mut Rows) -> Result<Instant, String> {
    let mut app = mesh.start_app(name)?;
    let mut instance = mesh.start_instance(SERVICE, &app.flags(), &[])?;
    mesh.wait_for("calls for a new pod", || {
        let counts = load.counts();
        let answered = counts.answered_by.get(name).copied().unwrap_or(0);
        (answered >= CALLS_FIRST).then_some(())
    })?;
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
    let took = ms(ended - began);
    rows.time("pod's end, ms after its SIGTERM", took, ms(allowed));
    rows.shown_once("the app of it, ms", ms(app_ended - began));
    Ok(began)
}
