//! `drill churn`: 10,000 instances of which a thousand a second change, and one real sidecar that uses them all.
//!
//! The instances are sync streams of this process (`crowd.rs`). Beside them stands the probe: a declared instance
//! without a sidecar whose port goes back and forth between two apps. From the start of `weft apply` to the first
//! answer of the other app, through the sidecar, is how long a change takes to be used. What sidecar and center cost
//! is read from the kernel. In the end the sidecar is killed and its successor begins with what was saved; and a
//! center that can do nothing else (`pusher.rs`) tells it everything, again and again.

use super::crowd::Crowd;
use super::mesh::{App, Instance, Mesh, ends_at_once};
use super::pusher::Pusher;
use super::rows::Rows;
use crate::bench::meter::{anonymous_kib, cpu_ns, cpu_ns_of};
use crate::bench::processes::{Process, get_from, now, signal_to, wait_for_every};
use crate::report::median;
use rustix::process::Signal;
use std::fs;
use std::path::Path;
use std::time::{Duration, Instant};
use weft_api::sync;
use weft_model::Family;
use weft_model::key::key_hash;

const INSTANCES: usize = 10_000;
const SERVICES: usize = 100;

/// The service of the probe.
const PROBE: &str = "probe";

/// Changes a second.
const CHANGES: u64 = 1000;

const LASTS: Duration = Duration::from_secs(15);
const LASTS_FULL: Duration = Duration::from_mins(1);

/// Changes go on for this long before anything is measured.
const SETTLES: Duration = Duration::from_secs(5);

/// Between two probes.
const PROBE_EVERY: Duration = Duration::from_millis(250);

/// Between two questions to a probe; they cost the sidecar time that is measured.
const ASK_EVERY: Duration = Duration::from_millis(5);

/// How long a probe may take before the drill gives up.
const PROBE_WITHIN: Duration = Duration::from_secs(10);

/// How long all of them may take to register.
const REGISTERED_WITHIN: Duration = Duration::from_mins(1);

/// How long single changes go on whose cost is measured, and the time between two of them: longer than the center
/// merges.
const SINGLES_FOR: Duration = Duration::from_secs(4);
const FEW_EVERY: Duration = Duration::from_millis(500);
const MANY_EVERY: Duration = Duration::from_millis(60);

/// How often the sidecar is killed, how often one of its successors is looked at, and how long one may take.
const KILLS: usize = 3;
const LOOK_EVERY: Duration = Duration::from_micros(200);
const SUCCESSOR_WITHIN: Duration = Duration::from_secs(10);

/// What changed last is on disk after this time.
const SAVED_AFTER: Duration = Duration::from_secs(2);

/// How often everything is told again, and the time between two times.
const PUSHES: usize = 9;
const PUSH_EVERY: Duration = Duration::from_millis(300);

/// The name of the threads that write files.
const SAVING_THREAD: &str = "tokio-rt-worker";

const USED_MS_MAX: f64 = 200.0;
const SIDECAR_PERCENT_MAX: f64 = 5.0;
const CENTER_PERCENT_MAX: f64 = 100.0;
const MEMORY_PERCENT_MAX: f64 = 2.0;
const ENDPOINTS_KIB_MAX: f64 = 4096.0;
const DELTA_US_MAX: f64 = 200.0;
const PUSH_MS_MAX: f64 = 5.0;
const READY_MS_MAX: f64 = 50.0;

/// Rows that are not met yet, as README says.
const KNOWN: &[&str] = &[ENDPOINTS_ROW];
const ENDPOINTS_ROW: &str = "memory of 10,000 endpoints, KiB";
const FLAT_ROW: &str = "memory of the sidecar changed, %";

/// Runs the drill.
pub(super) fn run(binary: &Path, rows: &mut Rows) -> Result<(), String> {
    rows.known(KNOWN);
    let mesh = Mesh::new(binary, "churn")?;
    drill(&mesh, rows).map_err(|error| format!("{error}\n{}", mesh.logs()))
}

/// Everything that runs.
struct World<'a> {
    mesh: &'a Mesh,
    center: Process,
    sidecar: Instance,
    crowd: Crowd,
    /// The two apps between which the probe goes back and forth.
    apps: [App; 2],
}

fn drill(mesh: &Mesh, rows: &mut Rows) -> Result<(), String> {
    let center = mesh.start_center()?;
    let apps = [mesh.start_app("even")?, mesh.start_app("odd")?];
    let sidecar = mesh.start_instance("caller", &ends_at_once(), &[])?;
    let pid = sidecar.sidecar_pid().ok_or("the sidecar is not running")?;
    let before = anonymous_kib(pid)?;
    let began = now();
    let crowd = Crowd::start(mesh.center(), (0..INSTANCES).map(instance).collect())?;
    let world = World {
        mesh,
        center,
        sidecar,
        crowd,
        apps,
    };
    wait_for_every(
        Duration::from_millis(20),
        "the registration of all",
        REGISTERED_WITHIN,
        || (world.crowd.registered() as usize >= INSTANCES).then_some(()),
    )?;
    rows.shown("all registered, ms", ms_since(began));
    world.use_all()?;
    let held = anonymous_kib(pid)? - before;
    rows.count(ENDPOINTS_ROW, held, ENDPOINTS_KIB_MAX);
    world.single_changes(pid, rows)?;
    world.churn(pid, rows)?;
    world.crowd.check()?;
    world.restarts(rows)?;
    world.pushes(rows)
}

impl World<'_> {
    /// Calls every service once, which makes the sidecar subscribe, and waits until it holds the probe too.
    fn use_all(&self) -> Result<(), String> {
        let outbound = self.sidecar.address("outbound");
        for service in 0..SERVICES {
            // Nobody is there: what matters is that it was called.
            let _ = get_from(outbound, &service_name(service), "/");
        }
        self.declare_probe(0)?;
        self.mesh.wait_for("an answer of the probe", || {
            get_from(outbound, PROBE, "/")
                .ok()
                .filter(|(status, _)| *status == 200)
        })?;
        std::thread::sleep(SETTLES);
        self.crowd.check()
    }

    /// Declares the probe anew, as an instance without a sidecar: its calls go to this app. The time of the command
    /// counts as part of the change.
    fn declare_probe(&self, app: usize) -> Result<(), String> {
        let port = self.apps[app].http;
        let file = self.mesh.file(&format!("probe-{app}.yaml"));
        let text = format!(
            "apiVersion: mesh.weft.dev/v1alpha1\nkind: Workload\nmetadata: {{name: {PROBE}}}\nspec:\n  \
             service: {PROBE}\n  address: 127.0.0.1\n  ports: [{{name: http, port: {port}, protocol: http}}]\n  \
             check: {{tcp: {{}}, interval: 60s}}\n"
        );
        let name = file.display().to_string();
        fs::write(&file, text).map_err(|error| format!("write {name}: {error}"))?;
        self.mesh.run(&["apply", "-f", &name])
    }

    /// What one change costs the sidecar while little else happens. Its idle cost is in both parts and cancels out;
    /// saving what it holds is a thread's of its own, and counts below, in its share of a core.
    fn single_changes(&self, pid: u32, rows: &mut Rows) -> Result<(), String> {
        let few = self.changes_at(pid, FEW_EVERY)?;
        let many = self.changes_at(pid, MANY_EVERY)?;
        let each = (many.1 - few.1) / (many.0 - few.0) / 1000.0;
        rows.time(
            "CPU of one change without saving, us",
            each.max(0.0),
            DELTA_US_MAX,
        );
        Ok(())
    }

    /// Changes one instance so often; how many times, and how many nanoseconds the sidecar ran.
    fn changes_at(&self, pid: u32, every: Duration) -> Result<(f64, f64), String> {
        let ran = || cpu_ns_of(pid, |thread| thread != SAVING_THREAD);
        let (before, began, mut changes) = (ran()?, now(), 0);
        while now() - began < SINGLES_FOR {
            self.crowd.change_first(sync::Instance {
                weight: 100 + changes % 2,
                ..instance(0)
            });
            changes += 1;
            std::thread::sleep(every);
        }
        Ok((f64::from(changes), (ran()? - before) as f64))
    }

    fn churn(&self, pid: u32, rows: &mut Rows) -> Result<(), String> {
        let lasts = if rows.full() { LASTS_FULL } else { LASTS };
        self.crowd.set_rate(CHANGES);
        std::thread::sleep(SETTLES);
        let memory = median_memory(pid)?;
        let center = self.center.pid();
        let changed = self.crowd.changed();
        let (cpu, center_cpu, began) = (cpu_ns(pid)?, cpu_ns(center)?, now());
        let outbound = self.sidecar.address("outbound");
        let mut took = Vec::new();
        while now() - began < lasts {
            let next = now() + PROBE_EVERY;
            let sent = now();
            self.declare_probe((took.len() + 1) % 2)?;
            let name = if took.len() % 2 == 0 { "odd" } else { "even" };
            wait_for_every(ASK_EVERY, "the use of a change", PROBE_WITHIN, || {
                get_from(outbound, PROBE, "/")
                    .ok()
                    .filter(|(status, body)| *status == 200 && body == name)
            })?;
            took.push(ms_since(sent));
            std::thread::sleep(next.saturating_duration_since(now()));
        }
        let wall = (now() - began).as_nanos() as f64;
        let share = |used: u64| used as f64 / wall * 100.0;
        let sidecar = share(cpu_ns(pid)? - cpu);
        let center = share(cpu_ns(center)? - center_cpu);
        let rate = (self.crowd.changed() - changed) as f64 / (wall / 1e9);
        let grown = (median_memory(pid)? - memory) / memory * 100.0;
        self.crowd.set_rate(0);
        self.crowd.check()?;
        rows.shown("memory of the sidecar, KiB", memory);
        took.sort_by(f64::total_cmp);
        let at = |share: f64| took[((took.len() - 1) as f64 * share).round() as usize];
        rows.shown("changes a second", rate);
        rows.shown("probes", took.len() as f64);
        rows.shown("change to use, median, ms", at(0.5));
        rows.time("change to use, p99, ms", at(0.99), USED_MS_MAX);
        rows.time("sidecar, % of a core", sidecar, SIDECAR_PERCENT_MAX);
        rows.time("center, % of a core", center, CENTER_PERCENT_MAX);
        rows.count(FLAT_ROW, grown.abs(), MEMORY_PERCENT_MAX);
        Ok(())
    }

    /// How long a sidecar that was killed takes to be ready again, with all instances as they were saved.
    fn restarts(&self, rows: &mut Rows) -> Result<(), String> {
        for round in 0..KILLS {
            std::thread::sleep(SAVED_AFTER);
            let pid = self.sidecar.sidecar_pid();
            let pid = pid.ok_or("the sidecar is not running")?;
            signal_to(pid, Signal::KILL);
            // The agent writes the file when the successor's exec has succeeded.
            let exec = wait_for_every(LOOK_EVERY, "a successor", SUCCESSOR_WITHIN, || {
                let successor = self.sidecar.sidecar_pid()?;
                (successor != pid).then(now)
            })?;
            wait_for_every(LOOK_EVERY, "its readiness", SUCCESSOR_WITHIN, || {
                self.sidecar.is_ready().then_some(())
            })?;
            rows.time(
                "ready with 10,000 saved, ms after exec",
                ms_since(exec),
                READY_MS_MAX,
            );
            let log = fs::read_to_string(self.mesh.file("caller.log"))
                .map_err(|error| format!("read the sidecar's log: {error}"))?;
            if log.matches("serving from").count() != round + 1 {
                return Err("a successor does not serve from what was saved".to_owned());
            }
        }
        Ok(())
    }

    /// What it costs the sidecar to be told all that it holds, when nothing of it has changed: everything but the
    /// thread that saves, from the first byte to its acknowledgement.
    fn pushes(self, rows: &mut Rows) -> Result<(), String> {
        let Self {
            mesh,
            center,
            sidecar,
            crowd,
            apps: _apps,
        } = self;
        drop(crowd);
        drop(center);
        let mut pusher = Pusher::start(mesh.center())?;
        let pid = sidecar.sidecar_pid().ok_or("the sidecar is not running")?;
        let mut services: Vec<_> = (0..SERVICES)
            .map(|service| (service_name(service), Vec::new()))
            .collect();
        for index in 0..INSTANCES {
            services[index % SERVICES].1.push(instance(index));
        }
        let names: Vec<u64> = services
            .iter()
            .map(|(service, _)| key_hash(Family::Host, service, "", "", "default"))
            .collect();
        let ran = || cpu_ns_of(pid, |thread| thread != SAVING_THREAD);
        for round in 0..=PUSHES {
            let before = ran()?;
            pusher.push(&services, &names)?;
            let took_ms = (ran()? - before) as f64 / 1e6;
            if round == 0 {
                rows.shown("CPU of a push of 10,000 that changed, ms", took_ms);
            } else {
                rows.time("CPU of a push of 10,000, ms", took_ms, PUSH_MS_MAX);
            }
            std::thread::sleep(PUSH_EVERY);
        }
        Ok(())
    }
}

fn service_name(service: usize) -> String {
    format!("churn-{service}")
}

/// One of the ten thousand: nobody listens where it says it is.
fn instance(index: usize) -> sync::Instance {
    const ADDRESSES: usize = 250;
    let port = sync::Port {
        name: "http".to_owned(),
        protocol: "http".to_owned(),
        number: 8080,
        ..sync::Port::default()
    };
    let (high, low) = (index / ADDRESSES, index % ADDRESSES + 1);
    sync::Instance {
        namespace: "default".to_owned(),
        service: service_name(index % SERVICES),
        id: format!("churn-{}-{index:08x}", index % SERVICES),
        incarnation: 1,
        address: format!("127.1.{high}.{low}"),
        inbound_port: 9982,
        ports: vec![port],
        weight: 100,
        state: sync::InstanceState::Ready.into(),
        ..sync::Instance::default()
    }
}

/// Memory over a second.
fn median_memory(pid: u32) -> Result<f64, String> {
    const LOOKS: usize = 11;
    const LOOK_EVERY: Duration = Duration::from_millis(100);
    let mut values = Vec::new();
    for _ in 0..LOOKS {
        values.push(anonymous_kib(pid)?);
        std::thread::sleep(LOOK_EVERY);
    }
    Ok(median(values))
}

fn ms_since(began: Instant) -> f64 {
    (now() - began).as_secs_f64() * 1000.0
}
