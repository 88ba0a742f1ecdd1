//! Makes a link to a peer: over HTTP/2, or over HTTP/1.1 where only that gets through.
//!
//! Never in here: which of them first (`hops.rs`), who waits for it (`links.rs`).

use crate::buffer::{Buffer, Chunk, Inbox, write_all};
use crate::clock;
use crate::context::Context;
use crate::protocol::h2::guarded::Guarded;
use crate::protocol::link::returning;
use crate::protocol::link::transport::Transport;
use crate::protocol::link::wire::Core;
use crate::protocol::link::{H2_FRAME_BYTES, PATH, WINDOW_BYTES};
use std::fmt::Display;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;
use weft_codec::h2::PeerSide;
use weft_codec::link::Open;
use weft_codec::link::upgrade::{Answer, answer, write_upgrade};
use weft_model::declared::Hop;
use weft_model::{Code, Failure};
use weft_telemetry::series::bump;

/// Why there is no link.
enum NotMade {
    /// Nobody is there, or whoever is there refuses it.
    AtAll(Failure),
    /// This transport does not get through; another one may.
    ByThis(Failure),
}

fn refused(peer: SocketAddr, why: impl Display) -> Failure {
    Failure::with(Code::LinkRefused, format!("link to {peer}: {why}"))
}

/// Makes a link and waits for the peer's Hello.
pub(super) async fn open(ctx: &Rc<Context>, peer: SocketAddr) -> Result<Rc<Core>, Failure> {
    let (declared, found) = (ctx.shared.hops.order(), &ctx.links.found);
    let (first, second) = found.order(declared, peer, clock::now_ms());
    let failure = match by(first, ctx, peer).await {
        Ok(core) => return Ok(core),
        Err(NotMade::AtAll(failure)) => return Err(failure),
        Err(NotMade::ByThis(failure)) => failure,
    };
    let Some(second) = second else {
        return Err(failure);
    };
    match by(second, ctx, peer).await {
        Ok(core) => {
            found.got_through(second, peer, clock::now_ms());
            Ok(core)
        }
        Err(NotMade::AtAll(failure)) => Err(failure),
        // Both say why; the preferred one is what is expected to work.
        Err(NotMade::ByThis(_)) => Err(failure),
    }
}

async fn by(hop: Hop, ctx: &Rc<Context>, peer: SocketAddr) -> Result<Rc<Core>, NotMade> {
    let connected = TcpStream::connect(peer).await;
    let stream = connected.map_err(|error| NotMade::AtAll(refused(peer, error)))?;
    // A socket that is already closed refuses the option; the first write will say so.
    let _ = stream.set_nodelay(true);
    let core = match hop {
        Hop::H2 => over_http2(ctx, peer, stream).await?,
        Hop::Http1 => over_http1(ctx, peer, stream).await?,
    };
    let greeted = core.greeted().await;
    greeted.map_err(|failure| NotMade::AtAll(refused(peer, failure)))?;
    Ok(core)
}

async fn over_http2(
    ctx: &Rc<Context>,
    peer: SocketAddr,
    stream: TcpStream,
) -> Result<Rc<Core>, NotMade> {
    let not_by_this = |error: &dyn Display| NotMade::ByThis(refused(peer, error));
    let (stream, _) = Guarded::new(ctx, PeerSide::Upstream, stream);
    let (client, connection) = h2::client::Builder::new()
        .initial_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES)
        .max_frame_size(H2_FRAME_BYTES)
        .enable_push(false)
        .handshake::<_, Chunk>(stream)
        .await
        .map_err(|error| not_by_this(&error))?;
    ctx.spawn(async move {
        // How it ends is told by the stream, to the link's own task.
        let _ = connection.await;
    });
    let mut client = client.ready().await.map_err(|error| not_by_this(&error))?;
    let request = http::Request::post(format!("http://{peer}{PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(|error| NotMade::AtAll(refused(peer, error)))?;
    let (response, send) = client
        .send_request(request, false)
        .map_err(|error| not_by_this(&error))?;
    // A connection that ends before its first reply, or that is no HTTP/2: a middlebox that refuses it. A stream
    // that is reset is a word of HTTP/2, unless it asks for the other version.
    let response = response.await.map_err(|error| match error.reason() {
        Some(reason) if error.is_reset() && reason != h2::Reason::HTTP_1_1_REQUIRED => {
            NotMade::AtAll(refused(peer, &error))
        }
        _ => not_by_this(&error),
    })?;
    if response.status() != http::StatusCode::OK {
        let status = response.status();
        let why = format!("the peer answered {status} instead of opening a link");
        return Err(NotMade::AtAll(refused(peer, why)));
    }
    let transport = Transport::Http2 {
        send,
        receive: response.into_body(),
    };
    Ok(begin(ctx, peer, transport, Some(client)))
}

async fn over_http1(
    ctx: &Rc<Context>,
    peer: SocketAddr,
    stream: TcpStream,
) -> Result<Rc<Core>, NotMade> {
    let not_by_this = |why: &dyn Display| NotMade::ByThis(refused(peer, why));
    let mut request = Buffer::take();
    write_upgrade(&peer.to_string(), &mut request);
    let written = write_all(&stream, &request).await;
    written.map_err(|error| not_by_this(&error))?;
    let mut inbox = Inbox::default();
    loop {
        match answer(inbox.bytes()) {
            Answer::Need => {}
            Answer::Agreed(head) => {
                inbox.consume(head);
                let transport = Transport::upgraded(stream, inbox);
                return Ok(begin(ctx, peer, transport, None));
            }
            Answer::Status(status) => {
                let why = format!("the peer answered {status} instead of opening a link");
                return Err(not_by_this(&why));
            }
            Answer::Garbage => return Err(not_by_this(&"the peer does not answer in HTTP/1.1")),
        }
        match poll_fn(|cx| inbox.poll_fill(&stream, cx)).await {
            Ok(0) => return Err(not_by_this(&"the connection ended before an answer")),
            Ok(_) => {}
            Err(error) => return Err(not_by_this(&error)),
        }
    }
}

/// Drives a link that has been opened here. `client` is held as long: with its last handle gone h2 would close the
/// connection.
fn begin(
    ctx: &Rc<Context>,
    peer: SocketAddr,
    transport: Transport,
    client: Option<h2::client::SendRequest<Chunk>>,
) -> Rc<Core> {
    let core = Core::new(ctx, true, peer.ip());
    let driven = Rc::clone(&core);
    ctx.spawn(async move {
        let ctx = Rc::clone(&driven.ctx);
        let open_links = transport.counters(&ctx.counters).out;
        bump(open_links, 1);
        let no_calls =
            |_: &Open<'_>, _| Err(Failure::with(Code::LinkMalformed, "the peer opened a call"));
        driven.drive(transport, no_calls).await;
        bump(open_links, -1);
        returning::await_return(&driven, peer);
        drop(client);
    });
    core
}
