//! Every key under which a service can be called, as the 64-bit hashes that the set of names carries.
//!
//! Never in here: who is told, how they are counted (`catalog/keys.rs`).

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use weft_api::sync;
use weft_model::key::key_hash;
use weft_model::{Family, Protocol, ServiceName};

/// The key of the service itself: its host name.
pub(crate) fn host_key(service: &ServiceName) -> u64 {
    key_hash(Family::Host, &service.name, "", "", &service.namespace)
}

/// The keys that one instance gives to its service: its `ip:port`s (an address belongs to no namespace) and
/// the RPC interfaces it serves.
pub(crate) fn instance_keys(service: &ServiceName, record: &sync::Instance) -> BTreeSet<u64> {
    let mut keys = interface_keys(service, &record.ports);
    let address: Option<IpAddr> = record.address.parse().ok();
    for port in &record.ports {
        if let (Some(address), Ok(number)) = (address, u16::try_from(port.number)) {
            let place = SocketAddr::new(address, number).to_string();
            keys.insert(key_hash(Family::Address, &place, "", "", ""));
        }
    }
    keys
}

/// The keys of the RPC interfaces of these ports: each in its group and version, and in any, which is what a
/// sidecar asks for.
pub(crate) fn interface_keys(service: &ServiceName, ports: &[sync::Port]) -> BTreeSet<u64> {
    let is_rpc = |port: &&sync::Port| Protocol::from_name(&port.protocol) == Some(Protocol::Motan);
    let rpc = ports.iter().filter(is_rpc);
    let keys = rpc.flat_map(|port| {
        let interface = match port.interface.as_str() {
            "" => &*service.name,
            named => named,
        };
        let (group, version) = (&port.group, &port.version);
        let key =
            |group, version| key_hash(Family::Rpc, interface, group, version, &service.namespace);
        [key(group, version), key("", "")]
    });
    keys.collect()
}
