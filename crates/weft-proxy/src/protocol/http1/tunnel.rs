//! A connection that becomes something else: `Upgrade` (WebSocket and others) and CONNECT, from the request to the
//! reply that grants it.
//!
//! A caller's bytes flow after that reply and not before: a 101 to `Upgrade` (a 200 is none), a 200 to CONNECT. Until
//! then they stay where they are, and when the tunnel is refused the connection ends with them, for whoever sent them
//! meant no request. The app's connection serves this one call, granted or not. Never in here: the bytes of a tunnel, which are `tunnel.rs`'s of the crate.

use crate::accept::Listener;
use crate::buffer::{Buffer, Inbox};
use crate::call::{Body, Call, CallHead, ReplyHead};
use crate::context::Context;
use crate::protocol::ProtocolId;
use crate::protocol::http::{Extra, WEBSOCKET_KEY};
use crate::protocol::http1::server::ServerIo;
use crate::protocol::http1::upstream::reply_head;
use crate::tunnel::{AppTunnel, CallerBytes, Gate};
use std::rc::Rc;
use tokio::net::TcpStream;
use weft_codec::Span;
use weft_codec::http1::{
    Framing, ReplyHead as ParsedReply, StatusLine, websocket_key, write_reply,
};
use weft_codec::link::Kind;
use weft_model::{Code, Failure};

/// The status that grants an upgrade.
const SWITCHING: u16 = 101;

/// The reply that grants a CONNECT: it has no body, and no field that would say so.
const CONNECTED: &[u8] = b"HTTP/1.1 200 Connection established\r\n\r\n";

/// What a CONNECT is told that came in elsewhere.
const NO_CONNECT: &str =
    "CONNECT is taken by the HTTP forward proxy alone (9983); send the request itself here";

/// When a call asks for a tunnel: its body, and what opens that.
pub(super) fn asked(
    head: &mut CallHead,
    upgrade: Span,
    listener: Listener,
    io: &Rc<ServerIo>,
) -> Result<Option<(Body, Rc<Gate>)>, Failure> {
    if head.bytes(head.method) == b"CONNECT" {
        if listener != Listener::HttpProxy {
            return Err(Failure::with(Code::NotImplemented, NO_CONNECT));
        }
        // What is asked for is a connection. The fields speak to the proxy, not to whoever is at its other end.
        head.protocol = ProtocolId::Tcp;
        head.fields.remove(|_, _| true);
        head.kind = Kind::Tunnel;
        return Ok(Some(CallerBytes::body(io)));
    }
    if upgrade.is_empty() {
        return Ok(None);
    }
    head.kind = Kind::Tunnel;
    // Whatever its method: a conversation that may have begun is not begun twice.
    head.idempotent = false;
    let mut opaque = Buffer::take();
    let extra = Extra {
        upgrade: head.bytes(upgrade),
        ..Extra::default()
    };
    extra.write(&mut opaque);
    head.opaque = head.fields.store(&opaque);
    Ok(Some(CallerBytes::body(io)))
}

/// Whether this reply opens the tunnel that was asked for.
pub(super) fn is_granted(call: &Call, head: &ReplyHead) -> bool {
    call.head.protocol == ProtocolId::Tcp || head.status == SWITCHING
}

/// Appends the reply that opens it.
pub(super) fn write_grant(head: &ReplyHead, out: &mut Vec<u8>) {
    if head.status != SWITCHING {
        out.extend_from_slice(CONNECTED);
        return;
    }
    let extra = Extra::read(head.fields.bytes(head.opaque));
    let line = StatusLine {
        status: SWITCHING,
        reason: b"",
        framing: Framing::None,
        declared_length: None,
        close: false,
        upgrade: extra.upgrade,
    };
    write_reply(line, &head.fields, out);
}

/// Makes a call for a tunnel one that HTTP/1.1 can say, whichever version it came in by.
pub(super) fn prepare(ctx: &Context, head: &mut CallHead) -> Result<(), Failure> {
    let asked = Extra::read(head.bytes(head.opaque)).upgrade;
    if asked.is_empty() {
        let found =
            "CONNECT of an app that is called in HTTP/1.1; only one that declares HTTP/2 is asked";
        return Err(Failure::with(Code::NotImplemented, found));
    }
    // A handshake that began in HTTP/2 has no key, which every HTTP/1.1 server asks for.
    if asked.eq_ignore_ascii_case(b"websocket") && head.fields.first(WEBSOCKET_KEY).is_none() {
        let random = u128::from(ctx.random()) << 64 | u128::from(ctx.random());
        head.fields.set(WEBSOCKET_KEY, &websocket_key(random));
    }
    Ok(())
}

/// The app granted the upgrade: its connection is the tunnel's from here on, with what it sent behind its head.
pub(super) fn granted(
    stream: TcpStream,
    inbox: Inbox,
    parsed: ParsedReply,
    call: &mut Call,
) -> Result<(ReplyHead, Body), Failure> {
    let asked = Extra::read(call.head.bytes(call.head.opaque)).upgrade;
    let granted = parsed.fields.bytes(parsed.upgrade);
    if !is_one_of(granted, asked) {
        return Err(Failure::with(
            Code::UpstreamMalformed,
            "the app switches to a protocol that nobody asked for",
        ));
    }
    let head = reply_head(parsed);
    let body = AppTunnel::body(stream, inbox, call.body.take_stream());
    Ok((head, body))
}

/// Whether a protocol is in the list that was asked for.
fn is_one_of(granted: &[u8], asked: &[u8]) -> bool {
    let mut members = asked.split(|byte| *byte == b',');
    !granted.is_empty()
        && members.any(|member| {
            member
                .trim_ascii()
                .eq_ignore_ascii_case(granted.trim_ascii())
        })
}
