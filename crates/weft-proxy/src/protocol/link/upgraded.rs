//! Takes a link that a peer opens over HTTP/1.1: the called side after the request's head.
//!
//! Never in here: how the head is read, and what goes over the link.

use crate::buffer::{Buffer, Inbox, write_all};
use crate::context::Context;
use crate::protocol::link::server::take_open;
use crate::protocol::link::transport::Transport;
use crate::protocol::link::wire::Core;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;
use weft_codec::http1::{Framing, RequestHead};
use weft_codec::link::upgrade::{PATH, asks_for_link, write_agreement};
use weft_model::{Code, Failure};
use weft_telemetry::series::bump;

/// Whether a request on the inbound port opens a link. `head` is its head as it came.
pub(crate) fn is_opening(request: &RequestHead, head: &[u8]) -> bool {
    request.fields.bytes(request.target) == PATH.as_bytes()
        && matches!(request.framing, Framing::None | Framing::Length(0))
        && asks_for_link(head)
}

/// Agrees, and serves the link until it ends. `inbox` is what has come behind the head.
///
/// # Errors
/// Why the peer cannot be told.
pub(crate) async fn serve(
    ctx: &Rc<Context>,
    stream: TcpStream,
    inbox: Inbox,
    peer: SocketAddr,
) -> Result<(), Failure> {
    let lost = |error: &dyn ToString| Failure::with(Code::LinkLost, error.to_string());
    let mut agreement = Buffer::take();
    write_agreement(&mut agreement);
    let limit = ctx.settings.limits.head;
    let written = tokio::time::timeout(limit, write_all(&stream, &agreement)).await;
    written
        .map_err(|elapsed| lost(&elapsed))?
        .map_err(|error| lost(&error))?;
    drop(agreement);
    let core = Core::new(ctx, false, peer.ip());
    ctx.links.taken(&core);
    let transport = Transport::upgraded(stream, inbox);
    let links = transport.counters(&ctx.counters).taken;
    bump(links, 1);
    let opener = Rc::clone(&core);
    core.drive(transport, move |open, fields| {
        take_open(&opener, open, fields)
    })
    .await;
    bump(links, -1);
    Ok(())
}
