//! `drill rollout`: ten instances are replaced one by one, under load.
//!
//! First with the center stopped: each replacement is a new instance at the address of the one before, of which
//! callers learn from its Hello or its refusal. Then with the center running, at new addresses. Every replacement
//! must be called before the next one's turn, so that a caller which learnt nothing runs out of instances.

use super::clients::{RATE, both, summed_up, told, warm_up};
use super::load::{Load, Target};
use super::mesh::{Instance, Mesh, READY_WITHIN, SERVICE, app_words, ends_at_once, port_flags};
use super::rows::Rows;
use crate::bench::processes::{free_port, now, wait_for};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

const INSTANCES: usize = 10;

/// Calls in both parts together.
const CALLS: u64 = 100_000;
const CALLS_FULL: u64 = 1_000_000;

/// Calls that a replacement has answered before the next one's turn.
const CALLS_FIRST: u64 = 20;

/// How long callers may take to learn of a replacement: what the next one's turn waits for.
const CALLED_WITHIN: Duration = Duration::from_secs(20);

/// Ports of one instance.
#[derive(Clone, Copy)]
struct Place {
    http: u16,
    motan: u16,
    inbound: u16,
}

impl Place {
    fn new() -> Result<Self, String> {
        Ok(Self {
            http: free_port()?,
            motan: free_port()?,
            inbound: free_port()?,
        })
    }
}

/// Runs the drill.
pub(super) fn run(binary: &Path, rows: &mut Rows) -> Result<(), String> {
    let mesh = Mesh::new(binary, "rollout")?;
    drill(&mesh, rows).map_err(|error| format!("{error}\n{}", mesh.logs()))
}

fn drill(mesh: &Mesh, rows: &mut Rows) -> Result<(), String> {
    let mut center = mesh.start_center()?;
    let mut running = Vec::new();
    for index in 0..INSTANCES {
        let place = Place::new()?;
        running.push((place, start(mesh, place, &format!("first-{index}"))?));
    }
    let caller = mesh.start_instance("caller", &ends_at_once(), &[])?;
    let target = Target::at(caller.address("outbound"));
    warm_up(&target)?;
    let load = Load::start(target, both(false), RATE)?;
    mesh.wait_for("calls for every instance", || {
        (load.counts().answered_by.len() >= INSTANCES).then_some(())
    })?;
    let all = if rows.full() { CALLS_FULL } else { CALLS };
    let mut ends = Vec::new();

    center.end()?;
    let part = "center stopped, same addresses";
    replace_all(mesh, &load, &mut running, Some(part), rows, &mut ends)?;
    pace(&load, all / 2)?;
    let before = load.counts().failed;
    rows.count(&format!("{part}: calls failed"), before as f64, 0.0);

    let _center = mesh.start_center()?;
    let part = "center running, new addresses";
    for (place, _) in &mut running {
        *place = Place::new()?;
    }
    replace_all(mesh, &load, &mut running, None, rows, &mut ends)?;
    pace(&load, all)?;
    let counts = load.end();
    let after = counts.failed - before;
    rows.count(&format!("{part}: calls failed"), after as f64, 0.0);
    rows.count("connects refused", counts.refused as f64, 0.0);
    rows.shown("calls answered", counts.answered as f64);
    let why = counts.failures.iter();
    let why = why.map(|failure| told(failure, ends.iter().copied(), "an instance's SIGTERM"));
    for why in summed_up(why.collect()) {
        rows.note(why);
    }
    Ok(())
}

fn start(mesh: &Mesh, place: Place, name: &str) -> Result<Instance, String> {
    let inbound = format!("127.0.0.1:{}", place.inbound);
    let mut flags = port_flags(place.http, place.motan);
    flags.extend(["--inbound".to_owned(), inbound]);
    mesh.start_instance(SERVICE, &flags, &app_words(place.http, place.motan, name))
}

/// Replaces every instance by a new one; with `at_once` it starts when the one before has ended, at its address,
/// else before, at an address of its own.
fn replace_all(
    mesh: &Mesh,
    load: &Load,
    running: &mut [(Place, Instance)],
    same_address: Option<&str>,
    rows: &mut Rows,
    ends: &mut Vec<Instant>,
) -> Result<(), String> {
    let mut slowest = Duration::ZERO;
    for (index, (place, instance)) in running.iter_mut().enumerate() {
        let name = match same_address {
            Some(_) => format!("same-{index}"),
            None => format!("new-{index}"),
        };
        let end = |instance: &mut Instance| {
            instance.agent.signal(Signal::TERM);
            wait_for("the end of an instance", READY_WITHIN, || {
                (!instance.agent.runs()).then_some(())
            })
        };
        if same_address.is_some() {
            ends.push(now());
            end(instance)?;
            *instance = start(mesh, *place, &name)?;
        } else {
            let mut before = std::mem::replace(instance, start(mesh, *place, &name)?);
            ends.push(now());
            end(&mut before)?;
        }
        let ready = now();
        wait_for("calls for a replacement", CALLED_WITHIN, || {
            let counts = load.counts();
            let answered = counts.answered_by.get(&name).copied().unwrap_or(0);
            (answered >= CALLS_FIRST).then_some(())
        })
        .map_err(|error| format!("{name}: {error}"))?;
        slowest = slowest.max(now() - ready);
    }
    let part = same_address.unwrap_or("center running, new addresses");
    let called = format!("{part}: a replacement is called, ms after it is ready");
    rows.shown(&called, slowest.as_secs_f64() * 1000.0);
    Ok(())
}

/// Waits until so many calls are over.
fn pace(load: &Load, calls: u64) -> Result<(), String> {
    let left = calls.saturating_sub(load.counts().answered);
    // Twice the time that it takes at the load's rate.
    let within = Duration::from_secs_f64(left as f64 / (RATE * 16.0)) + READY_WITHIN;
    wait_for("the calls of the drill", within, || {
        let counts = load.counts();
        let over = counts.answered + counts.failed >= calls;
        drop(counts);
        if !over {
            std::thread::sleep(Duration::from_millis(20));
        }
        over.then_some(())
    })
}
