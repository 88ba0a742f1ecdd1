//! One worker: an OS thread with its own runtime, pools and buffers. Worker 0 also accepts, and hands each
//! connection to the worker with the fewest before its first read: long RPC connections and links are few, so
//! the kernel's hashing would spread them badly.

use crate::accept::{Incoming, Listener};
use crate::context::{Context, OwnHealth, Shared, Stage, Vitals};
use crate::deadline::SWEEP_EVERY;
use crate::path;
use crate::sources::{Sources, Visit};
use std::io;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use weft_model::Limit;
use weft_telemetry::Direction;
use weft_telemetry::series::bump;

/// Connections on their way to another worker.
const HANDOVER_MAX: usize = 1024;

/// How long accepting pauses when the process is out of descriptors or memory.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Pools are swept once in this many sweeps of time limits.
const POOL_SWEEP_EVERY: u32 = 10;

/// How often a worker of a leaving sidecar shows what is under way.
const SHOW_EVERY: Duration = Duration::from_millis(20);

/// Threads of one worker that look up names of external hosts.
const RESOLVER_THREADS_MAX: usize = 4;

/// Events the reactor handles in one turn.
const REACTOR_EVENTS: usize = 1024;

/// A connection on its way to a worker.
type Handover = (std::net::TcpStream, Listener, Visit);

/// What the one who hands connections out knows of each worker.
struct Seat {
    connections: Arc<AtomicUsize>,
    handover: mpsc::Sender<Handover>,
}

/// What a worker thread starts with.
pub(crate) struct Start {
    pub(crate) shared: Arc<Shared>,
    pub(crate) log: mpsc::Sender<String>,
    /// How far the sidecar is on its way out.
    pub(crate) stage: watch::Receiver<Stage>,
    /// What it shows the control thread.
    pub(crate) vitals: Arc<Vitals>,
    /// How the own instance is.
    pub(crate) health: watch::Receiver<OwnHealth>,
    /// Distinguishes random numbers.
    pub(crate) seed: u64,
}

/// The listeners of the data plane, by what comes in by them.
pub(crate) type DataListeners = Vec<(std::net::TcpListener, Listener)>;

/// Starts one worker for each of these vitals; the first accepts from `listeners`.
///
/// # Errors
/// When a thread or a runtime cannot be made, or a listener not be registered.
pub(crate) fn start(
    vitals: &[Arc<Vitals>],
    start: impl Fn(usize, Arc<Vitals>) -> Start,
    listeners: DataListeners,
) -> io::Result<Vec<std::thread::JoinHandle<()>>> {
    let mut seats = Vec::new();
    let mut receivers = Vec::new();
    for _ in vitals {
        let (handover, receiver) = mpsc::channel(HANDOVER_MAX);
        seats.push(Seat {
            connections: Arc::new(AtomicUsize::new(0)),
            handover,
        });
        receivers.push(receiver);
    }
    let counts: Vec<_> = seats
        .iter()
        .map(|seat| Arc::clone(&seat.connections))
        .collect();
    let mut acceptor = Some((listeners, seats));
    let mut threads = Vec::new();
    let workers = receivers.into_iter().zip(counts).zip(vitals);
    for (number, ((receiver, connections), vitals)) in workers.enumerate() {
        let start = start(number, Arc::clone(vitals));
        let accepting = if number == 0 { acceptor.take() } else { None };
        let thread = std::thread::Builder::new()
            .name(format!("weft-worker-{number}"))
            .spawn(move || {
                let runtime = tokio::runtime::Builder::new_current_thread()
                    .enable_all()
                    .max_blocking_threads(RESOLVER_THREADS_MAX)
                    .max_io_events_per_tick(REACTOR_EVENTS)
                    .build_local(tokio::runtime::LocalOptions::default());
                match runtime {
                    Ok(runtime) => runtime.block_on(run(start, connections, receiver, accepting)),
                    Err(error) => crate::log::line(&crate::log::event(
                        "error",
                        &format!("starting worker {number}: the runtime: {error}"),
                    )),
                }
            })?;
        threads.push(thread);
    }
    Ok(threads)
}

async fn run(
    start: Start,
    connections: Arc<AtomicUsize>,
    mut handover: mpsc::Receiver<Handover>,
    accepting: Option<(DataListeners, Vec<Seat>)>,
) {
    let mut stage = start.stage.clone();
    let mut ending = start.stage;
    let vitals = start.vitals;
    let drain = start.shared.settings.limits.drain;
    let mut health = start.health.clone();
    let ctx = Context::new(
        start.shared,
        connections,
        start.log,
        start.health,
        start.seed,
    );
    spawn_sweep(&ctx, Arc::clone(&vitals));
    if let Some((listeners, seats)) = accepting {
        let seats = Rc::new(seats);
        let sources = Sources::new(ctx.settings.limits.connections_per_source);
        for (listener, kind) in listeners {
            match TcpListener::from_std(listener) {
                Ok(listener) => {
                    ctx.spawn(accept(
                        Rc::clone(&ctx),
                        listener,
                        kind,
                        (Rc::clone(&seats), Arc::clone(&sources)),
                        stage.clone(),
                    ));
                }
                Err(error) => crate::log::line(&crate::log::event(
                    "error",
                    &format!("listening: the runtime does not take the socket: {error}"),
                )),
            }
        }
    }
    let mut is_leaving = false;
    loop {
        tokio::select! {
            Some(handed) = handover.recv() => take_over(&ctx, handed),
            Ok(()) = health.changed() => ctx.links.tell_health(),
            _ = stage.wait_for(|stage| *stage > Stage::Serving), if !is_leaving => {
                is_leaving = true;
                ctx.links.tell_health();
                ctx.links.leave();
                ctx.h2_connections.leave(false);
                show_often(&ctx, Arc::clone(&vitals));
            }
            // Also when nobody is left who could say so.
            _ = ending.wait_for(|stage| *stage == Stage::Ending), if is_leaving => break,
        }
    }
    // Connections without a call are closed; calls under way end, and those that have come just now.
    ctx.deadlines.end_idle();
    ctx.h2_connections.leave(true);
    let idle = async {
        loop {
            tokio::select! {
                // It was accepted before the end.
                Some(handed) = handover.recv() => take_over(&ctx, handed),
                () = tokio::time::sleep(SHOW_EVERY) => {
                    if ctx.calls_open() == 0 && !ctx.silent.any_new(ctx.deadlines.now_ms()) {
                        return;
                    }
                }
            }
        }
    };
    let _ = tokio::time::timeout(drain, idle).await;
}

/// Whoever waits for the last call wants to hear of it at once.
fn show_often(ctx: &Rc<Context>, vitals: Arc<Vitals>) {
    let shown = Rc::clone(ctx);
    ctx.spawn(async move {
        loop {
            shown.show(&vitals);
            tokio::time::sleep(SHOW_EVERY).await;
        }
    });
}

fn spawn_sweep(ctx: &Rc<Context>, vitals: Arc<Vitals>) {
    let swept = Rc::clone(ctx);
    ctx.spawn(async move {
        let mut interval = tokio::time::interval(SWEEP_EVERY);
        let mut turn = 0_u32;
        loop {
            interval.tick().await;
            swept.deadlines.sweep();
            swept.give_room();
            swept.show(&vitals);
            turn = turn.wrapping_add(1);
            if turn.is_multiple_of(POOL_SWEEP_EVERY) {
                swept.http1_pool.sweep(&swept);
                swept.motan2_pool.sweep(&swept);
                swept.links.sweep();
            }
        }
    });
}

async fn accept(
    ctx: Rc<Context>,
    listener: TcpListener,
    kind: Listener,
    (seats, sources): (Rc<Vec<Seat>>, Arc<Sources>),
    mut stage: watch::Receiver<Stage>,
) {
    // What the app calls is known by then, or is not to be had. Calls to the app need none of it.
    if kind.direction() == Direction::Outbound {
        let _ = stage.wait_for(|stage| *stage >= Stage::Serving).await;
    }
    loop {
        let accepted = tokio::select! {
            biased;
            _ = stage.wait_for(|stage| *stage >= Stage::Replaced) => return,
            accepted = next(&ctx, &listener, &seats) => accepted,
        };
        match accepted {
            Ok((stream, peer)) => match sources.visit(peer.ip()) {
                Some(visit) => {
                    let incoming = Incoming {
                        stream,
                        peer,
                        listener: kind,
                        visit,
                    };
                    hand_out(&ctx, incoming, &seats);
                }
                None => refuse(&ctx, Limit::ConnectionsPerSource),
            },
            // Out of descriptors or memory: the loop never ends for that, it lets others finish first.
            Err(_) => tokio::time::sleep(ACCEPT_PAUSE).await,
        }
    }
}

/// The next connection. It waits in the socket's queue while there are as many as there may be: the descriptors that
/// are left belong to the management port, the center and the other side of calls.
async fn next(
    ctx: &Rc<Context>,
    listener: &TcpListener,
    seats: &[Seat],
) -> io::Result<(TcpStream, std::net::SocketAddr)> {
    let open = || -> usize {
        let counts = seats.iter().map(|seat| seat.connections.load(Relaxed));
        counts.sum()
    };
    while open() >= ctx.settings.limits.accepted_max {
        tokio::time::sleep(ACCEPT_PAUSE).await;
    }
    listener.accept().await
}

/// Counts a connection that is closed at once, without a byte.
fn refuse(ctx: &Context, limit: Limit) {
    bump(&ctx.counters.connections_opened, 1);
    bump(&ctx.counters.connections_recorded, 1);
    ctx.counters.connection_ends.add(limit.code());
    ctx.counters.limits_hit.add(limit);
}

/// To the worker with the fewest connections; the first one when equal, so that few connections share pools.
fn hand_out(ctx: &Rc<Context>, incoming: Incoming, seats: &[Seat]) {
    let fewest = seats
        .iter()
        .enumerate()
        .min_by_key(|(_, seat)| seat.connections.load(Relaxed));
    let Some((number, seat)) = fewest else { return };
    if seat.connections.load(Relaxed) >= ctx.settings.limits.connections_max {
        refuse(ctx, Limit::ConnectionsPerWorker);
        return;
    }
    seat.connections.fetch_add(1, Relaxed);
    if number == 0 {
        ctx.spawn(path::connection(Rc::clone(ctx), incoming));
        return;
    }
    let Incoming {
        stream,
        listener,
        visit,
        ..
    } = incoming;
    let handed = stream
        .into_std()
        .ok()
        .is_some_and(|stream| seat.handover.try_send((stream, listener, visit)).is_ok());
    if !handed {
        seat.connections.fetch_sub(1, Relaxed);
    }
}

fn take_over(ctx: &Rc<Context>, (stream, listener, visit): Handover) {
    let peer = stream.peer_addr();
    match (TcpStream::from_std(stream), peer) {
        (Ok(stream), Ok(peer)) => {
            ctx.spawn(path::connection(
                Rc::clone(ctx),
                Incoming {
                    stream,
                    peer,
                    listener,
                    visit,
                },
            ));
        }
        // The caller has gone before its first byte.
        _ => ctx.connection_ended(),
    }
}
