//! One sidecar's stream: `POST /weft.sync.v1.Sync/Stream`, gRPC over HTTP/2, open as long as both live.
//!
//! The sidecar says hello, the center answers with its own; from then on two loops run side by side, so that
//! neither waits for the other: one takes what the sidecar says, one pushes what changed of what the sidecar
//! uses. In a batch the deltas go first and the set of names ends it: a sidecar uses a batch when it has all of it.
//!
//! Never in here: what is true (`catalog.rs`).

mod incoming;

use crate::catalog::INSTANCES_MAX;
use crate::catalog::{KEYS_PER_SIDECAR_MAX, PEERS_PER_SIDECAR_MAX, Parcel, Refused, StreamId};
use crate::delta::encoded;
use crate::guard::Peer;
use crate::reply::resource_version;
use crate::{Center, clock, log};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::response::Response;
use bytes::Bytes;
use http::{HeaderMap, HeaderValue, StatusCode, header};
use http_body::Frame;
use http_body_util::channel::{Channel, Sender};
use incoming::Incoming;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit};
use tokio::time::timeout;
use weft_api::sync::{self, PROTOCOL_VERSION, from_center, from_sidecar};
use weft_model::ServiceName;

/// The path of the stream.
pub(crate) const PATH: &str = "/weft.sync.v1.Sync/Stream";

/// A sidecar's hello is awaited this long.
const HELLO_WAIT_MAX: Duration = Duration::from_secs(10);

/// A sidecar that takes nothing this long while something waits for it is let go; it comes back.
const PUSH_WAIT_MAX: Duration = Duration::from_secs(20);

/// The last version is said within this long when the center stops.
const LAST_WAIT_MAX: Duration = Duration::from_millis(500);

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
    FailedPrecondition = 9,
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
    let held = match held(center, &hello) {
        Ok(held) => held,
        Err(end) => return end,
    };
    let stream = center.next_stream();
    let policy = center.declared().own_policy(&reporter);
    let wake = {
        let mut catalog = center.catalog();
        let wake = catalog.connected(stream, reporter.clone(), hello.instance.clone(), held);
        catalog.tell_policy(stream, policy);
        wake
    };
    let session = Session {
        center,
        stream,
        reporter,
        peer,
        is_idle: AtomicBool::new(false),
        told_of_dropped_rows: AtomicBool::new(false),
    };
    let mut stop = center.stop.clone();
    let end = tokio::select! {
        end = session.take(incoming) => end,
        end = session.push(sender, &wake) => end,
        _ = stop.wait_for(|stop| *stop) => {
            End::with(GrpcStatus::Unavailable, "this center is stopping; try again, or another")
        }
    };
    let stopping = *center.stop.borrow();
    if stopping && session.is_idle.load(Ordering::Relaxed) {
        session.say_last_version(sender).await;
    }
    let now = clock::now();
    if end.goodbye {
        center.catalog().goodbye(stream, now);
    } else if !stopping {
        center.catalog().broken(stream, now);
    }
    center.changed.notify_one();
    end
}

/// The revision that a sidecar holds of this very store and epoch.
fn held(center: &Center, hello: &sync::SidecarHello) -> Result<Option<u64>, End> {
    let present = sync::Version {
        epoch: center.epoch,
        revision: *center.writer.durable().borrow(),
    };
    let held = match agreed(hello, &center.store_id, present) {
        Ok(agreed) => return Ok(agreed),
        Err(held) => held,
    };
    let message = format!(
        "the store of this center is an older copy of {}: the sidecar holds version {}, this center has {}; stop it, \
         or make what it has the valid state with \"weft center backup\" and \"weft center restore\"",
        center.store_id,
        resource_version(held),
        resource_version(present)
    );
    let fields = [("instance", hello.instance.as_str()), ("why", &message)];
    log::line("error", "a sidecar was turned away", &fields);
    Err(End::with(GrpcStatus::FailedPrecondition, message))
}

/// The same of any center. A sidecar that holds something later than this one ever had proves that the store here is
/// an older copy: it must not be told to go back in time. The error is what it holds.
pub(crate) fn agreed(
    hello: &sync::SidecarHello,
    store_id: &str,
    present: sync::Version,
) -> Result<Option<u64>, sync::Version> {
    let Some(held) = hello.held.filter(|_| hello.store_id == store_id) else {
        return Ok(None);
    };
    if (held.epoch, held.revision) <= (present.epoch, present.revision) {
        return Ok((held.epoch == present.epoch).then_some(held.revision));
    }
    Err(held)
}

struct Session<'a> {
    center: &'a Center,
    stream: StreamId,
    reporter: ServiceName,
    peer: SocketAddr,
    /// Nothing is under way to the sidecar: it holds whole batches only.
    is_idle: AtomicBool,
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
                from_sidecar::Kind::Subscribe(subscribe) => {
                    if let Err(end) = self.subscribe(&subscribe) {
                        return end;
                    }
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
                from_sidecar::Kind::Peers(report) => self.peers(report),
                from_sidecar::Kind::Goodbye(_) => return End::goodbye(),
            }
        }
    }

    fn register(&self, register: sync::Register) -> Result<(), End> {
        let Some(mut record) = register.instance else {
            let message = "Register carries no instance";
            return Err(End::with(GrpcStatus::InvalidArgument, message));
        };
        if record.check.is_some() {
            let message = "Register carries instance.check, but an instance with a sidecar is not checked by callers";
            return Err(End::with(GrpcStatus::InvalidArgument, message));
        }
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
        taken.map_err(|refused| self.refused(&refused))
    }

    fn subscribe(&self, subscribe: &sync::Subscribe) -> Result<(), End> {
        let taken = self.center.catalog().subscribe(self.stream, subscribe);
        taken.map_err(|refused| self.refused(&refused))
    }

    fn refused(&self, refused: &Refused) -> End {
        match refused {
            Refused::Full => End::with(
                GrpcStatus::ResourceExhausted,
                format!("this center already has {INSTANCES_MAX} instances"),
            ),
            Refused::NotYours => End::with(
                GrpcStatus::PermissionDenied,
                "Register must name the namespace, service and instance of SidecarHello",
            ),
            Refused::Keys(count) => End::with(
                GrpcStatus::ResourceExhausted,
                format!(
                    "Subscribe has {count} keys, of one sidecar this center takes {KEYS_PER_SIDECAR_MAX}; leave out \
                     those that \"{}\" no longer calls",
                    self.reporter
                ),
            ),
        }
    }

    fn peers(&self, report: sync::PeerReport) {
        let dropped = self.center.catalog().peers_reported(self.stream, report);
        let limit = PEERS_PER_SIDECAR_MAX.to_string();
        self.told_of_dropped(dropped, ("peers of one sidecar at the most", &limit));
    }

    fn report(&self, stats: &sync::Stats) {
        let dropped = self.center.stats().add(&self.reporter, stats, clock::now());
        self.told_of_dropped(dropped, ("of", "stats"));
    }

    fn told_of_dropped(&self, dropped: usize, of: (&str, &str)) {
        if dropped > 0 && !self.told_of_dropped_rows.swap(true, Ordering::Relaxed) {
            log::line(
                "warn",
                "rows of a report were dropped",
                &[
                    ("service", &self.reporter.to_string()),
                    ("rows", &dropped.to_string()),
                    of,
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
        self.center.catalog().nacked(self.stream, nack);
    }

    /// Pushes what changes until the sidecar no longer takes it.
    async fn push(&self, sender: &mut Sender<Bytes>, wake: &Notify) -> End {
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
        let mut parcels = vec![Parcel {
            revision: 0,
            bytes: encoded(own),
        }];
        loop {
            for parcel in std::mem::take(&mut parcels) {
                // Nothing is told before it is durable, however long that takes.
                let is_durable = durable.wait_for(|durable| *durable >= parcel.revision);
                if is_durable.await.is_err() {
                    let message = "this center is stopping; try again, or another";
                    return End::with(GrpcStatus::Unavailable, message);
                }
                match timeout(PUSH_WAIT_MAX, sender.send_data(parcel.bytes)).await {
                    Ok(Ok(())) => {}
                    Ok(Err(_)) => return End::gone(),
                    Err(_) => {
                        let waited = PUSH_WAIT_MAX.as_secs();
                        let message = format!("the sidecar took nothing for {waited} s");
                        return End::with(GrpcStatus::DeadlineExceeded, message);
                    }
                }
            }
            parcels = self.center.catalog().take_parcels(self.stream);
            if parcels.is_empty() {
                self.is_idle.store(true, Ordering::Relaxed);
                wake.notified().await;
                self.is_idle.store(false, Ordering::Relaxed);
                parcels = self.center.catalog().take_parcels(self.stream);
            }
        }
    }

    /// A sidecar to which nothing happened for a while holds an older version only by its number.
    async fn say_last_version(&self, sender: &mut Sender<Bytes>) {
        let parcel = self.center.catalog().last_version(self.stream);
        let durable = *self.center.writer.durable().borrow();
        if let Some(parcel) = parcel.filter(|parcel| parcel.revision <= durable) {
            // Whoever no longer takes it holds the older number.
            let _ = timeout(LAST_WAIT_MAX, sender.send_data(parcel.bytes)).await;
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
