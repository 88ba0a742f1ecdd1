//! Envoy beside weft: a static configuration with the router, or a relay of bytes, and nothing else, one worker.
//!
//! A pair of Envoys speaks HTTP/2 between the two, its cheaper way.

use super::client::Client;
use super::processes::{Folder, PROXY_CORE, Process, READY_WITHIN, free_port, wait_for};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};

/// One Envoy.
pub(crate) struct Envoy {
    process: Process,
    /// Where it listens.
    pub(crate) address: SocketAddr,
    _folder: Folder,
}

/// What stands behind an Envoy.
#[derive(Clone, Copy)]
pub(crate) enum Next {
    /// An app, in HTTP/1.1.
    App(u16),
    /// Another Envoy, or an app, in HTTP/2.
    H2(u16),
    /// Whatever it is, bytes as they come.
    Bytes(u16),
}

impl Envoy {
    /// Starts one and waits until it answers through to the app.
    pub(crate) fn start(name: &str, next: Next) -> Result<Self, String> {
        let port = free_port()?;
        let folder = Folder::new(name)?;
        let path = folder.path.join("envoy.yaml");
        fs::write(&path, configuration(port, next))
            .map_err(|error| format!("write \"{}\": {error}", path.display()))?;
        let words = [
            "envoy",
            "-c",
            &path.to_string_lossy(),
            "--concurrency",
            "1",
            "--disable-hot-restart",
            "-l",
            "error",
        ]
        .map(str::to_owned)
        .to_vec();
        let process = Process::start(PROXY_CORE, words, &[])?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        wait_for("a reply through Envoy", READY_WITHIN, || {
            let status = Client::connect(address).and_then(|mut client| client.ask("bench"));
            status.ok().filter(|status| *status == 200)
        })?;
        Ok(Self {
            process,
            address,
            _folder: folder,
        })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

fn configuration(port: u16, next: Next) -> String {
    let (filter, upstream, options) = match next {
        Next::App(upstream) => (ROUTER, upstream, protocol("http_protocol_options")),
        Next::H2(upstream) => (ROUTER, upstream, protocol("http2_protocol_options")),
        Next::Bytes(upstream) => (RELAY, upstream, String::new()),
    };
    format!(
        r"static_resources:
  listeners:
  - address: {{ socket_address: {{ address: 127.0.0.1, port_value: {port} }} }}
    filter_chains:
    - filters:
{filter}
  clusters:
  - name: next
    type: STATIC
    connect_timeout: 1s
    load_assignment:
      cluster_name: next
      endpoints:
      - lb_endpoints:
        - endpoint:
            address: {{ socket_address: {{ address: 127.0.0.1, port_value: {upstream} }} }}
{options}"
    )
}

/// Calls of HTTP, routed.
const ROUTER: &str = r#"      - name: envoy.filters.network.http_connection_manager
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
          stat_prefix: bench
          route_config:
            virtual_hosts:
            - name: all
              domains: ["*"]
              routes:
              - match: { prefix: "/" }
                route: { cluster: next, timeout: 0s }
          http_filters:
          - name: envoy.filters.http.router
            typed_config:
              "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router"#;

/// Bytes, relayed.
const RELAY: &str = r#"      - name: envoy.filters.network.tcp_proxy
        typed_config:
          "@type": type.googleapis.com/envoy.extensions.filters.network.tcp_proxy.v3.TcpProxy
          stat_prefix: bench
          cluster: next"#;

/// In which version the next one is called.
fn protocol(options: &str) -> String {
    format!(
        r#"    typed_extension_protocol_options:
      envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
        "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
        explicit_http_config:
          {options}: {{}}
"#
    )
}

#[cfg(test)]
mod tests;
