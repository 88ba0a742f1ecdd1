//! The sidecar under attack with its app, and what is measured of it: its own counters, memory, and who stands by.

use super::app::{self, Counts};
use super::beside::Figures;
use super::bystander::{Bystander, Seen};
use super::ceiling::Ceiling;
use crate::bench::meter::{anonymous_kib, cpu_ns};
use crate::bench::processes::{Process, get, now, wait_for};
use crate::drill::mesh::{Instance, Mesh, SERVICE, ends_at_once};
use crate::drill::rows::Rows;
use std::cell::RefCell;
use std::io::Write;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

/// How long who stands by calls before an attack.
const IDLE_FOR: Duration = Duration::from_millis(600);

/// A p99 may be so much wherever it was before, in the full form and in the short one: below it the machine speaks,
/// not the sidecar.
const P99_FLOOR_MS: (f64, f64) = (5.0, 20.0);

/// p99 during an attack, as times the idle one.
const P99_TIMES: f64 = 2.0;

/// Who stands by and memory are looked at for so long at least.
const LOOK_AT_LEAST: Duration = Duration::from_millis(400);

/// How often memory is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Within this time after an attack, cancelled work has stopped and connections are recorded.
const QUIET_WITHIN: Duration = Duration::from_secs(3);

/// Frames that callers sent and the sidecar looked at; those of the app do not count.
const FRAMES: &str = "weft_h2_frames_total{side=\"caller\"}";

/// The processes.
pub(super) struct Stand {
    mesh: Mesh,
    _center: Process,
    instance: Instance,
    pid: u32,
    /// Around agent and sidecar, where there can be one. Dropped behind them.
    ceiling: Option<Ceiling>,
    /// The most memory that was seen, in KiB, and under which attack.
    most: RefCell<(f64, String)>,
    /// The app's port of HTTP/1.1.
    app_port: u16,
    /// What floods did, for the columns of others beside them.
    figures: RefCell<Vec<(String, Figures)>>,
    /// What the app counts.
    pub(super) app: Arc<Counts>,
}

/// What an attack cost.
#[derive(Debug)]
pub(super) struct Cost {
    /// HTTP/2 frames that the sidecar processed.
    pub(super) frames: f64,
    /// The highest memory above that before, in KiB.
    pub(super) peak_kib: f64,
    /// Seconds of CPU of the sidecar.
    pub(super) cpu_s: f64,
    /// Requests that reached the app.
    pub(super) reached: f64,
    /// Requests that the app still works on although nobody waits.
    pub(super) not_stopped: f64,
    /// What who stands by saw.
    pub(super) seen: Seen,
}

/// What was seen of a process under attack.
pub(super) struct Watched {
    /// The highest memory above that before, in KiB.
    pub(super) peak_kib: f64,
    cpu_s: f64,
    /// What who stands by saw, where somebody did.
    pub(super) seen: Option<Seen>,
}

/// Runs an attack on a process while its memory is looked at, and somebody calls at this address.
pub(super) fn watch<T>(
    pid: u32,
    address: Option<SocketAddr>,
    attack: impl FnOnce() -> Result<T, String>,
) -> Result<(T, Watched), String> {
    let (before, cpu) = (anonymous_kib(pid)?, cpu_ns(pid)?);
    let bystander = address.map(Bystander::start);
    let over = AtomicBool::new(false);
    let (result, peak) = std::thread::scope(|scope| {
        let over = &over;
        let looking = scope.spawn(move || {
            let mut peak = 0_f64;
            while !over.load(Relaxed) {
                peak = peak.max(anonymous_kib(pid).unwrap_or(0.0));
                std::thread::sleep(LOOK_EVERY);
            }
            peak
        });
        let began = now();
        let result = attack();
        // So short an attack shows in what follows it.
        std::thread::sleep(LOOK_AT_LEAST.saturating_sub(now() - began));
        over.store(true, Relaxed);
        (result, looking.join().unwrap_or(0.0))
    });
    let cpu_s = (cpu_ns(pid)? - cpu) as f64 / 1e9;
    let seen = bystander.map(Bystander::end);
    let peak_kib = (peak - before).max(0.0);
    Ok((
        result?,
        Watched {
            peak_kib,
            cpu_s,
            seen,
        },
    ))
}

impl Stand {
    /// Starts center, app and sidecar.
    pub(super) fn start(binary: &Path, ceiling: Option<Ceiling>) -> Result<Self, String> {
        let mesh = Mesh::new(binary, "attack")?;
        let ([http1, http2], app) = app::start()?;
        let center = mesh.start_center()?;
        let flags = [
            vec!["--port".to_owned(), format!("http={http1}")],
            vec!["--port".to_owned(), format!("h2={http2}")],
            ends_at_once(),
        ]
        .concat();
        let instance = match &ceiling {
            Some(ceiling) => mesh.start_within(&ceiling.processes(), SERVICE, &flags)?,
            None => mesh.start_instance(SERVICE, &flags, &[])?,
        };
        let pid = instance.sidecar_pid().ok_or("the sidecar is not running")?;
        let stand = Self {
            mesh,
            _center: center,
            instance,
            pid,
            ceiling,
            most: RefCell::default(),
            app_port: http1,
            figures: RefCell::default(),
            app,
        };
        stand.mesh.wait_for("an answer of the app", || {
            get(stand.inbound(), "/")
                .is_ok_and(|(status, _)| status == 200)
                .then_some(())
        })?;
        stand.fill_pools()?;
        Ok(stand)
    }

    /// What pools keep is no cost of the connections that come later.
    fn fill_pools(&self) -> Result<(), String> {
        const CONNECTIONS: usize = 128;
        let told = |error: std::io::Error| format!("connect to the sidecar: {error}");
        let mut held = Vec::new();
        for _ in 0..CONNECTIONS {
            let mut stream = TcpStream::connect(self.inbound()).map_err(told)?;
            stream.write_all(b"GET /").map_err(told)?;
            held.push(stream);
        }
        std::thread::sleep(IDLE_FOR);
        Ok(())
    }

    /// Where attackers connect.
    pub(super) fn inbound(&self) -> SocketAddr {
        self.instance.address("inbound")
    }

    /// Where the app's calls go out.
    pub(super) fn outbound(&self) -> SocketAddr {
        self.instance.address("outbound")
    }

    /// The app's port of HTTP/1.1.
    pub(super) fn app_port(&self) -> u16 {
        self.app_port
    }

    /// Keeps what a flood did.
    pub(super) fn keep_figures(&self, title: &str, figures: Figures) {
        self.figures.borrow_mut().push((title.to_owned(), figures));
    }

    /// What was kept.
    pub(super) fn take_figures(&self) -> Vec<(String, Figures)> {
        self.figures.take()
    }

    /// What is around agent and sidecar.
    pub(super) fn ceiling(&self) -> Option<&Ceiling> {
        self.ceiling.as_ref()
    }

    /// The most memory that was seen, in MiB, and under which attack.
    pub(super) fn most(&self) -> (f64, String) {
        let (kib, name) = self.most.borrow().clone();
        (kib / 1024.0, name)
    }

    /// The last lines of every log.
    pub(super) fn logs(&self) -> String {
        self.mesh.logs()
    }

    /// Whether the sidecar is another than at the beginning.
    pub(super) fn died(&self) -> u32 {
        u32::from(self.instance.sidecar_pid() != Some(self.pid))
    }

    /// KiB of memory of its own.
    pub(super) fn memory_kib(&self) -> Result<f64, String> {
        anonymous_kib(self.pid)
    }

    /// The sum of a metric over its labels, or the metric of these.
    pub(super) fn metric(&self, name: &str) -> Result<f64, String> {
        let (_, text) = get(self.instance.address("management"), "/metrics")?;
        Ok(text
            .lines()
            .filter(|line| {
                line.strip_prefix(name)
                    .is_some_and(|rest| rest.starts_with([' ', '{']))
            })
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum())
    }

    /// What who stands by sees of a sidecar that has nothing else to do.
    fn idle(&self) -> Seen {
        let bystander = Bystander::start(self.inbound());
        std::thread::sleep(IDLE_FOR);
        bystander.end()
    }

    /// Runs an attack while somebody stands by and memory is looked at. Rows of both come from here.
    pub(super) fn under<T>(
        &self,
        name: &str,
        rows: &mut Rows,
        attack: impl FnOnce() -> Result<T, String>,
    ) -> Result<(T, Cost), String> {
        let idle = self.idle();
        let frames = self.metric(FRAMES)?;
        let reached = self.app.reached.load(Relaxed);
        let before = self.memory_kib()?;
        let (result, watched) = watch(self.pid, Some(self.inbound()), attack)?;
        let peak = before + watched.peak_kib;
        if peak > self.most.borrow().0 {
            *self.most.borrow_mut() = (peak, name.to_owned());
        }
        let seen = watched.seen.unwrap_or_default();
        let floor = if rows.full() {
            P99_FLOOR_MS.0
        } else {
            P99_FLOOR_MS.1
        };
        let p99_max = (idle.p99_ms * P99_TIMES).max(floor);
        rows.time(&format!("{name}: bystander p99, ms"), seen.p99_ms, p99_max);
        rows.count(
            &format!("{name}: bystander errors of {}", seen.calls),
            seen.errors as f64,
            0.0,
        );
        if let Some(why) = &seen.why {
            rows.note(format!("{name}: the bystander: {why}"));
        }
        let stopped = wait_for("the end of cancelled work", QUIET_WITHIN, || {
            (self.app.under_way.load(Relaxed) == 0).then_some(())
        });
        let not_stopped = self.app.under_way.load(Relaxed) as f64;
        drop(stopped);
        let cost = Cost {
            frames: self.metric(FRAMES)? - frames,
            peak_kib: watched.peak_kib,
            cpu_s: watched.cpu_s,
            reached: (self.app.reached.load(Relaxed) - reached) as f64,
            not_stopped,
            seen,
        };
        Ok((result, cost))
    }

    /// Now.
    pub(super) fn now() -> std::time::Instant {
        now()
    }
}
