//! What a sidecar and a center say to each other (`weft.sync.v1`), and the one translation between an
//! instance on the wire and an instance that is true.
//!
//! The messages are generated from `proto/weft/sync/v1/sync.proto`. Never in here: when to send what.

pub mod arriving;
pub mod frame;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use weft_model::declared::{Hop, OnDeath as Death};
use weft_model::instance::{CallerCheck, NAMESPACE_DEFAULT, Shape};
use weft_model::{InstanceId, Protocol, ServiceName};

#[rustfmt::skip]
#[path = "gen/weft.sync.v1.rs"]
#[allow(
    missing_docs, unused_qualifications, clippy::all, clippy::pedantic, clippy::use_self,
    reason = "generated: the .proto is the place for words"
)]
pub(crate) mod generated;

pub use generated::*;

// Other generated messages name those of this package by its version.
pub(crate) use generated as v1;

/// The protocol's version in both hellos.
pub const PROTOCOL_VERSION: u32 = 1;

/// Ports of one instance at the most.
pub const PORTS_MAX: usize = 64;

/// Labels, and patterns of idempotent methods, of one instance at the most.
pub const LABELS_MAX: usize = 64;

/// Bytes of any one text of an instance at the most.
pub const TEXT_BYTES_MAX: usize = 1024;

/// The shortest interval of a check by callers, in milliseconds.
pub const CHECK_INTERVAL_MS_MIN: u32 = 100;

/// What is wrong with a message: it goes into a Nack as it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// The field at fault, as a path: `instances[2].address`.
    pub field: String,
    /// What was found, and what belongs there.
    pub reason: String,
}

impl fmt::Display for FieldError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.field, self.reason)
    }
}

impl std::error::Error for FieldError {}

/// An instance for the wire. What only the wire knows (`link_tls`, `management_port`, `offline`) is left at its
/// default.
pub fn instance_to_wire(instance: &weft_model::Instance) -> Instance {
    Instance {
        namespace: instance.service.namespace.to_string(),
        service: instance.service.name.to_string(),
        id: instance.id.to_string(),
        incarnation: instance.incarnation,
        address: instance.address.to_string(),
        inbound_port: u32::from(instance.inbound_port),
        ports: instance.ports.iter().map(port_to_wire).collect(),
        labels: instance
            .labels
            .iter()
            .map(|(k, v)| (k.to_string(), v.to_string()))
            .collect(),
        zone: instance.zone.to_string(),
        weight: instance.weight,
        idempotent: instance
            .idempotent
            .iter()
            .map(ToString::to_string)
            .collect(),
        state: state_to_wire(instance.state) as i32,
        link_tls: false,
        management_port: 0,
        offline: false,
        offline_changed_ms: 0,
        check: instance.check.as_ref().map(check_to_wire),
    }
}

/// The true instance of one from the wire; `path` names the message it stands in (`instance`,
/// `instances[2]`) and begins the path of a field at fault.
pub fn instance_from_wire(wire: &Instance, path: &str) -> Result<weft_model::Instance, FieldError> {
    let at = At { path };
    let namespace = match at.text("namespace", &wire.namespace)? {
        "" => NAMESPACE_DEFAULT,
        namespace => namespace,
    };
    let address = at.text("address", &wire.address)?;
    let address = address
        .parse()
        .map_err(|_| at.wrong("address", format!("\"{address}\" is not an IP address")))?;
    at.count("ports", wire.ports.len(), PORTS_MAX)?;
    at.count("labels", wire.labels.len(), LABELS_MAX)?;
    at.count("idempotent", wire.idempotent.len(), LABELS_MAX)?;
    let ports = wire
        .ports
        .iter()
        .enumerate()
        .map(|(index, port)| port_from_wire(port, &format!("{path}.ports[{index}]")));
    let labels = wire.labels.iter().map(|(name, value)| {
        let field = format!("labels[\"{}\"]", at.text("labels", name)?);
        Ok((
            at.name(&field, name)?.into(),
            at.text(&field, value)?.into(),
        ))
    });
    let idempotent = wire.idempotent.iter().enumerate().map(|(index, pattern)| {
        at.name(&format!("idempotent[{index}]"), pattern)
            .map(Box::from)
    });
    Ok(weft_model::Instance {
        id: InstanceId::new(at.name("id", &wire.id)?),
        incarnation: wire.incarnation,
        address,
        inbound_port: match wire.check {
            None => at.port("inbound_port", wire.inbound_port)?,
            Some(_) => 0,
        },
        // Taken out of use is, to a caller, the same as leaving.
        state: if wire.offline {
            weft_model::InstanceState::Draining
        } else {
            state_from_wire(wire.state())
        },
        weight: wire.weight,
        shape: Arc::new(Shape {
            service: ServiceName::new(namespace, at.name("service", &wire.service)?),
            ports: ports.collect::<Result<_, _>>()?,
            labels: labels.collect::<Result<_, _>>()?,
            zone: at.text("zone", &wire.zone)?.into(),
            idempotent: idempotent.collect::<Result<_, _>>()?,
            check: match &wire.check {
                None => None,
                Some(check) => Some(check_from_wire(check, &format!("{path}.check"))?),
            },
        }),
    })
}

/// Transports of links, to be told.
pub fn hops_to_wire(hops: &[Hop]) -> Vec<i32> {
    let hop = |hop: &Hop| match hop {
        Hop::H2 => MeshHop::HopH2,
        Hop::Http1 => MeshHop::HopHttp1,
    };
    hops.iter().map(|known| hop(known) as i32).collect()
}

/// Transports of links, as they were told; one of a later version is passed over.
pub fn hops_from_wire(wire: &[i32]) -> Vec<Hop> {
    let hop = |number: &i32| match MeshHop::try_from(*number) {
        Ok(MeshHop::HopH2) => Some(Hop::H2),
        Ok(MeshHop::HopHttp1) => Some(Hop::Http1),
        Ok(MeshHop::HopUnknown) | Err(_) => None,
    };
    wire.iter().filter_map(hop).collect()
}

/// What follows when a sidecar keeps dying, to be told; none: nothing is declared.
pub fn on_death_to_wire(declared: Option<Death>) -> i32 {
    let wire = match declared {
        None => OnDeath::Undeclared,
        Some(Death::RestartInPlace) => OnDeath::RestartInPlace,
        Some(Death::RestartApp) => OnDeath::RestartApp,
        Some(Death::GiveUp) => OnDeath::GiveUp,
    };
    wire as i32
}

/// The same as it was told; a word of a later version is none.
pub fn on_death_from_wire(wire: i32) -> Option<Death> {
    match OnDeath::try_from(wire) {
        Ok(OnDeath::RestartInPlace) => Some(Death::RestartInPlace),
        Ok(OnDeath::RestartApp) => Some(Death::RestartApp),
        Ok(OnDeath::GiveUp) => Some(Death::GiveUp),
        Ok(OnDeath::Undeclared) | Err(_) => None,
    }
}

/// How callers check, for the wire.
pub fn check_to_wire(check: &CallerCheck) -> Check {
    use weft_model::declared::Check as Model;
    let (kind, port, path) = match &check.check {
        Model::Tcp { port } => ("tcp", *port, ""),
        Model::Http { port, path } => ("http", *port, &**path),
        Model::Motan { port } => ("motan", *port, ""),
    };
    Check {
        kind: kind.to_owned(),
        port: u32::from(port),
        path: path.to_owned(),
        interval_ms: u32::try_from(check.interval.as_millis()).unwrap_or(u32::MAX),
    }
}

/// How callers check, from the wire; `path` names the message.
///
/// # Errors
/// The field at fault.
pub fn check_from_wire(wire: &Check, path: &str) -> Result<CallerCheck, FieldError> {
    use weft_model::declared::Check as Model;
    let at = At { path };
    let port = at.port("port", wire.port)?;
    let check = match wire.kind.as_str() {
        "tcp" => Model::Tcp { port },
        "http" => Model::Http {
            port,
            path: at.http_path("path", &wire.path)?.into(),
        },
        "motan" => Model::Motan { port },
        other => {
            let reason = format!("\"{other}\" is not one of tcp, http, motan");
            return Err(at.wrong("kind", reason));
        }
    };
    let interval_ms = wire.interval_ms.max(CHECK_INTERVAL_MS_MIN);
    Ok(CallerCheck {
        check,
        interval: Duration::from_millis(u64::from(interval_ms)),
    })
}

/// The true instances of a Delta, or the first field at fault: a message is used whole or not at all.
pub fn instances_from_wire(wire: &[Instance]) -> Result<Vec<weft_model::Instance>, FieldError> {
    wire.iter()
        .enumerate()
        .map(|(index, instance)| instance_from_wire(instance, &format!("instances[{index}]")))
        .collect()
}

/// Ports for the wire.
pub fn ports_to_wire(ports: &[weft_model::Port]) -> Vec<Port> {
    ports.iter().map(port_to_wire).collect()
}

fn port_to_wire(port: &weft_model::Port) -> Port {
    Port {
        name: port.name.to_string(),
        protocol: port.protocol.name().to_owned(),
        number: u32::from(port.number),
        interface: port.interface.to_string(),
        group: port.group.to_string(),
        version: port.version.to_string(),
    }
}

fn port_from_wire(wire: &Port, path: &str) -> Result<weft_model::Port, FieldError> {
    let at = At { path };
    let protocol = at.text("protocol", &wire.protocol)?;
    let protocol = Protocol::from_name(protocol).ok_or_else(|| {
        let known: Vec<_> = Protocol::ALL.iter().map(|(name, _)| *name).collect();
        at.wrong(
            "protocol",
            format!("\"{protocol}\" is not one of {}", known.join(", ")),
        )
    })?;
    let name = match at.text("name", &wire.name)? {
        "" => protocol.name(),
        name => name,
    };
    Ok(weft_model::Port {
        name: name.into(),
        protocol,
        number: at.port("number", wire.number)?,
        interface: at.text("interface", &wire.interface)?.into(),
        group: at.text("group", &wire.group)?.into(),
        version: at.text("version", &wire.version)?.into(),
    })
}

pub(crate) fn state_to_wire(state: weft_model::InstanceState) -> InstanceState {
    match state {
        weft_model::InstanceState::Ready => InstanceState::Ready,
        weft_model::InstanceState::Unconfirmed => InstanceState::Unconfirmed,
        weft_model::InstanceState::Draining => InstanceState::Draining,
    }
}

/// A state of a later version is one that nobody here has confirmed.
fn state_from_wire(state: InstanceState) -> weft_model::InstanceState {
    match state {
        InstanceState::Ready => weft_model::InstanceState::Ready,
        InstanceState::StateUnknown | InstanceState::Unconfirmed => {
            weft_model::InstanceState::Unconfirmed
        }
        InstanceState::Draining => weft_model::InstanceState::Draining,
    }
}

/// Checks the fields of the message at a path.
struct At<'a> {
    path: &'a str,
}

impl At<'_> {
    fn wrong(&self, field: &str, reason: String) -> FieldError {
        FieldError {
            field: format!("{}.{field}", self.path),
            reason,
        }
    }

    fn text<'t>(&self, field: &str, text: &'t str) -> Result<&'t str, FieldError> {
        if text.len() > TEXT_BYTES_MAX {
            let reason = format!("{} bytes are more than {TEXT_BYTES_MAX}", text.len());
            return Err(self.wrong(field, reason));
        }
        Ok(text)
    }

    fn name<'t>(&self, field: &str, text: &'t str) -> Result<&'t str, FieldError> {
        if text.is_empty() {
            return Err(self.wrong(field, "it is empty".to_owned()));
        }
        self.text(field, text)
    }

    /// A path that can stand in the first line of a request.
    fn http_path<'t>(&self, field: &str, text: &'t str) -> Result<&'t str, FieldError> {
        if !text.starts_with('/') || text.bytes().any(|byte| !byte.is_ascii_graphic()) {
            let reason = format!("\"{}\" is not a path", text.escape_debug());
            return Err(self.wrong(field, reason));
        }
        self.text(field, text)
    }

    fn port(&self, field: &str, number: u32) -> Result<u16, FieldError> {
        u16::try_from(number)
            .ok()
            .filter(|number| *number != 0)
            .ok_or_else(|| {
                self.wrong(
                    field,
                    format!("{number} is not a port number from 1 to 65535"),
                )
            })
    }

    fn count(&self, field: &str, count: usize, max: usize) -> Result<(), FieldError> {
        if count > max {
            return Err(self.wrong(field, format!("{count} are more than {max}")));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
