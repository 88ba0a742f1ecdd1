//! The control center: who is in the mesh, told to every sidecar, and what happened to calls, told to people.
//!
//! | file | defines |
//! |---|---|
//! | `server.rs` | the one port: connections and their limits |
//! | `stream.rs` | one sidecar's stream: hello, registration, pushes |
//! | `catalog.rs` | what is true of the mesh: a state machine without I/O |
//! | `declared.rs` | what people declared: objects, history, status; a state machine without I/O |
//! | `intake.rs` | from a set of wishes to what is declared |
//! | `store.rs` | what is kept, and how it becomes durable |
//! | `instance_rows.rs` | instances as rows of the store |
//! | `delta.rs` | messages for sidecars as bytes that many of them share |
//! | `names.rs` | the keys under which a service can be called |
//! | `stats.rs` | the last minute of calls |
//! | `api.rs`, `instances_api.rs`, `objects_api.rs`, `reply.rs` | the API for people and the shapes of its answers |
//! | `simulation.rs` | a center for simulations: without sockets, threads and clock |
//! | `guard.rs` | who may ask |
//! | `clock.rs`, `log.rs` | time, and lines for the operator |
//!
//! What changes is made durable first and told afterwards. A center that starts anew knows the instances it
//! knew, unconfirmed until their sidecars had time to come back. Never in here: the path of a call.

mod api;
mod catalog;
mod clock;
mod declared;
mod delta;
mod guard;
mod instance_rows;
mod instances_api;
mod intake;
mod log;
mod names;
mod objects_api;
mod reply;
mod server;
pub mod simulation;
mod stats;
pub mod store;
mod stream;
mod watch_api;

pub use catalog::Times;

use catalog::{Catalog, Remembered, StreamId};
use declared::Declared;
use stats::Stats;
use std::fmt;
use std::future::Future;
use std::net::{SocketAddr, TcpListener};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use store::{Kept, Opened, Place, StoreError, Writer};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Notify, Semaphore, watch};
use watch_api::Watchers;

/// Connections at a time: one for each sidecar, and some for people.
pub const CONNECTIONS_MAX: usize = 20_480;

/// Sidecars at a time: one for each instance of a full center.
pub const STREAMS_MAX: usize = 20_000;

/// What a center is started with.
#[derive(Debug)]
pub struct Config {
    /// Where it listens; see [`Config::check_listen`].
    pub listener: TcpListener,
    /// Where it keeps what it knows; none: it forgets all when it ends.
    pub store: Option<Kept>,
    /// What readers from other machines must show, and everybody who writes; none: they are refused.
    pub token: Option<String>,
    /// How much it takes on.
    pub limits: Limits,
}

/// How much a center takes on.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// See [`CONNECTIONS_MAX`].
    pub connections_max: usize,
    /// See [`STREAMS_MAX`].
    pub streams_max: usize,
    /// How long things are kept.
    pub times: Times,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            connections_max: CONNECTIONS_MAX,
            streams_max: STREAMS_MAX,
            times: Times::default(),
        }
    }
}

impl Config {
    /// A center on this socket that forgets all, without a token, with the ordinary limits.
    pub fn new(listener: TcpListener) -> Self {
        Self {
            listener,
            store: None,
            token: None,
            limits: Limits::default(),
        }
    }

    /// Whether a center may listen there: beyond loopback only when somebody said so (`--insecure-listen`),
    /// because without TLS whoever reaches it can join the mesh.
    pub fn check_listen(address: SocketAddr, insecure: bool) -> Result<(), StartError> {
        if address.ip().to_canonical().is_loopback() || insecure {
            return Ok(());
        }
        Err(StartError::NotLoopback(address))
    }
}

/// Why a center did not start.
#[derive(Debug)]
pub enum StartError {
    /// The address is not loopback and nobody said that it may be.
    NotLoopback(SocketAddr),
    /// The store cannot be used.
    Store(StoreError),
    /// What was attempted, and what the system said.
    Io(&'static str, std::io::Error),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotLoopback(address) => write!(
                f,
                "listen on {address}: whoever reaches this address could join the mesh, because the \
                 center has no TLS yet; listen on 127.0.0.1, or add --insecure-listen if the network \
                 is closed"
            ),
            Self::Store(error) => error.fmt(f),
            Self::Io(attempted, _) => write!(f, "{attempted}"),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::NotLoopback(_) | Self::Store(_) => None,
            Self::Io(_, error) => Some(error),
        }
    }
}

/// Runs a center on this thread until SIGTERM or SIGINT.
pub fn run(config: Config) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::Io("start the center's runtime", error))?;
    runtime.block_on(async {
        let attempted = "listen for the signals that stop the center";
        let listen = |kind| signal(kind).map_err(|error| StartError::Io(attempted, error));
        let mut terminate = listen(SignalKind::terminate())?;
        let mut interrupt = listen(SignalKind::interrupt())?;
        let stop = async move {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
        };
        serve(config, stop).await
    })
}

/// Serves a center in the present runtime until `stop` is ready.
pub async fn serve(config: Config, stop: impl Future<Output = ()>) -> Result<(), StartError> {
    let attempted = "take over the center's listening socket";
    let taken = config.listener.set_nonblocking(true).and_then(|()| {
        let address = config.listener.local_addr()?;
        Ok((address, tokio::net::TcpListener::from_std(config.listener)?))
    });
    let (address, listener) = taken.map_err(|error| StartError::Io(attempted, error))?;
    let (stop_sender, stop_receiver) = watch::channel(false);
    let kept = match config.store {
        Some(kept) => kept,
        None => Kept::open(&Place::Memory).map_err(StartError::Store)?,
    };
    let center = Center::new(address, config.token, config.limits, stop_receiver, kept.0);
    let center =
        Arc::new(center.map_err(|error| StartError::Io("start the store's thread", error))?);
    log::line(
        "info",
        "the center serves",
        &[
            ("address", &address.to_string()),
            ("store_id", &center.store_id),
            ("epoch", &center.epoch.to_string()),
        ],
    );
    center.save(&mut center.catalog());
    let publisher = tokio::spawn(publish(Arc::clone(&center)));
    let serving = tokio::spawn(server::serve(listener, Arc::clone(&center)));
    stop.await;
    stop_sender.send_replace(true);
    // A task that panicked has said so on standard error; there is nothing else to end.
    let _ = serving.await;
    publisher.abort();
    center.close();
    log::line(
        "info",
        "the center has stopped",
        &[("address", &address.to_string())],
    );
    Ok(())
}

/// What all parts of a center share.
struct Center {
    address: SocketAddr,
    token: Option<String>,
    limits: Limits,
    store_id: String,
    epoch: u64,
    catalog: Mutex<Catalog>,
    declared: Mutex<Declared>,
    /// Held by the one whose set is being taken.
    turn: tokio::sync::Mutex<()>,
    watchers: Watchers,
    writer: Writer,
    stats: Mutex<Stats>,
    /// The catalog has changed: somebody must look when to publish.
    changed: Notify,
    /// The last revision that was handed to the streams.
    published: watch::Sender<u64>,
    streams: Arc<Semaphore>,
    streams_opened: AtomicU64,
    stop: watch::Receiver<bool>,
}

impl Center {
    fn new(
        address: SocketAddr,
        token: Option<String>,
        limits: Limits,
        stop: watch::Receiver<bool>,
        opened: Opened,
    ) -> std::io::Result<Self> {
        let version = weft_api::sync::Version {
            epoch: opened.epoch,
            revision: opened.revision,
        };
        let (mut declared, mut unread) = Declared::load(&opened.rows);
        declared.starts_at(version);
        let (records, unread_instances) = instance_rows::records(&opened.rows);
        unread.extend(unread_instances);
        if !unread.is_empty() {
            let message =
                "rows of the store cannot be read by this weft; they are left as they are";
            log::line("warn", message, &[("rows", &unread.join(", "))]);
        }
        let mut catalog = Catalog::new(version, limits.times);
        let (services, plain) = declared.compiled();
        let remembered = Remembered {
            instances: records,
            services,
            plain,
            names: opened.clean_note,
        };
        catalog.restore(remembered, clock::now());
        Ok(Self {
            address,
            token,
            limits,
            store_id: opened.store_id,
            epoch: opened.epoch,
            catalog: Mutex::new(catalog),
            declared: Mutex::new(declared),
            turn: tokio::sync::Mutex::default(),
            watchers: Watchers::default(),
            writer: Writer::start(opened.store, opened.revision)?,
            stats: Mutex::new(Stats::new(clock::now())),
            changed: Notify::new(),
            published: watch::Sender::new(0),
            streams: Arc::new(Semaphore::new(limits.streams_max)),
            streams_opened: AtomicU64::new(0),
            stop,
        })
    }

    /// The state of the mesh. Held only between two awaits; all of the center runs on one thread.
    fn catalog(&self) -> MutexGuard<'_, Catalog> {
        self.catalog.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What people declared. Held only between two awaits.
    fn declared(&self) -> MutexGuard<'_, Declared> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Hands what changed to the store.
    fn save(&self, catalog: &mut Catalog) {
        let revision = catalog.version().revision;
        let unsaved = catalog.take_unsaved().into_iter();
        let changes = unsaved
            .map(|(service, id, record)| instance_rows::change(&service, &id, record.as_deref()));
        self.writer.soon(changes.collect(), revision);
    }

    /// Makes the last changes durable and notes that nothing is missing.
    fn close(&self) {
        let mut catalog = self.catalog();
        self.save(&mut catalog);
        let mark = store::clean_mark(catalog.version().revision, catalog.names_note());
        if let Err(error) = self.writer.close(&mark) {
            let message = "the last changes could not be kept; the next start begins a new epoch";
            log::line("error", message, &[("why", &error.to_string())]);
        }
    }

    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn next_stream(&self) -> StreamId {
        StreamId(self.streams_opened.fetch_add(1, Ordering::Relaxed) + 1)
    }
}

/// Wakes the streams when merged changes are due, and lets time do its work on the catalog.
async fn publish(center: Arc<Center>) {
    loop {
        let due_at = center.catalog().due_at();
        match due_at {
            None => center.changed.notified().await,
            Some(due_at) => {
                tokio::select! {
                    () = center.changed.notified() => {}
                    () = tokio::time::sleep_until(due_at.into()) => {}
                }
            }
        }
        let mut catalog = center.catalog();
        let is_due = catalog.tick(clock::now());
        center.save(&mut catalog);
        if let Some(given_way) = catalog.take_overridden() {
            center.declared().gave_way(given_way);
        }
        if is_due {
            center.published.send_replace(catalog.version().revision);
        }
    }
}
