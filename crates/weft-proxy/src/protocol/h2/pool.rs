//! Connections to HTTP/2 apps: kept, shared by many calls, each driven by a task of its own.

use crate::buffer::Chunk;
use crate::connecting::Connecting;
use crate::context::Context;
use crate::protocol::ProtocolId;
use crate::protocol::h2::guarded::{Guard, Guarded};
use crate::protocol::h2::keepalive::{Keepalive, LOOK_EVERY};
use crate::protocol::h2::socket::{Gathered, Greeting, Prefixed};
use crate::protocol::h2::{
    CONNECTION_WINDOW_BYTES, FRAME_BYTES_MAX, HEADER_LIST_BYTES_MAX, LITTLE_FRAMES_BYTES_MAX,
    LOCAL_ERROR_RESETS_MAX, SEND_BUFFER_BYTES_MAX, STREAM_WINDOW_BYTES,
};
use crate::protocol::http as http_family;
use crate::upstream::{PoolKey, Upstream};
use h2::SendStream;
use h2::client::{ResponseFuture, SendRequest};
use http::Request;
use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use weft_codec::h2::PeerSide;
use weft_model::{Code, Failure, Protocol};

/// Connections to one upstream at the most, per worker. Beyond that calls wait for a stream.
const CONNECTIONS_MAX: usize = 16;

/// Streams on one connection before another one is made, also when the app would take more.
const STREAMS_WANTED: usize = 100;

/// How long a connection without calls is kept.
const IDLE_MAX: Duration = Duration::from_mins(5);

/// Connections by where they lead.
#[derive(Default)]
pub(crate) struct H2Pool {
    kept: RefCell<HashMap<PoolKey, Vec<Entry>, foldhash::fast::RandomState>>,
}

enum Entry {
    Open(Rc<Connection>),
    Connecting(Rc<Connecting<Connection>>),
}

/// One connection.
pub(crate) struct Connection {
    requests: RefCell<SendRequest<Chunk>>,
    /// Calls under way.
    calls: Cell<usize>,
    /// It takes no further call.
    is_leaving: Cell<bool>,
    guard: Guard,
    /// Ends when the app has said in HTTP/2 that it speaks it.
    greeted: Connecting<()>,
    /// Why it ended, when that is known here.
    failure: RefCell<Option<Failure>>,
}

impl Connection {
    fn has_room(&self) -> bool {
        let streams_max = self.requests.borrow().current_max_send_streams();
        !self.is_leaving.get()
            && !self.guard.must_go()
            && self.calls.get() < streams_max.min(STREAMS_WANTED)
    }
}

/// A connection with one call more, until dropped.
pub(crate) struct Busy {
    ctx: Rc<Context>,
    connection: Rc<Connection>,
}

impl Busy {
    fn new(ctx: &Rc<Context>, connection: &Rc<Connection>) -> Self {
        connection.calls.set(connection.calls.get() + 1);
        Self {
            ctx: Rc::clone(ctx),
            connection: Rc::clone(connection),
        }
    }

    /// The worker.
    pub(crate) fn context(&self) -> &Context {
        &self.ctx
    }

    /// Why the connection was cut off, when it was.
    pub(crate) fn failure(&self) -> Option<Failure> {
        let connection = &self.connection;
        let known = connection.guard.failure();
        known.or_else(|| connection.failure.borrow().clone())
    }

    /// Waits until the app has said what it takes.
    pub(crate) async fn greeted(&self) -> Result<(), Failure> {
        self.connection.greeted.result().await.map(drop)
    }

    /// Whether the app takes extended CONNECT. It has greeted.
    pub(crate) fn takes_extended_connect(&self) -> bool {
        let requests = self.connection.requests.borrow();
        requests.is_extended_connect_protocol_enabled()
    }

    /// Opens a stream. What h2 does not take was not dispatched.
    pub(crate) fn send(
        &self,
        request: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Chunk>), Failure> {
        let mut requests = self.connection.requests.borrow_mut().clone();
        requests.send_request(request, ends).map_err(|error| {
            self.connection.is_leaving.set(true);
            Failure::with(Code::AppRefused, error.to_string())
        })
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        let calls = &self.connection.calls;
        calls.set(calls.get().saturating_sub(1));
    }
}

/// A connection with room for a call.
pub(crate) async fn reach(ctx: &Rc<Context>, upstream: Upstream<'_>) -> Result<Busy, Failure> {
    let key = upstream.pool_key();
    loop {
        let connecting = match ctx.h2_pool.find(&key) {
            Place::Open(connection) => return Ok(Busy::new(ctx, &connection)),
            Place::Connecting(connecting) => connecting,
            Place::Nothing => connect(ctx, &upstream, &key),
        };
        let wait = connecting.result();
        let connection = match upstream.patience(ctx) {
            None => wait.await?,
            Some(patience) => tokio::time::timeout(patience, wait).await.map_err(|_| {
                let detail = format!("no connection to {} yet", upstream.text());
                Failure::with(Code::ConnectTimeout, detail)
            })??,
        };
        // Others may have been faster; then there is another turn.
        if connection.has_room() {
            return Ok(Busy::new(ctx, &connection));
        }
    }
}

/// Where there is room for a call.
enum Place {
    Open(Rc<Connection>),
    Connecting(Rc<Connecting<Connection>>),
    Nothing,
}

impl H2Pool {
    /// The first connection with room, so that few are used; one that is being made; or the one with the fewest
    /// calls when there may be no more.
    fn find(&self, key: &PoolKey) -> Place {
        let pool = self.kept.borrow();
        let list = pool.get(key).map(Vec::as_slice).unwrap_or_default();
        let mut fewest: Option<&Rc<Connection>> = None;
        let mut connecting = None;
        for entry in list {
            match entry {
                Entry::Open(open) if open.has_room() => return Place::Open(Rc::clone(open)),
                Entry::Open(open) if open.is_leaving.get() || open.guard.must_go() => {}
                Entry::Open(open) => {
                    if fewest.is_none_or(|fewest| open.calls.get() < fewest.calls.get()) {
                        fewest = Some(open);
                    }
                }
                Entry::Connecting(attempt) => connecting = Some(Rc::clone(attempt)),
            }
        }
        match (connecting, fewest) {
            (Some(attempt), _) => Place::Connecting(attempt),
            (None, Some(open)) if list.len() >= CONNECTIONS_MAX => Place::Open(Rc::clone(open)),
            (None, _) => Place::Nothing,
        }
    }

    /// An attempt has ended.
    fn connected(
        &self,
        key: &PoolKey,
        attempt: &Rc<Connecting<Connection>>,
        result: &Result<Rc<Connection>, Failure>,
    ) {
        let mut pool = self.kept.borrow_mut();
        let Some(list) = pool.get_mut(key) else {
            return;
        };
        list.retain(
            |entry| !matches!(entry, Entry::Connecting(known) if Rc::ptr_eq(known, attempt)),
        );
        if let Ok(connection) = result
            && !connection.is_leaving.get()
        {
            list.push(Entry::Open(Rc::clone(connection)));
        }
    }

    /// Forgets a connection that takes no further call.
    fn forget(&self, key: &PoolKey, connection: &Rc<Connection>) {
        connection.is_leaving.set(true);
        let mut pool = self.kept.borrow_mut();
        if let Some(list) = pool.get_mut(key) {
            list.retain(
                |entry| !matches!(entry, Entry::Open(known) if Rc::ptr_eq(known, connection)),
            );
            if list.is_empty() {
                pool.remove(key);
            }
        }
    }
}

/// Begins an attempt, which goes on also when the call that asked for it does not.
fn connect(
    ctx: &Rc<Context>,
    upstream: &Upstream<'_>,
    key: &PoolKey,
) -> Rc<Connecting<Connection>> {
    let attempt = Rc::new(Connecting::default());
    ctx.h2_pool
        .kept
        .borrow_mut()
        .entry(key.clone())
        .or_default()
        .push(Entry::Connecting(Rc::clone(&attempt)));
    let (ctx, key, shared) = (Rc::clone(ctx), key.clone(), Rc::clone(&attempt));
    let declared = match upstream {
        Upstream::Plain { declared, .. } => *declared,
        Upstream::App { .. } | Upstream::External { .. } => Protocol::Detect,
    };
    ctx.clone().spawn(async move {
        let upstream = match &key {
            PoolKey::App(number) => Upstream::App { number: *number },
            PoolKey::Plain(address) => Upstream::Plain {
                address: *address,
                declared,
                group: "",
                is_one_of_many: false,
            },
            PoolKey::External(authority) => Upstream::External { authority },
        };
        let result = begin(&ctx, &upstream, &key).await;
        ctx.h2_pool.connected(&key, &shared, &result);
        shared.finish(result);
    });
    attempt
}

/// Makes a connection. An app of which the port says that it speaks HTTP/2 gets its first request at once (RFC 9113
/// 3.4); any other has to say in HTTP/2 that it does.
async fn begin(
    ctx: &Rc<Context>,
    upstream: &Upstream<'_>,
    key: &PoolKey,
) -> Result<Rc<Connection>, Failure> {
    let stream = upstream.connect(ctx).await?;
    let (io, greeting) = Prefixed::awaiting_settings(stream);
    let (io, guard) = Guarded::new(ctx, PeerSide::Upstream, io);
    let socket = Gathered::new(io);
    let handshake = h2::client::Builder::new()
        .initial_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .max_frame_size(FRAME_BYTES_MAX)
        .max_header_list_size(HEADER_LIST_BYTES_MAX)
        .max_local_error_reset_streams(Some(LOCAL_ERROR_RESETS_MAX))
        .max_send_buffer_size(SEND_BUFFER_BYTES_MAX)
        .data_frame_budget(LITTLE_FRAMES_BYTES_MAX)
        .enable_push(false)
        .handshake::<_, Chunk>(socket.clone());
    let (requests, mut h2) = handshake.await.map_err(|error| {
        let why = format!("HTTP/2 with {}: {error}", upstream.text());
        Failure::with(Code::ConnectRefused, why)
    })?;
    let connection = Rc::new(Connection {
        requests: RefCell::new(requests),
        calls: Cell::new(0),
        is_leaving: Cell::new(false),
        guard,
        greeted: Connecting::default(),
        failure: RefCell::default(),
    });
    let driver = Driver {
        keepalive: Keepalive::new(h2.ping_pong()),
        h2,
        socket,
        greeting: Some(greeting),
        name: upstream.text(),
        connection: Rc::clone(&connection),
    };
    let (driven, key) = (Rc::clone(ctx), key.clone());
    ctx.spawn(async move { driver.run(&driven, &key).await });
    let is_declared = matches!(
        http_family::declared(ctx, upstream),
        Some(Protocol::H2 | Protocol::Grpc)
    );
    if !is_declared {
        connection.greeted.result().await?;
    }
    Ok(connection)
}

/// Reads and writes for all calls of one connection.
struct Driver {
    h2: h2::client::Connection<Gathered<Guarded<Prefixed>>, Chunk>,
    socket: Gathered<Guarded<Prefixed>>,
    /// How the app has begun, until that is known.
    greeting: Option<Rc<Cell<Greeting>>>,
    /// What a person calls the app.
    name: String,
    connection: Rc<Connection>,
    keepalive: Keepalive,
}

impl Driver {
    async fn run(mut self, ctx: &Rc<Context>, key: &PoolKey) {
        let (looks, greets) = (ctx.deadlines.limit(), ctx.deadlines.limit());
        poll_fn(|cx| {
            let ended = self.poll_drive(cx);
            self.greet(ctx, key, ended.is_ready());
            if ended.is_ready() {
                return Poll::Ready(());
            }
            if self.greeting.is_some() {
                let limit = ctx.settings.limits.connect;
                if ctx.deadlines.poll_stalled(&greets, limit, cx).is_ready() {
                    let why = "did not answer in HTTP/2 in time";
                    self.refuse(Code::ConnectTimeout, Code::UpstreamTimeout, why);
                    return Poll::Ready(());
                }
            }
            while ctx
                .deadlines
                .poll_stalled(&looks, LOOK_EVERY, cx)
                .is_ready()
            {
                if !self.look(cx) {
                    return Poll::Ready(());
                }
                // What `look` has asked for is sent when h2 is driven again.
                cx.waker().wake_by_ref();
            }
            Poll::Pending
        })
        .await;
        ctx.h2_pool.forget(key, &self.connection);
    }

    /// Tells who waits for it how the app has begun.
    fn greet(&mut self, ctx: &Context, key: &PoolKey, has_ended: bool) {
        match self.greeting.as_ref().map(|greeting| greeting.get()) {
            Some(Greeting::Settings) => {
                self.greeting = None;
                self.connection.greeted.finish(Ok(Rc::new(())));
            }
            Some(Greeting::Other) => {
                ctx.http_versions.remember(ctx, key, ProtocolId::Http1);
                let why = "does not answer in HTTP/2";
                self.refuse(Code::ConnectRefused, Code::UpstreamMalformed, why);
            }
            Some(Greeting::Ended) => {
                ctx.http_versions.remember(ctx, key, ProtocolId::Http1);
                let why = "ended the connection instead of an answer in HTTP/2";
                self.refuse(Code::ConnectRefused, Code::UpstreamClosed, why);
            }
            Some(Greeting::Awaited) if has_ended => {
                let why = "did not answer in HTTP/2";
                self.refuse(Code::ConnectRefused, Code::UpstreamClosed, why);
            }
            Some(Greeting::Awaited) | None => {}
        }
    }

    /// The app has not begun as HTTP/2 begins: one code for those who wait for that, another for calls that were sent.
    fn refuse(&mut self, waiting: Code, sent: Code, why: &str) {
        self.greeting = None;
        let why = format!("{} {why}", self.name);
        *self.connection.failure.borrow_mut() = Some(Failure::with(sent, why.clone()));
        self.connection
            .greeted
            .finish(Err(Failure::with(waiting, why)));
    }

    fn poll_drive(&mut self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let ended = pin!(&mut self.h2).poll(cx);
        // What cannot be written is told to the calls by the read.
        let _ = self.socket.poll_send(cx);
        ended.map(drop)
    }

    /// Whether to go on: the app lives, and is called.
    fn look(&mut self, cx: &mut TaskContext<'_>) -> bool {
        let received = self.socket.received();
        let is_called = self.connection.calls.get() > 0;
        let idle = self.keepalive.look(received, is_called, cx);
        idle.is_some_and(|idle| idle < IDLE_MAX)
    }
}
