//! nginx beside weft: one process that forwards HTTP/1.1 to an app, ended by kill -9 and started again.

use super::mesh::{limited, tied_to_us};
use crate::bench::processes::{Folder, Process, READY_WITHIN, free_port, get, wait_for};
use crate::peers;
use rustix::process::Signal;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// One nginx.
pub(super) struct Nginx {
    process: Process,
    configuration: PathBuf,
    /// Where it listens.
    pub(super) address: SocketAddr,
    _folder: Folder,
}

impl Nginx {
    /// Starts one before an app, and waits until it answers through to it.
    pub(super) fn start(app: u16) -> Result<Self, String> {
        Self::start_under(tied_to_us(), app)
    }

    /// The same with so many open files at the most.
    pub(super) fn start_limited(files: &str, app: u16) -> Result<Self, String> {
        Self::start_under(limited(files), app)
    }

    fn start_under(command: Command, app: u16) -> Result<Self, String> {
        let folder = Folder::new("drill-nginx")?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let path = folder.path.join("nginx.conf");
        fs::write(&path, configuration(&folder.path, address, app))
            .map_err(|error| format!("write \"{}\": {error}", path.display()))?;
        let process = spawn(command, &path)?;
        wait_for("a reply through nginx", READY_WITHIN, || {
            get(address, "/").ok().filter(|(status, _)| *status == 200)
        })?;
        Ok(Self {
            process,
            configuration: path,
            address,
            _folder: folder,
        })
    }

    /// Its process.
    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// What a loop around it does: when it has ended, the next one starts.
    pub(super) fn kill_and_start_again(&mut self) -> Result<(), String> {
        self.process.signal(Signal::KILL);
        wait_for("the end of nginx", READY_WITHIN, || {
            (!self.process.runs()).then_some(())
        })?;
        self.process = spawn(tied_to_us(), &self.configuration)?;
        Ok(())
    }
}

fn spawn(mut command: Command, configuration: &Path) -> Result<Process, String> {
    command
        .args(["nginx", "-e", "/dev/null", "-c"])
        .arg(configuration)
        .env("PATH", peers::path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::spawn(&mut command)
}

fn configuration(folder: &Path, address: SocketAddr, app: u16) -> String {
    let folder = folder.display();
    format!(
        "daemon off;
master_process off;
error_log /dev/null;
pid {folder}/nginx.pid;
events {{ worker_connections 1024; }}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
  upstream app {{ server 127.0.0.1:{app}; keepalive 64; }}
  server {{
    listen {address} backlog=4096;
    location / {{
      proxy_pass http://app;
      proxy_http_version 1.1;
      proxy_set_header Connection \"\";
    }}
  }}
}}
"
    )
}
