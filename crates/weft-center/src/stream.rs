//! One sidecar's stream: `POST /weft.sync.v1.Sync/Stream`, gRPC over HTTP/2, open as long as both live.
//!
//! The sidecar says hello, the center answers with its own; from then on two loops run side by side, so that
//! neither waits for the other: one takes what the sidecar says, one pushes what changed since the revision
//! that the sidecar holds. In a batch the deltas go first and the set of names ends it: a sidecar uses a
//! batch when it has all of it.
//!
//! Never in here: what is true (`catalog.rs`).

use crate::batch::encoded;
use crate::catalog::{Refused, StreamId};
use crate::guard::Peer;
use crate::{Center, clock, log};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::BodyExt;
use http_body_util::channel::{Channel, Sender};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, watch};
use tokio::time::timeout;
use weft_api::grpc;
use weft_api::sync::{self, PROTOCOL_VERSION, from_center, from_sidecar};
use weft_model::ServiceName;

/// The path of the stream.
pub(crate) const PATH: &str = "/weft.sync.v1.Sync/Stream";

/// A sidecar's hello is awaited this long.
const HELLO_WAIT_MAX: Duration = Duration::from_secs(10);

/// A sidecar that takes nothing this long while something waits for it is let go; it comes back.
const PUSH_WAIT_MAX: Duration = Duration::from_secs(20);

/// Bytes of one message of a sidecar.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;

/// Messages waiting for HTTP/2 to take them, of one stream.
const QUEUE_MAX: usize = 4;

/// gRPC's numbers for how a stream ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum GrpcStatus {
    Ok = 0,
    InvalidArgument = 3,
    DeadlineExceeded = 4,
    PermissionDenied = 7,
    ResourceExhausted = 8,
    Unavailable = 14,
}

/// How a stream ended, as its trailers tell.
#[derive(Debug)]
struct End {
    status: GrpcStatus,
    message: String,
    goodbye: bool,
}

impl End {
    fn with(status: GrpcStatus, message: impl Into<String>) -> Self {
        Self {
            status,
            message: message.into(),
            goodbye: false,
        }
    }

    /// The sidecar went without a word: there is nobody to tell.
    fn gone() -> Self {
        Self::with(GrpcStatus::Ok, "")
    }

    fn goodbye() -> Self {
        Self {
            goodbye: true,
            ..Self::gone()
        }
    }
}

/// Answers a stream's head and serves it until it ends.
pub(crate) async fn serve(State(center): State<Arc<Center>>, request: Request) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let is_grpc =
        content_type.is_some_and(|value| value.as_bytes().starts_with(b"application/grpc"));
    if !is_grpc {
        let message = "this path speaks gRPC to sidecars: send content-type application/grpc";
        return crate::reply::refusal(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            "UnsupportedMediaType",
            message,
        );
    }
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0);
    let (sender, body) = Channel::<Bytes>::new(QUEUE_MAX);
    let permit = Arc::clone(&center.streams).try_acquire_owned().ok();
    let incoming = Incoming::new(request.into_body());
    tokio::spawn(run(center, incoming, sender, peer, permit));
    let mut response = Response::new(Body::new(body));
    let value = HeaderValue::from_static("application/grpc");
    response.headers_mut().insert(header::CONTENT_TYPE, value);
    response
}

async fn run(
    center: Arc<Center>,
    incoming: Incoming,
    mut sender: Sender<Bytes>,
    peer: Option<SocketAddr>,
    permit: Option<OwnedSemaphorePermit>,
) {
    let end = match (permit, peer) {
        (Some(permit), Some(peer)) => {
            let end = session(&center, incoming, &mut sender, peer).await;
            drop(permit);
            end
        }
        _ => End::with(
            GrpcStatus::ResourceExhausted,
            format!(
                "this center already has {} sidecars, its limit",
                center.limits.streams_max
            ),
        ),
    };
    if !matches!(end.status, GrpcStatus::Ok | GrpcStatus::Unavailable) {
        log::line(
            "warn",
            "a sidecar's stream was ended",
            &[("peer", &text_of(peer)), ("why", &end.message)],
        );
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(end.status as u16));
    if let Ok(message) = HeaderValue::from_str(&percent_encoded(&end.message)) {
        trailers.insert("grpc-message", message);
    }
    // Whoever no longer reads has no use for the trailers either.
    let _ = timeout(PUSH_WAIT_MAX, sender.send(Frame::trailers(trailers))).await;
}

/// From the hello to the end.
async fn session(
    center: &Center,
    mut incoming: Incoming,
    sender: &mut Sender<Bytes>,
    peer: SocketAddr,
) -> End {
    let hello = match timeout(HELLO_WAIT_MAX, incoming.next()).await {
        Ok(Ok(Some(from_sidecar::Kind::Hello(hello)))) => hello,
        Ok(Ok(Some(_))) => {
            let message = "the first message of a stream must be SidecarHello";
            return End::with(GrpcStatus::InvalidArgument, message);
        }
        Ok(Ok(None)) => return End::gone(),
        Ok(Err(end)) => return end,
        Err(_) => {
            let message = format!("no SidecarHello came within {} s", HELLO_WAIT_MAX.as_secs());
            return End::with(GrpcStatus::DeadlineExceeded, message);
        }
    };
    if hello.protocol_version == 0 || hello.service.is_empty() || hello.instance.is_empty() {
        let message = "SidecarHello needs protocol_version, service and instance";
        return End::with(GrpcStatus::InvalidArgument, message);
    }
    let namespace = match hello.namespace.as_str() {
        "" => weft_model::instance::NAMESPACE_DEFAULT,
        named => named,
    };
    let reporter = ServiceName::new(namespace, &hello.service);
    let stream = center.next_stream();
    center
        .catalog()
        .connected(stream, reporter.clone(), hello.instance.clone());
    let (subscribed, subscription) = watch::channel(false);
    let session = Session {
        center,
        stream,
        reporter,
        peer,
        subscribed,
        needs_full: AtomicBool::new(false),
        told_of_dropped_rows: AtomicBool::new(false),
    };
    let mut stop = center.stop.clone();
    let end = tokio::select! {
        end = session.take(incoming) => end,
        end = session.push(sender, &hello, subscription) => end,
        _ = stop.wait_for(|stop| *stop) => {
            End::with(GrpcStatus::Unavailable, "this center is stopping; try again, or another")
        }
    };
    let now = clock::now();
    let stopping = *center.stop.borrow();
    if end.goodbye {
        center.catalog().goodbye(stream, now);
    } else if !stopping {
        center.catalog().broken(stream, now);
    }
    center.changed.notify_one();
    end
}

struct Session<'a> {
    center: &'a Center,
    stream: StreamId,
    reporter: ServiceName,
    peer: SocketAddr,
    subscribed: watch::Sender<bool>,
    /// The sidecar refused something: only a batch that says everything helps it.
    needs_full: AtomicBool,
    /// Said once per stream, not every 2 s.
    told_of_dropped_rows: AtomicBool,
}

impl Session<'_> {
    /// Takes what the sidecar says until it ends.
    async fn take(&self, mut incoming: Incoming) -> End {
        loop {
            let kind = match incoming.next().await {
                Ok(Some(kind)) => kind,
                Ok(None) => return End::gone(),
                Err(end) => return end,
            };
            match kind {
                from_sidecar::Kind::Hello(_) => {
                    let message = "SidecarHello may come only once";
                    return End::with(GrpcStatus::InvalidArgument, message);
                }
                // By key comes with the first feature that needs it; until then everybody gets all.
                from_sidecar::Kind::Subscribe(_) => {
                    self.subscribed.send_replace(true);
                }
                from_sidecar::Kind::Register(register) => {
                    if let Err(end) = self.register(register) {
                        return end;
                    }
                }
                from_sidecar::Kind::Ack(ack) => {
                    let version = ack.version.unwrap_or_default();
                    self.center.catalog().acked(self.stream, version);
                }
                from_sidecar::Kind::Nack(nack) => self.nacked(nack),
                from_sidecar::Kind::Stats(stats) => self.report(&stats),
                from_sidecar::Kind::Peers(_) => {}
                from_sidecar::Kind::Goodbye(_) => return End::goodbye(),
            }
        }
    }

    fn register(&self, register: sync::Register) -> Result<(), End> {
        let Some(mut record) = register.instance else {
            let message = "Register carries no instance";
            return Err(End::with(GrpcStatus::InvalidArgument, message));
        };
        if record.namespace.is_empty() {
            record.namespace = self.reporter.namespace.to_string();
        }
        if record.address.is_empty() {
            record.address = self.peer.ip().to_canonical().to_string();
        }
        // A record that no sidecar could use is refused here, once, and not by all of them.
        sync::instance_from_wire(&record, "instance").map_err(|why| {
            End::with(
                GrpcStatus::InvalidArgument,
                format!("the instance was not taken: {why}"),
            )
        })?;
        let taken = self
            .center
            .catalog()
            .register(self.stream, record, clock::now());
        self.center.changed.notify_one();
        taken.map_err(|refused| match refused {
            Refused::Full => End::with(
                GrpcStatus::ResourceExhausted,
                format!(
                    "this center already has {} instances",
                    crate::catalog::INSTANCES_MAX
                ),
            ),
            Refused::NotYours => End::with(
                GrpcStatus::PermissionDenied,
                "Register must name the namespace, service and instance of SidecarHello",
            ),
        })
    }

    fn report(&self, stats: &sync::Stats) {
        let dropped = self.center.stats().add(&self.reporter, stats, clock::now());
        if dropped > 0 && !self.told_of_dropped_rows.swap(true, Ordering::Relaxed) {
            log::line(
                "warn",
                "rows of a report were dropped",
                &[
                    ("service", &self.reporter.to_string()),
                    ("rows", &dropped.to_string()),
                ],
            );
        }
    }

    fn nacked(&self, nack: sync::Nack) {
        log::line(
            "warn",
            "a sidecar refused an update",
            &[
                ("service", &self.reporter.to_string()),
                ("peer", &self.peer.to_string()),
                ("field", &nack.field),
                ("why", &nack.reason),
            ],
        );
        self.needs_full.store(true, Ordering::Relaxed);
        self.center.catalog().nacked(self.stream, nack);
    }

    /// Pushes what changes until the sidecar no longer takes it.
    async fn push(
        &self,
        sender: &mut Sender<Bytes>,
        hello: &sync::SidecarHello,
        mut subscription: watch::Receiver<bool>,
    ) -> End {
        let mut published = self.center.published.subscribe();
        let mut held = hello
            .held
            .filter(|held| {
                hello.store_id == self.center.store_id && held.epoch == self.center.epoch
            })
            .map(|held| held.revision);
        let mut durable = self.center.writer.durable();
        let version = sync::Version {
            epoch: self.center.epoch,
            revision: *durable.borrow(),
        };
        let own = from_center::Kind::Hello(sync::CenterHello {
            protocol_version: PROTOCOL_VERSION,
            store_id: self.center.store_id.clone(),
            version: Some(version),
            weft_version: env!("CARGO_PKG_VERSION").to_owned(),
            seen_address: self.peer.ip().to_canonical().to_string(),
        });
        let mut batch = VecDeque::from([encoded(own)]);
        loop {
            while let Some(bytes) = batch.pop_front() {
                match timeout(PUSH_WAIT_MAX, sender.send_data(bytes)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return End::gone(),
                    Err(_) => {
                        let waited = PUSH_WAIT_MAX.as_secs();
                        let message = format!("the sidecar took nothing for {waited} s");
                        return End::with(GrpcStatus::DeadlineExceeded, message);
                    }
                }
            }
            if !*subscription.borrow_and_update() {
                if subscription.changed().await.is_err() {
                    return End::gone();
                }
                continue;
            }
            let present = self.center.catalog().version().revision;
            if held != Some(present) {
                // Not at once: the same again would be refused again.
                if self.needs_full.swap(false, Ordering::Relaxed) {
                    held = None;
                }
                let next = self.center.batch_since(held);
                held = Some(next.revision);
                // Nothing is told before it is durable, however long that takes.
                let is_durable = durable.wait_for(|durable| *durable >= next.revision);
                if is_durable.await.is_err() {
                    let message = "this center is stopping; try again, or another";
                    return End::with(GrpcStatus::Unavailable, message);
                }
                batch.extend(next.messages.iter().cloned());
                continue;
            }
            if published.changed().await.is_err() {
                return End::gone();
            }
        }
    }
}

/// The messages of a request's body.
struct Incoming {
    body: Body,
    decoder: grpc::Decoder,
}

impl Incoming {
    fn new(body: Body) -> Self {
        Self {
            body,
            decoder: grpc::Decoder::new(MESSAGE_BYTES_MAX),
        }
    }

    /// The next message of a known kind; none at the end.
    async fn next(&mut self) -> Result<Option<from_sidecar::Kind>, End> {
        loop {
            let message = self.decoder.next::<sync::FromSidecar>();
            let message =
                message.map_err(|why| End::with(GrpcStatus::InvalidArgument, why.to_string()))?;
            match message {
                // A kind of a later version is nothing to this center.
                Some(sync::FromSidecar { kind: None }) => continue,
                Some(sync::FromSidecar { kind: Some(kind) }) => return Ok(Some(kind)),
                None => {}
            }
            match self.body.frame().await {
                None | Some(Err(_)) => return Ok(None),
                Some(Ok(frame)) => {
                    if let Some(data) = frame.data_ref() {
                        self.decoder.push(data);
                    }
                }
            }
        }
    }
}

/// As gRPC wants its message: printable ASCII, the rest as `%XX`.
fn percent_encoded(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'%' | 0..0x20 | 0x7f.. => {
                let digits = b"0123456789ABCDEF";
                let digit = |nibble: u8| char::from(digits[usize::from(nibble)]);
                out.extend(['%', digit(byte >> 4), digit(byte & 15)]);
            }
            _ => out.push(char::from(byte)),
        }
    }
    out
}

fn text_of(peer: Option<SocketAddr>) -> String {
    peer.map_or_else(|| "unknown".to_owned(), |peer| peer.to_string())
}

#[cfg(test)]
mod tests;
