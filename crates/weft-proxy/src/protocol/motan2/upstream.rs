//! Calls a Motan2 app: a few connections, each shared by many calls. Requests get ids of our own; replies find
//! their calls by them, in any order.

use crate::buffer::{Chunk, Inbox};
use crate::call::{Body, BodyStream, Call, CallHead, Piece, ReplyHead};
use crate::context::Context;
use crate::protocol::motan2::collect::{Budget, Whose, collect};
use crate::protocol::motan2::outbox::Outbox;
use crate::protocol::motan2::server::is_weft_field;
use crate::protocol::motan2::{Extra, GATHER_BYTES_MAX, HELD_BYTES_MAX, HELD_FROM};
use crate::upstream::{PoolKey, Upstream};
use std::cell::{Cell, OnceCell, RefCell};
use std::collections::{HashMap, VecDeque};
use std::future::poll_fn;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use weft_codec::Fields;
use weft_codec::motan2::{self as codec, Header, Step};
use weft_model::{Code, Failure};

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
    Connecting(Rc<Connecting>),
    Open(Rc<Connection>),
}

/// A connection that is being made; all who want it wait for one attempt.
#[derive(Default)]
struct Connecting {
    result: RefCell<Option<Result<Rc<Connection>, Failure>>>,
    waiting: RefCell<Vec<Waker>>,
}

impl Connecting {
    async fn result(&self) -> Result<Rc<Connection>, Failure> {
        poll_fn(|cx| {
            if let Some(result) = &*self.result.borrow() {
                return Poll::Ready(result.clone());
            }
            self.waiting.borrow_mut().push(cx.waker().clone());
            Poll::Pending
        })
        .await
    }
}

impl App {
    /// The open connection with the fewest calls.
    fn freest(&self) -> Option<&Rc<Connection>> {
        let open = self.entries.iter().filter_map(|entry| match entry {
            Entry::Open(connection) if connection.is_open() => Some(connection),
            Entry::Open(_) | Entry::Connecting(_) => None,
        });
        open.min_by_key(|connection| connection.slots.borrow().len())
    }

    fn connecting(&self) -> Option<&Rc<Connecting>> {
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
        let is_busy = !open.slots.borrow().is_empty();
        if is_busy && may_grow && connecting.is_none() {
            // For the calls to come; this one does not wait.
            drop(self.connect(ctx, key));
        }
        Ok(open)
    }

    /// Makes a connection, in a task of its own: the call that asked first may be cancelled, others wait too.
    fn connect(&self, ctx: &Rc<Context>, key: &PoolKey) -> Rc<Connecting> {
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
                PoolKey::External(authority) => Upstream::External { authority },
            };
            let result = upstream
                .connect(&ctx)
                .await
                .map(|stream| Rc::new(Connection::new(&ctx, stream)));
            ctx.motan2_pool.connected(&ctx, &key, &shared, &result);
            let open = result.as_ref().ok().cloned();
            *shared.result.borrow_mut() = Some(result);
            for waker in shared.waiting.take() {
                waker.wake();
            }
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
        connecting: &Rc<Connecting>,
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
                    let idle = connection.slots.borrow().is_empty()
                        && connection.outbox.is_empty()
                        && now.saturating_sub(connection.used_ms.get()) >= limit;
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
    if let Upstream::App { number } = upstream {
        introduce(ctx, number, extra.request_id, &mut call.head);
    }
    let key = upstream.pool_key();
    for _ in 0..UNSENT_MAX {
        let connection = ctx.motan2_pool.connection(ctx, &key).await?;
        match attempt(ctx, &connection, extra, call).await {
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
    let is_absent = |fields: &Fields, key| fields.last_exact(key).is_none_or(<[u8]>::is_empty);
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
    if let Some(port) = port
        && !port.group.is_empty()
        && head.fields.last_exact("M_g") != Some(port.group.as_bytes())
    {
        put(&mut head.fields, b"M_g", port.group.as_bytes());
    }
}

/// Replaces every pair of exactly this key by one.
fn put(fields: &mut Fields, key: &[u8], value: &[u8]) {
    fields.remove(|known, _| known == key);
    fields.push(key, value);
}

/// How an attempt ended.
enum Outcome {
    /// The app answered.
    Reply(ReplyHead, Body),
    /// It did not.
    Failed(Failure),
    /// The connection ended before the first byte of the call was written.
    Unsent,
}

async fn attempt(ctx: &Context, connection: &Rc<Connection>, extra: Extra, call: &Call) -> Outcome {
    poll_fn(|cx| {
        if connection.is_open() {
            connection.outbox.poll_room(cx)
        } else {
            Poll::Ready(())
        }
    })
    .await;
    if !connection.is_open() {
        return Outcome::Unsent;
    }
    let id = ctx.motan2_pool.next_id(ctx);
    connection.used_ms.set(ctx.deadlines.now_ms());
    let start = connection.outbox.position();
    let end = connection
        .outbox
        .push(|out| write_request(id, extra, call, out));
    let slot = Rc::new(Slot {
        start,
        outcome: RefCell::default(),
        waker: RefCell::default(),
    });
    let _open = if extra.one_way {
        let one_way = (end, Rc::clone(&slot));
        connection.one_way.borrow_mut().push_back(one_way);
        None
    } else {
        connection.slots.borrow_mut().insert(id, Rc::clone(&slot));
        Some(OpenCall { connection, id })
    };
    poll_fn(|cx| slot.poll_outcome(cx)).await
}

fn write_request(id: u64, extra: Extra, call: &Call, out: &mut Vec<u8>) {
    let body = match &call.body {
        Body::Full(chunk) => chunk.bytes(),
        Body::Empty | Body::Spent | Body::Stream { .. } => &[],
    };
    let header = Header {
        proxy: true,
        one_way: extra.one_way,
        gzip: extra.gzip,
        serialize: extra.serialize,
        request_id: id,
        ..Header::default()
    };
    // A body is no longer than the codec's limit, which is below 4 GiB.
    codec::write_head(header, &call.head.fields, body.len() as u32, out);
    out.extend_from_slice(body);
}

/// A call that waits for its reply on a connection; forgotten when dropped, so that a late reply finds nobody.
struct OpenCall<'a> {
    connection: &'a Rc<Connection>,
    id: u64,
}

impl Drop for OpenCall<'_> {
    fn drop(&mut self) {
        self.connection.slots.borrow_mut().remove(&self.id);
    }
}

/// One call's place on a connection.
struct Slot {
    /// Where in the connection's bytes its frame begins.
    start: u64,
    outcome: RefCell<Option<Outcome>>,
    waker: RefCell<Option<Waker>>,
}

impl Slot {
    fn put(&self, outcome: Outcome) {
        *self.outcome.borrow_mut() = Some(outcome);
        if let Some(waker) = self.waker.borrow_mut().take() {
            waker.wake();
        }
    }

    fn poll_outcome(&self, cx: &TaskContext<'_>) -> Poll<Outcome> {
        if let Some(outcome) = self.outcome.borrow_mut().take() {
            return Poll::Ready(outcome);
        }
        let mut waker = self.waker.borrow_mut();
        if !waker
            .as_ref()
            .is_some_and(|known| known.will_wake(cx.waker()))
        {
            *waker = Some(cx.waker().clone());
        }
        Poll::Pending
    }
}

/// One connection to an app.
struct Connection {
    stream: TcpStream,
    outbox: Outbox,
    slots: RefCell<HashMap<u64, Rc<Slot>>>,
    /// One-way calls that the socket has not taken yet, and where their frames end.
    one_way: RefCell<VecDeque<(u64, Rc<Slot>)>>,
    /// Bytes of reply bodies that their callers have not taken yet.
    held: Cell<usize>,
    closed: RefCell<Option<Failure>>,
    used_ms: Cell<u64>,
}

/// A reply's body that counts as held until its caller has taken it, or is gone.
struct HeldBody {
    connection: Rc<Connection>,
    length: usize,
    body: Option<Chunk>,
}

impl HeldBody {
    fn new(connection: &Rc<Connection>, body: Chunk) -> Self {
        let length = body.bytes().len();
        connection.held.set(connection.held.get() + length);
        Self {
            connection: Rc::clone(connection),
            length,
            body: Some(body),
        }
    }
}

impl BodyStream for HeldBody {
    fn poll_piece(&mut self, _cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        let piece = self.body.take().map_or(Piece::End(None), Piece::Data);
        Poll::Ready(Ok(piece))
    }
}

impl Drop for HeldBody {
    fn drop(&mut self) {
        let held = &self.connection.held;
        held.set(held.get() - self.length);
        self.connection.outbox.wake_driver();
    }
}

/// Reads and writes until the connection ends, then forgets it.
async fn drive(ctx: &Rc<Context>, key: &PoolKey, connection: &Rc<Connection>) {
    let mut inbox = Inbox::default();
    let failure = poll_fn(|cx| connection.poll_drive(ctx, &mut inbox, cx)).await;
    ctx.motan2_pool.forget(key, connection);
    connection.close(&failure);
}

impl Connection {
    fn new(ctx: &Context, stream: TcpStream) -> Self {
        Self {
            stream,
            outbox: Outbox::new(ctx),
            slots: RefCell::default(),
            one_way: RefCell::default(),
            held: Cell::new(0),
            closed: RefCell::default(),
            used_ms: Cell::new(ctx.deadlines.now_ms()),
        }
    }

    fn is_open(&self) -> bool {
        self.closed.borrow().is_none()
    }

    /// Ends the connection and every call on it.
    fn close(&self, failure: &Failure) {
        if self.closed.borrow().is_some() {
            return;
        }
        *self.closed.borrow_mut() = Some(failure.clone());
        let slots = self.slots.take();
        let one_way = self.one_way.take();
        for slot in slots
            .into_values()
            .chain(one_way.into_iter().map(|(_, slot)| slot))
        {
            let unsent = self.outbox.written() <= slot.start;
            slot.put(if unsent {
                Outcome::Unsent
            } else {
                Outcome::Failed(failure.clone())
            });
        }
        self.outbox.wake_waiting();
        self.outbox.wake_driver();
    }

    /// Reads first: a connection that the app has closed is noticed before anything is written to it.
    fn poll_drive(
        self: &Rc<Self>,
        ctx: &Context,
        inbox: &mut Inbox,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Failure> {
        self.outbox.register_driver(cx);
        if let Some(failure) = &*self.closed.borrow() {
            return Poll::Ready(failure.clone());
        }
        loop {
            if let Err(failure) = self.take_frames(ctx, inbox) {
                return Poll::Ready(failure);
            }
            if self.is_held() {
                break;
            }
            match inbox.poll_fill(&self.stream, cx) {
                Poll::Pending => break,
                Poll::Ready(Ok(0)) => return Poll::Ready(Failure::new(Code::UpstreamClosed)),
                Poll::Ready(Ok(_)) => {}
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Failure::with(Code::UpstreamClosed, error.to_string()));
                }
            }
        }
        let wrote = self.outbox.poll_write(ctx, &self.stream, cx);
        self.end_one_way();
        match wrote {
            Poll::Pending => Poll::Pending,
            Poll::Ready(Ok(never)) => match never {},
            Poll::Ready(Err(error)) => {
                Poll::Ready(Failure::with(Code::UpstreamClosed, error.to_string()))
            }
        }
    }

    /// Whether callers leave too much of what the app has answered.
    fn is_held(&self) -> bool {
        self.held.get() >= HELD_BYTES_MAX
    }

    /// One-way calls end when the socket has taken them.
    fn end_one_way(&self) {
        let written = self.outbox.written();
        let mut one_way = self.one_way.borrow_mut();
        while one_way.front().is_some_and(|(end, _)| *end <= written) {
            if let Some((_, slot)) = one_way.pop_front() {
                let head = ReplyHead {
                    status: 200,
                    ..ReplyHead::default()
                };
                slot.put(Outcome::Reply(head, Body::Empty));
            }
        }
    }

    fn take_frames(self: &Rc<Self>, ctx: &Context, inbox: &mut Inbox) -> Result<(), Failure> {
        let malformed = |reason| Failure::with(Code::UpstreamMalformed, reason);
        while !inbox.is_empty() && !self.is_held() {
            let step = codec::parse(inbox.bytes(), &ctx.settings.limits.motan2)
                .map_err(|refusal| malformed(refusal.reason))?;
            let Step::Frame { header, meta, body } = step else {
                break;
            };
            match (header.heartbeat, header.response) {
                (false, true) => self.take_reply(ctx, inbox, header, meta, body),
                (false, false) => return Err(malformed("a request stands where a reply must")),
                (true, true) => inbox.consume(body.end),
                (true, false) => {
                    inbox.consume(body.end);
                    self.answer_heartbeat(header)?;
                }
            }
        }
        Ok(())
    }

    fn take_reply(
        self: &Rc<Self>,
        ctx: &Context,
        inbox: &mut Inbox,
        header: Header,
        meta: Range<usize>,
        body: Range<usize>,
    ) {
        let slot = self.slots.borrow_mut().remove(&header.request_id);
        let Some(slot) = slot else {
            // Its call was cancelled.
            inbox.consume(body.end);
            return;
        };
        let mut fields = ctx.fields();
        let meta = inbox.bytes().get(meta).unwrap_or_default();
        let sound = codec::parse_metadata(meta, &ctx.settings.limits.motan2, &mut fields);
        fields.remove(|name, _| is_weft_field(name));
        inbox.consume(body.start);
        let length = body.len();
        let body = match length {
            0 => Body::Empty,
            1..HELD_FROM => Body::Full(inbox.take(length)),
            _ => Body::Stream {
                stream: Box::new(HeldBody::new(self, inbox.take(length))),
                length: Some(length as u64),
            },
        };
        if let Err(refusal) = sound {
            slot.put(Outcome::Failed(Failure::with(
                Code::UpstreamMalformed,
                refusal.reason,
            )));
            return;
        }
        let opaque = fields.store(&Extra::of(header, length).bytes());
        let head = ReplyHead {
            fields,
            status: if header.exception { 500 } else { 200 },
            opaque,
            app_error: header.exception,
        };
        slot.put(Outcome::Reply(head, body));
    }

    fn answer_heartbeat(&self, header: Header) -> Result<(), Failure> {
        if !self.outbox.has_room() {
            return Err(Failure::with(
                Code::UpstreamMalformed,
                "the app sends heartbeats and reads no answer",
            ));
        }
        let header = Header {
            response: true,
            proxy: true,
            ..header
        };
        self.outbox
            .push(|out| codec::write_head(header, &Fields::new(), 0, out));
        Ok(())
    }
}
