//! One stream of an HTTP/2 caller: its call, and the reply as it comes.

use crate::buffer::Chunk;
use crate::call::{Body, Call, CallHead, Interim, ReplyHead};
use crate::clock;
use crate::context::Context;
use crate::path;
use crate::protocol::ProtocolId;
use crate::protocol::h2::body::{Received, Sending, Unsent};
use crate::protocol::h2::grpc;
use crate::protocol::h2::head::{call_head, response};
use crate::protocol::h2::server::Standing;
use crate::protocol::h2::tunnel;
use crate::protocol::http::{Extra, WEBSOCKET_KEY, failure_body, wants_json};
use crate::record::CallRecord;
use crate::tunnel::CallerStream;
use h2::server::SendResponse;
use h2::{Reason, RecvStream, SendStream};
use http::{HeaderValue, Request, Response, StatusCode};
use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::Poll;
use weft_codec::link::Kind;
use weft_model::{Code, Failure};
use weft_telemetry::series::bump;

/// Serves one stream in a task of its own.
pub(crate) fn spawn(
    standing: &Rc<Standing>,
    request: Request<RecvStream>,
    respond: SendResponse<Chunk>,
) {
    let ctx = &standing.ctx;
    let protocol = tunnel::protocol(&request, standing.listener);
    let record = CallRecord::open(
        ctx,
        standing.listener.direction(),
        protocol.name(),
        clock::now(),
    );
    let open = OpenStream::new(standing);
    ctx.spawn(serve(open, request, respond, (protocol, record)));
}

/// A stream whose call is under way: counted until dropped, with all that it holds.
struct OpenStream(Rc<Standing>);

impl OpenStream {
    fn new(standing: &Rc<Standing>) -> Self {
        standing.calls.set(standing.calls.get() + 1);
        bump(&standing.ctx.counters.streams, 1);
        Self(Rc::clone(standing))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.calls.set(self.0.calls.get().saturating_sub(1));
        bump(&self.0.ctx.counters.streams, -1);
    }
}

async fn serve(
    open: OpenStream,
    request: Request<RecvStream>,
    respond: SendResponse<Chunk>,
    (protocol, mut record): (ProtocolId, CallRecord),
) {
    let standing = &open.0;
    let ctx = &standing.ctx;
    let (parts, body) = request.into_parts();
    let respond = Rc::new(Respond(RefCell::new(respond)));
    let mut head = match call_head(ctx, &parts, standing.caller, !body.is_end_stream()) {
        Ok(head) => head,
        Err(failure) => {
            record.fail(&failure);
            refuse(respond, None, &failure).await;
            record.finish();
            return;
        }
    };
    drop(parts);
    if protocol == ProtocolId::Tcp {
        // The fields speak to the proxy, not to whoever is at the connection's other end.
        head.protocol = protocol;
        head.fields.remove(|_, _| true);
    }
    let (body, gate) = if head.kind == Kind::Tunnel {
        let (body, gate) = CallerStream::body(Received::unread(body, request_broke));
        (body, Some(gate))
    } else {
        let length = Extra::read(head.bytes(head.opaque)).length;
        let mut body = Some(body);
        let begun = poll_fn(|cx| {
            let body = body.take().map_or(Body::Empty, |body| {
                Received::begin(body, length, request_broke, cx)
            });
            Poll::Ready(body)
        });
        (begun.await, None)
    };
    let mut call = Call {
        head,
        body,
        interim: Some(Rc::clone(&respond) as Rc<dyn Interim>),
    };
    call.head.named_by_path = grpc::is_grpc(&call.head.fields);
    if call.head.named_by_path
        && let Some(value) = call.head.fields.first(grpc::TIMEOUT)
    {
        call.head.deadline = grpc::timeout(value).map(|left| clock::now() + left);
    }
    let has_key = gate.is_some() && call.head.fields.first(WEBSOCKET_KEY).is_some();
    let result = tokio::select! {
        biased;
        result = path::call(ctx, &mut call, &mut record) => Some(result),
        () = poll_fn(|cx| respond.0.borrow_mut().poll_reset(cx).map(drop)) => None,
    };
    match result {
        None => record.describe(&call.head),
        Some(Err(failure)) => {
            refuse(respond, Some(&call.head), &failure).await;
            record.finish();
        }
        Some(Ok((mut head, body))) => match gate {
            Some(gate) if tunnel::is_granted(&call.head, &head) => {
                if !has_key {
                    tunnel::forget_answer(&mut head);
                }
                tunnel::carry(ctx, &gate, (head, body), &respond, record).await;
            }
            gate => match gate.and_then(|_| tunnel::misread(&head)) {
                Some(failure) => {
                    record.fail(&failure);
                    refuse(respond, Some(&call.head), &failure).await;
                    record.finish();
                }
                None => reply(ctx, &call.head, (head, body), &respond, record).await,
            },
        },
    }
    ctx.recycle(call.head.fields);
}

/// Sends the reply and closes the record.
async fn reply(
    ctx: &Context,
    call: &CallHead,
    (head, body): (ReplyHead, Body),
    respond: &Respond,
    mut record: CallRecord,
) {
    let bodiless = call.bytes(call.method) == b"HEAD" || matches!(head.status, 204 | 304);
    let body = if bodiless { Body::Empty } else { body };
    let ends = matches!(body, Body::Empty | Body::Spent);
    let length = match &body {
        Body::Full(chunk) => Some(chunk.bytes().len() as u64),
        Body::Stream { length, .. } => *length,
        Body::Empty | Body::Spent => None,
    };
    let response = response(&head, length);
    ctx.recycle(head.fields);
    let sent = respond.send(response, ends);
    let Ok(stream) = sent else {
        record.fail(&Failure::new(Code::Cancelled));
        return;
    };
    if ends {
        record.finish();
        return;
    }
    let mut sending = Sending::new(stream, body);
    match poll_fn(|cx| sending.poll(cx)).await {
        Ok(trailers) => {
            if trailers.is_some_and(|trailers| grpc::says_failed(&trailers)) {
                record.app_error();
            }
            record.finish();
        }
        Err(Unsent::Reset) => record.fail(&Failure::new(Code::Cancelled)),
        Err(Unsent::Broken(failure)) => {
            record.fail(&failure);
            break_off(sending.stream(), is_grpc(call), &failure);
        }
    }
}

/// Ends a reply of which the head was sent.
fn break_off(stream: &mut SendStream<Chunk>, is_grpc: bool, failure: &Failure) {
    if is_grpc {
        // The stream may have ended in between; then nobody reads this.
        let _ = stream.send_trailers(grpc::failure_trailers(failure));
    } else {
        stream.send_reset(Reason::INTERNAL_ERROR);
    }
}

fn is_grpc(head: &CallHead) -> bool {
    grpc::is_grpc(&head.fields)
}

/// Answers a call that has failed: in gRPC's words, or in HTTP's. A caller that is gone hears nothing.
async fn refuse(respond: Rc<Respond>, head: Option<&CallHead>, failure: &Failure) {
    if head.is_some_and(is_grpc) {
        let response = grpc::failure_response(failure);
        let _ = respond.send(response, true);
        return;
    }
    let (kind, text) = failure_body(failure, head.is_some_and(wants_json));
    let code = failure.code;
    let mut response = Response::new(());
    *response.status_mut() =
        StatusCode::from_u16(code.http_status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let fields = response.headers_mut();
    fields.insert(http::header::CONTENT_TYPE, HeaderValue::from_static(kind));
    fields.insert(http::header::CONTENT_LENGTH, text.len().into());
    fields.insert("x-weft-code", HeaderValue::from_static(code.text()));
    fields.insert(
        "x-weft-blame",
        HeaderValue::from_static(code.blame().text()),
    );
    let to_head = head.is_some_and(|head| head.bytes(head.method) == b"HEAD");
    let sent = respond.send(response, to_head);
    if let (Ok(stream), false) = (sent, to_head) {
        let mut sending = Sending::new(stream, Body::Full(Chunk::copy_of(text.as_bytes())));
        let _ = poll_fn(|cx| sending.poll(cx)).await;
    }
}

/// What an error of the stream means while the request's body is read.
fn request_broke(error: &h2::Error) -> Failure {
    if error.is_remote() || error.is_io() {
        Failure::new(Code::Cancelled)
    } else {
        Failure::with(Code::BodyBroken, error.to_string())
    }
}

/// The handle for the reply; interim ones go through it as well.
pub(super) struct Respond(RefCell<SendResponse<Chunk>>);

impl Respond {
    /// Sends the head of the reply.
    pub(super) fn send(
        &self,
        response: Response<()>,
        ends: bool,
    ) -> Result<SendStream<Chunk>, h2::Error> {
        self.0.borrow_mut().send_response(response, ends)
    }

    /// Ends the stream without a reply.
    pub(super) fn reset(&self, reason: Reason) {
        self.0.borrow_mut().send_reset(reason);
    }
}

impl Interim for Respond {
    fn interim(&self, head: &ReplyHead) {
        // 101 is not for HTTP/2 (RFC 9113 8.6).
        if head.status == 101 {
            return;
        }
        // Lost when the caller is gone.
        let _ = self.0.borrow_mut().send_informational(response(head, None));
    }
}
