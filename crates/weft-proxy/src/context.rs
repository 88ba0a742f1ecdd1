//! What one worker knows: its settings, the snapshot, its pools, its counters. Nothing in here is shared with
//! another worker except through atomics and the snapshot's pointer.

use crate::asking::Asking;
use crate::budget::Waiting;
use crate::deadline::Deadlines;
use crate::protocol::h2::pool::H2Pool;
use crate::protocol::h2::server::Connections as H2Connections;
use crate::protocol::http::versions::Versions;
use crate::protocol::http1::upstream::Http1Pool;
use crate::protocol::link::hops::DeclaredHops;
use crate::protocol::link::links::Links;
use crate::protocol::motan2::upstream::Motan2Pool;
use crate::settings::Settings;
use crate::silent::Silent;
use arc_swap::ArcSwap;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, AtomicUsize, Ordering::Relaxed};
use tokio::sync::{mpsc, watch};
use weft_codec::Fields;
use weft_model::Snapshot;
use weft_model::instance::HealthState;
use weft_telemetry::WorkerSeries;
use weft_telemetry::series::{Counters, bump};

/// Lines of the access log that may wait for the control thread; further ones are dropped and counted.
pub(crate) const LOG_LINES_MAX: usize = 4096;

/// Names kept by one worker, so that a call's record holds them without a copy.
const NAMES_MAX: usize = 4096;

/// Field lists kept for re-use by one worker.
const FIELDS_POOLED_MAX: usize = 256;

/// A pooled list of fields with more than this is freed.
const FIELDS_BYTES_MAX: usize = 16 * 1024;

/// The app was there before anybody looked.
pub(crate) const APP_IS_OLD: i64 = i64::MIN;

/// The app has just been started: its age counts from when it answers.
pub(crate) const APP_IS_NEW: i64 = i64::MAX;

/// How the own instance is, as peers are told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct OwnHealth {
    /// Grows with each change, also over restarts of the sidecar.
    pub(crate) sequence: u64,
    /// The state.
    pub(crate) state: HealthState,
    /// The share of calls that it takes, in percent.
    pub(crate) share: u32,
}

/// What all threads of the sidecar share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// What it is set to.
    pub(crate) settings: Arc<Settings>,
    /// The view of the mesh.
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    /// Where calls ask for services that are not known.
    pub(crate) asking: Asking,
    /// What is counted.
    pub(crate) registry: Arc<weft_telemetry::Registry>,
    /// The incarnation of the own app.
    pub(crate) incarnation: AtomicU64,
    /// When the own app was started, as the host agent says, on the process's own clock of milliseconds:
    /// [`APP_IS_OLD`] when nobody says, [`APP_IS_NEW`] when that was only just.
    pub(crate) app_since_ms: AtomicI64,
    /// Whether there is a host agent that does not say that the own app runs: its word counts more than an open port.
    pub(crate) app_down: AtomicBool,
    /// Whether the sidecar is leaving.
    pub(crate) draining: AtomicBool,
    /// Whether calls from peers are refused as not dispatched: the drain is over.
    pub(crate) drained: AtomicBool,
    /// Transports of links, as the mesh declares them.
    pub(crate) hops: DeclaredHops,
}

/// How far a sidecar is on its way out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Stage {
    /// It does not know the mesh yet: the app's calls wait in its sockets.
    Starting,
    /// It serves.
    Serving,
    /// It tells all that it leaves, and serves.
    Draining,
    /// Another sidecar serves the same sockets: it takes no connection any more.
    Replaced,
    /// It ends with the last call.
    Ending,
}

/// What a worker shows the control thread, some times a second.
#[derive(Debug, Default)]
pub(crate) struct Vitals {
    /// When it last swept, on the process's clock; 0 before the first time.
    pub(crate) swept_ms: AtomicU64,
    /// Calls for the own app under way.
    pub(crate) inbound_calls: AtomicU64,
    /// All calls under way.
    pub(crate) calls: AtomicU64,
    /// Connections open.
    pub(crate) connections: AtomicUsize,
}

/// One worker's own part.
pub(crate) struct Context {
    /// What all threads share.
    pub(crate) shared: Arc<Shared>,
    /// What the sidecar is set to; also `shared.settings`, one step nearer.
    pub(crate) settings: Arc<Settings>,
    /// The counters of this worker.
    pub(crate) counters: Arc<Counters>,
    /// The series of this worker.
    pub(crate) series: RefCell<WorkerSeries>,
    /// Time limits.
    pub(crate) deadlines: Deadlines,
    /// Connections to HTTP/1.1 apps and external hosts.
    pub(crate) http1_pool: Http1Pool,
    /// Connections to HTTP/2 apps.
    pub(crate) h2_pool: H2Pool,
    /// Which version of HTTP apps were found to speak.
    pub(crate) http_versions: Versions,
    /// Connections of HTTP/2 callers.
    pub(crate) h2_connections: H2Connections,
    /// Connections to Motan apps.
    pub(crate) motan2_pool: Motan2Pool,
    /// Links to peers.
    pub(crate) links: Links,
    /// Connections that have said nothing yet.
    pub(crate) silent: Rc<Silent>,
    /// Readers of bodies that wait until the process holds less.
    pub(crate) waiting_for_room: Waiting,
    /// Calls in flight.
    pub(crate) calls_active: Cell<usize>,
    /// Calls for the own app that have begun and not ended.
    pub(crate) inbound_calls: Cell<u64>,
    /// The name of whom nobody knows.
    pub(crate) unknown: Rc<str>,
    /// The own service.
    pub(crate) own_service: Rc<str>,
    connections: Arc<AtomicUsize>,
    health: watch::Receiver<OwnHealth>,
    log: mpsc::Sender<String>,
    names: RefCell<HashMap<Box<str>, Rc<str>, foldhash::fast::RandomState>>,
    fields: RefCell<Vec<Fields>>,
    random: Cell<u64>,
}

impl Context {
    /// A context for one more worker. `connections` counts the worker's open connections for the one who
    /// hands them out.
    pub(crate) fn new(
        shared: Arc<Shared>,
        connections: Arc<AtomicUsize>,
        log: mpsc::Sender<String>,
        health: watch::Receiver<OwnHealth>,
        seed: u64,
    ) -> Rc<Self> {
        let series = WorkerSeries::new(Arc::clone(&shared.registry));
        let own_service = Rc::from(shared.settings.service.as_str());
        Rc::new(Self {
            settings: Arc::clone(&shared.settings),
            counters: Arc::clone(&series.counters),
            series: RefCell::new(series),
            deadlines: Deadlines::new(),
            http1_pool: Http1Pool::default(),
            h2_pool: H2Pool::default(),
            http_versions: Versions::default(),
            h2_connections: H2Connections::default(),
            motan2_pool: Motan2Pool::default(),
            links: Links::default(),
            silent: Rc::default(),
            waiting_for_room: Waiting::default(),
            calls_active: Cell::new(0),
            inbound_calls: Cell::new(0),
            unknown: Rc::from(""),
            own_service,
            connections,
            health,
            log,
            names: RefCell::default(),
            fields: RefCell::default(),
            random: Cell::new(seed | 1),
            shared,
        })
    }

    /// The snapshot in use.
    pub(crate) fn snapshot(&self) -> Arc<Snapshot> {
        self.shared.snapshots.load_full()
    }

    /// Whether the sidecar is leaving.
    pub(crate) fn draining(&self) -> bool {
        self.shared.draining.load(Relaxed)
    }

    /// Whether calls from peers are refused: the drain is over.
    pub(crate) fn drained(&self) -> bool {
        self.shared.drained.load(Relaxed)
    }

    /// Whether the instance has left: its drain is over, and no other sidecar serves it.
    pub(crate) fn has_left(&self) -> bool {
        self.drained() && self.health().state == HealthState::Draining
    }

    /// Shows the control thread that this worker is at work, and on how much.
    pub(crate) fn show(&self, vitals: &Vitals) {
        vitals
            .inbound_calls
            .store(self.inbound_calls.get(), Relaxed);
        vitals.calls.store(self.calls_open(), Relaxed);
        let connections = self.connections.load(Relaxed);
        vitals.connections.store(connections, Relaxed);
        vitals
            .swept_ms
            .store(crate::clock::now_ms().max(1), Relaxed);
    }

    /// How the own instance is.
    pub(crate) fn health(&self) -> OwnHealth {
        *self.health.borrow()
    }

    /// The incarnation of the own app.
    pub(crate) fn incarnation(&self) -> u64 {
        self.shared.incarnation.load(Relaxed)
    }

    /// A random number (xorshift64*: spreads load, keeps no secrets).
    pub(crate) fn random(&self) -> u64 {
        let mut value = self.random.get();
        value ^= value >> 12;
        value ^= value << 25;
        value ^= value >> 27;
        self.random.set(value);
        value.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A counted copy of a name, made once.
    pub(crate) fn name(&self, text: &str) -> Rc<str> {
        if let Some(known) = self.names.borrow().get(text) {
            return Rc::clone(known);
        }
        let mut names = self.names.borrow_mut();
        if names.len() >= NAMES_MAX {
            names.clear();
        }
        let name: Rc<str> = Rc::from(text);
        names.insert(text.into(), Rc::clone(&name));
        name
    }

    /// An empty list of fields.
    pub(crate) fn fields(&self) -> Fields {
        self.fields.borrow_mut().pop().unwrap_or_default()
    }

    /// Gives a list of fields back.
    pub(crate) fn recycle(&self, mut fields: Fields) {
        let mut pool = self.fields.borrow_mut();
        if pool.len() < FIELDS_POOLED_MAX && fields.byte_len() <= FIELDS_BYTES_MAX {
            fields.clear();
            pool.push(fields);
        }
    }

    /// Writes a line to the access log, or counts it as dropped.
    pub(crate) fn log(&self, line: String) {
        if self.log.try_send(line).is_err() {
            bump(&self.counters.log_lines_dropped, 1);
        }
    }

    /// Calls of this worker that have begun and not ended.
    pub(crate) fn calls_open(&self) -> u64 {
        let recorded = self.counters.calls_recorded.load(Relaxed);
        self.counters
            .calls_opened
            .load(Relaxed)
            .saturating_sub(recorded)
    }

    /// A connection that was handed to this worker ended.
    pub(crate) fn connection_ended(&self) {
        self.connections.fetch_sub(1, Relaxed);
    }

    /// Spawns a task of this worker. A panic ends that task alone, and is counted.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + 'static) {
        // Boxed at once: a task of some kilobytes would else be copied at each step into the runtime.
        let task = Box::pin(task);
        let watch = PanicWatch(Arc::clone(&self.counters));
        drop(tokio::task::spawn_local(async move {
            let _watch = watch;
            task.await;
        }));
    }
}

/// Counts the task that drops it while panicking.
struct PanicWatch(Arc<Counters>);

impl Drop for PanicWatch {
    fn drop(&mut self) {
        if std::thread::panicking() {
            bump(&self.0.panics, 1);
        }
    }
}
