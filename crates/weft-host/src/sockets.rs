//! The sockets of a sidecar: opened by the host agent, or by systemd for it (`handed.rs`), kept through every death of the sidecar, handed over
//! by the systemd convention (`LISTEN_FDS`, `LISTEN_FDNAMES`).
//!
//! A port is the default one when that is free, else the next free one, each by itself; a port that was asked
//! for and is taken is an error that names its owner. IPv4 and IPv6 loopback share one number.

use crate::owner::{self, Owner};
use crate::runtime_file::Ports;
use socket2::{Domain, Protocol, Socket, Type};
use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::str::FromStr;

mod handed;
mod inherit;

pub use handed::Handed;
pub use inherit::{TakeError, Taken, take, take_activated};

/// What tells a process of sockets that were handed to it (sd_listen_fds(3)); nobody else is to read it.
pub(crate) const HANDED_BY: [&str; 4] = [
    "LISTEN_PID",
    "LISTEN_PIDFDID",
    "LISTEN_FDS",
    "LISTEN_FDNAMES",
];
/// Connections that the kernel holds for a listening socket while no sidecar accepts, at the most (the kernel
/// may hold fewer: `net.core.somaxconn`).
pub const BACKLOG: i32 = 4096;
/// The step from a taken default port to the next one: the last digit stays, so that people know what it is.
const STEP: u16 = 10;
/// Ports that are tried for one role, at the most.
const TRIES_MAX: u16 = 400;

/// What a listening socket is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Calls of the app, in any protocol.
    Outbound,
    /// Calls for the app.
    Inbound,
    /// HTTP forward proxy.
    HttpProxy,
    /// Metrics and readiness.
    Management,
    /// One of the listeners that a person declared (`--listen`, `--upstream`), told apart by their ports.
    Declared,
}

impl Role {
    /// Every role, in the order in which descriptors are handed over.
    pub const ALL: [Self; 5] = [
        Self::Outbound,
        Self::Inbound,
        Self::HttpProxy,
        Self::Management,
        Self::Declared,
    ];

    /// The name in `LISTEN_FDNAMES`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
            Self::HttpProxy => "http_proxy",
            Self::Management => "management",
            Self::Declared => "declared",
        }
    }

    /// The port that is tried first; a declared listener names its own.
    pub fn default_port(self) -> u16 {
        match self {
            Self::Outbound => 9981,
            Self::Inbound => 9982,
            Self::HttpProxy => 9983,
            Self::Management => 8002,
            Self::Declared => 0,
        }
    }

    /// The option with which a person chooses the port.
    pub fn option(self) -> &'static str {
        match self {
            Self::Outbound => "--outbound-port",
            Self::Inbound => "--inbound",
            Self::HttpProxy => "--http-proxy-port",
            Self::Management => "--management-port",
            Self::Declared => "--listen",
        }
    }
}

/// Where the inbound socket listens: `addr`, `addr:port`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InboundAddress {
    /// The address.
    pub address: IpAddr,
    /// The port, when one was asked for.
    pub port: Option<u16>,
}

impl FromStr for InboundAddress {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        if let Ok(socket) = text.parse::<SocketAddr>() {
            return Ok(Self {
                address: socket.ip(),
                port: Some(socket.port()).filter(|p| *p != 0),
            });
        }
        text.parse()
            .map(|address| Self {
                address,
                port: None,
            })
            .map_err(|_| {
                format!("\"{text}\" is not an address; write for example 0.0.0.0:9982 or [::]:9982")
            })
    }
}

/// Which sockets are to be opened.
#[derive(Clone, Debug, Default)]
pub struct Plan {
    /// A port for outbound calls that was asked for.
    pub outbound: Option<u16>,
    /// Where inbound listens; by default on loopback.
    pub inbound: Option<InboundAddress>,
    /// A port for the HTTP forward proxy that was asked for.
    pub http_proxy: Option<u16>,
    /// A management port that was asked for.
    pub management: Option<u16>,
    /// Ports of declared listeners, on loopback.
    pub declared: Vec<u16>,
    /// Ports never chosen by ourselves: those on which the app will listen.
    pub avoid: Vec<u16>,
}

impl Plan {
    /// Whether others than this machine will reach the inbound socket.
    pub fn is_inbound_open(&self) -> bool {
        self.inbound
            .is_some_and(|inbound| !inbound.address.is_loopback())
    }

    /// Opens all sockets of the plan that were not handed over.
    pub fn open(&self, handed: Handed) -> Result<Listeners, OpenError> {
        let loopback = loopback_addresses();
        let mut declared_before = handed.declared;
        // First, because these ports are the ones that nobody may choose otherwise.
        let declared = self.declared.iter().map(|port| {
            let is_it = |socket: &mut TcpListener| {
                socket
                    .local_addr()
                    .is_ok_and(|address| address.port() == *port)
            };
            let sockets: Vec<_> = declared_before.extract_if(.., is_it).collect();
            if sockets.is_empty() {
                return self.open_role(Role::Declared, &loopback, Some(*port));
            }
            Ok(Listening {
                port: *port,
                sockets,
            })
        });
        let declared = declared.collect::<Result<_, _>>()?;
        let open = |handed: Option<Listening>, role, port| match handed {
            Some(listening) => Ok(listening),
            None => self.open_role(role, &loopback, port),
        };
        Ok(Listeners {
            outbound: open(handed.outbound, Role::Outbound, self.outbound)?,
            inbound: match (handed.inbound, self.inbound) {
                (None, Some(chosen)) => {
                    self.open_role(Role::Inbound, &[chosen.address], chosen.port)?
                }
                (handed, _) => open(handed, Role::Inbound, None)?,
            },
            http_proxy: open(handed.http_proxy, Role::HttpProxy, self.http_proxy)?,
            management: open(handed.management, Role::Management, self.management)?,
            declared,
        })
    }

    fn open_role(
        &self,
        role: Role,
        addresses: &[IpAddr],
        asked: Option<u16>,
    ) -> Result<Listening, OpenError> {
        if let Some(port) = asked {
            return listen(addresses, port).map_err(|error| OpenError::new(role, port, error));
        }
        for port in candidates(role.default_port(), &self.avoid) {
            match listen(addresses, port) {
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(OpenError::new(role, port, error)),
                Ok(listening) => return Ok(listening),
            }
        }
        let error = io::Error::new(io::ErrorKind::AddrInUse, "no port is free");
        Err(OpenError::new(role, role.default_port(), error))
    }
}

/// The ports tried for a role: the default, then steps of ten.
fn candidates(default: u16, avoid: &[u16]) -> impl Iterator<Item = u16> {
    (0..TRIES_MAX)
        .map_while(move |step| default.checked_add(step.checked_mul(STEP)?))
        .filter(|port| !avoid.contains(port))
}

/// IPv4 loopback, and IPv6 loopback where the machine has one.
fn loopback_addresses() -> Vec<IpAddr> {
    let v6 = IpAddr::from(Ipv6Addr::LOCALHOST);
    let mut addresses = vec![IpAddr::from(Ipv4Addr::LOCALHOST)];
    if TcpListener::bind((v6, 0)).is_ok() {
        addresses.push(v6);
    }
    addresses
}

/// One port on every address, or none at all.
fn listen(addresses: &[IpAddr], port: u16) -> io::Result<Listening> {
    let sockets = addresses
        .iter()
        .map(|address| listen_on(SocketAddr::new(*address, port)))
        .collect::<io::Result<Vec<_>>>()?;
    Ok(Listening { port, sockets })
}

fn listen_on(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(
        Domain::for_address(address),
        Type::STREAM,
        Some(Protocol::TCP),
    )?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.set_reuse_address(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    Ok(socket.into())
}

/// One role's sockets: one port, on one or more addresses.
#[derive(Debug)]
pub struct Listening {
    /// The port.
    pub port: u16,
    /// One socket per address.
    pub sockets: Vec<TcpListener>,
}

/// The open sockets of a sidecar.
#[derive(Debug)]
pub struct Listeners {
    /// Calls of the app, in any protocol.
    pub outbound: Listening,
    /// Calls for the app.
    pub inbound: Listening,
    /// HTTP forward proxy.
    pub http_proxy: Listening,
    /// Metrics and readiness.
    pub management: Listening,
    /// What a person declared.
    pub declared: Vec<Listening>,
}

impl Listeners {
    /// The ports.
    pub fn ports(&self) -> Ports {
        Ports {
            outbound: self.outbound.port,
            inbound: self.inbound.port,
            http_proxy: self.http_proxy.port,
            management: self.management.port,
        }
    }

    /// Every socket with its role, in the order of the hand-over.
    pub(crate) fn in_order(&self) -> impl Iterator<Item = (Role, &TcpListener)> {
        Role::ALL.into_iter().flat_map(|role| {
            let listening = match role {
                Role::Outbound => std::slice::from_ref(&self.outbound),
                Role::Inbound => std::slice::from_ref(&self.inbound),
                Role::HttpProxy => std::slice::from_ref(&self.http_proxy),
                Role::Management => std::slice::from_ref(&self.management),
                Role::Declared => &self.declared,
            };
            let sockets = listening.iter().flat_map(|listening| &listening.sockets);
            sockets.map(move |socket| (role, socket))
        })
    }
}

/// Why a socket could not be opened.
#[derive(Debug)]
pub struct OpenError {
    role: Role,
    port: u16,
    owner: Option<Owner>,
    error: io::Error,
}

impl OpenError {
    fn new(role: Role, port: u16, error: io::Error) -> Self {
        let taken = error.kind() == io::ErrorKind::AddrInUse;
        Self {
            role,
            port,
            owner: taken.then(|| owner::owner_of(port)).flatten(),
            error,
        }
    }
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            role,
            port,
            owner,
            error,
        } = self;
        write!(f, "cannot listen on {} port {port}: ", role.name())?;
        match owner {
            Some(owner) => write!(
                f,
                "taken by {owner}; stop it, choose another port with {0}, or leave {0} out for a free one",
                role.option()
            ),
            None => write!(f, "{error}; choose another with {}", role.option()),
        }
    }
}

impl std::error::Error for OpenError {}

#[cfg(test)]
mod tests;
