//! `Workload`: an instance without a sidecar, checked by its callers.

use super::Metadata;
use super::field::{self, Span, wrong};
use super::lifecycle::path_of;
use super::port::{self, PortSpec};
use crate::sync::FieldError;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::Duration;
use weft_model::declared::{Check, PlainInstance};
use weft_model::{InstanceId, Port, Protocol, ServiceName};

/// An ordinary share of calls.
const WEIGHT_DEFAULT: u32 = 100;

/// The greatest share of calls.
pub const WEIGHT_MAX: u32 = 10_000;

/// How often it is checked when nothing is declared.
const INTERVAL_DEFAULT: Duration = Duration::from_secs(5);

/// The shortest interval of checks: each caller's sidecar checks.
pub const INTERVAL_MIN: Duration = Duration::from_millis(500);

/// An instance without a sidecar. Its name is the instance's id.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct WorkloadSpec {
    /// The service it belongs to.
    pub service: String,
    /// Where its app listens: an IP address.
    pub address: String,
    /// The app's ports.
    pub ports: Vec<PortSpec>,
    /// Labels by which routes select.
    #[serde(default)]
    pub labels: BTreeMap<String, String>,
    /// The zone.
    #[serde(default)]
    pub zone: String,
    /// The share of calls, 0 to 10000; 100 unless said otherwise.
    #[serde(default = "weight_default")]
    pub weight: u32,
    /// How its callers find out whether it answers; `tcp` on the first port unless said otherwise.
    #[serde(default)]
    pub check: CheckSpec,
}

/// How callers find out whether an app answers: at most one of `tcp`, `http` and `motan`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CheckSpec {
    /// It takes a connection.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tcp: Option<CheckPort>,
    /// It answers a GET with 200 to 399.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub http: Option<CheckHttp>,
    /// It answers a Motan heartbeat.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub motan: Option<CheckPort>,
    /// How often, at least `500ms`; `5s` unless said otherwise.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<Span>,
}

/// A port to check.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CheckPort {
    /// The port's name; the first that fits unless said otherwise.
    #[serde(default)]
    pub port: String,
}

/// A path to check.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct CheckHttp {
    /// The port's name; the first that speaks HTTP/1.1 unless said otherwise.
    #[serde(default)]
    pub port: String,
    /// The path, from its `/` on.
    pub path: String,
}

fn weight_default() -> u32 {
    WEIGHT_DEFAULT
}

impl WorkloadSpec {
    /// What it means.
    pub fn model(&self, metadata: &Metadata) -> Result<PlainInstance, FieldError> {
        field::name("spec.service", &self.service)?;
        let address: IpAddr = self.address.parse().map_err(|_| {
            wrong(
                "spec.address",
                format!("found \"{}\"; an IP address belongs here", self.address),
            )
        })?;
        if address.is_unspecified() || address.is_multicast() {
            return Err(wrong(
                "spec.address",
                format!("{address} is nobody's address"),
            ));
        }
        field::labels("spec.labels", &self.labels)?;
        if !self.zone.is_empty() {
            field::name("spec.zone", &self.zone)?;
        }
        if self.weight > WEIGHT_MAX {
            let reason = format!("{} is more than {WEIGHT_MAX}", self.weight);
            return Err(wrong("spec.weight", reason));
        }
        let ports = port::models("spec.ports", &self.ports)?;
        let interval = self.check.interval.map_or(INTERVAL_DEFAULT, |span| span.0);
        if interval < INTERVAL_MIN {
            let reason = format!(
                "{} ms is less than {} ms",
                interval.as_millis(),
                INTERVAL_MIN.as_millis()
            );
            return Err(wrong("spec.check.interval", reason));
        }
        let labels = self.labels.iter();
        Ok(PlainInstance {
            service: ServiceName::new(&metadata.namespace, &self.service),
            id: InstanceId::new(&metadata.name),
            address,
            check: self.check.model(&ports)?,
            interval,
            labels: labels
                .map(|(k, v)| (k.as_str().into(), v.as_str().into()))
                .collect(),
            zone: self.zone.as_str().into(),
            weight: self.weight,
            ports,
        })
    }
}

impl CheckSpec {
    fn model(&self, ports: &[Port]) -> Result<Check, FieldError> {
        const PATH: &str = "spec.check";
        match (&self.tcp, &self.http, &self.motan) {
            (None, None, None) => Ok(Check::Tcp {
                port: port_of("spec.check.tcp", "", ports, |_| true)?,
            }),
            (Some(tcp), None, None) => Ok(Check::Tcp {
                port: port_of("spec.check.tcp", &tcp.port, ports, |_| true)?,
            }),
            (None, Some(http), None) => {
                let speaks = |protocol| matches!(protocol, Protocol::Http | Protocol::Detect);
                Ok(Check::Http {
                    port: port_of("spec.check.http", &http.port, ports, speaks)?,
                    path: path_of("spec.check.http.path", &http.path)?,
                })
            }
            (None, None, Some(motan)) => {
                let speaks = |protocol| protocol == Protocol::Motan;
                Ok(Check::Motan {
                    port: port_of("spec.check.motan", &motan.port, ports, speaks)?,
                })
            }
            _ => Err(wrong(
                PATH,
                "at most one of tcp, http and motan belongs here",
            )),
        }
    }
}

/// The number of the named port, or of the first that fits.
fn port_of(
    path: &str,
    name: &str,
    ports: &[Port],
    fits: impl Fn(Protocol) -> bool,
) -> Result<u16, FieldError> {
    let found = if name.is_empty() {
        ports.iter().find(|port| fits(port.protocol))
    } else {
        ports.iter().find(|port| &*port.name == name)
    };
    found.map(|port| port.number).ok_or_else(|| {
        let names: Vec<_> = ports.iter().map(|port| &*port.name).collect();
        let wanted = if name.is_empty() {
            "no port fits".to_owned()
        } else {
            format!("no port is called \"{name}\"")
        };
        wrong(
            format!("{path}.port"),
            format!("{wanted}; the ports are {}", names.join(", ")),
        )
    })
}
