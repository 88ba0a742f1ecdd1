//! Which service and port a call is for, or that it leaves the mesh.

use std::net::{IpAddr, SocketAddr};
use weft_model::key::key_hash;
use weft_model::snapshot::{RpcEntry, Service};
use weft_model::{Code, Failure, Family, Port, Snapshot};

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

/// Where a call to this authority (`host`, `host:port name`, `host:number`, `ip:port`) goes.
///
/// # Errors
/// `NoPort` when the service is known and the port is not; `NotSynced` when no center has been heard and
/// the name could be a service; `NoInstance` when it is one of which no instance is known.
pub fn host_match<'a>(
    snapshot: &'a Snapshot,
    namespace: &str,
    authority: &str,
) -> Result<HostMatch<'a>, Failure> {
    let (host, port) = split_authority(authority);
    if let Ok(ip) = host.parse::<IpAddr>() {
        let number = port.map_or(Some(80), |port| port.parse().ok());
        let entry = number.and_then(|number| snapshot.address(SocketAddr::new(ip, number)));
        let Some(entry) = entry else {
            return Ok(HostMatch::External);
        };
        return match entry.service.port(|port| port.name == entry.port) {
            Some(port) => Ok(HostMatch::Member {
                service: &entry.service,
                port,
                member: entry.member,
            }),
            None => Ok(HostMatch::External),
        };
    }
    let service = named_service(snapshot, namespace, host).or_else(|| {
        // Host names know no case (RFC 9110 4.2.3); most callers write them small, so look that way first.
        let has_large = host.bytes().any(|byte| byte.is_ascii_uppercase());
        if has_large {
            named_service(snapshot, namespace, &host.to_ascii_lowercase())
        } else {
            None
        }
    });
    let Some(service) = service else {
        if !snapshot.synced && !host.contains('.') && host != "localhost" {
            return Err(Failure::with(
                Code::NotSynced,
                format!("host \"{host}\" may be a service"),
            ));
        }
        if is_host_of_a_service(snapshot, namespace, host) {
            let found = format!("service \"{host}\" has no instance that this sidecar knows");
            return Err(Failure::with(Code::NoInstance, found));
        }
        return Ok(HostMatch::External);
    };
    let found = match port {
        None => service.port(|port| port.protocol.is_http_family()),
        Some(text) => service.port(|port| &*port.name == text).or_else(|| {
            text.parse()
                .ok()
                .and_then(|number| service.port(|port: &Port| port.number == number))
        }),
    };
    match found {
        Some(port) => Ok(HostMatch::Service { service, port }),
        None => Err(Failure::with(
            Code::NoPort,
            format!("\"{authority}\"; it has {}", port_list(service)),
        )),
    }
}

/// By the set of names: such a call must not leave the mesh, whatever else is known of the service.
fn is_host_of_a_service(snapshot: &Snapshot, namespace: &str, host: &str) -> bool {
    let has = |name, namespace| snapshot.has_name(key_hash(Family::Host, name, "", "", namespace));
    has(host, namespace)
        || host
            .split_once('.')
            .is_some_and(|(name, namespace)| has(name, namespace))
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

/// Where a call to an RPC interface goes. An empty group or version names none.
///
/// # Errors
/// `NoService` when nobody serves the interface (in this group and version), `Ambiguous` when no group is
/// named and several services do, `NotSynced` before any center was heard.
pub fn rpc_match<'a>(
    snapshot: &'a Snapshot,
    interface: &str,
    group: &str,
    version: &str,
) -> Result<(&'a Service, &'a Port), Failure> {
    let entries = snapshot.rpc(interface);
    if entries.is_empty() {
        let code = if snapshot.synced {
            Code::NoService
        } else {
            Code::NotSynced
        };
        return Err(Failure::with(code, format!("interface \"{interface}\"")));
    }
    let fits = |own: &str, asked: &str| own.is_empty() || asked.is_empty() || own == asked;
    let matching: Vec<&RpcEntry> = entries
        .iter()
        .filter(|entry| fits(&entry.group, group) && fits(&entry.version, version))
        .collect();
    match matching.as_slice() {
        [] => Err(Failure::with(
            Code::NoService,
            format!(
                "interface \"{interface}\" in group \"{group}\" version \"{version}\"; it is served as {}",
                entry_list(entries.iter())
            ),
        )),
        [only] => port_of(only),
        [first, rest @ ..] => {
            // An exact group or version beats one that takes any.
            let exact: Vec<_> = matching
                .iter()
                .filter(|entry| {
                    *entry.group == *group
                        && (entry.version.is_empty() || *entry.version == *version)
                })
                .collect();
            if let [only] = exact.as_slice() {
                return port_of(only);
            }
            if rest
                .iter()
                .all(|entry| entry.service.name == first.service.name)
            {
                return port_of(first);
            }
            Err(Failure::with(
                Code::Ambiguous,
                format!(
                    "interface \"{interface}\" is served as {}; name a group",
                    entry_list(matching.iter().copied())
                ),
            ))
        }
    }
}

fn port_of(entry: &RpcEntry) -> Result<(&Service, &Port), Failure> {
    let port = entry.service.port(|port| port.name == entry.port);
    port.map(|port| (&*entry.service, port))
        .ok_or(Failure::new(Code::NoPort))
}

fn entry_list<'a>(entries: impl Iterator<Item = &'a RpcEntry>) -> String {
    let mut texts: Vec<_> = entries
        .map(|entry| {
            format!(
                "{} (group \"{}\", version \"{}\")",
                entry.service.name, entry.group, entry.version
            )
        })
        .collect();
    texts.sort();
    texts.join(", ")
}

#[cfg(test)]
mod tests;
