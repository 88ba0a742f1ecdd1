//! Calls a Motan2 app over a few connections that are kept. What the app may know of its caller is added here.

use crate::buffer::Inbox;
use crate::call::{Body, Call, CallHead, ReplyHead};
use crate::connecting::Connecting;
use crate::context::Context;
use crate::protocol::motan2::collect::{Budget, Whose, collect};
use crate::protocol::motan2::connection::{Connection, Outcome};
use crate::protocol::motan2::{Extra, GATHER_BYTES_MAX};
use crate::upstream::{PoolKey, Upstream};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::HashMap;
use std::future::poll_fn;
use std::rc::Rc;
use std::time::Duration;
use tokio::sync::OwnedSemaphorePermit;
use weft_codec::Fields;
use weft_model::{Code, Failure, Protocol};

/// Connections of one worker to one app.
const CONNECTIONS_MAX: usize = 2;

/// A connection without a call is closed after this long.
const IDLE_MAX: Duration = Duration::from_mins(10);

/// After a further connection was refused, none is tried for this long: the one that stands serves.
const RECONNECT_PAUSE: Duration = Duration::from_secs(1);

/// Connections that may close under a call before its first byte was written; then it fails.
const UNSENT_MAX: usize = 3;

/// Request ids begin at a random multiple of this, as motan-go's do, so that an app's log can tell agents and
/// workers apart.
const REQUEST_IDS: u64 = 1 << 20;

/// Connections to Motan2 apps.
#[derive(Default)]
pub(crate) struct Motan2Pool {
    apps: RefCell<HashMap<PoolKey, App>>,
    last_id: Cell<u64>,
    budget: OnceCell<Budget>,
}

/// One app's connections.
#[derive(Default)]
struct App {
    entries: Vec<Entry>,
    /// Before this, a second connection is not tried.
    reconnect_ms: u64,
}

#[derive(Clone)]
enum Entry {
    Connecting(Rc<Connecting<Connection>>),
    Open(Rc<Connection>),
}

impl App {
    /// The open connection with the fewest calls.
    fn freest(&self) -> Option<&Rc<Connection>> {
        let open = self.entries.iter().filter_map(|entry| match entry {
            Entry::Open(connection) if connection.is_open() => Some(connection),
            Entry::Open(_) | Entry::Connecting(_) => None,
        });
        open.min_by_key(|connection| connection.calls())
    }

    fn connecting(&self) -> Option<&Rc<Connecting<Connection>>> {
        self.entries.iter().find_map(|entry| match entry {
            Entry::Connecting(connecting) => Some(connecting),
            Entry::Open(_) => None,
        })
    }
}

impl Motan2Pool {
    /// The connection with the fewest calls. Another one is made when all are in use.
    async fn connection(
        &self,
        ctx: &Rc<Context>,
        key: &PoolKey,
    ) -> Result<Rc<Connection>, Failure> {
        let (open, connecting, may_grow) = {
            let apps = self.apps.borrow();
            let app = apps.get(key);
            let may_grow = app.is_none_or(|app| {
                app.entries.len() < CONNECTIONS_MAX && app.reconnect_ms <= ctx.deadlines.now_ms()
            });
            let open = app.and_then(App::freest).cloned();
            (open, app.and_then(App::connecting).cloned(), may_grow)
        };
        let Some(open) = open else {
            let connecting = connecting.unwrap_or_else(|| self.connect(ctx, key));
            return connecting.result().await;
        };
        let is_busy = open.calls() > 0;
        if is_busy && may_grow && connecting.is_none() {
            // For the calls to come; this one does not wait.
            drop(self.connect(ctx, key));
        }
        Ok(open)
    }

    /// Makes a connection, in a task of its own: the call that asked first may be cancelled, others wait too.
    fn connect(&self, ctx: &Rc<Context>, key: &PoolKey) -> Rc<Connecting<Connection>> {
        let connecting = Rc::new(Connecting::default());
        let entry = Entry::Connecting(Rc::clone(&connecting));
        self.apps
            .borrow_mut()
            .entry(key.clone())
            .or_default()
            .entries
            .push(entry);
        let (ctx, key, shared) = (Rc::clone(ctx), key.clone(), Rc::clone(&connecting));
        ctx.clone().spawn(async move {
            let upstream = match &key {
                PoolKey::App(number) => Upstream::App { number: *number },
                PoolKey::Plain(address) => Upstream::Plain {
                    declared: Protocol::Motan,
                    address: *address,
                    group: "",
                    is_one_of_many: false,
                },
                PoolKey::External(authority) => Upstream::External { authority },
            };
            let result = upstream
                .connect(&ctx)
                .await
                .map(|stream| Rc::new(Connection::new(&ctx, stream)));
            ctx.motan2_pool.connected(&ctx, &key, &shared, &result);
            let open = result.as_ref().ok().cloned();
            shared.finish(result);
            if let Some(open) = open {
                drive(&ctx, &key, &open).await;
            }
        });
        connecting
    }

    fn connected(
        &self,
        ctx: &Context,
        key: &PoolKey,
        connecting: &Rc<Connecting<Connection>>,
        result: &Result<Rc<Connection>, Failure>,
    ) {
        let mut apps = self.apps.borrow_mut();
        let app = apps.entry(key.clone()).or_default();
        app.entries.retain(
            |entry| !matches!(entry, Entry::Connecting(known) if Rc::ptr_eq(known, connecting)),
        );
        if let Ok(connection) = result {
            app.entries.push(Entry::Open(Rc::clone(connection)));
        } else {
            let pause = RECONNECT_PAUSE.as_millis() as u64;
            app.reconnect_ms = ctx.deadlines.now_ms() + pause;
        }
    }

    fn forget(&self, key: &PoolKey, connection: &Rc<Connection>) {
        if let Some(app) = self.apps.borrow_mut().get_mut(key) {
            app.entries.retain(
                |entry| !matches!(entry, Entry::Open(known) if Rc::ptr_eq(known, connection)),
            );
        }
    }

    /// Closes connections that were idle for too long; to be called every second or so.
    pub(crate) fn sweep(&self, ctx: &Context) {
        let now = ctx.deadlines.now_ms();
        let limit = IDLE_MAX.as_millis() as u64;
        self.apps.borrow_mut().retain(|_, app| {
            app.entries.retain(|entry| match entry {
                Entry::Connecting(_) => true,
                Entry::Open(connection) => {
                    let idle = connection.is_idle(now, limit);
                    if idle {
                        connection.close(&Failure::with(Code::UpstreamClosed, "it was idle"));
                    }
                    !idle
                }
            });
            !app.entries.is_empty() || app.reconnect_ms > now
        });
    }

    fn next_id(&self, ctx: &Context) -> u64 {
        let last = self.last_id.get();
        let id = if last == 0 {
            // Java reads ids as signed numbers: half of the range is enough.
            (ctx.random() >> 1) / REQUEST_IDS * REQUEST_IDS + 1
        } else {
            last.wrapping_add(1)
        };
        self.last_id.set(id);
        id
    }
}

/// Reads and writes until the connection ends, then forgets it.
async fn drive(ctx: &Rc<Context>, key: &PoolKey, connection: &Rc<Connection>) {
    let mut inbox = Inbox::default();
    let failure = poll_fn(|cx| connection.poll_drive(ctx, &mut inbox, cx)).await;
    ctx.motan2_pool.forget(key, connection);
    connection.close(&failure);
}

/// Sends a call and waits for its reply. A one-way call has an empty reply as soon as the socket took it.
pub(crate) async fn exchange(
    ctx: &Rc<Context>,
    upstream: Upstream<'_>,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    let extra = Extra::read(call.head.bytes(call.head.opaque));
    // Boxed: the ordinary request is whole.
    let _permit = match &call.body {
        Body::Stream { .. } => Box::pin(gather(ctx, extra, call)).await?,
        Body::Empty | Body::Full(_) | Body::Spent => None,
    };
    match upstream {
        Upstream::App { number } => introduce(ctx, number, extra.request_id, &mut call.head),
        Upstream::Plain { group, .. } => {
            let fields = &mut call.head.fields;
            if is_absent(fields, "M_s") {
                put(fields, b"M_s", ctx.own_service.as_bytes());
            }
            put_group(fields, group);
        }
        Upstream::External { .. } => {}
    }
    let key = upstream.pool_key();
    for _ in 0..UNSENT_MAX {
        let connection = connection(ctx, upstream, &key).await?;
        let id = ctx.motan2_pool.next_id(ctx);
        match connection.call(ctx, id, extra, call).await {
            Outcome::Reply(head, body) => return Ok((head, body)),
            Outcome::Failed(failure) => return Err(failure),
            Outcome::Unsent => {}
        }
    }
    Err(Failure::with(
        Code::ConnectRefused,
        format!(
            "{} closed {UNSENT_MAX} connections before the call was written",
            upstream.text()
        ),
    ))
}

/// A connection; not waited for for long when the call may go elsewhere.
async fn connection(
    ctx: &Rc<Context>,
    upstream: Upstream<'_>,
    key: &PoolKey,
) -> Result<Rc<Connection>, Failure> {
    let connection = ctx.motan2_pool.connection(ctx, key);
    let Some(patience) = upstream.patience(ctx) else {
        return connection.await;
    };
    let limited = tokio::time::timeout(patience, connection).await;
    limited.unwrap_or_else(|_| {
        let text = upstream.text();
        let detail = format!("no connection to {text} within {} ms", patience.as_millis());
        Err(Failure::with(Code::ConnectTimeout, detail))
    })
}

/// Gathers a streamed request; it can then be sent again.
async fn gather(
    ctx: &Context,
    extra: Extra,
    call: &mut Call,
) -> Result<Option<OwnedSemaphorePermit>, Failure> {
    let length = call.body.length().unwrap_or(u64::from(extra.length)) as usize;
    let Some(stream) = call.body.take_stream() else {
        return Ok(None);
    };
    let budget = ctx
        .motan2_pool
        .budget
        .get_or_init(|| Budget::new(GATHER_BYTES_MAX));
    let gathered = collect(ctx, stream, length, budget, Whose::Request).await?;
    call.body = Body::Full(gathered.body);
    Ok(gathered.permit)
}

/// What the app may know of its caller, and what its own port demands.
pub(crate) fn introduce(ctx: &Context, number: u16, request_id: u64, head: &mut CallHead) {
    if std::mem::replace(&mut head.introduced, true) {
        return;
    }
    if is_absent(&head.fields, "M_rid") {
        let id = request_id.cast_signed().to_string();
        put(&mut head.fields, b"M_rid", id.as_bytes());
    }
    if let Some(address) = head.caller_address
        && is_absent(&head.fields, "host")
    {
        put(&mut head.fields, b"host", address.to_string().as_bytes());
    }
    if !head.caller.is_empty() && is_absent(&head.fields, "M_s") {
        let caller = head.bytes(head.caller).to_vec();
        put(&mut head.fields, b"M_s", &caller);
    }
    let port = ctx.settings.ports.iter().find(|port| port.number == number);
    if let Some(port) = port {
        put_group(&mut head.fields, &port.group);
    }
}

/// The group that a port demands.
fn put_group(fields: &mut Fields, group: &str) {
    if !group.is_empty() && fields.last_exact("M_g") != Some(group.as_bytes()) {
        put(fields, b"M_g", group.as_bytes());
    }
}

fn is_absent(fields: &Fields, key: &str) -> bool {
    fields.last_exact(key).is_none_or(<[u8]>::is_empty)
}

/// Replaces every pair of exactly this key by one.
fn put(fields: &mut Fields, key: &[u8], value: &[u8]) {
    fields.remove(|known, _| known == key);
    fields.push(key, value);
}
