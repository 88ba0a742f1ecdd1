//! Opaque TCP: a connection is one call, whose bodies are its bytes. Nothing of them is understood, except the name
//! in the first bytes of TLS, which is read and left where it is.
//!
//! A connection comes in by a listener that declares TCP, by CONNECT, or over a link; where it leads is known before
//! its first byte, so that either side may speak first. Never in here: a wait for bytes.

use crate::buffer::Inbox;
use crate::call::{Body, Call, CallHead, ReplyHead};
use crate::clock;
use crate::context::Context;
use crate::detect::Detected;
use crate::path;
use crate::protocol::ProtocolId;
use crate::record::CallRecord;
use crate::tunnel::{AppTunnel, CallerBytes, CallerSocket, relay, reset};
use crate::upstream::Upstream;
use std::cell::RefCell;
use std::rc::Rc;
use tokio::net::TcpStream;
use weft_codec::link::Kind;
use weft_model::{Code, Failure};
use weft_policy::matching::split_authority;

/// The status of a call whose connection was made.
const CONNECTED: u16 = 200;

/// A caller's connection.
struct Caller {
    stream: TcpStream,
    inbox: RefCell<Inbox>,
}

impl CallerSocket for Caller {
    fn stream(&self) -> &TcpStream {
        &self.stream
    }

    fn inbox(&self) -> &RefCell<Inbox> {
        &self.inbox
    }
}

/// Serves one connection, which is one call.
pub(crate) async fn serve(ctx: &Rc<Context>, detected: Detected) {
    let Detected {
        stream,
        peer,
        listener,
        mut record,
        inbox,
        ..
    } = detected;
    let caller = Rc::new(Caller {
        stream,
        inbox: RefCell::new(inbox),
    });
    let mut call_record = CallRecord::open(
        ctx,
        listener.direction(),
        ProtocolId::Tcp.name(),
        clock::now(),
    );
    let mut head = CallHead::new(ProtocolId::Tcp, ctx.fields());
    head.service = head
        .fields
        .store(ctx.settings.leads_to(listener).as_bytes());
    let id = format!("{:016x}", ctx.random());
    head.trace = head.fields.store(id.as_bytes());
    head.kind = Kind::Tunnel;
    head.caller_address = Some(peer.ip());
    let (body, gate) = CallerBytes::body(&caller);
    let mut call = Call {
        head,
        body,
        interim: None,
    };
    let result = tokio::select! {
        biased;
        result = path::call(ctx, &mut call, &mut call_record) => result,
        () = crate::tunnel::aborted(&caller.stream) => {
            call_record.describe(&call.head);
            return;
        }
    };
    let result = match result {
        Ok((_, body)) => relay(ctx, &*caller, &gate, body).await,
        Err(failure) => {
            // The one thing that opaque bytes can be told.
            reset(&caller.stream);
            Err(failure)
        }
    };
    gate.tell_name(&mut call_record);
    if let Err(failure) = result {
        call_record.fail(&failure);
        record.fail(failure.code);
    }
    call_record.finish();
}

/// Connects to an app or an external host: the reply is there with the connection.
pub(crate) async fn exchange(
    ctx: &Rc<Context>,
    upstream: Upstream<'_>,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    if let Upstream::External { authority } = upstream
        && split_authority(authority).1.is_none()
    {
        let found = format!("\"{authority}\" is no service and names no port; write host:port");
        return Err(Failure::with(Code::NoPort, found));
    }
    let stream = upstream.connect(ctx).await?;
    let head = ReplyHead {
        fields: ctx.fields(),
        status: CONNECTED,
        ..ReplyHead::default()
    };
    let body = AppTunnel::body(stream, Inbox::default(), call.body.take_stream());
    Ok((head, body))
}
