//! The files in the runtime folder: where a sidecar and its app are, and where the center is.
//!
//! They are for people and for the CLI. Nothing on the path of a call reads them.

use crate::folders::{FolderError, Folders};
use serde_json::{Value, json};
use std::fs::{self, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Bytes of a runtime file, at the most.
const FILE_BYTES_MAX: u64 = 64 * 1024;

/// The ports of one sidecar.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Where the app sends its calls, in any protocol.
    pub outbound: u16,
    /// Where calls for the app arrive.
    pub inbound: u16,
    /// The HTTP forward proxy.
    pub http_proxy: u16,
    /// Metrics and readiness.
    pub management: u16,
}

/// One sidecar and its app: `<runtime>/<namespace>-<service>-<slot>.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RuntimeFile {
    /// The service.
    pub service: String,
    /// The instance's id.
    pub instance: String,
    /// The host agent.
    pub pid: u32,
    /// The sidecar; none while it is down.
    pub sidecar_pid: Option<u32>,
    /// Its ports.
    pub ports: Ports,
    /// Where the host agent is asked for something; none when it could not open the socket.
    pub socket: Option<PathBuf>,
}

impl RuntimeFile {
    /// Writes the file, whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), FolderError> {
        write_whole(path, &self.to_json())
    }

    /// Reads a file; none when it is not there or is not one.
    pub fn read(path: &Path) -> Option<Self> {
        Self::from_json(&read_json(path)?)
    }

    fn to_json(&self) -> Value {
        json!({
            "service": self.service,
            "instance": self.instance,
            "pid": self.pid,
            "sidecar_pid": self.sidecar_pid,
            "ports": {
                "outbound": self.ports.outbound,
                "inbound": self.ports.inbound,
                "http_proxy": self.ports.http_proxy,
                "management": self.ports.management,
            },
            "socket": self.socket,
        })
    }

    fn from_json(value: &Value) -> Option<Self> {
        let text = |name: &str| value.get(name)?.as_str().map(str::to_owned);
        let pid = |name: &str| u32::try_from(value.get(name)?.as_u64()?).ok();
        let port = |name: &str| u16::try_from(value.get("ports")?.get(name)?.as_u64()?).ok();
        Some(Self {
            service: text("service")?,
            instance: text("instance")?,
            pid: pid("pid")?,
            sidecar_pid: pid("sidecar_pid"),
            ports: Ports {
                outbound: port("outbound")?,
                inbound: port("inbound")?,
                http_proxy: port("http_proxy")?,
                management: port("management")?,
            },
            socket: text("socket").map(PathBuf::from),
        })
    }
}

/// Where the center of this machine is: `<runtime>/center.json`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CenterFile {
    /// Its address, `http://host:port`.
    pub url: String,
    /// The file with the token for changes, when there is one.
    pub token_file: Option<String>,
}

impl CenterFile {
    const NAME: &str = "center.json";

    /// Writes the file, whole or not at all.
    pub fn write(&self, folders: &Folders) -> Result<(), FolderError> {
        folders.prepare_runtime()?;
        let content = json!({ "url": self.url, "token_file": self.token_file });
        write_whole(&folders.runtime.join(Self::NAME), &content)
    }

    /// Reads the file; none when it is not there or is not one.
    pub fn read(folders: &Folders) -> Option<Self> {
        let value = read_json(&folders.runtime.join(Self::NAME))?;
        Some(Self {
            url: value.get("url")?.as_str()?.to_owned(),
            token_file: value
                .get("token_file")
                .and_then(Value::as_str)
                .map(str::to_owned),
        })
    }

    /// Removes the file if it still names this center.
    pub fn remove(&self, folders: &Folders) {
        if Self::read(folders).as_ref() == Some(self) {
            let _ = fs::remove_file(folders.runtime.join(Self::NAME));
        }
    }
}

/// Writes beside the file and renames, so that a reader never sees half of it.
fn write_whole(path: &Path, content: &Value) -> Result<(), FolderError> {
    let beside = path.with_extension(format!("json.{}", std::process::id()));
    let write = || -> io::Result<()> {
        let mut file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)?;
        file.write_all(format!("{content}\n").as_bytes())?;
        fs::rename(&beside, path)
    };
    write().map_err(|error| {
        let _ = fs::remove_file(&beside);
        FolderError::new("write", path, error.to_string())
    })
}

fn read_json(path: &Path) -> Option<Value> {
    let mut text = String::new();
    fs::File::open(path)
        .ok()?
        .take(FILE_BYTES_MAX)
        .read_to_string(&mut text)
        .ok()?;
    serde_json::from_str(&text).ok()
}

#[cfg(test)]
mod tests;
