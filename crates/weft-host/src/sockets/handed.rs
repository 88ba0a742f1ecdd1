//! Sockets that somebody else opened for the host agent: systemd, by its socket units. The agent takes them as if
//! it had opened them itself, and opens what is missing.

use super::{InboundAddress, Listening, Plan, Role, TakeError, Taken};
use std::io;
use std::net::{SocketAddr, TcpListener};

/// The sockets that were handed over, by what they are for.
#[derive(Debug, Default)]
pub struct Handed {
    pub(super) outbound: Option<Listening>,
    pub(super) inbound: Option<Listening>,
    pub(super) http_proxy: Option<Listening>,
    pub(super) management: Option<Listening>,
    pub(super) declared: Vec<TcpListener>,
}

impl Handed {
    /// Sorts what was taken. The plan then asks for these very ports; one that asked for others is refused.
    pub fn new(taken: Taken, plan: &mut Plan) -> Result<Self, TakeError> {
        let (inbound, inbound_at) = listening(Role::Inbound, taken.inbound)?.unzip();
        let inbound_asked = plan.inbound.and_then(|inbound| inbound.port);
        let outbound = listening(Role::Outbound, taken.outbound)?;
        let http_proxy = listening(Role::HttpProxy, taken.http_proxy)?;
        let management = listening(Role::Management, taken.management)?;
        let handed = Self {
            outbound: agreed(Role::Outbound, outbound, &mut plan.outbound)?,
            http_proxy: agreed(Role::HttpProxy, http_proxy, &mut plan.http_proxy)?,
            management: agreed(Role::Management, management, &mut plan.management)?,
            inbound,
            declared: taken.declared,
        };
        if let Some(at) = inbound_at {
            check_port(Role::Inbound, at.port(), inbound_asked)?;
            plan.inbound = Some(InboundAddress {
                address: at.ip(),
                port: Some(at.port()),
            });
        }
        Ok(handed)
    }
}

/// The sockets of one role, and of their addresses the one that others reach, if there is one.
fn listening(
    role: Role,
    sockets: Vec<TcpListener>,
) -> Result<Option<(Listening, SocketAddr)>, TakeError> {
    let addresses: io::Result<Vec<_>> = sockets.iter().map(TcpListener::local_addr).collect();
    let addresses =
        addresses.map_err(|error| TakeError(format!("\"{}\": {error}", role.name())))?;
    let is_open = |address: &&SocketAddr| !address.ip().is_loopback();
    let Some(first) = addresses.iter().find(is_open).or(addresses.first()) else {
        return Ok(None);
    };
    if let Some(other) = addresses.iter().find(|at| at.port() != first.port()) {
        return Err(TakeError(format!(
            "\"{}\" listens on {first} and on {other}; give all its ListenStream= one port",
            role.name()
        )));
    }
    let listening = Listening {
        port: first.port(),
        sockets,
    };
    Ok(Some((listening, *first)))
}

/// What was handed over for a role, when the plan asks for no other port; the plan asks for it then.
fn agreed(
    role: Role,
    handed: Option<(Listening, SocketAddr)>,
    asked: &mut Option<u16>,
) -> Result<Option<Listening>, TakeError> {
    let Some((listening, _)) = handed else {
        return Ok(None);
    };
    check_port(role, listening.port, *asked)?;
    *asked = Some(listening.port);
    Ok(Some(listening))
}

fn check_port(role: Role, port: u16, asked: Option<u16>) -> Result<(), TakeError> {
    match asked {
        Some(asked) if asked != port => Err(TakeError(format!(
            "\"{}\" listens on port {port}, {} asks for {asked}; leave the option out or change ListenStream=",
            role.name(),
            role.option()
        ))),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests;
