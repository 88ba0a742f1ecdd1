//! The shape of a port: the same in a service and in an instance.

use super::field::{self, wrong};
use crate::sync::{FieldError, PORTS_MAX, TEXT_BYTES_MAX};
use serde::{Deserialize, Serialize};
use weft_model::{Port, Protocol};

/// A port.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct PortSpec {
    /// Its name, unique in the list; the protocol unless said otherwise.
    #[serde(default)]
    pub name: String,
    /// The number, 1 to 65535.
    pub port: u16,
    /// `detect`, `http`, `h2`, `grpc`, `tcp` or `motan`; `detect` unless said otherwise.
    #[serde(default)]
    pub protocol: String,
    /// RPC: the interfaces served; the service's name unless said otherwise.
    #[serde(default)]
    pub interfaces: Vec<String>,
    /// RPC: the group; any unless said otherwise.
    #[serde(default)]
    pub group: String,
    /// RPC: the version; any unless said otherwise.
    #[serde(default)]
    pub version: String,
}

/// The true ports of a list: one for each RPC interface, the first under the port's name, each further one
/// with its number behind it.
pub(super) fn models(path: &str, ports: &[PortSpec]) -> Result<Vec<Port>, FieldError> {
    if ports.is_empty() {
        return Err(wrong(path, "it is empty; at least one port belongs here"));
    }
    let mut models: Vec<Port> = Vec::new();
    for (index, spec) in ports.iter().enumerate() {
        let path = format!("{path}[{index}]");
        let protocol = protocol(&path, &spec.protocol)?;
        let name = if spec.name.is_empty() {
            protocol.name()
        } else {
            &spec.name
        };
        field::name(&format!("{path}.name"), name)?;
        if models.iter().any(|known| &*known.name == name) {
            let reason = format!("another port is called \"{name}\" too; give each its own name");
            return Err(wrong(format!("{path}.name"), reason));
        }
        let number = field::port(&format!("{path}.port"), spec.port)?;
        if !spec.interfaces.is_empty() && protocol != Protocol::Motan {
            let reason = format!(
                "{} has no interfaces; they belong to protocol motan",
                protocol.name()
            );
            return Err(wrong(format!("{path}.interfaces"), reason));
        }
        for (field, text) in [("group", &spec.group), ("version", &spec.version)] {
            text_fits(&format!("{path}.{field}"), text)?;
        }
        let named = Port {
            name: name.into(),
            protocol,
            number,
            interface: "".into(),
            group: spec.group.as_str().into(),
            version: spec.version.as_str().into(),
        };
        if spec.interfaces.is_empty() {
            models.push(named);
            continue;
        }
        for (position, interface) in spec.interfaces.iter().enumerate() {
            let field = format!("{path}.interfaces[{position}]");
            if interface.is_empty() {
                return Err(wrong(
                    field,
                    "it is empty; the interface's full name belongs here",
                ));
            }
            text_fits(&field, interface)?;
            let name = match position {
                0 => named.name.clone(),
                _ => format!("{name}-{}", position + 1).into(),
            };
            models.push(Port {
                name,
                interface: interface.as_str().into(),
                ..named.clone()
            });
        }
    }
    if models.len() > PORTS_MAX {
        let reason = format!(
            "{} ports and interfaces are more than {PORTS_MAX}",
            models.len()
        );
        return Err(wrong(path, reason));
    }
    Ok(models)
}

fn protocol(path: &str, name: &str) -> Result<Protocol, FieldError> {
    if name.is_empty() {
        return Ok(Protocol::Detect);
    }
    Protocol::from_name(name).ok_or_else(|| {
        let known: Vec<_> = Protocol::ALL.iter().map(|(name, _)| *name).collect();
        let reason = format!("found \"{name}\"; allowed are {}", known.join(", "));
        wrong(format!("{path}.protocol"), reason)
    })
}

fn text_fits(field: &str, text: &str) -> Result<(), FieldError> {
    if text.len() > TEXT_BYTES_MAX {
        let reason = format!("{} bytes are more than {TEXT_BYTES_MAX}", text.len());
        return Err(wrong(field, reason));
    }
    Ok(())
}
