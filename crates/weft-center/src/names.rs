//! Every key under which a service can be called, as the 64-bit hashes that the set of names carries.
//!
//! Never in here: who is told.

use std::collections::BTreeSet;
use std::net::{IpAddr, SocketAddr};
use weft_api::sync;
use weft_model::key::key_hash;
use weft_model::{Family, Protocol, ServiceName};

/// The keys of a service with these instances: its host name, each instance's `ip:port`s (an address
/// belongs to no namespace) and the RPC interfaces they serve.
pub(crate) fn service_keys<'a>(
    service: &ServiceName,
    records: impl Iterator<Item = &'a sync::Instance>,
) -> BTreeSet<u64> {
    let namespace = &*service.namespace;
    let mut keys = BTreeSet::from([key_hash(Family::Host, &service.name, "", "", namespace)]);
    for record in records {
        let address: Option<IpAddr> = record.address.parse().ok();
        for port in &record.ports {
            if let (Some(address), Ok(number)) = (address, u16::try_from(port.number)) {
                let place = SocketAddr::new(address, number).to_string();
                keys.insert(key_hash(Family::Address, &place, "", "", ""));
            }
            if Protocol::from_name(&port.protocol) == Some(Protocol::Motan) {
                let own = port.interface.is_empty();
                let interface = if own {
                    &*service.name
                } else {
                    port.interface.as_str()
                };
                let key = key_hash(
                    Family::Rpc,
                    interface,
                    &port.group,
                    &port.version,
                    namespace,
                );
                keys.insert(key);
            }
        }
    }
    keys
}
