//! Stands in for weft-proxy until that crate has its entry point: says it is ready, and ends when told.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::os::unix::net::UnixStream;
use weft_api::agent::{FromSidecar, ToSidecar};
use weft_api::sidecar::SidecarSpec;

pub(crate) struct Listeners {
    pub(crate) outbound: Vec<TcpListener>,
    pub(crate) inbound: Vec<TcpListener>,
    pub(crate) http_proxy: Vec<TcpListener>,
    pub(crate) management: Vec<TcpListener>,
}

pub(crate) struct Config(Listeners, Option<UnixStream>);

impl Config {
    pub(crate) fn new(_spec: SidecarSpec, listeners: Listeners, agent: Option<UnixStream>) -> Self {
        Self(listeners, agent)
    }
}

pub(crate) fn run(config: Config) -> Result<(), std::io::Error> {
    let Listeners {
        outbound,
        inbound,
        http_proxy,
        management,
    } = config.0;
    let _held = (outbound, inbound, http_proxy, management);
    let Some(agent) = config.1 else { return Ok(()) };
    let mut write = &agent;
    writeln!(
        write,
        "{}",
        serde_json::to_string(&FromSidecar::Ready { synced: true })?
    )?;
    for line in BufReader::new(&agent).lines() {
        if matches!(serde_json::from_str(&line?), Ok(ToSidecar::Drain { .. })) {
            break;
        }
    }
    Ok(())
}
