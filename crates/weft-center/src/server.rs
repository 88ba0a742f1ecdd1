//! The one port: connections in, HTTP/1.1 and HTTP/2 by their first bytes, requests to `stream.rs` or
//! `api.rs`.
//!
//! Never in here: what a request means.

use crate::guard::{self, Peer};
use crate::{Center, api, log, stream};
use axum::Router;
use axum::middleware;
use axum::routing::post;
use http::Request;
use hyper::body::Incoming;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Semaphore, watch};

/// A head must have arrived this long after its first byte, and a connection's first request this long
/// after the connection.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(5);

/// A sidecar that is cut off is noticed within two of these.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Fields of a request's head.
const FIELDS_MAX: usize = 64;

/// Requests at a time on one HTTP/2 connection: a sidecar needs one, the CLI a few.
const CONNECTION_STREAMS_MAX: u32 = 16;

/// Bytes on the way to us per stream and per connection.
const WINDOW_BYTES: u32 = 256 * 1024;

/// After a failed accept (no descriptors left) the next is tried this much later.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// Connections get this long to end when the center stops.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// Every path of the center.
pub(crate) fn router(center: &Arc<Center>) -> Router {
    Router::new()
        .route(stream::PATH, post(stream::serve))
        .merge(api::routes(center))
        .layer(middleware::from_fn(guard::refuse_web_pages))
        .with_state(Arc::clone(center))
}

/// Serves until told to stop, then lets what is under way end.
pub(crate) async fn serve(listener: TcpListener, center: Arc<Center>) {
    let connections_max = center.limits.connections_max;
    let permits = Arc::new(Semaphore::new(connections_max));
    let router = router(&center);
    let mut stop = center.stop.clone();
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            _ = stop.wait_for(|stop| *stop) => break,
        };
        let (socket, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                log::line(
                    "error",
                    "a connection could not be accepted",
                    &[("why", &error.to_string())],
                );
                tokio::time::sleep(ACCEPT_RETRY).await;
                continue;
            }
        };
        let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
            log::line(
                "warn",
                "a connection was closed: there are too many",
                &[("peer", &peer.to_string())],
            );
            continue;
        };
        let (router, stop) = (router.clone(), center.stop.clone());
        tokio::spawn(async move {
            connection(socket, peer, router, stop).await;
            drop(permit);
        });
    }
    drop(listener);
    // Each connection holds a permit; when all are back, all have ended.
    let all = u32::try_from(connections_max).unwrap_or(u32::MAX);
    let _ = tokio::time::timeout(DRAIN_MAX, permits.acquire_many(all)).await;
}

async fn connection(
    socket: TcpStream,
    peer: SocketAddr,
    router: Router,
    mut stop: watch::Receiver<bool>,
) {
    // A batch leaves at once; what cannot be set is not needed.
    let _ = socket.set_nodelay(true);
    let asked = AtomicBool::new(false);
    let inner = TowerToHyperService::new(router);
    let service = service_fn(|mut request: Request<Incoming>| {
        asked.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(Peer(peer));
        inner.call(request)
    });
    let builder = builder();
    let mut serving = pin!(builder.serve_connection(TokioIo::new(socket), service));
    let mut first_wait = pin!(tokio::time::sleep(HEAD_WAIT_MAX));
    let mut waiting = true;
    let mut stopping = false;
    // How a connection ends is told by its streams; here it only ends.
    loop {
        tokio::select! {
            _ = serving.as_mut() => return,
            () = first_wait.as_mut(), if waiting => {
                waiting = false;
                if !asked.load(Ordering::Relaxed) {
                    return;
                }
            }
            _ = stop.wait_for(|stop| *stop), if !stopping => {
                stopping = true;
                serving.as_mut().graceful_shutdown();
            }
        }
    }
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new());
    builder
        .http1()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX);
    builder
        .http2()
        .timer(TokioTimer::new())
        .keep_alive_interval(KEEPALIVE)
        .keep_alive_timeout(KEEPALIVE)
        .max_header_list_size(HEAD_BYTES_MAX as u32)
        .max_concurrent_streams(CONNECTION_STREAMS_MAX)
        .initial_stream_window_size(WINDOW_BYTES)
        .initial_connection_window_size(WINDOW_BYTES);
    builder
}

#[cfg(test)]
mod tests;
