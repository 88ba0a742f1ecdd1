//! What people declare, once it is known to be valid: settings of the mesh, services, rules of start and
//! stop, and instances without a sidecar.
//!
//! Never in here: how it is written (weft-api), who wins when two say different things (the center).

use crate::instance::{InstanceId, Port, ServiceName};
use std::net::IpAddr;
use std::time::Duration;

/// Settings of a whole mesh.
#[derive(Clone, Debug, PartialEq)]
pub struct MeshSettings {
    /// The domain of all identities.
    pub trust_domain: Box<str>,
    /// Whether plain callers are refused.
    pub mtls_strict: bool,
    /// Transports between sidecars, the preferred one first.
    pub hops: Vec<Hop>,
    /// What happens when a sidecar keeps dying; none: as its host agent was told.
    pub on_death: Option<OnDeath>,
    /// Whether calls may go without a sidecar that cannot be brought back.
    pub fail_open: bool,
    /// The share of calls that are traced, 0 to 1.
    pub trace_sample: f64,
}

/// A transport between two sidecars.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hop {
    /// HTTP/2.
    H2,
    /// HTTP/1.1, upgraded.
    Http1,
}

/// What happens when a sidecar keeps dying.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnDeath {
    /// The sidecar is started again and again.
    RestartInPlace,
    /// The app is started anew with it.
    RestartApp,
    /// The host agent ends, so that whoever started it replaces all.
    GiveUp,
}

/// A service that was declared.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeclaredService {
    /// Its name.
    pub name: ServiceName,
    /// Its ports; one for each RPC interface.
    pub ports: Vec<Port>,
}

/// How instances of some services start, stop and stay.
#[derive(Clone, Debug, PartialEq)]
pub struct Lifecycle {
    /// The services.
    pub targets: Vec<Target>,
    /// Whether it counts.
    pub enabled: bool,
    /// Of two that are equally specific the greater wins.
    pub priority: i32,
    /// What must answer before an instance gets calls.
    pub wait_for: Option<Check>,
    /// Waited after that.
    pub delay: Duration,
    /// How long its share of calls grows.
    pub warm_up: Duration,
    /// Growth pauses while more than this share of instances are warming up, 0 to 1.
    pub pause_warm_up_over: Option<f64>,
    /// Whether peers are told before the app is stopped.
    pub notify_peers: bool,
    /// A drain lasts at least this long.
    pub drain_min: Duration,
    /// A drain lasts at most this long.
    pub drain_max: Duration,
    /// Whether instances stay on their host.
    pub node_sticky: bool,
}

/// Which services a policy is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// The one with this name.
    Named(ServiceName),
    /// All of a namespace with these labels.
    Labelled {
        /// The namespace.
        namespace: Box<str>,
        /// All must be there.
        labels: Vec<(Box<str>, Box<str>)>,
    },
}

/// How it is found out whether an app answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Check {
    /// It takes a connection.
    Tcp {
        /// The port's number.
        port: u16,
    },
    /// It answers a GET with 200 to 399.
    Http {
        /// The port's number.
        port: u16,
        /// The path.
        path: Box<str>,
    },
    /// It answers a Motan heartbeat.
    Motan {
        /// The port's number.
        port: u16,
    },
}

/// An instance without a sidecar: its callers' sidecars call its app.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PlainInstance {
    /// The service it belongs to.
    pub service: ServiceName,
    /// Who it is: the name it was declared with.
    pub id: InstanceId,
    /// Where the app listens.
    pub address: IpAddr,
    /// The app's ports; one for each RPC interface.
    pub ports: Vec<Port>,
    /// Labels, sorted by name.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// The zone; empty when unknown.
    pub zone: Box<str>,
    /// The share of calls relative to others; 100 is ordinary.
    pub weight: u32,
    /// How its callers find out whether it answers.
    pub check: Check,
    /// How often.
    pub interval: Duration,
}
