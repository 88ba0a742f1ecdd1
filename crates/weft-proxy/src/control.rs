//! The control thread: everything that is not a call. It starts the workers, follows the center, answers the
//! management port, watches the app, listens to the host agent and to signals, and writes the access log.

use crate::accept::{Declared, Listener};
use crate::app;
use crate::asking;
use crate::begin;
use crate::check;
use crate::context::{APP_IS_NEW, APP_IS_OLD, LOG_LINES_MAX, OwnHealth, Shared, Stage, Vitals};
use crate::health::{self, Signs};
use crate::leave::{Leaving, Line, Order};
use crate::management::{ManagementServer, token_of_environment};
use crate::protocol::ProtocolId;
use crate::protocol::link::hops::{self, DeclaredHops};
use crate::settings::Settings;
use crate::sync::{self, AppState, Earlier, Offline, SyncTask};
use crate::worker::{self, DataListeners, Start};
use crate::{Config, Listeners, StartError, clock, log};
use arc_swap::ArcSwap;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::Relaxed};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use weft_api::agent::{FromSidecar, ToSidecar};
use weft_api::sidecar::ListenSpec;
use weft_api::sync::{OwnPolicy, StatsRow, on_death_from_wire};
use weft_model::Snapshot;
use weft_telemetry::exposition::{Gauges, prometheus_text};
use weft_telemetry::series::rows_since;
use weft_telemetry::{Direction, Registry, Row};

/// Lines of the access log written at once.
const LOG_BATCH: usize = 256;

/// Workers by default, when there are that many cores.
const WORKERS_DEFAULT: usize = 2;

/// How long a sidecar waits for a center (or the certainty that there is none) before it says it is ready.
const SYNC_WAIT: Duration = Duration::from_secs(5);

/// How often the wait looks.
const SYNC_LOOK: Duration = Duration::from_millis(5);

/// Runs a sidecar to its end. See [`crate::run`].
pub(crate) fn run(config: Config) -> Result<(), StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build_local(tokio::runtime::LocalOptions::default())
        .map_err(|error| StartError::new("making the control thread's runtime", error))?;
    runtime.block_on(control(config))
}

async fn control(config: Config) -> Result<(), StartError> {
    let Config {
        spec,
        listeners,
        agent,
        limits,
    } = config;
    let ports = BoundPorts::of(&listeners);
    let (asking, asked) = asking::channel();
    let shared = Arc::new(Shared {
        settings: Arc::new(Settings::new(&spec, ports.own_addresses.clone(), limits)),
        snapshots: Arc::new(ArcSwap::from_pointee(Snapshot::default())),
        asking,
        registry: Arc::new(Registry::default()),
        incarnation: AtomicU64::new(spec.incarnation),
        app_since_ms: AtomicI64::new(APP_IS_OLD),
        app_down: AtomicBool::new(agent.is_some()),
        draining: AtomicBool::new(false),
        drained: AtomicBool::new(false),
        hops: DeclaredHops::default(),
    });
    // Before the first call is taken: what arrives meanwhile waits in the kernel.
    let earlier = Earlier::load(spec.state_dir.as_deref(), &shared.snapshots);
    let (stage, stages) = watch::channel(Stage::Starting);
    let (goodbye, goodbyes) = watch::channel(false);
    let (log_lines, log_reader) = mpsc::channel(LOG_LINES_MAX);
    let workers = workers(&spec);
    let (data, management) = split(listeners, &spec.listens)?;
    let (health, own_health) = watch::channel(health::initial());
    let vitals: Vec<Arc<Vitals>> = (0..workers.max(1)).map(|_| Arc::default()).collect();
    let threads = worker::start(
        &vitals,
        |number, vitals| Start {
            shared: Arc::clone(&shared),
            log: log_lines.clone(),
            stage: stages.clone(),
            vitals,
            health: own_health.clone(),
            seed: seed(number),
        },
        data,
    )
    .map_err(|error| StartError::new("starting the workers", error))?;
    drop(log_lines);
    tokio::spawn(write_log(log_reader));

    let own = follow_own(&shared, &health, &vitals, !spec.centers.is_empty());
    tokio::spawn(check::watch(Arc::clone(&shared.snapshots), seed(0)));
    let (ready_sender, ready) = watch::channel(false);
    let (ended, ending) = watch::channel(false);
    serve_management(&spec, &shared, management, ready, ending)?;
    let policy = own.policy.subscribe();
    let following = tokio::task::spawn_local(sync::run(SyncTask {
        spec: spec.clone(),
        inbound_port: ports.inbound,
        management_port: ports.management,
        snapshots: Arc::clone(&shared.snapshots),
        app: own.begun.subscribe(),
        offline: own.offline.clone(),
        own_policy: own.policy,
        stats: stats(Arc::clone(&shared.registry)),
        shutdown: goodbyes,
        asked,
        link_tls: false,
        earlier,
    }));
    let started = Started {
        shared,
        app: own.app,
        offline: own.offline,
        policy,
        ready: ready_sender,
        stage: stage.clone(),
        has_center: !spec.centers.is_empty(),
    };
    let mut line = Line::new(agent, vitals)?;
    let order = serve(&started, &mut line).await;
    let mut leaving = Leaving {
        stage,
        health,
        goodbye,
        following,
        ended,
    };
    let limit = leaving.leave(&started, &mut line, order).await;
    tokio::select! {
        () = join(threads, limit) => {}
        () = line.answer(&started) => {}
    }
    // Probes and scrapers are answered to the end: `/ready` says 503 all the while.
    leaving.ended.send_replace(true);
    Ok(())
}

/// How many workers serve calls.
fn workers(spec: &weft_api::sidecar::SidecarSpec) -> usize {
    spec.workers.unwrap_or_else(|| {
        std::thread::available_parallelism()
            .map_or(1, usize::from)
            .min(WORKERS_DEFAULT)
    })
}

/// What is known of the own instance, each part written by whoever knows it.
struct Own {
    /// The app, as it is.
    app: watch::Sender<AppState>,
    /// The app, as soon as it is to get calls.
    begun: watch::Sender<AppState>,
    /// Whether a person took the instance out of use.
    offline: watch::Sender<Offline>,
    /// What was declared for its start and end.
    policy: watch::Sender<OwnPolicy>,
}

/// Watches the own app, and has peers told of it, of whoever takes the instance out of use, and of its load.
fn follow_own(
    shared: &Arc<Shared>,
    health: &watch::Sender<OwnHealth>,
    vitals: &[Arc<Vitals>],
    has_center: bool,
) -> Own {
    let own = Own {
        app: watch::Sender::new(AppState::Unknown),
        begun: watch::Sender::new(AppState::Unknown),
        offline: watch::Sender::new(Offline::default()),
        policy: watch::Sender::new(OwnPolicy::default()),
    };
    let signs = Signs {
        app: own.begun.subscribe(),
        offline: own.offline.subscribe(),
        policy: own.policy.subscribe(),
        vitals: vitals.to_vec(),
    };
    tokio::spawn(health::follow(Arc::clone(shared), signs, health.clone()));
    tokio::spawn(begin::follow(
        Arc::clone(shared),
        own.app.subscribe(),
        own.policy.subscribe(),
        own.begun.clone(),
        has_center,
    ));
    tokio::spawn(app::watch(Arc::clone(shared), own.app.clone()));
    tokio::spawn(hops::follow(Arc::clone(shared), own.policy.subscribe()));
    own
}

/// What runs once everything is started.
pub(crate) struct Started {
    pub(crate) shared: Arc<Shared>,
    app: watch::Sender<AppState>,
    offline: watch::Sender<Offline>,
    policy: watch::Receiver<OwnPolicy>,
    pub(crate) ready: watch::Sender<bool>,
    stage: watch::Sender<Stage>,
    has_center: bool,
}

impl Started {
    /// What the host agent says of the app.
    pub(crate) fn take(&self, message: &ToSidecar) {
        match message {
            ToSidecar::AppStarted {
                incarnation,
                age_ms,
            } => {
                self.shared.incarnation.store(*incarnation, Relaxed);
                let since = match *age_ms {
                    0 => APP_IS_NEW,
                    age => clock::now_ms().cast_signed() - i64::try_from(age).unwrap_or(i64::MAX),
                };
                self.shared.app_since_ms.store(since, Relaxed);
                self.shared.app_down.store(false, Relaxed);
            }
            ToSidecar::AppDead => {
                self.shared.app_down.store(true, Relaxed);
                self.app.send_replace(AppState::Dead);
            }
            ToSidecar::SetOffline {
                offline,
                changed_ms,
            } => {
                let said = Offline {
                    offline: *offline,
                    changed_ms: *changed_ms,
                };
                said.tell(&self.offline);
            }
            _ => {}
        }
    }
}

/// Serves until somebody says that it is enough.
async fn serve(started: &Started, line: &mut Line) -> Order {
    let synced = synced(started);
    tokio::pin!(synced);
    let mut is_ready = false;
    let mut offline = started.offline.subscribe();
    let mut policy = started.policy.clone();
    loop {
        tokio::select! {
            // The agent remembers the center's words: for a successor that starts while the center is away, and for
            // when there is no successor to ask.
            Ok(()) = offline.changed() => {
                let Offline { offline, changed_ms } = *offline.borrow_and_update();
                line.tell(&FromSidecar::Offline { offline, changed_ms }).await;
            }
            Ok(()) = policy.changed() => {
                let declared = on_death_from_wire(policy.borrow_and_update().on_death);
                line.tell(&FromSidecar::OnDeath { declared: declared.map(Into::into) }).await;
            }
            synced = &mut synced, if !is_ready => {
                is_ready = true;
                started.stage.send_replace(Stage::Serving);
                line.tell(&FromSidecar::Ready { synced }).await;
                started.ready.send_replace(true);
            }
            order = line.order(started) => return order,
        }
    }
}

/// Waits until a center has been heard, for a while; not at all with a saved snapshot.
async fn synced(started: &Started) -> bool {
    if !started.has_center {
        return started.shared.snapshots.load().synced;
    }
    let heard = async {
        while !started.shared.snapshots.load().synced {
            tokio::time::sleep(SYNC_LOOK).await;
        }
    };
    tokio::time::timeout(SYNC_WAIT, heard).await.is_ok()
}

fn serve_management(
    spec: &weft_api::sidecar::SidecarSpec,
    shared: &Arc<Shared>,
    listeners: Vec<std::net::TcpListener>,
    ready: watch::Receiver<bool>,
    ending: watch::Receiver<bool>,
) -> Result<(), StartError> {
    let failed = |error| StartError::new("listening on the management port", error);
    let sockets: Result<Vec<_>, _> = listeners.into_iter().map(TcpListener::from_std).collect();
    let sockets = sockets.map_err(failed)?;
    let measured = Arc::clone(shared);
    let token = token_of_environment()
        .map_err(|error| StartError::new("reading the admin token", error))?;
    let server = ManagementServer {
        spec: spec.clone(),
        snapshots: Arc::clone(&shared.snapshots),
        metrics: Arc::new(move || {
            let snapshot = measured.snapshots.load();
            let gauges = Gauges {
                snapshot_generation: snapshot.generation,
                synced: snapshot.synced,
                buffer_bytes: crate::budget::held() as u64,
            };
            prometheus_text(&measured.registry, gauges)
        }),
        ready,
        token,
    };
    if !sockets.is_empty() {
        tokio::spawn(server.run(sockets, ending));
    }
    Ok(())
}

/// What happened since it was asked last, as the center wants it.
fn stats(registry: Arc<Registry>) -> Box<dyn FnMut() -> Vec<StatsRow> + Send> {
    let mut before: Vec<Row> = Vec::new();
    Box::new(move || {
        let now = registry.rows();
        let changed = rows_since(&before, &now);
        before = now;
        changed.into_iter().map(stats_row).collect()
    })
}

fn stats_row(row: Row) -> StatsRow {
    let (bucket_index, bucket_count) = row.buckets.into_iter().unzip();
    StatsRow {
        direction: row.direction.text().to_owned(),
        caller: row.caller.into(),
        service: row.service.into(),
        protocol: row.protocol.to_owned(),
        code: row.code.to_owned(),
        calls: row.calls,
        duration_us_sum: row.duration_us_sum,
        bucket_index,
        bucket_count,
    }
}

/// Writes what workers log, many lines at a time, away from the path of calls.
async fn write_log(mut lines: mpsc::Receiver<String>) {
    let mut batch = Vec::with_capacity(LOG_BATCH);
    while lines.recv_many(&mut batch, LOG_BATCH).await > 0 {
        log::access(&batch);
        batch.clear();
    }
}

/// Waits for the workers, not longer than the limit.
async fn join(threads: Vec<JoinHandle<()>>, limit: Duration) {
    let joined = tokio::task::spawn_blocking(move || {
        for thread in threads {
            // A worker that panicked has said so on standard error.
            let _ = thread.join();
        }
    });
    let _ = tokio::time::timeout(limit, joined).await;
}

/// The listeners of the data plane, and those of the management port, ready for a runtime.
fn split(
    listeners: Listeners,
    listens: &[ListenSpec],
) -> Result<(DataListeners, Vec<std::net::TcpListener>), StartError> {
    let Listeners {
        outbound,
        inbound,
        http_proxy,
        management,
        declared,
    } = listeners;
    let kinds = [
        (outbound, Listener::Outbound),
        (inbound, Listener::Inbound),
        (http_proxy, Listener::HttpProxy),
    ];
    let declared = declared
        .into_iter()
        .filter_map(|socket| declared_by(&socket, listens).map(|listener| (socket, listener)));
    let data: DataListeners = kinds
        .into_iter()
        .flat_map(|(sockets, kind)| sockets.into_iter().map(move |socket| (socket, kind)))
        .chain(declared)
        .collect();
    for socket in data.iter().map(|(socket, _)| socket).chain(&management) {
        socket
            .set_nonblocking(true)
            .map_err(|error| StartError::new("preparing the listening sockets", error))?;
    }
    Ok((data, management))
}

/// What was declared of the listener with this socket's port.
fn declared_by(socket: &std::net::TcpListener, listens: &[ListenSpec]) -> Option<Listener> {
    let port = socket.local_addr().ok()?.port();
    let position = listens.iter().position(|listen| listen.port == port)?;
    let listen = listens.get(position)?;
    Some(Listener::Declared(Declared {
        position,
        direction: if listen.is_outbound {
            Direction::Outbound
        } else {
            Direction::Inbound
        },
        protocol: ProtocolId::declared(listen.protocol),
    }))
}

/// The numbers of the ports that the sockets are bound to.
struct BoundPorts {
    inbound: u16,
    management: u16,
    own_addresses: HashSet<SocketAddr>,
}

impl BoundPorts {
    fn of(listeners: &Listeners) -> Self {
        let first = |sockets: &[std::net::TcpListener]| {
            sockets
                .first()
                .and_then(|socket| socket.local_addr().ok())
                .map_or(0, |address| address.port())
        };
        let all = [
            &listeners.outbound,
            &listeners.inbound,
            &listeners.http_proxy,
            &listeners.management,
            &listeners.declared,
        ];
        let own_addresses = all
            .into_iter()
            .flatten()
            .filter_map(|socket| socket.local_addr().ok())
            .collect();
        Self {
            inbound: first(&listeners.inbound),
            management: first(&listeners.management),
            own_addresses,
        }
    }
}

/// A number that differs from process to process and worker to worker.
fn seed(number: usize) -> u64 {
    use std::hash::BuildHasher;
    std::hash::RandomState::new().hash_one(number)
}
