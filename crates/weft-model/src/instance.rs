//! One running copy of a service: who it is, where it is, and what it serves.

use crate::declared::Check;
use std::fmt;
use std::net::IpAddr;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// The namespace of everything that names none.
pub const NAMESPACE_DEFAULT: &str = "default";

/// A service's name within its namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    /// The namespace, `default` unless said otherwise.
    pub namespace: Box<str>,
    /// The name.
    pub name: Box<str>,
}

impl ServiceName {
    /// A name in a namespace.
    pub fn new(namespace: &str, name: &str) -> Self {
        Self {
            namespace: namespace.into(),
            name: name.into(),
        }
    }
}

impl fmt::Display for ServiceName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if &*self.namespace == NAMESPACE_DEFAULT {
            f.write_str(&self.name)
        } else {
            write!(f, "{}.{}", self.name, self.namespace)
        }
    }
}

/// Who an instance is: new at each `weft run`, whatever its address.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct InstanceId(Box<str>);

impl InstanceId {
    /// An id from its text.
    pub fn new(text: &str) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for InstanceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a port speaks. Closed: a new protocol is a new row here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Protocol {
    /// Not declared: the sidecar goes by the first bytes.
    Detect,
    /// HTTP/1.1.
    Http,
    /// HTTP/2 with prior knowledge.
    H2,
    /// gRPC.
    Grpc,
    /// Opaque bytes.
    Tcp,
    /// Motan 1 and 2 (they share a port).
    Motan,
}

impl Protocol {
    /// Every protocol with its name as in `--port`.
    pub const ALL: &'static [(&'static str, Self)] = &[
        ("detect", Self::Detect),
        ("http", Self::Http),
        ("h2", Self::H2),
        ("grpc", Self::Grpc),
        ("tcp", Self::Tcp),
        ("motan", Self::Motan),
    ];

    /// The name as in `--port`.
    pub fn name(self) -> &'static str {
        Self::ALL
            .iter()
            .find(|(_, protocol)| *protocol == self)
            .map_or("", |(name, _)| name)
    }

    /// The protocol with this name; `motan2` is an alias of `motan`.
    pub fn from_name(name: &str) -> Option<Self> {
        if name == "motan2" {
            return Some(Self::Motan);
        }
        Self::ALL
            .iter()
            .find(|(known, _)| *known == name)
            .map(|(_, protocol)| *protocol)
    }

    /// Whether calls to this port are routed by host name.
    pub fn is_http_family(self) -> bool {
        match self {
            Self::Http | Self::H2 | Self::Grpc | Self::Detect => true,
            Self::Tcp | Self::Motan => false,
        }
    }
}

/// One named port of an instance.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Port {
    /// Its name; the protocol's unless said otherwise.
    pub name: Box<str>,
    /// What it speaks.
    pub protocol: Protocol,
    /// The TCP port on which the app listens.
    pub number: u16,
    /// RPC: the interface served; empty means the service's name.
    pub interface: Box<str>,
    /// RPC: the group; empty means any.
    pub group: Box<str>,
    /// RPC: the version; empty means any.
    pub version: Box<str>,
}

/// A `--port` argument: `[name:]protocol=port[,interface=a.b.C][,group=g][,version=v]`, or a bare number.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpec(pub Port);

/// Why a `--port` argument was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortSpecError(String);

impl fmt::Display for PortSpecError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for PortSpecError {}

impl FromStr for PortSpec {
    type Err = PortSpecError;

    fn from_str(text: &str) -> Result<Self, PortSpecError> {
        const SHAPE: &str = "write [name:]protocol=port[,interface=a.b.C][,group=g][,version=v], for example http=8080";
        let wrong = |found: String| PortSpecError(format!("port \"{text}\": {found}; {SHAPE}"));
        let mut parts = text.split(',');
        let first = parts.next().unwrap_or_default();
        let (name, protocol, number) = match first.split_once('=') {
            None => ("", Protocol::Detect, first),
            Some((left, number)) => {
                let (name, protocol) = left.split_once(':').unwrap_or(("", left));
                let known = Protocol::from_name(protocol).ok_or_else(|| {
                    let names: Vec<_> = Protocol::ALL.iter().map(|(name, _)| *name).collect();
                    wrong(format!(
                        "protocol \"{protocol}\" is not one of {}",
                        names.join(", ")
                    ))
                })?;
                (name, known, number)
            }
        };
        let number: u16 = number
            .parse()
            .ok()
            .filter(|number| *number != 0)
            .ok_or_else(|| wrong(format!("\"{number}\" is not a port number from 1 to 65535")))?;
        let name = if name.is_empty() {
            protocol.name()
        } else {
            name
        };
        let mut port = Port {
            name: name.into(),
            protocol,
            number,
            interface: "".into(),
            group: "".into(),
            version: "".into(),
        };
        for part in parts {
            match part.split_once('=') {
                Some(("interface", value)) => port.interface = value.into(),
                Some(("group", value)) => port.group = value.into(),
                Some(("version", value)) => port.version = value.into(),
                _ => {
                    return Err(wrong(format!(
                        "\"{part}\" is none of interface=, group=, version="
                    )));
                }
            }
        }
        Ok(Self(port))
    }
}

impl fmt::Display for PortSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}:{}={}",
            self.0.name,
            self.0.protocol.name(),
            self.0.number
        )?;
        for (key, value) in [
            ("interface", &self.0.interface),
            ("group", &self.0.group),
            ("version", &self.0.version),
        ] {
            if !value.is_empty() {
                write!(f, ",{key}={value}")?;
            }
        }
        Ok(())
    }
}

/// What the center believes of an instance.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum InstanceState {
    /// Its sidecar is connected to the center.
    Ready,
    /// Its sidecar's stream broke; it is served until peers or time decide.
    Unconfirmed,
    /// It is leaving: no new calls.
    Draining,
}

/// One running copy of a service. What it shares with others reads like its own: `instance.ports`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instance {
    /// Who it is.
    pub id: InstanceId,
    /// +1 at each start of the app.
    pub incarnation: u64,
    /// Where its sidecar is reached; may change.
    pub address: IpAddr,
    /// The sidecar's inbound port; 0 for an instance without a sidecar.
    pub inbound_port: u16,
    /// What the center believes of it.
    pub state: InstanceState,
    /// The share of calls relative to others; 100 is ordinary.
    pub weight: u32,
    /// What it mostly has in common with the other instances of its service.
    pub shape: Arc<Shape>,
}

impl Deref for Instance {
    type Target = Shape;

    fn deref(&self) -> &Shape {
        &self.shape
    }
}

/// What the instances of one service mostly have in common, held once for all that have it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shape {
    /// The service they belong to.
    pub service: ServiceName,
    /// The app's ports.
    pub ports: Vec<Port>,
    /// Labels, sorted by name.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// The zone; empty when unknown.
    pub zone: Box<str>,
    /// Patterns of methods that may be tried twice, with `*` at either end.
    pub idempotent: Vec<Box<str>>,
    /// Set for an instance without a sidecar: its callers use its ports as they are, and check it.
    pub check: Option<CallerCheck>,
}

/// How callers find out whether an instance without a sidecar answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerCheck {
    /// What is asked.
    pub check: Check,
    /// How often.
    pub interval: Duration,
}

/// How an instance says it is, from sidecar to sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(u8)]
pub enum HealthState {
    /// It takes calls; also what is assumed before it has said anything.
    #[default]
    Ready = 0,
    /// It takes a share of them.
    Warming = 1,
    /// It takes fewer.
    Overloaded = 2,
    /// It takes no new ones.
    Draining = 3,
    /// Its app is dead.
    AppDead = 4,
}

impl HealthState {
    /// Every state.
    pub const ALL: [Self; 5] = [
        Self::Ready,
        Self::Warming,
        Self::Overloaded,
        Self::Draining,
        Self::AppDead,
    ];

    /// The state with this number; an unknown one is taken for `Ready`.
    pub fn from_number(number: u8) -> Self {
        Self::ALL
            .into_iter()
            .find(|state| *state as u8 == number)
            .unwrap_or_default()
    }

    /// Whether new calls may go there.
    pub fn takes_calls(self) -> bool {
        match self {
            Self::Ready | Self::Warming | Self::Overloaded => true,
            Self::Draining | Self::AppDead => false,
        }
    }

    /// The word a person reads.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ready => "ready",
            Self::Warming => "warming",
            Self::Overloaded => "overloaded",
            Self::Draining => "draining",
            Self::AppDead => "app dead",
        }
    }
}

/// What the sidecar knows of an instance by itself; shared by all snapshots and workers.
#[derive(Debug, Default)]
pub struct InstanceLoad {
    /// Calls sent there by this sidecar and not yet ended.
    pub outstanding: AtomicU32,
    /// Links to it that hear nothing.
    pub suspects: AtomicU32,
    /// When a link to it was heard last, on the process's own clock of milliseconds and as of that link's last
    /// beat; 0 when none ever was.
    pub heard_ms: AtomicU64,
    /// It is passed over until this time on the process's own clock of milliseconds.
    pub avoided_until_ms: AtomicU64,
    /// The newest word of the instance itself: (incarnation, sequence), written under the lock, then the state.
    newest: Mutex<(u64, u64)>,
    state: AtomicU8,
    /// What is off its ordinary share of calls, in percent.
    share_off: AtomicU8,
}

/// The share of calls of an instance that is as it should be, in percent.
pub const SHARE_FULL: u32 = 100;

impl InstanceLoad {
    /// The instance said how it is. The newest (incarnation, sequence) wins, whichever link brought it.
    pub fn tell(&self, incarnation: u64, sequence: u64, state: HealthState) {
        self.tell_share(incarnation, sequence, state, SHARE_FULL);
    }

    /// The same, with the share of calls that it takes while it is warming or overloaded, in percent: 1 to 100.
    pub fn tell_share(&self, incarnation: u64, sequence: u64, state: HealthState, share: u32) {
        let share = match state {
            HealthState::Warming | HealthState::Overloaded => share.clamp(1, SHARE_FULL),
            HealthState::Ready | HealthState::Draining | HealthState::AppDead => SHARE_FULL,
        };
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        if (incarnation, sequence) >= *newest {
            *newest = (incarnation, sequence);
            self.state.store(state as u8, Ordering::Relaxed);
            let off = u8::try_from(SHARE_FULL - share).unwrap_or_default();
            self.share_off.store(off, Ordering::Relaxed);
        }
    }

    /// The share of calls that the instance takes now, in percent of its weight.
    pub fn share(&self) -> u32 {
        SHARE_FULL - u32::from(self.share_off.load(Ordering::Relaxed))
    }

    /// Passes the instance over until this time on the process's clock of milliseconds.
    pub fn avoid_until(&self, until_ms: u64) {
        self.avoided_until_ms.store(until_ms, Ordering::Relaxed);
    }

    /// Another instance has taken the address over: what the one before said of itself counts no more.
    pub fn taken_over(&self) {
        let mut newest = self.newest.lock().unwrap_or_else(PoisonError::into_inner);
        *newest = (0, 0);
        self.state
            .store(HealthState::Ready as u8, Ordering::Relaxed);
    }

    /// How the instance last said it is.
    pub fn state(&self) -> HealthState {
        HealthState::from_number(self.state.load(Ordering::Relaxed))
    }

    /// Whether a call should go there now, given the process's clock.
    pub fn is_eligible(&self, now_ms: u64) -> bool {
        self.state().takes_calls()
            && self.suspects.load(Ordering::Relaxed) == 0
            && self.avoided_until_ms.load(Ordering::Relaxed) <= now_ms
    }
}

#[cfg(test)]
mod tests;
