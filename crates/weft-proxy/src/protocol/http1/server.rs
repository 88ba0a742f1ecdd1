//! Serves an HTTP/1.1 caller: one call after another, keep-alive and pipelined; bodies stream both ways.

use crate::accept::Listener;
use crate::budget::Pressure;
use crate::buffer::{Buffer, Inbox, write_all};
use crate::call::{Body, BodyStream, Call, CallHead, Interim, Piece, ReplyHead};
use crate::clock::{self, Instant};
use crate::context::Context;
use crate::deadline::Limit;
use crate::detect::Detected;
use crate::path;
use crate::protocol::ProtocolId;
use crate::protocol::http::{Extra, identify, is_weft_field, wants_json};
use crate::protocol::http1::answer::{failure_of, write_failure};
use crate::protocol::http1::progress::{Progress, limit_of, limit_of_body};
use crate::protocol::http1::tunnel;
use crate::protocol::link;
use crate::record::CallRecord;
use crate::tunnel::{CallerSocket, Gate, aborted, relay};
use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll, ready};
use std::time::Duration;
use tokio::net::TcpStream;
use weft_codec::http1::{
    BodyDecoder, BodyStep, Framing, Parsed, Refusal, RequestHead, StatusLine, parse_request,
    write_chunk_end, write_chunk_line, write_last_chunk, write_reply,
};
use weft_model::{Code, Failure, Limit as WeftLimit};
use weft_policy::retry::http_method_is_idempotent;

/// A streamed reply is written when this much has gathered, or when nothing more is ready.
const GATHER_BYTES: usize = 16 * 1024;

/// The same when the process holds much: what waits for a caller that does not read is little.
const GATHER_BYTES_TIGHT: usize = 4 * 1024;

/// How long a connection that is closed early waits for its caller to read the reply.
const LINGER: Duration = Duration::from_secs(1);

/// Serves the connection until it ends.
pub(crate) async fn serve(ctx: &Rc<Context>, detected: Detected) {
    let Detected {
        stream,
        peer,
        listener,
        mut record,
        inbox,
        ..
    } = detected;
    let io = Rc::new(ServerIo {
        ctx: Rc::clone(ctx),
        stream,
        inbox: RefCell::new(inbox),
        decoder: RefCell::new(None),
        body_held: Cell::new(false),
        progress: Progress::default(),
        interim: RefCell::new(Vec::new()),
        limit: ctx.deadlines.limit(),
    });
    let mut session = Session {
        ctx,
        io,
        peer,
        listener,
        parsed: RequestHead::default(),
        opens_link: false,
    };
    loop {
        match session.turn().await {
            Turn::Next => {}
            Turn::Close => return,
            Turn::Link => break,
            Turn::Fail(code) => {
                record.fail(code);
                return;
            }
        }
    }
    let Some(ServerIo { stream, inbox, .. }) = Rc::into_inner(session.io) else {
        return;
    };
    if let Err(failure) = link::upgraded::serve(ctx, stream, inbox.into_inner(), peer).await {
        record.fail(failure.code);
    }
}

/// What a connection's tasks share: the call's body is read while its reply is awaited.
pub(super) struct ServerIo {
    ctx: Rc<Context>,
    stream: TcpStream,
    inbox: RefCell<Inbox>,
    /// The request body under way.
    decoder: RefCell<Option<BodyDecoder>>,
    /// Whether somebody holds the request body, and may read on.
    body_held: Cell<bool>,
    /// How fast the body comes.
    progress: Progress,
    /// Interim replies that the socket did not take at once.
    interim: RefCell<Vec<u8>>,
    limit: Rc<Limit>,
}

/// What follows one call.
enum Turn {
    /// The next call.
    Next,
    /// The ordinary end.
    Close,
    /// The connection becomes a link.
    Link,
    /// The end, with a reason.
    Fail(Code),
}

/// A request that may be called, and how its reply is to be written.
struct Request {
    call: Call,
    keep_alive: bool,
    to_head: bool,
    /// What opens the tunnel that it asks for.
    gate: Option<Rc<Gate>>,
}

/// One caller's connection.
struct Session<'a> {
    ctx: &'a Rc<Context>,
    io: Rc<ServerIo>,
    peer: SocketAddr,
    listener: Listener,
    /// Re-used from call to call.
    parsed: RequestHead,
    /// Whether the head that was read last opens a link.
    opens_link: bool,
}

impl Session<'_> {
    /// Reads one request, calls, writes the reply.
    async fn turn(&mut self) -> Turn {
        if self.io.inbox.borrow().is_empty() {
            let io = &self.io;
            let read = poll_fn(|cx| io.inbox.borrow_mut().poll_fill(&io.stream, cx));
            io.limit.idle(true);
            let read = self
                .ctx
                .deadlines
                .within(&io.limit, self.ctx.settings.limits.idle, read)
                .await;
            io.limit.idle(false);
            match read {
                Ok(Ok(1..)) => {}
                // A call that came just now is served all the same.
                Err(_) if self.has_come() => {}
                Err(_) => {
                    if !self.ctx.draining() {
                        self.ctx.counters.limits_hit.add(WeftLimit::Idle);
                    }
                    return Turn::Close;
                }
                Ok(Ok(0) | Err(_)) => return Turn::Close,
            }
        }
        let started = clock::now();
        let mut request = match self.request().await {
            Ok(Some(request)) => request,
            Ok(None) => return Turn::Close,
            Err(failure) => return self.refuse(&failure, started).await,
        };
        if self.opens_link {
            return Turn::Link;
        }
        let mut record = CallRecord::open(
            self.ctx,
            self.listener.direction(),
            request.call.head.protocol.name(),
            started,
        );
        let result = tokio::select! {
            biased;
            result = path::call(self.ctx, &mut request.call, &mut record) => Some(result),
            () = aborted(&self.io.stream) => None,
        };
        let Some(result) = result else {
            record.describe(&request.call.head);
            return Turn::Fail(Code::Cancelled);
        };
        match (request.gate.take(), result) {
            (Some(gate), Ok((head, body))) if tunnel::is_granted(&request.call, &head) => {
                self.tunnel(&gate, head, body, record).await
            }
            (None, result) => self.answer(request, result, record).await,
            (Some(_), result) => {
                // What came after the head was meant for the tunnel: nothing else may ever be read out of it.
                request.keep_alive &= self.io.inbox.borrow().is_empty() && !self.has_come();
                self.answer(request, result, record).await
            }
        }
    }

    /// The connection is a tunnel from here to its end.
    async fn tunnel(
        &mut self,
        gate: &Gate,
        head: ReplyHead,
        body: Body,
        mut record: CallRecord,
    ) -> Turn {
        let mut out = Buffer::take();
        out.append(&mut self.io.interim.borrow_mut());
        tunnel::write_grant(&head, &mut out);
        let written = self.write(&out).await;
        drop(out);
        self.ctx.recycle(head.fields);
        let result = if written {
            relay(self.ctx, &*self.io, gate, body).await
        } else {
            Err(Failure::new(Code::Cancelled))
        };
        gate.tell_name(&mut record);
        match result {
            Ok(()) => {
                record.finish();
                Turn::Close
            }
            Err(failure) => {
                record.fail(&failure);
                Turn::Fail(failure.code)
            }
        }
    }

    /// Whether the socket holds bytes that the reactor has not told of yet.
    fn has_come(&self) -> bool {
        let mut byte = [std::mem::MaybeUninit::uninit()];
        let socket = socket2::SockRef::from(&self.io.stream);
        matches!(socket.peek(&mut byte), Ok(1..))
    }

    /// Reads a whole head. `None` when the connection ended before its first byte.
    async fn request(&mut self) -> Result<Option<Request>, Failure> {
        if let Some(request) = self.parse()? {
            return Ok(Some(request));
        }
        let (ctx, io) = (self.ctx, Rc::clone(&self.io));
        let head = async {
            loop {
                let read =
                    poll_fn(|cx| io.inbox.borrow_mut().poll_fill_patiently(&io.stream, cx)).await;
                match read {
                    Ok(1..) => {}
                    Ok(0) | Err(_) if io.inbox.borrow().is_empty() => return Ok(None),
                    Ok(0) | Err(_) => {
                        return Err(Failure::with(
                            Code::Malformed,
                            "the connection ended within the head",
                        ));
                    }
                }
                if let Some(request) = self.parse()? {
                    return Ok(Some(request));
                }
            }
        };
        ctx.deadlines
            .within(&io.limit, ctx.settings.limits.head, head)
            .await
            .unwrap_or_else(|_| Err(Failure::new(Code::HeadTimeout)))
    }

    /// Parses what is there; `None` when the head is not complete.
    fn parse(&mut self) -> Result<Option<Request>, Failure> {
        let limits = &self.ctx.settings.limits.http1;
        let mut inbox = self.io.inbox.borrow_mut();
        self.parsed.fields = self.ctx.fields();
        let consumed =
            match parse_request(inbox.bytes(), limits, &mut self.parsed).map_err(failure_of)? {
                Parsed::Complete(consumed) => consumed,
                Parsed::Need => {
                    self.ctx.recycle(std::mem::take(&mut self.parsed.fields));
                    return Ok(None);
                }
            };
        self.opens_link = self.listener == Listener::Inbound && {
            let head = inbox.bytes().get(..consumed).unwrap_or_default();
            link::upgraded::is_opening(&self.parsed, head)
        };
        inbox.consume(consumed);
        let (body, length) = match self.parsed.framing {
            Framing::None | Framing::Length(0) | Framing::Close => (Body::Empty, None),
            Framing::Length(length) if length <= inbox.bytes().len() as u64 => {
                (Body::Full(inbox.take(length as usize)), None)
            }
            framing => {
                *self.io.decoder.borrow_mut() = Some(BodyDecoder::new(framing, limits));
                self.io.progress.begin();
                self.io.body_held.set(true);
                let length = if let Framing::Length(length) = framing {
                    Some(length)
                } else {
                    None
                };
                (
                    Body::Stream {
                        stream: Box::new(RequestBody(Rc::clone(&self.io))),
                        length,
                    },
                    length,
                )
            }
        };
        drop(inbox);
        let mut head = CallHead::new(ProtocolId::Http1, std::mem::take(&mut self.parsed.fields));
        head.service = self.parsed.authority;
        head.method = self.parsed.method;
        head.path = self.parsed.target;
        head.caller_address = Some(self.peer.ip());
        let method = head.bytes(head.method);
        let to_head = method == b"HEAD";
        head.idempotent = http_method_is_idempotent(method);
        let extra = Extra {
            length,
            expect_continue: self.parsed.expect_continue,
            ..Extra::default()
        };
        if extra != Extra::default() {
            let mut opaque = Vec::new();
            extra.write(&mut opaque);
            head.opaque = head.fields.store(&opaque);
        }
        head.fields.remove(|name, _| is_weft_field(name));
        identify(self.ctx, &mut head);
        let (body, gate) =
            match tunnel::asked(&mut head, self.parsed.upgrade, self.listener, &self.io)? {
                Some((body, gate)) => (body, Some(gate)),
                None => (body, None),
            };
        let interim = Some(Rc::clone(&self.io) as Rc<dyn Interim>);
        let call = Call {
            head,
            body,
            interim,
        };
        let keep_alive = self.parsed.keep_alive && !self.ctx.draining();
        Ok(Some(Request {
            call,
            keep_alive,
            to_head,
            gate,
        }))
    }

    /// Answers a head that was refused, as a call of its own, and closes.
    async fn refuse(&mut self, failure: &Failure, started: Instant) -> Turn {
        let mut record = CallRecord::open(
            self.ctx,
            self.listener.direction(),
            ProtocolId::Http1.name(),
            started,
        );
        record.fail(failure);
        if let Some(limit) = limit_of(failure.code) {
            self.ctx.counters.limits_hit.add(limit);
        }
        let mut out = Buffer::take();
        write_failure(failure, false, true, false, &mut out);
        self.write(&out).await;
        record.finish();
        self.linger().await;
        Turn::Fail(failure.code)
    }

    /// Writes the reply and decides whether the connection serves another call.
    async fn answer(
        &mut self,
        request: Request,
        result: Result<(ReplyHead, Body), Failure>,
        mut record: CallRecord,
    ) -> Turn {
        let Request {
            call,
            mut keep_alive,
            to_head,
            ..
        } = request;
        let mut out = Buffer::take();
        out.append(&mut self.io.interim.borrow_mut());
        if self.body_is_unread(&call) {
            keep_alive = false;
        }
        let (head, body) = match result {
            Ok(result) => result,
            Err(failure) => {
                write_failure(
                    &failure,
                    wants_json(&call.head),
                    !keep_alive,
                    to_head,
                    &mut out,
                );
                let written = self.write(&out).await;
                record.finish();
                return self.after(call, keep_alive && written).await;
            }
        };
        let framing = write_head(&head, &body, keep_alive, to_head, &mut out);
        let delivered = match body {
            Body::Empty | Body::Spent => self.write(&out).await,
            Body::Full(chunk) => {
                if framing != Framing::None {
                    out.extend_from_slice(chunk.bytes());
                }
                self.write(&out).await
            }
            Body::Stream { stream, .. } => match self.stream(stream, framing, &mut out).await {
                Ok(()) => true,
                Err(failure) => {
                    record.fail(&failure);
                    return Turn::Fail(failure.code);
                }
            },
        };
        self.ctx.recycle(head.fields);
        if !delivered {
            record.fail(&Failure::new(Code::Cancelled));
            return Turn::Fail(Code::Cancelled);
        }
        record.finish();
        self.after(call, keep_alive).await
    }

    /// What follows a reply: the next call, or the end.
    async fn after(&mut self, call: Call, keep_alive: bool) -> Turn {
        drop(call.body);
        self.ctx.recycle(call.head.fields);
        let complete = self
            .io
            .decoder
            .borrow()
            .as_ref()
            .is_none_or(BodyDecoder::is_complete);
        if complete {
            *self.io.decoder.borrow_mut() = None;
        }
        if keep_alive && complete {
            return Turn::Next;
        }
        self.linger().await;
        Turn::Close
    }

    /// Whether the reply is there while the request's body is not: the connection cannot be kept.
    fn body_is_unread(&self, call: &Call) -> bool {
        let unread = self
            .io
            .decoder
            .borrow()
            .as_ref()
            .is_some_and(|decoder| !decoder.is_complete());
        if !unread {
            return false;
        }
        match call.body {
            Body::Stream { .. } => true,
            // It is still sent to the app while the reply comes back.
            _ if self.io.body_held.get() => false,
            Body::Empty | Body::Full(_) | Body::Spent => !self.discard(),
        }
    }

    /// Throws away what is there of an unread body; whether that was all of it.
    fn discard(&self) -> bool {
        let mut decoder = self.io.decoder.borrow_mut();
        let mut inbox = self.io.inbox.borrow_mut();
        let Some(decoder) = decoder.as_mut() else {
            return true;
        };
        loop {
            match decoder.decode(inbox.bytes()) {
                Ok(BodyStep::Data { skip, len }) => inbox.consume(skip + len),
                Ok(BodyStep::Need { skip }) => {
                    inbox.consume(skip);
                    if !matches!(inbox.try_fill(&self.io.stream), Ok(1..)) {
                        return false;
                    }
                }
                Ok(BodyStep::End { skip }) => {
                    inbox.consume(skip);
                    return true;
                }
                Err(_) => return false,
            }
        }
    }

    /// Streams a reply's body. Writes what has gathered whenever nothing more is ready.
    async fn stream(
        &self,
        mut stream: Box<dyn BodyStream>,
        framing: Framing,
        out: &mut Buffer,
    ) -> Result<(), Failure> {
        let mut left = if let Framing::Length(length) = framing {
            Some(length)
        } else {
            None
        };
        loop {
            let gathered = !out.is_empty();
            let next = poll_fn(|cx| match stream.poll_piece(cx) {
                Poll::Pending if gathered => Poll::Ready(None),
                other => other.map(Some),
            });
            let next = tokio::select! {
                biased;
                next = next => next,
                () = aborted(&self.io.stream) => return Err(Failure::new(Code::Cancelled)),
            };
            match next {
                None => {}
                Some(Err(failure)) => {
                    // What came before the break is the caller's; the missing end tells it the rest.
                    self.write(out).await;
                    return Err(failure);
                }
                Some(Ok(Piece::Data(chunk))) => {
                    let bytes = chunk.bytes();
                    if let Some(left) = &mut left {
                        *left = left.checked_sub(bytes.len() as u64).ok_or_else(|| {
                            Failure::with(
                                Code::UpstreamMalformed,
                                "the body is longer than it was declared",
                            )
                        })?;
                    }
                    if framing == Framing::Chunked && !bytes.is_empty() {
                        write_chunk_line(bytes.len(), out);
                        out.extend_from_slice(bytes);
                        write_chunk_end(out);
                    } else if framing != Framing::None {
                        out.extend_from_slice(bytes);
                    }
                    let gathers = match self.ctx.pressure() {
                        Pressure::Easy => GATHER_BYTES,
                        Pressure::Tight | Pressure::Full => GATHER_BYTES_TIGHT,
                    };
                    if out.len() < gathers {
                        continue;
                    }
                    out.recount();
                }
                Some(Ok(Piece::End(trailers))) => {
                    if left.is_some_and(|left| left > 0) {
                        return Err(Failure::with(
                            Code::UpstreamClosed,
                            "the body is shorter than it was declared",
                        ));
                    }
                    if framing == Framing::Chunked {
                        write_last_chunk(trailers.as_ref(), out);
                    }
                    let written = self.write(out).await;
                    return if written {
                        Ok(())
                    } else {
                        Err(Failure::new(Code::Cancelled))
                    };
                }
            }
            let is_much = out.len() >= GATHER_BYTES;
            if !self.write(out).await {
                return Err(Failure::new(Code::Cancelled));
            }
            out.clear();
            if is_much {
                // Others have their turn, also when there is always more.
                tokio::task::yield_now().await;
            }
        }
    }

    /// Writes all bytes; `false` when the caller is gone or takes nothing any more.
    async fn write(&self, bytes: &[u8]) -> bool {
        // The ordinary reply fits the socket's buffer: no limit needs to be set for it.
        match self.io.stream.try_write(bytes) {
            Ok(count) if count == bytes.len() => true,
            Ok(count) => {
                self.write_slowly(bytes.get(count..).unwrap_or_default())
                    .await
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                self.write_slowly(bytes).await
            }
            Err(_) => false,
        }
    }

    async fn write_slowly(&self, bytes: &[u8]) -> bool {
        let writing = write_all(&self.io.stream, bytes);
        let stall = self.ctx.settings.limits.stall;
        matches!(
            self.ctx
                .deadlines
                .within(&self.io.limit, stall, writing)
                .await,
            Ok(Ok(()))
        )
    }

    /// Closes so that the reply arrives: an early close would reset the connection under unread bytes.
    async fn linger(&self) {
        // The connection serves no further call: its inbox is nobody else's now.
        let mut inbox = self.io.inbox.take();
        inbox.consume(usize::MAX / 2);
        if socket2::SockRef::from(&self.io.stream)
            .shutdown(std::net::Shutdown::Write)
            .is_err()
        {
            return;
        }
        let mut left = self.ctx.settings.limits.discard_bytes_max;
        let draining = async {
            while left > 0 {
                match poll_fn(|cx| inbox.poll_fill(&self.io.stream, cx)).await {
                    Ok(count @ 1..) => {
                        left = left.saturating_sub(count);
                        inbox.consume(count);
                    }
                    Ok(0) | Err(_) => return,
                }
            }
        };
        let _ = self
            .ctx
            .deadlines
            .within(&self.io.limit, LINGER, draining)
            .await;
    }
}

/// Appends a reply's head and says how its body is framed.
fn write_head(
    head: &ReplyHead,
    body: &Body,
    keep_alive: bool,
    to_head: bool,
    out: &mut Vec<u8>,
) -> Framing {
    let extra = Extra::read(head.fields.bytes(head.opaque));
    let bodiless = to_head || matches!(head.status, 204 | 304);
    let framing = match body {
        _ if bodiless => Framing::None,
        Body::Empty | Body::Spent => Framing::None,
        Body::Full(chunk) => Framing::Length(chunk.bytes().len() as u64),
        Body::Stream { length, .. } => match length.or(extra.length) {
            Some(length) => Framing::Length(length),
            None => Framing::Chunked,
        },
    };
    // The answer to a HEAD whose length nobody knows says that a GET would be chunked; a false length of 0 would
    // be believed.
    let written = match framing {
        Framing::None if to_head && !extra.declared_length && !matches!(head.status, 204 | 304) => {
            Framing::Chunked
        }
        framing => framing,
    };
    let line = StatusLine {
        status: head.status,
        reason: extra.reason,
        framing: written,
        declared_length: if bodiless && extra.declared_length {
            extra.length
        } else {
            None
        },
        close: !keep_alive,
        upgrade: b"",
    };
    write_reply(line, &head.fields, out);
    framing
}

impl CallerSocket for ServerIo {
    fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn inbox(&self) -> &RefCell<Inbox> {
        &self.inbox
    }
}

impl Interim for ServerIo {
    fn interim(&self, head: &ReplyHead) {
        let extra = Extra::read(head.fields.bytes(head.opaque));
        let line = StatusLine {
            status: head.status,
            reason: extra.reason,
            framing: Framing::None,
            declared_length: None,
            close: false,
            upgrade: b"",
        };
        let mut pending = self.interim.borrow_mut();
        write_reply(line, &head.fields, &mut pending);
        if let Ok(count) = self.stream.try_write(&pending) {
            pending.drain(..count);
        }
    }
}

/// The body of the request under way.
struct RequestBody(Rc<ServerIo>);

impl Drop for RequestBody {
    fn drop(&mut self) {
        self.0.body_held.set(false);
    }
}

impl BodyStream for RequestBody {
    fn poll_piece(&mut self, cx: &mut TaskContext<'_>) -> Poll<Result<Piece, Failure>> {
        let io = &*self.0;
        let mut decoder = io.decoder.borrow_mut();
        let Some(decoder) = decoder.as_mut() else {
            return Poll::Ready(Ok(Piece::End(None)));
        };
        let mut inbox = io.inbox.borrow_mut();
        loop {
            let step = decoder.decode(inbox.bytes());
            match step {
                Ok(BodyStep::Data { skip, len }) => {
                    inbox.consume(skip);
                    return Poll::Ready(Ok(Piece::Data(inbox.take(len))));
                }
                Ok(BodyStep::End { skip }) => {
                    inbox.consume(skip);
                    return Poll::Ready(Ok(Piece::End(decoder.take_trailers())));
                }
                Ok(BodyStep::Need { skip }) => inbox.consume(skip),
                Err(Refusal { status, reason }) => {
                    if let Some(limit) = limit_of_body(status, reason) {
                        io.ctx.counters.limits_hit.add(limit);
                    }
                    return Poll::Ready(Err(Failure::with(Code::BodyBroken, reason)));
                }
            }
            if io.ctx.poll_room(cx).is_pending() {
                // Nobody's fault but the mesh's own.
                io.limit.rest();
                io.progress.begin();
                return Poll::Pending;
            }
            match inbox.poll_fill(&io.stream, cx) {
                Poll::Ready(Ok(count @ 1..)) => {
                    io.limit.rest();
                    io.progress.came(count, &io.ctx);
                }
                Poll::Ready(Ok(0)) => {
                    return Poll::Ready(Err(Failure::with(
                        Code::BodyBroken,
                        "the connection ended within it",
                    )));
                }
                Poll::Ready(Err(error)) => {
                    return Poll::Ready(Err(Failure::with(Code::BodyBroken, error.to_string())));
                }
                Poll::Pending => {
                    let limits = &io.ctx.settings.limits;
                    let is_announced = !decoder.is_between_chunks();
                    let time = if is_announced {
                        io.progress.left(&io.ctx)
                    } else {
                        limits.stall
                    };
                    ready!(io.ctx.deadlines.poll_stalled(&io.limit, time, cx));
                    let hit = &io.ctx.counters.limits_hit;
                    return Poll::Ready(Err(if is_announced {
                        hit.add(WeftLimit::BodyProgress);
                        Failure::with(
                            Code::BodyTimeout,
                            format!(
                                "less than {} bytes in {} s",
                                limits.body_progress_bytes,
                                limits.body_window.as_secs_f64()
                            ),
                        )
                    } else {
                        hit.add(WeftLimit::Stall);
                        Failure::with(Code::BodyBroken, "nothing more of it came")
                    }));
                }
            }
        }
    }
}
