//! Serves a Motan2 caller: one task reads its frames and writes what is ready; each request is a call in a task
//! of its own, so that replies leave in the order in which they come.

use crate::accept::Listener;
use crate::buffer::{Chunk, Inbox};
use crate::call::{Body, Call, ReplyHead};
use crate::clock::{self, Instant};
use crate::context::Context;
use crate::deadline::Limit;
use crate::detect::Detected;
use crate::path;
use crate::protocol::ProtocolId;
use crate::protocol::motan2::answer::write_exception;
use crate::protocol::motan2::collect::{Budget, Gathered, Whose, collect};
use crate::protocol::motan2::outbox::Outbox;
use crate::protocol::motan2::request::{call_head, head_is_complete, known_of, refusal_code};
use crate::protocol::motan2::{CALLS_MAX, Extra, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use crate::record::CallRecord;
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::ops::Range;
use std::rc::Rc;
use std::task::{Context as TaskContext, Poll};
use std::time::Duration;
use tokio::io::Interest;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use weft_codec::motan2::{self as codec, Header, Refusal, Step};
use weft_model::{Code, Failure};

/// The serialize byte of motan-go's heartbeats.
const SERIALIZE_HEARTBEAT: u8 = 0x30;

/// How long a connection that is closed early waits for its caller to read the exception.
const LINGER: Duration = Duration::from_secs(1);

/// Records of unwritten replies for which an idle connection keeps room.
const UNWRITTEN_KEPT: usize = 16;

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
    let now = clock::now();
    let connection = Rc::new(Connection {
        ctx: Rc::clone(ctx),
        stream,
        peer,
        listener,
        inbox: RefCell::new(inbox),
        outbox: Outbox::new(ctx),
        unwritten: RefCell::default(),
        calls: Cell::new(0),
        request_bytes: Cell::new(0),
        replies: Budget::new(REPLY_BYTES_MAX),
        ended: Cell::new(false),
        end: Notify::new(),
        limit: ctx.deadlines.limit(),
        wait: Cell::new(Wait::Other),
        frame_at: Cell::new(now),
        read_at: Cell::new(now),
    });
    let end = poll_fn(|cx| connection.poll_serve(cx)).await;
    if !matches!(end, End::Broken) {
        // Boxed: an idle connection has no need of it.
        Box::pin(connection.leave(matches!(end, End::Refused(_)))).await;
    }
    match end {
        End::Ordinary => {}
        End::Refused(code) => record.fail(code),
        End::Broken => record.fail(Code::Cancelled),
    }
    connection.ended.set(true);
    connection.end.notify_waiters();
}

/// Why a connection is not read any further.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    /// The caller ended it, or it was idle.
    Ordinary,
    /// What came cannot be served; frames after it cannot be found.
    Refused(Code),
    /// The caller is gone, or takes nothing any more.
    Broken,
}

/// What a connection waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Wait {
    /// A call.
    Call,
    /// The rest of a frame's head.
    Head,
    /// The rest of a frame's body.
    Body,
    /// Its own calls, or its socket's taking what is written.
    Other,
}

/// One caller's connection, shared by its task and those of its calls.
struct Connection {
    ctx: Rc<Context>,
    stream: TcpStream,
    peer: SocketAddr,
    listener: Listener,
    inbox: RefCell<Inbox>,
    outbox: Outbox,
    /// Records of replies that the socket has not taken yet, and where their frames end.
    unwritten: RefCell<VecDeque<(u64, CallRecord)>>,
    /// Calls under way.
    calls: Cell<usize>,
    /// Bytes of their requests.
    request_bytes: Cell<usize>,
    replies: Budget,
    ended: Cell<bool>,
    end: Notify,
    limit: Rc<Limit>,
    wait: Cell<Wait>,
    /// When the first byte of the frame under way came.
    frame_at: Cell<Instant>,
    /// When the last byte came.
    read_at: Cell<Instant>,
}

impl Connection {
    /// Reads, and writes what is ready, until nothing more is to be read.
    fn poll_serve(self: &Rc<Self>, cx: &mut TaskContext<'_>) -> Poll<End> {
        self.outbox.register_driver(cx);
        loop {
            if let Poll::Ready(end) = self.poll_read(cx) {
                return Poll::Ready(end);
            }
            let held = self.is_held();
            if self.poll_write(cx).is_ready() {
                return Poll::Ready(End::Broken);
            }
            // Writing made room: what was held back may be read now.
            if !held || self.is_held() {
                break;
            }
        }
        self.poll_limit(cx)
    }

    /// Takes all frames that are there and may be taken.
    fn poll_read(self: &Rc<Self>, cx: &mut TaskContext<'_>) -> Poll<End> {
        loop {
            if let Err(end) = self.take_frames() {
                return Poll::Ready(end);
            }
            if self.is_held() {
                return Poll::Pending;
            }
            let mut inbox = self.inbox.borrow_mut();
            let was_empty = inbox.is_empty();
            match inbox.poll_fill(&self.stream, cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(0)) if was_empty => return Poll::Ready(End::Ordinary),
                Poll::Ready(Ok(0)) => {
                    let failure =
                        Failure::with(Code::Malformed, "the connection ended within a frame");
                    return Poll::Ready(End::Refused(self.refuse(inbox.bytes(), &failure)));
                }
                Poll::Ready(Ok(_)) => {
                    let now = clock::now();
                    self.read_at.set(now);
                    if was_empty {
                        self.frame_at.set(now);
                    }
                    if self.wait.get() != Wait::Head {
                        self.limit.rest();
                    }
                }
                Poll::Ready(Err(_)) => return Poll::Ready(End::Broken),
            }
        }
    }

    /// Whether the connection has as much under way as it may have.
    fn is_held(&self) -> bool {
        self.calls.get() >= CALLS_MAX
            || self.request_bytes.get() >= REQUEST_BYTES_MAX
            || !self.outbox.has_room()
    }

    fn take_frames(self: &Rc<Self>) -> Result<(), End> {
        let limits = &self.ctx.settings.limits.motan2;
        let mut inbox = self.inbox.borrow_mut();
        while !inbox.is_empty() && !self.is_held() {
            match codec::parse(inbox.bytes(), limits) {
                Ok(Step::Need(_)) => break,
                Ok(Step::Frame { header, meta, body }) => {
                    self.limit.rest();
                    self.take_frame(&mut inbox, header, meta, body)?;
                    self.frame_at.set(self.read_at.get());
                }
                Err(Refusal { reason, .. }) => {
                    let code = refusal_code(inbox.bytes(), limits);
                    let failure = Failure::with(code, reason);
                    return Err(End::Refused(self.refuse(inbox.bytes(), &failure)));
                }
            }
        }
        Ok(())
    }

    fn take_frame(
        self: &Rc<Self>,
        inbox: &mut Inbox,
        header: Header,
        meta: Range<usize>,
        body: Range<usize>,
    ) -> Result<(), End> {
        if header.response {
            return Err(End::Refused(Code::Malformed));
        }
        if header.heartbeat {
            if self.listener == Listener::Inbound && self.is_out_of_use() {
                // An answer would tell a motan-go caller that this instance takes calls again.
                return Err(End::Ordinary);
            }
            inbox.consume(body.end);
            self.answer_heartbeat(header.request_id);
            return Ok(());
        }
        let extra = Extra::of(header, body.len());
        let meta = inbox.bytes().get(meta).unwrap_or_default();
        let head = call_head(&self.ctx, self.peer.ip(), extra, meta);
        inbox.consume(body.start);
        let length = body.len();
        let body = if length == 0 {
            Body::Empty
        } else {
            Body::Full(inbox.take(length))
        };
        let record = self.open_record();
        match head {
            Ok(head) => {
                self.calls.set(self.calls.get() + 1);
                self.request_bytes.set(self.request_bytes.get() + length);
                let under_way = UnderWay {
                    connection: Rc::clone(self),
                    request_bytes: Cell::new(length),
                };
                let call = Call {
                    head,
                    body,
                    interim: None,
                };
                self.ctx.spawn(serve_call(under_way, call, extra, record));
            }
            Err(failure) => self.answer_failure(extra, (b"", b""), &failure, record),
        }
        Ok(())
    }

    /// Whether the own instance is known to take no calls.
    fn is_out_of_use(&self) -> bool {
        self.ctx.draining() || !self.ctx.health().state.takes_calls()
    }

    fn open_record(&self) -> CallRecord {
        CallRecord::open(
            &self.ctx,
            self.listener.direction(),
            ProtocolId::Motan2.name(),
            self.frame_at.get(),
        )
    }

    fn answer_heartbeat(&self, request_id: u64) {
        let header = Header {
            response: true,
            proxy: true,
            heartbeat: true,
            serialize: SERIALIZE_HEARTBEAT,
            request_id,
            ..Header::default()
        };
        let none = weft_codec::Fields::new();
        self.outbox
            .push(|out| codec::write_head(header, &none, 0, out));
    }

    /// Answers a call that failed. `asked` is its group and its service.
    fn answer_failure(
        &self,
        extra: Extra,
        asked: (&[u8], &[u8]),
        failure: &Failure,
        mut record: CallRecord,
    ) {
        record.fail(failure);
        if extra.one_way {
            record.finish();
            return;
        }
        self.send(record, |out| {
            write_exception(failure, extra.request_id, asked.0, asked.1, out);
        });
    }

    /// Appends a reply; its record closes when the socket has taken it.
    fn send(&self, record: CallRecord, write: impl FnOnce(&mut Vec<u8>)) {
        let end = self.outbox.push(write);
        self.unwritten.borrow_mut().push_back((end, record));
    }

    /// Refuses the frame at the beginning of `bytes`: as a call of its own once its request id is known.
    fn refuse(&self, bytes: &[u8], failure: &Failure) -> Code {
        if let Some(extra) = known_of(bytes) {
            self.answer_failure(extra, (b"", b""), failure, self.open_record());
        }
        failure.code
    }

    /// Writes what is ready. Ready only when the caller takes nothing any more.
    fn poll_write(&self, cx: &mut TaskContext<'_>) -> Poll<()> {
        let failed = self
            .outbox
            .poll_write(&self.ctx, &self.stream, cx)
            .is_ready();
        let written = self.outbox.written();
        let mut unwritten = self.unwritten.borrow_mut();
        while unwritten.front().is_some_and(|(end, _)| *end <= written) {
            if let Some((_, record)) = unwritten.pop_front() {
                record.finish();
            }
        }
        if unwritten.is_empty() && unwritten.capacity() > UNWRITTEN_KEPT {
            unwritten.shrink_to(0);
        }
        if failed {
            for (_, mut record) in unwritten.drain(..) {
                record.fail(&Failure::new(Code::Cancelled));
            }
            return Poll::Ready(());
        }
        Poll::Pending
    }

    /// Ends a connection of which nothing came for too long.
    fn poll_limit(&self, cx: &TaskContext<'_>) -> Poll<End> {
        let inbox = self.inbox.borrow();
        let wait = match inbox.bytes() {
            _ if self.is_held() => Wait::Other,
            [] if self.calls.get() == 0 && self.outbox.is_empty() => Wait::Call,
            [] => Wait::Other,
            bytes if head_is_complete(bytes) => Wait::Body,
            _ => Wait::Head,
        };
        if wait != self.wait.replace(wait) {
            self.limit.rest();
            self.limit.idle(wait == Wait::Call);
        }
        let limits = &self.ctx.settings.limits;
        let time = match wait {
            Wait::Other => return Poll::Pending,
            Wait::Call => limits.idle,
            Wait::Head => limits.head,
            Wait::Body => limits.stall,
        };
        if self
            .ctx
            .deadlines
            .poll_stalled(&self.limit, time, cx)
            .is_pending()
        {
            return Poll::Pending;
        }
        if wait == Wait::Call {
            return Poll::Ready(End::Ordinary);
        }
        let failure = Failure::with(Code::HeadTimeout, "the rest of a frame did not come");
        Poll::Ready(End::Refused(self.refuse(inbox.bytes(), &failure)))
    }

    /// Lets the calls under way end and writes their replies; nothing more is read.
    async fn leave(&self, linger: bool) {
        let rest = poll_fn(|cx| {
            self.outbox.register_driver(cx);
            if self.poll_write(cx).is_ready() || (self.calls.get() == 0 && self.outbox.is_empty()) {
                return Poll::Ready(());
            }
            Poll::Pending
        });
        tokio::select! {
            biased;
            () = rest => {}
            () = aborted(&self.stream) => return,
        }
        if linger {
            self.linger().await;
        }
    }

    /// Closes so that the exception arrives: an early close would reset the connection under unread bytes.
    async fn linger(&self) {
        let socket = socket2::SockRef::from(&self.stream);
        if socket.shutdown(std::net::Shutdown::Write).is_err() {
            return;
        }
        let mut inbox = Inbox::default();
        let mut left = self.ctx.settings.limits.discard_bytes_max;
        let draining = async {
            while left > 0 {
                match poll_fn(|cx| inbox.poll_fill(&self.stream, cx)).await {
                    Ok(count @ 1..) => {
                        left = left.saturating_sub(count);
                        inbox.consume(count);
                    }
                    Ok(0) | Err(_) => return,
                }
            }
        };
        self.limit.rest();
        let deadlines = &self.ctx.deadlines;
        let _ = deadlines.within(&self.limit, LINGER, draining).await;
    }
}

/// Ends when the caller has reset its connection. A caller that only ended its side may still read.
async fn aborted(stream: &TcpStream) {
    loop {
        match stream.ready(Interest::ERROR).await {
            Ok(ready) if !ready.is_error() => tokio::task::yield_now().await,
            _ => return,
        }
    }
}

/// A call that is under way on a connection, until dropped.
struct UnderWay {
    connection: Rc<Connection>,
    request_bytes: Cell<usize>,
}

impl UnderWay {
    /// The request's body is not held any longer.
    fn release_request(&self) {
        let connection = &self.connection;
        let bytes = self.request_bytes.take();
        connection
            .request_bytes
            .set(connection.request_bytes.get() - bytes);
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.release_request();
        let connection = &self.connection;
        connection.calls.set(connection.calls.get() - 1);
        connection.outbox.wake_driver();
    }
}

/// Calls and answers, unless the connection ends before.
async fn serve_call(under_way: UnderWay, call: Call, extra: Extra, record: CallRecord) {
    let connection = &under_way.connection;
    if connection.ended.get() {
        return;
    }
    tokio::select! {
        biased;
        () = answer_call(&under_way, call, extra, record) => {}
        () = connection.end.notified() => {}
    }
}

async fn answer_call(under_way: &UnderWay, mut call: Call, extra: Extra, mut record: CallRecord) {
    let connection = &*under_way.connection;
    let ctx = &connection.ctx;
    let result = path::call(ctx, &mut call, &mut record).await;
    call.body = Body::Spent;
    under_way.release_request();
    let asked = &call.head;
    let result = match result {
        Ok((head, _)) if extra.one_way => {
            ctx.recycle(head.fields);
            record.finish();
            ctx.recycle(call.head.fields);
            return;
        }
        Ok((head, body)) => whole(connection, &head, body)
            .await
            .map(|gathered| (head, gathered)),
        Err(failure) => Err(failure),
    };
    poll_fn(|cx| connection.outbox.poll_room(cx)).await;
    match result {
        Ok((head, gathered)) => {
            let body = gathered.as_ref().map_or(&[][..], |it| it.body.bytes());
            connection.send(record, |out| {
                write_reply(&head, extra.request_id, body, out);
            });
            ctx.recycle(head.fields);
        }
        Err(failure) => {
            record.describe(asked);
            let asked = (asked.bytes(asked.path), asked.bytes(asked.service));
            connection.answer_failure(extra, asked, &failure, record);
        }
    }
    ctx.recycle(call.head.fields);
}

/// The whole body of a reply. One that comes over a link waits there until this caller has room for it.
async fn whole(
    connection: &Connection,
    head: &ReplyHead,
    body: Body,
) -> Result<Option<Gathered>, Failure> {
    let gathered = |body: Chunk| Gathered { body, permit: None };
    match body {
        Body::Empty | Body::Spent => Ok(None),
        Body::Full(chunk) => Ok(Some(gathered(chunk))),
        Body::Stream { stream, length } => {
            let said = Extra::read(head.fields.bytes(head.opaque)).length as usize;
            let length = length.map_or(said, |length| length as usize);
            let ctx = &connection.ctx;
            poll_fn(|cx| connection.outbox.poll_room(cx)).await;
            let budget = &connection.replies;
            // Boxed: the ordinary reply is whole.
            let collecting = Box::pin(collect(ctx, stream, length, budget, Whose::Reply));
            collecting.await.map(Some)
        }
    }
}

/// Appends a reply, with the id that the caller gave its request.
fn write_reply(head: &ReplyHead, request_id: u64, body: &[u8], out: &mut Vec<u8>) {
    let extra = Extra::read(head.fields.bytes(head.opaque));
    let header = Header {
        response: true,
        proxy: true,
        one_way: false,
        heartbeat: false,
        gzip: extra.gzip,
        exception: extra.exception || head.app_error,
        serialize: extra.serialize,
        request_id,
    };
    // A body is no longer than the codec's limit, which is below 4 GiB.
    codec::write_head(header, &head.fields, body.len() as u32, out);
    out.extend_from_slice(body);
}
