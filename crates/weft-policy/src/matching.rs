//! Which service and port a call is for, or that it leaves the mesh.

use std::net::{IpAddr, SocketAddr};
use weft_model::key::{address_hash, key_hash};
use weft_model::snapshot::{RpcEntry, Service};
use weft_model::{Code, Failure, Family, Key, Port, Protocol, Snapshot};

/// Where a call by host name goes.
#[derive(Clone, Copy, Debug)]
pub enum HostMatch<'a> {
    /// To any instance of a service.
    Service {
        /// The service.
        service: &'a Service,
        /// The port.
        port: &'a Port,
    },
    /// To one instance, named by its address.
    Member {
        /// The service.
        service: &'a Service,
        /// The port.
        port: &'a Port,
        /// The instance's position in the service.
        member: usize,
    },
    /// Out of the mesh, as it would go without a sidecar.
    External,
}

/// Splits `host[:port]`, brackets of an IPv6 address removed.
pub fn split_authority(authority: &str) -> (&str, Option<&str>) {
    if let Some(rest) = authority.strip_prefix('[') {
        return match rest.split_once(']') {
            Some((host, port)) => (host, port.strip_prefix(':')),
            None => (authority, None),
        };
    }
    match authority.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') => (host, Some(port)),
        _ => (authority, None),
    }
}

/// Why a call has no place to go, or none yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Unmatched {
    /// It fails.
    Failed(Failure),
    /// It names a service of which this sidecar knows nothing: the key to ask a center about.
    Unknown(Box<Key>),
}

impl Unmatched {
    /// The failure of a call that waits for nothing more.
    pub fn into_failure(self) -> Failure {
        match self {
            Self::Failed(failure) => failure,
            Self::Unknown(key) => Failure::with(Code::NotSynced, format!("\"{}\"", key.name)),
        }
    }
}

impl From<Failure> for Unmatched {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

/// Where a call to this authority (`host`, `host:port name`, `host:number`, `ip:port`) goes; without a port to the
/// first one that speaks what `is_meant` says.
///
/// # Errors
/// `NoPort` when the service is known and the port is not; `NotSynced` when no center has been heard and
/// the name could be a service; `NoInstance` when it is one of which no instance is known; the key when it is
/// one that no center was asked about.
pub fn host_match<'a>(
    snapshot: &'a Snapshot,
    namespace: &str,
    authority: &str,
    is_meant: impl Fn(Protocol) -> bool,
) -> Result<HostMatch<'a>, Unmatched> {
    let (host, port) = split_authority(authority);
    if let Ok(ip) = host.parse::<IpAddr>() {
        return match port.map_or(Some(80), |port| port.parse().ok()) {
            Some(number) => address_match(snapshot, SocketAddr::new(ip, number)),
            None => Ok(HostMatch::External),
        };
    }
    let service = named_service(snapshot, namespace, host).or_else(|| {
        // Host names know no case (RFC 9110 4.2.3); most callers write them small, so look that way first.
        let small = small(host)?;
        named_service(snapshot, namespace, &small)
    });
    let Some(service) = service else {
        if !snapshot.synced && !host.contains('.') && host != "localhost" {
            let found = format!("host \"{host}\" may be a service");
            return Err(Failure::with(Code::NotSynced, found).into());
        }
        return match unknown_host(snapshot, namespace, host) {
            Some(key) => Err(Unmatched::Unknown(Box::new(key))),
            None => Ok(HostMatch::External),
        };
    };
    let found = match port {
        None => service.port(|port| is_meant(port.protocol)),
        Some(text) => service.port(|port| &*port.name == text).or_else(|| {
            text.parse()
                .ok()
                .and_then(|number| service.port(|port: &Port| port.number == number))
        }),
    };
    match found {
        Some(port) => Ok(HostMatch::Service { service, port }),
        None if service.ports.is_empty() => {
            let found = format!("service \"{}\"", service.name);
            Err(Failure::with(Code::NoInstance, found).into())
        }
        None => {
            let found = format!("\"{authority}\"; it has {}", port_list(service));
            Err(Failure::with(Code::NoPort, found).into())
        }
    }
}

fn address_match(snapshot: &Snapshot, address: SocketAddr) -> Result<HostMatch<'_>, Unmatched> {
    if let Some(found) = snapshot.address(address)
        && let Some(port) = found.service.port(|port| *port.name == *found.port)
    {
        return Ok(HostMatch::Member {
            service: found.service,
            port,
            member: found.member,
        });
    }
    let hash = address_hash(address);
    if snapshot.has_name(hash) && !snapshot.is_answered(hash) {
        return Err(Unmatched::Unknown(Box::new(Key::of_address(address))));
    }
    Ok(HostMatch::External)
}

/// The same with small letters; none when it has no others.
fn small(host: &str) -> Option<String> {
    let has_large = host.bytes().any(|byte| byte.is_ascii_uppercase());
    has_large.then(|| host.to_ascii_lowercase())
}

/// By the set of names: the key of a service that no center was asked about yet. Such a call must not leave
/// the mesh before one was.
fn unknown_host(snapshot: &Snapshot, namespace: &str, host: &str) -> Option<Key> {
    let unknown = |name: &str, namespace: &str| {
        let hash = key_hash(Family::Host, name, "", "", namespace);
        let is_unknown = snapshot.has_name(hash) && !snapshot.is_answered(hash);
        is_unknown.then(|| Key::of_host(name, namespace))
    };
    let find = |host: &str| {
        unknown(host, namespace).or_else(|| {
            let (name, namespace) = host.split_once('.')?;
            unknown(name, namespace)
        })
    };
    find(host).or_else(|| find(&small(host)?))
}

/// The service called `name`, or `name.namespace`.
fn named_service<'a>(snapshot: &'a Snapshot, namespace: &str, host: &str) -> Option<&'a Service> {
    let service = snapshot.service(namespace, host).or_else(|| {
        let (name, namespace) = host.split_once('.')?;
        snapshot.service(namespace, name)
    });
    service.map(|service| &**service)
}

fn port_list(service: &Service) -> String {
    let ports: Vec<_> = service
        .ports
        .iter()
        .map(|port| format!("{}={}", port.name, port.number))
        .collect();
    if ports.is_empty() {
        "no ports".into()
    } else {
        ports.join(", ")
    }
}

/// A port that serves an interface.
#[derive(Clone, Copy)]
struct Served<'a> {
    entry: &'a RpcEntry,
    service: &'a Service,
}

impl<'a> Served<'a> {
    fn port(self) -> Result<(&'a Service, &'a Port), Unmatched> {
        let port = self.service.port(|port| port.name == self.entry.port);
        let port = port.ok_or(Failure::new(Code::NoPort))?;
        Ok((self.service, port))
    }
}

/// Where a call to an RPC interface of a namespace goes. An empty group or version names none.
///
/// # Errors
/// `NoService` when nobody serves the interface (in this group and version), `Ambiguous` when no group is
/// named and several services do, `NotSynced` before any center was heard; the key when no center was asked.
pub fn rpc_match<'a>(
    snapshot: &'a Snapshot,
    namespace: &str,
    interface: &str,
    group: &str,
    version: &str,
) -> Result<(&'a Service, &'a Port), Unmatched> {
    let fits = |own: &str, asked: &str| own.is_empty() || asked.is_empty() || own == asked;
    let all = || served(snapshot, namespace, interface);
    let matching = || {
        all().filter(|served| {
            fits(&served.entry.group, group) && fits(&served.entry.version, version)
        })
    };
    let mut those = matching();
    let Some(first) = those.next() else {
        if let Some(key) = unknown_interface(snapshot, namespace, interface) {
            return Err(Unmatched::Unknown(Box::new(key)));
        }
        if all().next().is_none() {
            let code = if snapshot.synced {
                Code::NoService
            } else {
                Code::NotSynced
            };
            return Err(Failure::with(code, format!("interface \"{interface}\"")).into());
        }
        let found = format!(
            "interface \"{interface}\" in group \"{group}\" version \"{version}\"; it is served as {}",
            list_of(all())
        );
        return Err(Failure::with(Code::NoService, found).into());
    };
    if those.next().is_none() {
        return first.port();
    }
    // An exact group or version beats one that takes any.
    let mut exact = matching().filter(|Served { entry, .. }| {
        *entry.group == *group && (entry.version.is_empty() || *entry.version == *version)
    });
    if let (Some(only), None) = (exact.next(), exact.next()) {
        return only.port();
    }
    if matching().all(|served| served.service.name == first.service.name) {
        return first.port();
    }
    let found = format!(
        "interface \"{interface}\" is served as {}; name a group",
        list_of(matching())
    );
    Err(Failure::with(Code::Ambiguous, found).into())
}

fn served<'a>(
    snapshot: &'a Snapshot,
    namespace: &str,
    interface: &str,
) -> impl Iterator<Item = Served<'a>> {
    let entries = snapshot.rpc(interface).iter();
    entries.filter_map(move |entry| {
        let service = snapshot.service_of(entry)?;
        (*service.name.namespace == *namespace).then_some(Served { entry, service })
    })
}

/// The key of an interface that somebody serves and no center was asked about.
pub fn unknown_interface(snapshot: &Snapshot, namespace: &str, interface: &str) -> Option<Key> {
    let hash = key_hash(Family::Rpc, interface, "", "", namespace);
    let is_unknown = snapshot.has_name(hash) && !snapshot.is_answered(hash);
    is_unknown.then(|| Key::of_interface(interface, namespace))
}

fn list_of<'a>(served: impl Iterator<Item = Served<'a>>) -> String {
    let mut texts: Vec<_> = served
        .map(|Served { entry, service }| {
            format!(
                "{} (group \"{}\", version \"{}\")",
                service.name, entry.group, entry.version
            )
        })
        .collect();
    texts.sort();
    texts.join(", ")
}

#[cfg(test)]
mod tests;
