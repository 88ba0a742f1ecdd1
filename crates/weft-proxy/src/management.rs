//! The management port (8002): what probes, scrapers and people on this host ask a sidecar.
//!
//! A web page may never ask: a request with an `Origin`, or from this host under a name that is not this
//! host's, is refused. Off this host all but `/ready` and `/live` need the token, and `/config` always does.
//! Never in here: what is counted (the metrics come as text), changes of any kind.

use arc_swap::ArcSwap;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, HOST, ORIGIN};
use http::uri::Authority;
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::future::poll_fn;
use std::net::{IpAddr, SocketAddr};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::time::sleep;
use weft_api::sidecar::SidecarSpec;
use weft_model::key::key_hash;
use weft_model::{Family, InstanceState, Snapshot};

/// Connections at a time; further ones are closed at once.
pub(crate) const MANAGEMENT_CONNECTIONS_MAX: usize = 64;

/// A request's head must have come within this time; an idle connection is closed after it.
const HEAD_WAIT_MAX: Duration = Duration::from_secs(5);

/// A reply must have been taken within this time.
const CONNECTION_WAIT_MAX: Duration = Duration::from_mins(5);

/// Bytes of a request's head.
const HEAD_BYTES_MAX: usize = 16 * 1024;

/// Fields of a request's head.
const FIELDS_MAX: usize = 64;

/// After a failed accept (no descriptors left) the next is tried this much later.
const ACCEPT_RETRY: Duration = Duration::from_millis(100);

/// The token itself, or the file that holds it.
const TOKEN_VARIABLE: &str = "WEFT_ADMIN_TOKEN";
const TOKEN_FILE_VARIABLE: &str = "WEFT_ADMIN_TOKEN_FILE";

/// Bytes of a token.
const TOKEN_BYTES_MAX: usize = 4_096;

/// What the management port tells.
pub(crate) struct ManagementServer {
    /// What the sidecar was told at its start.
    pub(crate) spec: SidecarSpec,
    /// The view of the mesh.
    pub(crate) snapshots: Arc<ArcSwap<Snapshot>>,
    /// The metrics in Prometheus' text format.
    pub(crate) metrics: Arc<dyn Fn() -> String + Send + Sync>,
    /// Whether calls are taken.
    pub(crate) ready: watch::Receiver<bool>,
    /// What opens `/config`, and everything from other hosts; see [`token_of_environment`].
    pub(crate) token: Option<String>,
}

/// The token from `WEFT_ADMIN_TOKEN`, or from the file that `WEFT_ADMIN_TOKEN_FILE` names.
pub(crate) fn token_of_environment() -> std::io::Result<Option<String>> {
    if let Ok(token) = std::env::var(TOKEN_VARIABLE) {
        return Ok(sound_token(&token));
    }
    match std::env::var_os(TOKEN_FILE_VARIABLE) {
        Some(path) => std::fs::read_to_string(path).map(|token| sound_token(&token)),
        None => Ok(None),
    }
}

/// An empty token would open to everybody who sends an empty one.
fn sound_token(text: &str) -> Option<String> {
    let token = text.trim();
    (!token.is_empty() && token.len() <= TOKEN_BYTES_MAX).then(|| token.to_owned())
}

impl ManagementServer {
    /// Serves on these sockets until told to stop.
    pub(crate) async fn run(
        self,
        listeners: Vec<TcpListener>,
        mut shutdown: watch::Receiver<bool>,
    ) {
        let server = Arc::new(self);
        let permits = Arc::new(Semaphore::new(MANAGEMENT_CONNECTIONS_MAX));
        loop {
            let accepted = tokio::select! {
                accepted = accept_any(&listeners) => accepted,
                _ = shutdown.wait_for(|stop| *stop) => return,
            };
            let Ok((socket, peer)) = accepted else {
                sleep(ACCEPT_RETRY).await;
                continue;
            };
            let Ok(permit) = Arc::clone(&permits).try_acquire_owned() else {
                continue;
            };
            tokio::spawn(connection(
                Arc::clone(&server),
                socket,
                peer,
                permit,
                shutdown.clone(),
            ));
        }
    }

    fn answer(&self, request: &Request<Incoming>, peer: SocketAddr) -> Response<Full<Bytes>> {
        let path = request.uri().path();
        let shown = self.shown_token(request.headers());
        if let Some(refusal) = self.refusal(request, path, peer.ip(), shown) {
            return refusal;
        }
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let message = format!("{path} can only be read: use GET");
            return text(StatusCode::METHOD_NOT_ALLOWED, message);
        }
        match path {
            "/metrics" => {
                let mut reply = text(StatusCode::OK, (self.metrics)());
                let kind = http::HeaderValue::from_static("text/plain; version=0.0.4");
                reply.headers_mut().insert(CONTENT_TYPE, kind);
                reply
            }
            "/ready" if *self.ready.borrow() => text(StatusCode::OK, "ready\n"),
            "/ready" => text(
                StatusCode::SERVICE_UNAVAILABLE,
                "not ready: the sidecar takes no calls now\n",
            ),
            "/live" => text(StatusCode::OK, "live\n"),
            "/config" => json_reply(&self.config(request.uri().query())),
            _ => {
                let message =
                    format!("no path {path} here; there are /metrics, /ready, /live and /config\n");
                text(StatusCode::NOT_FOUND, message)
            }
        }
    }

    fn refusal(
        &self,
        request: &Request<Incoming>,
        path: &str,
        peer: IpAddr,
        shown: Shown,
    ) -> Option<Response<Full<Bytes>>> {
        let refuse = |status, message: &str| Some(text(status, format!("{message}\n")));
        if request.headers().contains_key(ORIGIN) {
            let message = "this port does not answer web pages: the request has an Origin header";
            return refuse(StatusCode::FORBIDDEN, message);
        }
        let is_local = peer.to_canonical().is_loopback();
        match shown {
            Shown::Right => None,
            Shown::Wrong => {
                let message = "the token is not this sidecar's";
                refuse(
                    StatusCode::UNAUTHORIZED,
                    &format!("{message}: {}", self.token_hint()),
                )
            }
            Shown::Absent if is_local && !names_this_host(request) => {
                let message = "this port answers only under a name of this host: \
                               ask for localhost, 127.0.0.1 or [::1]";
                refuse(StatusCode::FORBIDDEN, message)
            }
            Shown::Absent if path == "/ready" || path == "/live" => None,
            Shown::Absent if is_local && path != "/config" => None,
            Shown::Absent => {
                let message = if is_local {
                    "/config needs the token"
                } else {
                    "from other hosts this needs the token"
                };
                refuse(
                    StatusCode::UNAUTHORIZED,
                    &format!("{message}: {}", self.token_hint()),
                )
            }
        }
    }

    fn token_hint(&self) -> &'static str {
        if self.token.is_some() {
            "send \"Authorization: Bearer <token>\" with the value of WEFT_ADMIN_TOKEN (or of the \
             file in WEFT_ADMIN_TOKEN_FILE) that the sidecar was started with"
        } else {
            "this sidecar has none; start it with WEFT_ADMIN_TOKEN, or with WEFT_ADMIN_TOKEN_FILE \
             and the path of a file, and send \"Authorization: Bearer <token>\""
        }
    }

    fn shown_token(&self, headers: &HeaderMap) -> Shown {
        let Some(shown) = headers.get(AUTHORIZATION) else {
            return Shown::Absent;
        };
        let shown = shown.as_bytes().strip_prefix(b"Bearer ");
        match (shown, &self.token) {
            (Some(shown), Some(own)) if same_bytes(shown, own.as_bytes()) => Shown::Right,
            _ => Shown::Wrong,
        }
    }

    /// With `host=...` in the query also whether a call of that name is one of a service.
    fn config(&self, query: Option<&str>) -> Value {
        let spec = &self.spec;
        let snapshot = self.snapshots.load();
        let mut services: Vec<_> = snapshot.services().collect();
        services.sort_by(|a, b| a.name.cmp(&b.name));
        let parts = query.unwrap_or_default().split('&');
        let mut hosts = parts.filter_map(|part| part.strip_prefix("host="));
        let asked = hosts.next().map(|host| {
            let has = |name, namespace| {
                snapshot.has_name(key_hash(Family::Host, name, "", "", namespace))
            };
            let full = host.split_once('.');
            let is_service = has(host, spec.namespace.as_str())
                || full.is_some_and(|(name, namespace)| has(name, namespace));
            json!({ "host": host, "is_service": is_service })
        });
        json!({
            "asked": asked,
            "sidecar": {
                "namespace": spec.namespace,
                "service": spec.service,
                "instance": spec.instance,
                "incarnation": spec.incarnation,
                "ports": spec.ports.iter().map(ToString::to_string).collect::<Vec<_>>(),
                "labels": spec.labels.iter().cloned().collect::<std::collections::BTreeMap<_, _>>(),
                "zone": spec.zone,
                "weight": spec.weight,
                "idempotent": spec.idempotent,
                "advertise": spec.advertise.map(|address| address.to_string()),
                "centers": spec.centers,
                "workers": spec.workers,
                "access_log": spec.access_log.name(),
            },
            "snapshot": {
                "version": format!("{}.{}", snapshot.version.epoch, snapshot.version.revision),
                "generation": snapshot.generation,
                "synced": snapshot.synced,
                "names": snapshot.names_count(),
                "services": services.into_iter().map(|service| service_summary(service)).collect::<Vec<_>>(),
            },
        })
    }
}

/// What the caller showed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shown {
    Absent,
    Wrong,
    Right,
}

async fn connection(
    server: Arc<ManagementServer>,
    socket: TcpStream,
    peer: SocketAddr,
    permit: OwnedSemaphorePermit,
    mut shutdown: watch::Receiver<bool>,
) {
    let service = service_fn(move |request: Request<Incoming>| {
        let reply = server.answer(&request, peer);
        async move { Ok::<_, Infallible>(reply) }
    });
    let serving = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_WAIT_MAX)
        .max_buf_size(HEAD_BYTES_MAX)
        .max_headers(FIELDS_MAX)
        .serve_connection(TokioIo::new(socket), service);
    let mut serving = pin!(serving);
    // Whoever breaks off has nothing left to be told.
    tokio::select! {
        _ = serving.as_mut() => {}
        () = sleep(CONNECTION_WAIT_MAX) => {}
        _ = shutdown.wait_for(|stop| *stop) => {}
    }
    drop(permit);
}

/// The next connection on any of the sockets.
async fn accept_any(listeners: &[TcpListener]) -> std::io::Result<(TcpStream, SocketAddr)> {
    poll_fn(|cx| {
        let mut ready = listeners.iter().map(|listener| listener.poll_accept(cx));
        ready.find(Poll::is_ready).unwrap_or(Poll::Pending)
    })
    .await
}

fn service_summary(service: &weft_model::Service) -> Value {
    let members = service.members.iter().map(|member| {
        let instance = &member.instance;
        let state = match instance.state {
            InstanceState::Ready => "ready",
            InstanceState::Unconfirmed => "unconfirmed",
            InstanceState::Draining => "draining",
        };
        json!({
            "id": instance.id.as_str(),
            "incarnation": instance.incarnation,
            "address": SocketAddr::new(instance.address, instance.inbound_port).to_string(),
            "state": state,
        })
    });
    let ports = service
        .ports
        .iter()
        .map(|port| weft_model::PortSpec(port.clone()).to_string());
    json!({
        "name": &*service.name.name,
        "namespace": &*service.name.namespace,
        "ports": ports.collect::<Vec<_>>(),
        "subscribed": service.subscribed,
        "instances": members.collect::<Vec<_>>(),
    })
}

/// Exactly one Host, and it is a loopback name or address: a name that somebody else resolves to this host
/// is not.
fn names_this_host(request: &Request<Incoming>) -> bool {
    let mut named = request.headers().get_all(HOST).iter();
    let (Some(host), None) = (named.next(), named.next()) else {
        return false;
    };
    let Ok(authority) = Authority::try_from(host.as_bytes()) else {
        return false;
    };
    let host = authority
        .host()
        .trim_start_matches('[')
        .trim_end_matches(']');
    match host.parse::<IpAddr>() {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => host.eq_ignore_ascii_case("localhost"),
    }
}

/// Takes as long for any wrong token of the right length, so that it cannot be found byte by byte.
fn same_bytes(left: &[u8], right: &[u8]) -> bool {
    let differing = left.iter().zip(right).fold(0, |sum, (a, b)| sum | (a ^ b));
    left.len() == right.len() && differing == 0
}

fn text(status: StatusCode, body: impl Into<Bytes>) -> Response<Full<Bytes>> {
    let mut reply = Response::new(Full::new(body.into()));
    *reply.status_mut() = status;
    let kind = http::HeaderValue::from_static("text/plain; charset=utf-8");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

fn json_reply(body: &Value) -> Response<Full<Bytes>> {
    let mut reply = text(StatusCode::OK, body.to_string());
    let kind = http::HeaderValue::from_static("application/json");
    reply.headers_mut().insert(CONTENT_TYPE, kind);
    reply
}

#[cfg(test)]
mod tests;
