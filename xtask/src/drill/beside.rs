//! The proxies beside weft: nginx and Envoy, one process each that forwards HTTP/1.1 to apps.
//!
//! Envoy is set up as meshes set it up: no limit for a call, two more tries for what was not begun, each at another
//! upstream. Their figures are shown and judge nothing.

use super::mesh::tied_to_us;
use super::rows::Rows;
use crate::bench::processes::{Folder, Process, READY_WITHIN, free_port, get, wait_for};
use crate::peers;
use rustix::process::Signal;
use std::fmt::Write;
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// A program that does a part of what a sidecar does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Program {
    Nginx,
    Envoy,
}

impl Program {
    /// All of them.
    pub(super) const ALL: [Self; 2] = [Self::Nginx, Self::Envoy];

    fn name(self) -> &'static str {
        match self {
            Self::Nginx => "nginx",
            Self::Envoy => "envoy",
        }
    }

    /// Its name and version; none, and a note, when it is not there.
    pub(super) fn version(self, rows: &mut Rows) -> Option<String> {
        let version = peers::version(self.name());
        if version.is_none() {
            let name = self.name();
            rows.note(format!(
                "left out: {name} is not installed; cargo xtask peers installs it"
            ));
        }
        version
    }

    /// What starts it.
    fn words(self, configuration: &Path) -> Vec<String> {
        let path = configuration.to_string_lossy().into_owned();
        let words: &[&str] = match self {
            Self::Nginx => &["nginx", "-e", "/dev/null", "-c", &path],
            Self::Envoy => &[
                "envoy",
                "-c",
                &path,
                "--concurrency",
                "1",
                "--disable-hot-restart",
                "-l",
                "error",
            ],
        };
        words.iter().map(|word| (*word).to_owned()).collect()
    }

    fn configuration(self, folder: &Path, address: SocketAddr, apps: &[SocketAddr]) -> String {
        match self {
            Self::Nginx => nginx(folder, address, apps),
            Self::Envoy => envoy(address, apps),
        }
    }
}

/// One such process.
pub(super) struct Beside {
    pub(super) process: Process,
    program: Program,
    configuration: PathBuf,
    /// Where it listens.
    pub(super) address: SocketAddr,
    _folder: Folder,
}

impl Beside {
    /// Starts one before these apps, and waits until it answers through to them.
    pub(super) fn start(program: Program, apps: &[SocketAddr]) -> Result<Self, String> {
        Self::start_under(tied_to_us(), program, apps)
    }

    /// The same under another command.
    pub(super) fn start_under(
        command: Command,
        program: Program,
        apps: &[SocketAddr],
    ) -> Result<Self, String> {
        let port = free_port()?;
        let folder = Folder::new(&format!("drill-{}-{port}", program.name()))?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let path = folder.path.join("configuration.yaml");
        fs::write(&path, program.configuration(&folder.path, address, apps))
            .map_err(|error| format!("write \"{}\": {error}", path.display()))?;
        let process = spawn(command, program, &path)?;
        let what = format!("a reply through {}", program.name());
        wait_for(&what, READY_WITHIN, || {
            get(address, "/").ok().filter(|(status, _)| *status == 200)
        })?;
        Ok(Self {
            process,
            program,
            configuration: path,
            address,
            _folder: folder,
        })
    }

    /// What a loop around it does: when it has ended, the next one starts.
    pub(super) fn kill_and_start_again(&mut self) -> Result<(), String> {
        self.process.signal(Signal::KILL);
        wait_for("the end of a killed proxy", READY_WITHIN, || {
            (!self.process.runs()).then_some(())
        })?;
        self.process = spawn(tied_to_us(), self.program, &self.configuration)?;
        Ok(())
    }
}

fn spawn(mut command: Command, program: Program, configuration: &Path) -> Result<Process, String> {
    command
        .args(program.words(configuration))
        .env("PATH", peers::path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Process::spawn(&mut command)
}

fn nginx(folder: &Path, address: SocketAddr, apps: &[SocketAddr]) -> String {
    let folder = folder.display();
    let mut servers = String::new();
    for app in apps {
        // Writing to a String cannot fail.
        let _ = write!(servers, "server {app}; ");
    }
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
  upstream app {{ {servers}keepalive 64; }}
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

fn envoy(address: SocketAddr, apps: &[SocketAddr]) -> String {
    let mut endpoints = String::new();
    for app in apps {
        let (ip, port) = (app.ip(), app.port());
        // Writing to a String cannot fail.
        let _ = write!(
            endpoints,
            "
        - endpoint: {{ address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }} }}"
        );
    }
    let (ip, port) = (address.ip(), address.port());
    format!(
        r#"static_resources:
  listeners:
  - address: {{ socket_address: {{ address: {ip}, port_value: {port} }} }}
    filter_chains:
    - filters:
      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: drill
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: {{ prefix: "/" }}
                route:
                  cluster: apps
                  timeout: 0s
                  retry_policy:
                    retry_on: connect-failure,refused-stream,unavailable,cancelled
                    num_retries: 2
                    host_selection_retry_max_attempts: 5
                    retry_host_predicate:
                    - name: envoy.retry_host_predicates.previous_hosts
                      typed_config:
                        "@type": type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
  clusters:
  - name: apps
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: apps
      endpoints:
      - lb_endpoints:{endpoints}
"#
    )
}

#[cfg(test)]
mod tests;
