//! What a sidecar is set to: its own part (from `SidecarSpec`) and every named limit with its default.

use crate::accept::Listener;
use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::Duration;
use weft_api::sidecar::{AccessLog, ListenSpec, SidecarSpec};
use weft_codec::{h2, http1, motan2};
use weft_model::{Limit, Port};

/// Every limit of the data plane that is not the codec's or the link's own.
#[derive(Clone, Debug)]
pub struct Limits {
    /// HTTP/1.1 messages.
    pub http1: http1::Limits,
    /// Motan2 frames.
    pub motan2: motan2::Limits,
    /// What an HTTP/2 peer may owe.
    pub h2: h2::Limits,
    /// Open connections of one worker.
    pub connections_max: usize,
    /// Accepted connections of all workers; more wait in the sockets' queues until others end.
    pub accepted_max: usize,
    /// Open connections from one address that is not of the own host.
    pub connections_per_source: usize,
    /// Calls in flight in one worker.
    pub calls_max: usize,
    /// A connection without a call.
    pub idle: Duration,
    /// From the first byte of a head to its last, and for detection.
    pub head: Duration,
    /// In this time a body that is awaited must come [`Limits::body_progress_bytes`] further, or to its end: what
    /// was announced, by a length or a chunk's size, is there to be sent.
    pub body_window: Duration,
    /// How far.
    pub body_progress_bytes: u64,
    /// A body of which nothing comes, or a reply of which the caller takes nothing.
    pub stall: Duration,
    /// A tunnel in which nothing moves either way.
    pub tunnel_idle: Duration,
    /// Making a connection, to an app, an external host or a peer.
    pub connect: Duration,
    /// Idle connections kept to one app or external host, per worker.
    pub pool_per_upstream: usize,
    /// How long an idle connection to an app is kept. Below the shortest keep-alive in common use (Node: 5 s).
    pub pool_idle: Duration,
    /// Bytes of buffers of the whole process. From a third of it on, links let no more be under way for one call than at
    /// its beginning; when it is full, request bodies are not read and calls from peers that bring one are not taken.
    pub buffer_bytes_max: usize,
    /// Unread request bytes that are read and thrown away to keep a connection, or to let a reply arrive.
    pub discard_bytes_max: usize,
    /// How long calls under way may take after a SIGTERM.
    pub drain: Duration,
}

/// Descriptors that callers never get: listeners, runtimes, the center, links, files, and the management port,
/// which must answer when nothing else does.
const FILES_KEPT: u64 = 64;

/// And this share of all, for connections to the app and to other hosts.
const FILES_KEPT_SHARE: u64 = 4;

/// The share of all connections that one address may have: three of four.
const SOURCE_SHARE: (usize, usize) = (3, 4);

/// A default of the table, as a size.
fn size(limit: Limit) -> usize {
    usize::try_from(limit.default()).unwrap_or(usize::MAX)
}

/// A default of the table that counts seconds.
fn seconds(limit: Limit) -> Duration {
    Duration::from_secs(limit.default())
}

impl Limits {
    /// The same where the process may have so many files open.
    #[must_use]
    pub fn within_files(mut self, files: u64) -> Self {
        let kept = FILES_KEPT.saturating_add(files / FILES_KEPT_SHARE);
        let left = files.saturating_sub(kept).max(1);
        self.accepted_max = usize::try_from(left).unwrap_or(usize::MAX);
        let share = self.accepted_max / SOURCE_SHARE.1 * SOURCE_SHARE.0;
        self.connections_per_source = self.connections_per_source.min(share.max(1));
        self
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            http1: http1::Limits::default(),
            motan2: motan2::Limits::default(),
            h2: h2::Limits::default(),
            connections_max: size(Limit::ConnectionsPerWorker),
            connections_per_source: size(Limit::ConnectionsPerSource),
            accepted_max: usize::MAX,
            calls_max: size(Limit::Calls),
            idle: seconds(Limit::Idle),
            head: seconds(Limit::Head),
            body_window: seconds(Limit::BodyWindow),
            body_progress_bytes: Limit::BodyProgress.default(),
            stall: seconds(Limit::Stall),
            tunnel_idle: seconds(Limit::TunnelIdle),
            connect: Duration::from_secs(3),
            pool_per_upstream: 256,
            pool_idle: Duration::from_secs(4),
            buffer_bytes_max: size(Limit::BufferBytes),
            discard_bytes_max: 64 * 1024,
            drain: Duration::from_secs(25),
        }
    }
}

/// What all workers know and never change.
#[derive(Debug)]
pub(crate) struct Settings {
    /// The namespace.
    pub(crate) namespace: String,
    /// The own service as others name it.
    pub(crate) service: String,
    /// The own service without its namespace.
    pub(crate) service_name: String,
    /// The own instance.
    pub(crate) instance: String,
    /// The own app's ports.
    pub(crate) ports: Vec<Port>,
    /// Listeners beside the usual ones.
    pub(crate) listens: Vec<ListenSpec>,
    /// Which calls are logged.
    pub(crate) access_log: AccessLog,
    /// Addresses of the own listeners: a call that would go there is refused.
    pub(crate) own_addresses: HashSet<SocketAddr>,
    /// Every named limit.
    pub(crate) limits: Limits,
}

impl Settings {
    pub(crate) fn new(
        spec: &SidecarSpec,
        own_addresses: HashSet<SocketAddr>,
        limits: Limits,
    ) -> Self {
        let name = weft_model::ServiceName::new(&spec.namespace, &spec.service);
        Self {
            namespace: spec.namespace.clone(),
            service: name.to_string(),
            service_name: spec.service.clone(),
            instance: spec.instance.clone(),
            ports: spec.ports.iter().map(|port| port.0.clone()).collect(),
            listens: spec.listens.clone(),
            access_log: spec.access_log,
            own_addresses,
            limits,
        }
    }

    /// Where connections lead that come in by this listener and name nobody; empty where every one does.
    pub(crate) fn leads_to(&self, listener: Listener) -> &str {
        match listener {
            Listener::Declared(declared) => self
                .listens
                .get(declared.position)
                .map_or("", |listen| listen.to.as_str()),
            Listener::Outbound | Listener::HttpProxy | Listener::Inbound => "",
        }
    }

    /// Whether this address is one of the own listeners, also through a wildcard.
    pub(crate) fn is_own_address(&self, address: SocketAddr) -> bool {
        self.own_addresses.contains(&address)
            || self.own_addresses.iter().any(|own| {
                own.port() == address.port()
                    && own.ip().is_unspecified()
                    && address.ip().is_loopback()
            })
    }
}

#[cfg(test)]
mod tests;
