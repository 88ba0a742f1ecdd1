//! Ten thousand instances in one process: sync streams as light as they can be, on real connections to the center.
//!
//! Each says hello, registers an instance and takes what it is told; it calls nobody, and nobody answers where it
//! says it is. On demand it registers anew: that is a change. What a stream is refused ends the crowd.

use bytes::Bytes;
use h2::client::SendRequest;
use h2::{RecvStream, SendStream};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval};
use weft_api::grpc;
use weft_api::sync::{self, PROTOCOL_VERSION, from_sidecar};

/// Streams on one connection: as many as the center takes.
const STREAMS_PER_CONNECTION: usize = 16;

/// Between two bursts of changes.
const BURST_EVERY: Duration = Duration::from_millis(10);

/// A step that spreads changes over all instances; odd, and no divisor of their number.
const STRIDE: usize = 7919;

/// What the crowd and whoever watches it share.
#[derive(Debug, Default)]
struct Shared {
    /// Changes a second.
    rate: AtomicU64,
    registered: AtomicU64,
    changed: AtomicU64,
    /// Why it ended, when it did.
    failed: Mutex<Option<String>>,
}

/// The crowd, on a thread of its own.
pub(super) struct Crowd {
    shared: Arc<Shared>,
    orders: Option<UnboundedSender<sync::Instance>>,
    thread: Option<JoinHandle<()>>,
}

impl Crowd {
    /// Registers these instances; the first one is only changed on demand.
    pub(super) fn start(
        center: SocketAddr,
        instances: Vec<sync::Instance>,
    ) -> Result<Self, String> {
        let shared = Arc::new(Shared::default());
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("start the runtime of the crowd: {error}"))?;
        let (orders, ordered) = unbounded_channel();
        let state = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            LocalSet::new().block_on(&runtime, async {
                if let Err(why) = live(&state, center, instances, ordered).await {
                    let mut failed = state.failed.lock().unwrap_or_else(PoisonError::into_inner);
                    failed.get_or_insert(why);
                }
            });
        });
        Ok(Self {
            shared,
            orders: Some(orders),
            thread: Some(thread),
        })
    }

    /// Changes so many a second from now on.
    pub(super) fn set_rate(&self, changes: u64) {
        self.shared.rate.store(changes, Relaxed);
    }

    /// Changes the first instance to this.
    pub(super) fn change_first(&self, instance: sync::Instance) {
        if let Some(orders) = &self.orders {
            // Fails only when the crowd has ended, and then the next question says why.
            let _ = orders.send(instance);
        }
    }

    /// How many have registered.
    pub(super) fn registered(&self) -> u64 {
        self.shared.registered.load(Relaxed)
    }

    /// How many changes were sent.
    pub(super) fn changed(&self) -> u64 {
        self.shared.changed.load(Relaxed)
    }

    /// An error when it has ended by itself.
    pub(super) fn check(&self) -> Result<(), String> {
        let failed = self.shared.failed.lock();
        let failed = failed.unwrap_or_else(PoisonError::into_inner);
        failed.as_ref().map_or(Ok(()), |why| Err(why.clone()))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        // Nobody who could order anything: it ends.
        self.orders = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

/// One instance with its stream.
struct Member {
    instance: sync::Instance,
    send: SendStream<Bytes>,
}

async fn live(
    shared: &Arc<Shared>,
    center: SocketAddr,
    instances: Vec<sync::Instance>,
    mut ordered: UnboundedReceiver<sync::Instance>,
) -> Result<(), String> {
    let mut members = Vec::with_capacity(instances.len());
    let mut connection = None;
    for (index, instance) in instances.into_iter().enumerate() {
        if index % STREAMS_PER_CONNECTION == 0 {
            connection = Some(connect(center).await?);
        }
        if let Some(connection) = &mut connection {
            members.push(join(shared, connection, instance).await?);
            shared.registered.fetch_add(1, Relaxed);
        }
    }
    let mut bursts = interval(BURST_EVERY);
    bursts.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let (mut next, mut owed) = (0, 0.0);
    loop {
        tokio::select! {
            order = ordered.recv() => {
                let Some(instance) = order else { return Ok(()) };
                if let Some(first) = members.first_mut() {
                    first.instance = instance;
                    register(first)?;
                }
            }
            _ = bursts.tick() => {
                owed += shared.rate.load(Relaxed) as f64 * BURST_EVERY.as_secs_f64();
                while owed >= 1.0 {
                    owed -= 1.0;
                    next = (next + STRIDE) % members.len();
                    if let Some(member) = members.get_mut(next.max(1)) {
                        change(&mut member.instance);
                        register(member)?;
                        shared.changed.fetch_add(1, Relaxed);
                    }
                }
            }
        }
    }
}

/// Its app was started anew, and is weighed differently.
fn change(instance: &mut sync::Instance) {
    const WEIGHTS: u32 = 50;
    instance.incarnation += 1;
    instance.weight = 100 + (instance.weight + 1) % WEIGHTS;
}

async fn connect(center: SocketAddr) -> Result<SendRequest<Bytes>, String> {
    let told = |error: &dyn std::fmt::Display| format!("connect to the center: {error}");
    let stream = TcpStream::connect(center)
        .await
        .map_err(|error| told(&error))?;
    stream.set_nodelay(true).map_err(|error| told(&error))?;
    let (client, connection) = h2::client::handshake(stream)
        .await
        .map_err(|error| told(&error))?;
    tokio::task::spawn_local(async move {
        // How it ends is told by its streams.
        let _ = connection.await;
    });
    Ok(client)
}

async fn join(
    shared: &Arc<Shared>,
    connection: &mut SendRequest<Bytes>,
    instance: sync::Instance,
) -> Result<Member, String> {
    let told = |error: &dyn std::fmt::Display| format!("open a stream to the center: {error}");
    let mut ready = connection
        .clone()
        .ready()
        .await
        .map_err(|error| told(&error))?;
    let request = http::Request::post("http://center/weft.sync.v1.Sync/Stream")
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| told(&error))?;
    let (response, send) = ready
        .send_request(request, false)
        .map_err(|error| told(&error))?;
    let hello = sync::SidecarHello {
        protocol_version: PROTOCOL_VERSION,
        namespace: instance.namespace.clone(),
        service: instance.service.clone(),
        instance: instance.id.clone(),
        ..sync::SidecarHello::default()
    };
    let mut member = Member { instance, send };
    say(&mut member.send, from_sidecar::Kind::Hello(hello))?;
    register(&mut member)?;
    let shared = Arc::clone(shared);
    let id = member.instance.id.clone();
    tokio::task::spawn_local(async move {
        let ended = match response.await {
            Ok(response) => listen(response.into_body()).await,
            Err(error) => error.to_string(),
        };
        let mut failed = shared.failed.lock().unwrap_or_else(PoisonError::into_inner);
        failed.get_or_insert(format!("the stream of {id} ended: {ended}"));
    });
    Ok(member)
}

/// Takes what comes and gives its room back; how the stream ended.
async fn listen(mut body: RecvStream) -> String {
    while let Some(chunk) = body.data().await {
        match chunk {
            Ok(chunk) => {
                let _ = body.flow_control().release_capacity(chunk.len());
            }
            Err(error) => return error.to_string(),
        }
    }
    match body.trailers().await {
        Ok(trailers) => format!("{trailers:?}"),
        Err(error) => error.to_string(),
    }
}

fn register(member: &mut Member) -> Result<(), String> {
    let instance = Some(member.instance.clone());
    let register = sync::Register { instance };
    say(&mut member.send, from_sidecar::Kind::Register(register))
}

fn say(send: &mut SendStream<Bytes>, kind: from_sidecar::Kind) -> Result<(), String> {
    let mut bytes = Vec::new();
    grpc::encode(&sync::FromSidecar { kind: Some(kind) }, &mut bytes);
    send.send_data(bytes.into(), false)
        .map_err(|error| format!("speak to the center: {error}"))
}
