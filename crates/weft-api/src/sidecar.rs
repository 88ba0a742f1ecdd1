//! What a sidecar is told at its start: the arguments of `weft proxy`, written by the host agent and read by
//! the binary.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::str::FromStr;
use weft_model::{PortSpec, Protocol};

/// Which calls are written to the access log.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum AccessLog {
    /// None.
    Off,
    /// Those that failed.
    #[default]
    Failed,
    /// All.
    All,
}

impl AccessLog {
    /// The name as in `--access-log`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Failed => "failed",
            Self::All => "all",
        }
    }

    /// The setting with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Off, Self::Failed, Self::All]
            .into_iter()
            .find(|known| known.name() == name)
    }
}

/// A listener beside the usual ones, of which a person declared whose calls come in by it and in which protocol:
/// `outbound:tcp=13306,to=mysql`, `inbound:h2=9984`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListenSpec {
    /// Whether the app's own calls come in by it (else calls for the app).
    pub is_outbound: bool,
    /// What is spoken there; nobody looks at the first bytes.
    pub protocol: Protocol,
    /// The port, on loopback.
    pub port: u16,
    /// Opaque bytes of the app: the service or host to which they go.
    pub to: String,
}

impl ListenSpec {
    /// A local listener that leads to the TCP port of a service, or to an external `host:port`: `mysql=13306`.
    ///
    /// # Errors
    /// A sentence, when the text is not `NAME=PORT`.
    pub fn of_upstream(text: &str) -> Result<Self, String> {
        let wrong = || {
            format!(
                "\"{text}\" is not NAME=PORT; write for example mysql=13306 or db.example:3306=13306"
            )
        };
        let (to, port) = text.rsplit_once('=').ok_or_else(wrong)?;
        let port = port.parse().ok().filter(|port| *port != 0);
        match (to.is_empty(), port) {
            (false, Some(port)) => Ok(Self {
                is_outbound: true,
                protocol: Protocol::Tcp,
                port,
                to: to.to_owned(),
            }),
            _ => Err(wrong()),
        }
    }
}

impl FromStr for ListenSpec {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = |found: &str| {
            format!(
                "\"{text}\": {found}; write outbound:PROTOCOL=PORT or inbound:PROTOCOL=PORT, with ,to=NAME behind outbound:tcp"
            )
        };
        let (direction, rest) = text.split_once(':').ok_or_else(|| wrong("no direction"))?;
        let is_outbound = match direction {
            "outbound" => true,
            "inbound" => false,
            _ => return Err(wrong("neither outbound nor inbound")),
        };
        let (rest, to) = match rest.split_once(",to=") {
            Some((rest, to)) => (rest, to),
            None => (rest, ""),
        };
        let (protocol, port) = rest.split_once('=').ok_or_else(|| wrong("no port"))?;
        let protocol = Protocol::from_name(protocol).ok_or_else(|| wrong("no such protocol"))?;
        let port = port.parse().ok().filter(|port| *port != 0);
        let port = port.ok_or_else(|| wrong("the port is not a number from 1 to 65535"))?;
        // Opaque bytes name nobody; every other protocol does, call by call.
        if (protocol == Protocol::Tcp && is_outbound) == to.is_empty() {
            return Err(wrong("to= belongs to outbound:tcp, and only there"));
        }
        Ok(Self {
            is_outbound,
            protocol,
            port,
            to: to.to_owned(),
        })
    }
}

impl fmt::Display for ListenSpec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let direction = if self.is_outbound {
            "outbound"
        } else {
            "inbound"
        };
        write!(f, "{direction}:{}={}", self.protocol.name(), self.port)?;
        if self.to.is_empty() {
            return Ok(());
        }
        write!(f, ",to={}", self.to)
    }
}

/// A sidecar's own part: which instance it stands beside, and where its center is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SidecarSpec {
    /// The namespace.
    pub namespace: String,
    /// The service of the app.
    pub service: String,
    /// The instance's id.
    pub instance: String,
    /// The app's incarnation at the sidecar's start.
    pub incarnation: u64,
    /// The app's ports.
    pub ports: Vec<PortSpec>,
    /// Listeners beside the usual ones.
    pub listens: Vec<ListenSpec>,
    /// Labels.
    pub labels: Vec<(String, String)>,
    /// The zone; empty when unknown.
    pub zone: String,
    /// The share of calls; 100 is ordinary.
    pub weight: u32,
    /// Methods that may be tried twice.
    pub idempotent: Vec<String>,
    /// The address told to the center; by default the local address of the connection to it.
    pub advertise: Option<IpAddr>,
    /// Addresses of centers, `host:port`; empty: none.
    pub centers: Vec<String>,
    /// Worker threads; by default min(cores, 2).
    pub workers: Option<usize>,
    /// Which calls are logged.
    pub access_log: AccessLog,
    /// Its own folder for what it knows of the mesh; none: it keeps nothing.
    pub state_dir: Option<PathBuf>,
}

impl Default for SidecarSpec {
    fn default() -> Self {
        Self {
            namespace: weft_model::instance::NAMESPACE_DEFAULT.into(),
            service: String::new(),
            instance: String::new(),
            incarnation: 1,
            ports: Vec::new(),
            listens: Vec::new(),
            labels: Vec::new(),
            zone: String::new(),
            weight: 100,
            idempotent: Vec::new(),
            advertise: None,
            centers: Vec::new(),
            workers: None,
            access_log: AccessLog::Failed,
            state_dir: None,
        }
    }
}

impl SidecarSpec {
    /// The arguments of `weft proxy` that say the same.
    pub fn to_args(&self) -> Vec<String> {
        let mut args = Vec::new();
        let mut flag = |name: &str, value: String| args.extend([format!("--{name}"), value]);
        flag("namespace", self.namespace.clone());
        flag("service", self.service.clone());
        flag("instance", self.instance.clone());
        flag("incarnation", self.incarnation.to_string());
        for port in &self.ports {
            flag("port", port.to_string());
        }
        for listen in &self.listens {
            flag("listen", listen.to_string());
        }
        for (name, value) in &self.labels {
            flag("label", format!("{name}={value}"));
        }
        if !self.zone.is_empty() {
            flag("zone", self.zone.clone());
        }
        flag("weight", self.weight.to_string());
        for pattern in &self.idempotent {
            flag("idempotent", pattern.clone());
        }
        if let Some(address) = self.advertise {
            flag("advertise", address.to_string());
        }
        for center in &self.centers {
            flag("center", center.clone());
        }
        if let Some(workers) = self.workers {
            flag("workers", workers.to_string());
        }
        flag("access-log", self.access_log.name().to_owned());
        if let Some(folder) = &self.state_dir {
            flag("state-dir", folder.to_string_lossy().into_owned());
        }
        args
    }
}
