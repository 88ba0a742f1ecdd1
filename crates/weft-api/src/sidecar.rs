//! What a sidecar is told at its start: the arguments of `weft proxy`, written by the host agent and read by
//! the binary.

use std::net::IpAddr;
use std::path::PathBuf;
use weft_model::PortSpec;

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
