//! Calls an HTTP/1.1 app or external host, over pooled keep-alive connections. The request's body is sent
//! while the reply is read, as both come.

use crate::buffer::{Buffer, Inbox, write_all};
use crate::call::{Body, BodyStream, Call, Interim, Piece, ReplyHead};
use crate::context::Context;
use crate::protocol::ProtocolId;
use crate::protocol::http::{Extra, introduce, is_weft_field};
use crate::protocol::http1::tunnel;
use crate::upstream::{PoolKey, Upstream};
use std::cell::RefCell;
use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, Waker, ready};
use tokio::net::TcpStream;
use weft_codec::http1::{
    BodyDecoder, BodyStep, Framing, Parsed, ReplyHead as ParsedReply, RequestLine, parse_reply,
    parse_reply_to_upgrade, write_chunk_end, write_chunk_line, write_last_chunk, write_request,
};
use weft_codec::link::Kind;
use weft_model::{Code, Failure};

/// Interim replies (1xx) to one call at the most.
const INTERIM_MAX: usize = 32;

/// A body is written when this much has gathered, or when nothing more is there.
const GATHER_BYTES: usize = 16 * 1024;

/// Bytes of a body after which others have their turn.
const TURN_BYTES: usize = 64 * 1024;

/// The same for a body of little pieces.
const TURN_PIECES: usize = 1024;

/// An idle connection this old is looked at with a system call before it is used again.
const LOOK_AFTER_MS: u64 = 1_000;

/// Idle connections by where they lead.
#[derive(Debug, Default)]
pub(crate) struct Http1Pool(RefCell<HashMap<PoolKey, Vec<Idle>, foldhash::fast::RandomState>>);

#[derive(Debug)]
struct Idle {
    stream: TcpStream,
    since_ms: u64,
}

impl Http1Pool {
    /// The connection used last, when it is still alive.
    fn checkout(&self, ctx: &Context, key: &PoolKey) -> Option<TcpStream> {
        let mut pool = self.0.borrow_mut();
        let list = pool.get_mut(key)?;
        let now = ctx.deadlines.now_ms();
        while let Some(idle) = list.pop() {
            let age_ms = now.saturating_sub(idle.since_ms);
            if age_ms >= ctx.settings.limits.pool_idle.as_millis() as u64 {
                // The others are older.
                list.clear();
                return None;
            }
            if is_alive(&idle.stream, age_ms >= LOOK_AFTER_MS) {
                return Some(idle.stream);
            }
        }
        None
    }

    fn checkin(&self, ctx: &Context, key: &PoolKey, stream: TcpStream) {
        let mut pool = self.0.borrow_mut();
        let idle = Idle {
            stream,
            since_ms: ctx.deadlines.now_ms(),
        };
        match pool.get_mut(key) {
            Some(list) if list.len() >= ctx.settings.limits.pool_per_upstream => {}
            Some(list) => list.push(idle),
            None => {
                pool.insert(key.clone(), vec![idle]);
            }
        }
    }

    /// Closes connections that were idle for too long; to be called every second or so.
    pub(crate) fn sweep(&self, ctx: &Context) {
        let now = ctx.deadlines.now_ms();
        let limit = ctx.settings.limits.pool_idle.as_millis() as u64;
        self.0.borrow_mut().retain(|_, list| {
            list.retain(|idle| now.saturating_sub(idle.since_ms) < limit);
            !list.is_empty()
        });
    }
}

/// Whether nothing was received on an idle connection, neither bytes nor its end. The reactor's knowledge
/// costs nothing; the kernel's a system call.
fn is_alive(stream: &TcpStream, look: bool) -> bool {
    let mut cx = TaskContext::from_waker(Waker::noop());
    if !look && stream.poll_read_ready(&mut cx).is_pending() {
        return true;
    }
    let mut byte = [0_u8; 1];
    matches!(stream.try_read(&mut byte), Err(error) if error.kind() == std::io::ErrorKind::WouldBlock)
}

/// Sends the call and reads the reply's head; the body follows by itself.
pub(crate) async fn exchange(
    ctx: &Rc<Context>,
    upstream: Upstream<'_>,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    introduce(ctx, &upstream, &mut call.head);
    let asks_for_tunnel = call.head.kind == Kind::Tunnel;
    if asks_for_tunnel {
        tunnel::prepare(ctx, &mut call.head)?;
    }
    let key = upstream.pool_key();
    let mut out = Buffer::take();
    let framing = write_head(call, &mut out);
    if let Body::Full(chunk) = &call.body {
        out.extend_from_slice(chunk.bytes());
    }
    let stream = if asks_for_tunnel {
        // A connection of its own, before and after: whatever the app makes of it concerns no other call.
        let stream = upstream.connect(ctx).await?;
        write_rest(ctx, &stream, &out).await?;
        stream
    } else {
        send(ctx, upstream, &key, &out).await?
    };
    drop(out);
    let body = if asks_for_tunnel {
        None
    } else {
        call.body.take_stream()
    };
    let pump = body.map(|body| Pump::new(body, framing));
    let exchange = Exchange {
        stream,
        inbox: Inbox::default(),
        pump,
        broken: false,
    };
    receive(ctx, key, exchange, call).await
}

/// Appends the request's head and says how its body is framed.
fn write_head(call: &Call, out: &mut Vec<u8>) -> Framing {
    let head = &call.head;
    let extra = Extra::read(head.bytes(head.opaque));
    let framing = match &call.body {
        // Its bytes are no body of this request: they follow the 101.
        _ if head.kind == Kind::Tunnel => Framing::None,
        Body::Empty | Body::Spent => Framing::None,
        Body::Full(chunk) => Framing::Length(chunk.bytes().len() as u64),
        Body::Stream { length, .. } => match length.or(extra.length) {
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        },
    };
    let method = head.bytes(head.method);
    // A method that expects a body and has none says so (RFC 9110 8.6).
    let framing = match framing {
        Framing::None if matches!(method, b"POST" | b"PUT" | b"PATCH") => Framing::Length(0),
        framing => framing,
    };
    let line = RequestLine {
        method,
        target: head.bytes(head.path),
        authority: head.bytes(head.service),
        framing,
        close: false,
        expect_continue: extra.expect_continue,
        upgrade: extra.upgrade,
    };
    write_request(line, &head.fields, out);
    framing
}

/// Writes the first bytes on a pooled connection, else on a new one. A pooled one that takes not a single
/// byte proves that nothing was dispatched, so the next one is tried.
async fn send(
    ctx: &Rc<Context>,
    upstream: Upstream<'_>,
    key: &PoolKey,
    bytes: &[u8],
) -> Result<TcpStream, Failure> {
    while let Some(stream) = ctx.http1_pool.checkout(ctx, key) {
        match stream.try_write(bytes) {
            Ok(count) if count == bytes.len() => return Ok(stream),
            Ok(count) => {
                write_rest(ctx, &stream, bytes.get(count..).unwrap_or_default()).await?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                write_rest(ctx, &stream, bytes).await?;
                return Ok(stream);
            }
            Err(_) => {}
        }
    }
    let stream = upstream.connect(ctx).await?;
    write_rest(ctx, &stream, bytes).await?;
    Ok(stream)
}

/// Writes what the socket did not take at once, as long as the other side takes any of it in time. An error of
/// the socket is left to the read: the app may have answered before it closed.
async fn write_rest(ctx: &Context, stream: &TcpStream, bytes: &[u8]) -> Result<(), Failure> {
    let stall = ctx.settings.limits.stall;
    match tokio::time::timeout(stall, write_all(stream, bytes)).await {
        Ok(_) => Ok(()),
        Err(_) => Err(Failure::with(
            Code::UpstreamTimeout,
            format!("the request was not taken within {} s", stall.as_secs()),
        )),
    }
}

/// Reads the reply's head, passing interim replies on.
async fn receive(
    ctx: &Rc<Context>,
    key: PoolKey,
    mut exchange: Exchange,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    let limits = &ctx.settings.limits.http1;
    let to_head = call.head.bytes(call.head.method) == b"HEAD";
    let asks_for_tunnel = call.head.kind == Kind::Tunnel;
    let mut parsed = ParsedReply {
        fields: ctx.fields(),
        ..ParsedReply::default()
    };
    let mut interims = 0;
    loop {
        let malformed = |reason: &'static str| Failure::with(Code::UpstreamMalformed, reason);
        if exchange.inbox.is_empty() {
            exchange.fill().await?;
        }
        let bytes = exchange.inbox.bytes();
        let head = if asks_for_tunnel {
            parse_reply_to_upgrade(bytes, limits, &mut parsed)
        } else {
            parse_reply(bytes, to_head, limits, &mut parsed)
        };
        let head = match head {
            Err(_) if is_first_settings(bytes) => return Err(found_http2(ctx, &key)),
            head => head.map_err(|refusal| malformed(refusal.reason))?,
        };
        match head {
            Parsed::Need => exchange.fill().await?,
            Parsed::Complete(consumed) if parsed.status == 101 => {
                exchange.inbox.consume(consumed);
                parsed.fields.remove(|name, _| is_weft_field(name));
                return tunnel::granted(exchange.stream, exchange.inbox, parsed, call);
            }
            Parsed::Complete(consumed) if parsed.status < 200 => {
                exchange.inbox.consume(consumed);
                interims += 1;
                if interims > INTERIM_MAX {
                    return Err(malformed("more interim replies than the limit"));
                }
                if let Some(interim) = call.interim.as_deref() {
                    let fields = std::mem::take(&mut parsed.fields);
                    let head = ReplyHead {
                        fields,
                        status: parsed.status,
                        ..ReplyHead::default()
                    };
                    Interim::interim(interim, &head);
                    parsed.fields = head.fields;
                }
            }
            Parsed::Complete(consumed) => {
                exchange.inbox.consume(consumed);
                break;
            }
        }
    }
    let framing = parsed.framing;
    let keep_alive = parsed.keep_alive && !asks_for_tunnel;
    if matches!(key, PoolKey::App(_) | PoolKey::Plain(_)) {
        // An external host may be the sidecar of another mesh, whose word stays.
        parsed.fields.remove(|name, _| is_weft_field(name));
    }
    let head = reply_head(parsed);
    Ok((head, reply_body(ctx, key, exchange, framing, keep_alive)))
}

/// Whether the reply is the SETTINGS with which an HTTP/2 app begins, whatever it was sent: on stream 0, no answer.
fn is_first_settings(bytes: &[u8]) -> bool {
    matches!(bytes, [0, 0, _, 4, 0, 0, 0, 0, 0, ..])
}

/// An app that speaks HTTP/2 alone took the request for a broken preface: it has seen nothing of the call.
#[cold]
fn found_http2(ctx: &Context, key: &PoolKey) -> Failure {
    ctx.http_versions.remember(ctx, key, ProtocolId::H2);
    Failure::with(
        Code::AppRefused,
        "it answers HTTP/1.1 in HTTP/2; declare its port with --port h2=PORT",
    )
}

pub(super) fn reply_head(parsed: ParsedReply) -> ReplyHead {
    let mut fields = parsed.fields;
    let length = match parsed.framing {
        Framing::Length(length) => Some(length),
        Framing::None | Framing::Chunked | Framing::Close => parsed.declared_length,
    };
    let extra = Extra {
        length,
        declared_length: parsed.declared_length.is_some(),
        expect_continue: false,
        upgrade: fields.bytes(parsed.upgrade),
        reason: fields.bytes(parsed.reason),
    };
    let mut opaque = Buffer::take();
    extra.write(&mut opaque);
    let opaque = fields.store(&opaque);
    ReplyHead {
        fields,
        status: parsed.status,
        opaque,
        app_error: parsed.status >= 500,
    }
}

/// The reply's body: whole when it is there, else a stream that gives the connection back at its end.
fn reply_body(
    ctx: &Rc<Context>,
    key: PoolKey,
    mut exchange: Exchange,
    framing: Framing,
    keep_alive: bool,
) -> Body {
    let whole = match framing {
        Framing::None => Some(0),
        Framing::Length(length) if length <= exchange.inbox.bytes().len() as u64 => {
            Some(length as usize)
        }
        Framing::Length(_) | Framing::Chunked | Framing::Close => None,
    };
    if let Some(length) = whole {
        let body = if length == 0 {
            Body::Empty
        } else {
            Body::Full(exchange.inbox.take(length))
        };
        if keep_alive && exchange.is_clean() {
            ctx.http1_pool.checkin(ctx, &key, exchange.stream);
        }
        return body;
    }
    let length = if let Framing::Length(length) = framing {
        Some(length)
    } else {
        None
    };
    let decoder = BodyDecoder::new(framing, &ctx.settings.limits.http1);
    let stream = UpstreamBody {
        ctx: Rc::clone(ctx),
        key,
        exchange: Some(exchange),
        decoder,
        keep_alive: keep_alive && framing != Framing::Close,
    };
    Body::Stream {
        stream: Box::new(stream),
        length,
    }
}

/// A connection with a call under way.
struct Exchange {
    stream: TcpStream,
    inbox: Inbox,
    /// The request's body, as long as it is being sent.
    pump: Option<Pump>,
    /// The app stopped taking the request's body; the connection cannot be used again.
    broken: bool,
}

impl Exchange {
    /// Sends what can be sent, reads what has come.
    fn poll_turn(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<usize, Failure>> {
        if let Some(pump) = &mut self.pump {
            match pump.poll(&self.stream, cx) {
                Poll::Ready(Ok(Pumped::All)) => self.pump = None,
                Poll::Ready(Ok(Pumped::Refused)) => {
                    self.pump = None;
                    self.broken = true;
                }
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Pending => {}
            }
        }
        self.inbox
            .poll_fill(&self.stream, cx)
            .map_err(|error| Failure::with(Code::UpstreamClosed, error.to_string()))
    }

    async fn fill(&mut self) -> Result<(), Failure> {
        match poll_fn(|cx| self.poll_turn(cx)).await? {
            0 => Err(Failure::with(
                Code::UpstreamClosed,
                "before the end of the reply's head",
            )),
            _ => Ok(()),
        }
    }

    /// Whether the connection can serve another call: all was sent, nothing unasked was received.
    fn is_clean(&self) -> bool {
        self.pump.is_none() && !self.broken && self.inbox.is_empty()
    }
}

/// How the sending of a request's body ended.
enum Pumped {
    /// All of it was sent.
    All,
    /// The app takes no more; its reply may still come.
    Refused,
}

/// Sends a request's body as it comes.
struct Pump {
    body: Box<dyn BodyStream>,
    framing: Framing,
    out: Buffer,
    sent: usize,
    /// Pieces taken in this turn.
    pieces: usize,
    ended: bool,
}

impl Pump {
    fn new(body: Box<dyn BodyStream>, framing: Framing) -> Self {
        Self {
            body,
            framing,
            out: Buffer::take(),
            sent: 0,
            pieces: 0,
            ended: false,
        }
    }

    fn poll(
        &mut self,
        stream: &TcpStream,
        cx: &mut TaskContext<'_>,
    ) -> Poll<Result<Pumped, Failure>> {
        self.pieces = 0;
        let mut turn_bytes = 0;
        loop {
            let gathered = self.gather(cx);
            turn_bytes += self.out.len();
            while let Some(rest) = self.out.get(self.sent..).filter(|rest| !rest.is_empty()) {
                match stream.try_write(rest) {
                    Ok(count) => self.sent += count,
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                        if let Poll::Ready(Err(_)) = stream.poll_write_ready(cx) {
                            return Poll::Ready(Ok(Pumped::Refused));
                        }
                        if stream.poll_write_ready(cx).is_pending() {
                            return Poll::Pending;
                        }
                    }
                    Err(_) => return Poll::Ready(Ok(Pumped::Refused)),
                }
            }
            self.out.clear();
            self.sent = 0;
            ready!(gathered)?;
            if self.ended {
                return Poll::Ready(Ok(Pumped::All));
            }
            if turn_bytes >= TURN_BYTES || self.pieces >= TURN_PIECES {
                // Others have their turn, also when there is always more, and sockets are looked at before the next.
                let _ = pin!(tokio::task::yield_now()).poll(cx);
                return Poll::Pending;
            }
        }
    }

    /// Takes what is there of the body, up to one write's worth: a body of little chunks is not written chunk by
    /// chunk. Pending when nothing more is there now.
    fn gather(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<(), Failure>> {
        while !self.ended
            && self.sent == 0
            && self.out.len() < GATHER_BYTES
            && self.pieces < TURN_PIECES
        {
            self.pieces += 1;
            match ready!(self.body.poll_piece(cx))? {
                Piece::Data(chunk) => {
                    let bytes = chunk.bytes();
                    if self.framing == Framing::Chunked && !bytes.is_empty() {
                        write_chunk_line(bytes.len(), &mut self.out);
                        self.out.extend_from_slice(bytes);
                        write_chunk_end(&mut self.out);
                    } else {
                        self.out.extend_from_slice(bytes);
                    }
                }
                Piece::End(trailers) => {
                    if self.framing == Framing::Chunked {
                        write_last_chunk(trailers.as_ref(), &mut self.out);
                    }
                    self.ended = true;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

/// A reply's body on its way from the app.
struct UpstreamBody {
    ctx: Rc<Context>,
    key: PoolKey,
    exchange: Option<Exchange>,
    decoder: BodyDecoder,
    keep_alive: bool,
}

impl BodyStream for UpstreamBody {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        let Some(exchange) = &mut self.exchange else {
            return Poll::Ready(Ok(Piece::End(None)));
        };
        loop {
            match self.decoder.decode(exchange.inbox.bytes()) {
                Ok(BodyStep::Data { skip, len }) => {
                    exchange.inbox.consume(skip);
                    return Poll::Ready(Ok(Piece::Data(exchange.inbox.take(len))));
                }
                Ok(BodyStep::Need { skip }) => exchange.inbox.consume(skip),
                Ok(BodyStep::End { skip }) => {
                    exchange.inbox.consume(skip);
                    return Poll::Ready(Ok(Piece::End(self.end())));
                }
                Err(refusal) => {
                    return Poll::Ready(Err(Failure::with(
                        Code::UpstreamMalformed,
                        refusal.reason,
                    )));
                }
            }
            match exchange.poll_turn(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Err(failure)) => return Poll::Ready(Err(failure)),
                Poll::Ready(Ok(0)) if self.decoder.finish() => {
                    return Poll::Ready(Ok(Piece::End(self.end())));
                }
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(Failure::with(
                        Code::UpstreamClosed,
                        "within the reply's body",
                    )));
                }
                Poll::Ready(Ok(_)) => {}
            }
        }
    }
}

impl UpstreamBody {
    fn end(&mut self) -> Option<weft_codec::Fields> {
        if let Some(exchange) = self.exchange.take()
            && self.keep_alive
            && exchange.is_clean()
        {
            self.ctx
                .http1_pool
                .checkin(&self.ctx, &self.key, exchange.stream);
        }
        self.decoder.take_trailers()
    }
}
