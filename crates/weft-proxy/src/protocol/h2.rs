//! HTTP/2, on the `h2` crate, with gRPC on top of it. On the inbound port the first request decides whether the
//! connection is a link of a peer or the calls of a plain caller.
//!
//! | file | defines |
//! |---|---|
//! | `guarded.rs` | the socket itself, with the meter of what its peer does |
//! | `socket.rs` | the socket below: first bytes, writes that gather |
//! | `server.rs` | a caller's connection |
//! | `stream.rs` | one stream of it: a call and its reply |
//! | `upstream.rs` | a call to an app |
//! | `tunnel.rs` | streams that become something else: CONNECT, and extended CONNECT both ways |
//! | `pool.rs` | the connections to apps |
//! | `keepalive.rs` | whether the other side of a connection lives, and is used |
//! | `body.rs` | bodies, either way |
//! | `head.rs` | heads, either way |
//! | `grpc.rs` | deadlines, results and failures in gRPC's words |
//!
//! Never in here: frames and header compression, which are the `h2` crate's.

pub(crate) mod body;
pub(crate) mod grpc;
pub(crate) mod guarded;
pub(crate) mod head;
mod keepalive;
pub(crate) mod pool;
pub(crate) mod server;
pub(crate) mod socket;
mod stream;
mod tunnel;
pub(crate) mod upstream;

use crate::accept::Listener;
use crate::context::Context;
use crate::detect::Detected;
use crate::protocol::link;
use crate::record::ConnectionRecord;
use guarded::{Guard, Guarded};
use server::{Accepted, Connection};
use socket::Prefixed;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncRead, AsyncWrite};
use weft_codec::h2::PeerSide;
use weft_model::{Code, Failure};

/// Streams that a caller may have open.
pub(crate) const STREAMS_MAX: u32 = 100;

/// Bytes of a head, decoded, with 32 of overhead for each field (RFC 9113 6.5.2).
pub(crate) const HEADER_LIST_BYTES_MAX: u32 = 16 * 1024;

/// Bytes of one stream's body that may lie here unread.
pub(crate) const STREAM_WINDOW_BYTES: u32 = 64 * 1024;

/// The same for all streams of a connection.
pub(crate) const CONNECTION_WINDOW_BYTES: u32 = 1024 * 1024;

/// What little frames of a connection's bodies may take while they lie here unread, as h2 counts them: what a frame
/// lacks of 256 bytes. So their overhead is no more than their bodies may be: some 4,000 frames of a few bytes.
pub(crate) const LITTLE_FRAMES_BYTES_MAX: usize = CONNECTION_WINDOW_BYTES as usize;

/// The largest frame taken.
pub(crate) const FRAME_BYTES_MAX: u32 = 16 * 1024;

/// The same where links come in: a stream's window, so that a link's batch leaves in one.
pub(crate) const LINK_FRAME_BYTES_MAX: u32 = STREAM_WINDOW_BYTES;

/// Streams that were reset by their caller before they were looked at.
pub(crate) const PENDING_RESETS_MAX: usize = 20;

/// Streams that were reset here for what their other side did wrong.
pub(crate) const LOCAL_ERROR_RESETS_MAX: usize = 128;

/// Bytes of one stream that wait for the socket.
pub(crate) const SEND_BUFFER_BYTES_MAX: usize = 64 * 1024;

/// Serves a connection that begins with the preface.
pub(crate) async fn serve(ctx: &Rc<Context>, detected: Detected) {
    let Detected {
        stream,
        peer,
        listener,
        record,
        inbox,
        ..
    } = detected;
    let (io, guard) = Guarded::new(ctx, PeerSide::Caller, Prefixed::new(inbox, stream));
    serve_on(ctx, (io, guard), peer, listener, record).await;
}

async fn serve_on<T: AsyncRead + AsyncWrite + Unpin>(
    ctx: &Rc<Context>,
    (io, guard): (T, Guard),
    peer: SocketAddr,
    listener: Listener,
    mut record: ConnectionRecord,
) {
    let frame_bytes_max = match listener {
        Listener::Inbound => LINK_FRAME_BYTES_MAX,
        _ => FRAME_BYTES_MAX,
    };
    let begun = tokio::time::timeout(ctx.settings.limits.head, async {
        let mut connection = Connection::begin(io, guard.clone(), frame_bytes_max).await?;
        // Only there is something to decide.
        let first = match listener {
            Listener::Inbound => connection.accept().await.transpose()?,
            Listener::Outbound | Listener::HttpProxy | Listener::Declared(_) => None,
        };
        Ok::<_, h2::Error>((connection, first))
    });
    let (connection, first) = match begun.await {
        Ok(Ok(begun)) => begun,
        Ok(Err(error)) => {
            match guard.failure() {
                Some(failure) => record.fail(failure.code),
                None if error.is_io() => {}
                None => record.fail(Code::Malformed),
            }
            return;
        }
        Err(_) => {
            record.fail(Code::HeadTimeout);
            return;
        }
    };
    if let Some(failure) = go_on(ctx, connection, first, peer, listener).await {
        record.fail(failure.code);
    }
}

async fn go_on<T: AsyncRead + AsyncWrite + Unpin>(
    ctx: &Rc<Context>,
    connection: Connection<T>,
    first: Option<Accepted>,
    peer: SocketAddr,
    listener: Listener,
) -> Option<Failure> {
    match first {
        None if listener == Listener::Inbound => None,
        Some((request, respond)) if link::server::is_link(&request) => {
            link::server::serve(ctx, connection, request, respond, peer.ip()).await
        }
        first => server::serve(ctx, connection, first, listener, peer.ip())
            .await
            .err(),
    }
}
