//! `drill cpdown`: the center is away, comes back, is restored from a backup, while ten sidecars are restarted by
//! SIGTERM and five are killed.
//!
//! What a planned restart may cost: nothing in HTTP/1.1 and over links, and of plain Motan2 connections, which no
//! one can be told to leave, the calls in flight. What a kill may cost is as in `crash`. Two clients in three know
//! nothing of any of it.

use super::clients::{RATE, both, summed_up, told, warm_up};
use super::crash;
use super::load::{Failure, Kind, Load, Protocol, Target};
use super::mesh::{App, Instance, Mesh, READY_WITHIN, SERVICE, ends_at_once};
use super::rows::Rows;
use crate::bench::processes::{now, signal_to, wait_for};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

/// Called instances.
const CALLEES: usize = 3;

const RESTARTS: usize = 10;
const KILLS: usize = 5;

/// How long it takes, of which the center is up for about a third.
const LASTS: Duration = Duration::from_mins(1);
const LASTS_FULL: Duration = Duration::from_hours(1);

/// What happens, in order, at equal distances. `C` starts the center, `c` ends it, `R` restores its store from the
/// backup while it is down; `t` restarts the next sidecar by SIGTERM, `k` kills one.
const PLAN: &str = "c ttktt C tkt R ttktk C tk";

/// An event that may break calls.
struct Event {
    began: Instant,
    /// When the successor was ready.
    over: Instant,
    kill: bool,
    /// Whether it was the caller's sidecar.
    caller: bool,
    in_flight: u64,
    /// From the signal to the successor's exec.
    exec: Duration,
    /// From there to its readiness.
    ready: Duration,
}

/// Runs the drill.
pub(super) fn run(binary: &Path, rows: &mut Rows) -> Result<(), String> {
    let mesh = Mesh::new(binary, "cpdown")?;
    drill(&mesh, rows).map_err(|error| format!("{error}\n{}", mesh.logs()))
}

fn drill(mesh: &Mesh, rows: &mut Rows) -> Result<(), String> {
    let mut center = Some(mesh.start_center()?);
    let mut apps: Vec<App> = Vec::new();
    let mut instances: Vec<Instance> = Vec::new();
    for index in 0..CALLEES {
        let app = mesh.start_app(&format!("app-{index}"))?;
        let flags = [app.flags(), ends_at_once()].concat();
        instances.push(mesh.start_instance(SERVICE, &flags, &[])?);
        apps.push(app);
    }
    instances.push(mesh.start_instance("caller", &ends_at_once(), &[])?);
    let target = Target::at(instances[CALLEES].address("outbound"));
    warm_up(&target)?;
    let load = Load::start(target, both(true), RATE)?;
    mesh.wait_for("calls for every instance", || {
        (load.counts().answered_by.len() >= CALLEES).then_some(())
    })?;
    let backup = mesh.backup()?;
    let lasts = if rows.full() { LASTS_FULL } else { LASTS };
    let steps: Vec<char> = PLAN.chars().filter(|step| *step != ' ').collect();
    let every = lasts / steps.len() as u32;
    let mut events = Vec::new();
    let (mut longest, mut longest_killed) = (Duration::ZERO, Duration::ZERO);
    // The callees first where it is planned, the caller first where it is not.
    let mut restarted = (0..instances.len()).cycle();
    let mut killed = (0..instances.len()).rev().cycle();
    for step in steps {
        let next = now() + every;
        load.counts().take_longest_gap(now());
        match step {
            'c' | 'R' => {
                if let Some(mut center) = center.take() {
                    center.end()?;
                }
                if step == 'R' {
                    mesh.run(&["center", "restore", &backup])?;
                }
            }
            'C' => center = Some(mesh.start_center()?),
            _ => {
                let victims = if step == 'k' {
                    killed.next()
                } else {
                    restarted.next()
                };
                let victim = victims.unwrap_or(CALLEES);
                let is_caller = victim == CALLEES;
                events.push(strike(&instances[victim], &load, step == 'k', is_caller)?);
            }
        }
        std::thread::sleep(next.saturating_duration_since(now()));
        let gap = load.counts().take_longest_gap(now());
        if step == 'k' {
            longest_killed = longest_killed.max(gap);
        } else {
            longest = longest.max(gap);
        }
    }
    let counts = load.end();
    rows.shown("calls answered", counts.answered as f64);
    rows.count("connects refused", counts.refused as f64, 0.0);
    let ms = |time: Duration| time.as_secs_f64() * 1000.0;
    for event in events.iter().filter(|event| event.kill) {
        let exec = "kills: successor exec'd, ms after the kill";
        rows.time(exec, ms(event.exec), crash::EXEC_MS_MAX);
        let ready = "kills: successor ready, ms after its exec";
        rows.time(ready, ms(event.ready), crash::READY_MS_MAX);
    }
    let gap = "kills: longest time without an answer, ms";
    rows.time(gap, ms(longest_killed), crash::GAP_MS_MAX);
    let gap = "longest time without an answer otherwise, ms";
    rows.shown(gap, ms(longest));
    judge(&counts.failures, &events, rows);
    Ok(())
}

/// Restarts or kills one sidecar and waits for its successor.
fn strike(instance: &Instance, load: &Load, kill: bool, caller: bool) -> Result<Event, String> {
    let pid = instance.sidecar_pid().ok_or("a sidecar is not running")?;
    let all = |_: Kind| true;
    let in_flight = load.counts().in_flight(all);
    let opened = load.counts().opened(all);
    let began = now();
    signal_to(pid, if kill { Signal::KILL } else { Signal::TERM });
    let folder = format!("/proc/{pid}");
    wait_for("the end of a sidecar", READY_WITHIN, || {
        (!Path::new(&folder).exists()).then_some(())
    })?;
    let begun_since = load.counts().opened(all) - opened;
    wait_for("a sidecar's successor", READY_WITHIN, || {
        instance.sidecar_pid().filter(|next| *next != pid)
    })?;
    let exec = now();
    wait_for("the readiness of a successor", READY_WITHIN, || {
        instance.is_ready().then_some(())
    })?;
    let begun_since = if kill { begun_since } else { 0 };
    let over = now();
    Ok(Event {
        began,
        over,
        exec: exec - began,
        ready: over - exec,
        kill,
        caller,
        in_flight: in_flight + begun_since,
    })
}

/// Every failure belongs to the event during which it happened, or to none.
fn judge(failures: &[Failure], events: &[Event], rows: &mut Rows) {
    let mut planned = 0;
    let mut planned_motan = 0;
    let mut killed = 0;
    let mut never = 0;
    let mut outside = 0;
    let mut why = Vec::new();
    for failure in failures {
        let during = events
            .iter()
            .find(|event| failure.began <= event.over && failure.ended >= event.began);
        let kind = failure.kind;
        let plain_motan = kind.protocol == Protocol::Motan2;
        let sort = match during {
            None => {
                outside += 1;
                "outside of any event"
            }
            Some(event) if event.kill => {
                let repaired = if event.caller {
                    kind.retries
                } else {
                    kind.idempotent
                };
                if repaired {
                    never += 1;
                    "killed, must not fail"
                } else {
                    killed += 1;
                    "killed"
                }
            }
            Some(event) if event.caller && plain_motan => {
                planned_motan += 1;
                "planned, plain Motan2"
            }
            Some(_) => {
                planned += 1;
                "planned"
            }
        };
        let told = told(failure, events.iter().map(|event| event.began), "an event");
        why.push(format!("{sort}: {told}"));
    }
    let in_flight = |which: fn(&Event) -> bool| {
        let which = events.iter().filter(|event| which(event));
        which.map(|event| event.in_flight).sum::<u64>() as f64
    };
    let of_motan = in_flight(|event| !event.kill && event.caller);
    let of_kills = in_flight(|event| event.kill);
    let events = events.len() as f64;
    rows.shown("sidecars restarted and killed", events);
    rows.count("planned restarts: calls failed", f64::from(planned), 0.0);
    let plain = "planned restarts: plain Motan2 calls failed (limit: in flight)";
    rows.count(plain, f64::from(planned_motan), of_motan);
    rows.count(
        "kills: calls failed (limit: in flight)",
        f64::from(killed),
        of_kills,
    );
    let must_not = "kills: calls failed that are idempotent or retried once";
    rows.count(must_not, f64::from(never), 0.0);
    rows.count("calls failed at other times", f64::from(outside), 0.0);
    for why in summed_up(why) {
        rows.note(why);
    }
}

const _: () = {
    // The plan has as many restarts and kills as it is said to have.
    let plan = PLAN.as_bytes();
    let (mut index, mut restarts, mut kills) = (0, 0, 0);
    while index < plan.len() {
        restarts += (plan[index] == b't') as usize;
        kills += (plan[index] == b'k') as usize;
        index += 1;
    }
    assert!(restarts == RESTARTS && kills == KILLS);
};
