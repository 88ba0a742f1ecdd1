//! `drill crash`: kill -9 of a sidecar, five times in eight seconds, with calls under way.
//!
//! Three runs: the called instance's sidecar, the caller's, both at once. What was in flight is counted at each
//! kill: calls that were open, and calls that began until the process was seen gone. Beside them nginx and Envoy, killed
//! in the same way with the same clients and started again by a loop.

use super::beside::{Beside, Program};
use super::clients::{RATE, both, clients, summed_up, told, warm_up};
use super::load::{Counts, Kind, Load, Protocol, Target};
use super::mesh::{Instance, Mesh, SERVICE, ends_at_once};
use super::rows::Rows;
use crate::bench::processes::{now, signal_to, wait_for_every};
use rustix::process::Signal;
use std::path::Path;
use std::time::{Duration, Instant};

/// Kills of one run.
const KILLS: u32 = 5;

/// From one kill to the next: five in eight seconds.
const KILL_EVERY: Duration = Duration::from_millis(1600);

/// Kills of the proxies beside us in the short form: their figures judge nothing.
const PEER_KILLS: u32 = 2;

/// From the first call to the first kill.
const FIRST_KILL: Duration = Duration::from_millis(800);

/// Runs whose median counts in the full form.
const ROUNDS_FULL: usize = 5;

pub(super) const EXEC_MS_MAX: f64 = 20.0;
pub(super) const READY_MS_MAX: f64 = 50.0;
pub(super) const GAP_MS_MAX: f64 = 100.0;

/// How long a successor may take before the drill gives up.
const SUCCESSOR_WITHIN: Duration = Duration::from_secs(10);

/// Between two looks at a successor: what is measured is as exact as this.
const LOOK_EVERY: Duration = Duration::from_micros(300);

/// Whose sidecar is killed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Victim {
    Callee,
    Caller,
    Both,
}

impl Victim {
    fn name(self) -> &'static str {
        match self {
            Self::Callee => "callee",
            Self::Caller => "caller",
            Self::Both => "both",
        }
    }

    /// Calls that nothing may fail. The callee's death is the mesh's to repair where a call may be tried twice;
    /// the caller's breaks the connection of the app, which then tries again by itself.
    fn never_fails(self, kind: Kind) -> bool {
        match self {
            Self::Callee => kind.idempotent,
            Self::Caller | Self::Both => kind.retries,
        }
    }
}

/// What one kill led to.
struct Kill {
    at: Instant,
    /// When the last of the victims was seen gone.
    gone: Instant,
    /// Calls that may fail: open at the kill, or begun until the process was gone.
    in_flight: u64,
    exec_ms: f64,
    ready_ms: f64,
}

/// Runs the drill.
pub(super) fn run(binary: &Path, rows: &mut Rows) -> Result<(), String> {
    let rounds = if rows.full() { ROUNDS_FULL } else { 1 };
    for victim in [Victim::Callee, Victim::Caller, Victim::Both] {
        let mut sum = Sum::default();
        for _ in 0..rounds {
            let mesh = Mesh::new(binary, "crash")?;
            round(&mesh, victim, rows, &mut sum)
                .map_err(|error| format!("{}: {error}\n{}", victim.name(), mesh.logs()))?;
        }
        sum.tell(victim, rows);
    }
    for program in Program::ALL {
        peer(program, binary, rows)?;
    }
    Ok(())
}

/// Counts of all rounds of one victim.
#[derive(Default)]
struct Sum {
    answered: u64,
    in_flight: u64,
    failed: u64,
    failed_outside: u64,
    failed_never: u64,
    refused: u64,
    why: Vec<String>,
}

impl Sum {
    fn add(&mut self, victim: Victim, kills: &[Kill], counts: &Counts) {
        self.answered += counts.answered;
        self.in_flight += kills.iter().map(|kill| kill.in_flight).sum::<u64>();
        self.refused += counts.refused;
        for failure in &counts.failures {
            let in_flight = kills
                .iter()
                .any(|kill| failure.began <= kill.gone && failure.ended >= kill.at);
            if victim.never_fails(failure.kind) {
                self.failed_never += 1;
            } else {
                self.failed += 1;
                self.failed_outside += u64::from(!in_flight);
            }
            let outside = if in_flight { "" } else { "not in flight: " };
            let why = told(failure, kills.iter().map(|kill| kill.at), "a kill");
            self.why.push(format!("{outside}{why}"));
        }
    }

    fn tell(self, victim: Victim, rows: &mut Rows) {
        let name = victim.name();
        let never = match victim {
            Victim::Callee => "idempotent calls failed",
            Victim::Caller | Victim::Both => "calls failed of clients that retry once",
        };
        rows.shown(&format!("{name}: calls answered"), self.answered as f64);
        let failed = format!("{name}: other calls failed (limit: in flight)");
        rows.count(&failed, self.failed as f64, self.in_flight as f64);
        let outside = format!("{name}: calls failed that were not in flight");
        rows.count(&outside, self.failed_outside as f64, 0.0);
        rows.count(&format!("{name}: {never}"), self.failed_never as f64, 0.0);
        let refused = format!("{name}: connects refused");
        rows.count(&refused, self.refused as f64, 0.0);
        for why in summed_up(self.why) {
            rows.note(format!("{name}: {why}"));
        }
    }
}

fn round(mesh: &Mesh, victim: Victim, rows: &mut Rows, sum: &mut Sum) -> Result<(), String> {
    let _center = mesh.start_center()?;
    let app = mesh.start_app("app")?;
    let flags = [app.flags(), ends_at_once()].concat();
    let callee = mesh.start_instance(SERVICE, &flags, &[])?;
    let caller = mesh.start_instance("caller", &ends_at_once(), &[])?;
    let target = Target::at(caller.address("outbound"));
    warm_up(&target)?;
    let retry = victim != Victim::Callee;
    let load = Load::start(target, both(retry), RATE)?;
    std::thread::sleep(FIRST_KILL);
    let victims: Vec<&Instance> = match victim {
        Victim::Callee => vec![&callee],
        Victim::Caller => vec![&caller],
        // The caller's first: a client whose call the other death breaks would try again at a sidecar about to die.
        Victim::Both => vec![&caller, &callee],
    };
    let mut kills = Vec::new();
    let mut gap = Duration::ZERO;
    for _ in 0..KILLS {
        let next = now() + KILL_EVERY;
        load.counts().take_longest_gap(now());
        kills.push(kill(&victims, &load, victim)?);
        std::thread::sleep(next.saturating_duration_since(now()));
        gap = gap.max(load.counts().take_longest_gap(now()));
    }
    let counts = load.end();
    let name = victim.name();
    let worst = |value: fn(&Kill) -> f64| kills.iter().map(value).fold(0.0, f64::max);
    let exec = format!("{name}: successor exec'd, ms after the kill");
    rows.time(&exec, worst(|kill| kill.exec_ms), EXEC_MS_MAX);
    let ready = format!("{name}: successor ready, ms after its exec");
    rows.time(&ready, worst(|kill| kill.ready_ms), READY_MS_MAX);
    let longest = format!("{name}: longest time without an answer, ms");
    rows.time(&longest, gap.as_secs_f64() * 1000.0, GAP_MS_MAX);
    sum.add(victim, &kills, &counts);
    Ok(())
}

/// Kills these at once and waits until their successors are ready.
fn kill(victims: &[&Instance], load: &Load, victim: Victim) -> Result<Kill, String> {
    let may_fail = |kind: Kind| !victim.never_fails(kind);
    let mut pids = Vec::new();
    for instance in victims {
        pids.push(instance.sidecar_pid().ok_or("a sidecar is not running")?);
    }
    let (open, opened) = {
        let counts = load.counts();
        (counts.in_flight(may_fail), counts.opened(may_fail))
    };
    let at = now();
    for pid in &pids {
        signal_to(*pid, Signal::KILL);
    }
    let seen: Vec<Result<Seen, String>> = std::thread::scope(|scope| {
        let watching: Vec<_> = victims
            .iter()
            .zip(&pids)
            .map(|(instance, pid)| scope.spawn(move || watch(instance, *pid, load, may_fail)))
            .collect();
        watching
            .into_iter()
            .map(|thread| {
                thread
                    .join()
                    .unwrap_or_else(|_| Err("a watching thread ended".to_owned()))
            })
            .collect()
    });
    let mut kill = Kill {
        at,
        gone: at,
        in_flight: open,
        exec_ms: 0.0,
        ready_ms: 0.0,
    };
    let ms = |from: Instant, to: Instant| to.saturating_duration_since(from).as_secs_f64() * 1e3;
    for seen in seen {
        let seen = seen?;
        kill.gone = kill.gone.max(seen.gone);
        kill.in_flight = kill.in_flight.max(open + seen.opened - opened);
        kill.exec_ms = kill.exec_ms.max(ms(at, seen.exec));
        kill.ready_ms = kill.ready_ms.max(ms(seen.exec, seen.ready));
    }
    Ok(kill)
}

/// What was seen of one death.
struct Seen {
    gone: Instant,
    /// Calls that were opened until then.
    opened: u64,
    exec: Instant,
    ready: Instant,
}

fn watch(
    instance: &Instance,
    pid: u32,
    load: &Load,
    may_fail: impl Fn(Kind) -> bool,
) -> Result<Seen, String> {
    let folder = format!("/proc/{pid}");
    let folder = Path::new(&folder);
    let look = |what, look: &mut dyn FnMut() -> Option<Instant>| {
        wait_for_every(LOOK_EVERY, what, SUCCESSOR_WITHIN, look)
    };
    let gone = look("the end of a killed sidecar", &mut || {
        (!folder.exists()).then(now)
    })?;
    let opened = load.counts().opened(may_fail);
    // The agent writes the file when the successor's exec has succeeded.
    let exec = look("a sidecar's successor", &mut || {
        let successor = instance.sidecar_pid()?;
        (successor != pid).then(now)
    })?;
    // The socket is held: this connection waits in its queue until the successor answers.
    let ready = look("the readiness of a successor", &mut || {
        instance.is_ready().then(now)
    })?;
    Ok(Seen {
        gone,
        opened,
        exec,
        ready,
    })
}

/// The same with another proxy in one process, before the same app, HTTP/1.1 alone.
fn peer(program: Program, binary: &Path, rows: &mut Rows) -> Result<(), String> {
    let Some(version) = program.version(rows) else {
        return Ok(());
    };
    let kills = if rows.full() { KILLS } else { PEER_KILLS };
    let mesh = Mesh::new(binary, "crash-beside")?;
    let app = mesh.start_app("app")?;
    let mut proxy = Beside::start(program, &[app.http_address()])?;
    let target = Target::at(proxy.address);
    let load = Load::start(target, clients(Protocol::Http1, false), RATE)?;
    std::thread::sleep(FIRST_KILL);
    load.counts().take_longest_gap(now());
    for _ in 0..kills {
        let next = now() + KILL_EVERY;
        proxy.kill_and_start_again()?;
        std::thread::sleep(next.saturating_duration_since(now()));
    }
    let gap = load.counts().take_longest_gap(now());
    let counts = load.end();
    rows.shown(&format!("{version}: kills"), f64::from(kills));
    rows.shown(
        &format!("{version}: calls answered"),
        counts.answered as f64,
    );
    rows.shown(&format!("{version}: calls failed"), counts.failed as f64);
    let refused = format!("{version}: connects refused");
    rows.shown(&refused, counts.refused as f64);
    let longest = format!("{version}: longest time without an answer, ms");
    rows.shown(&longest, gap.as_secs_f64() * 1000.0);
    Ok(())
}
