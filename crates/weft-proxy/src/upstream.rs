//! Where a call leaves the mesh: the own app, the app of an instance without a sidecar, or an external host.
//! Connecting is the same for every protocol.

use crate::context::Context;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;
use weft_model::{Code, Failure, Protocol};
use weft_policy::matching::split_authority;

/// Addresses of one external host that are tried at the most.
const ADDRESSES_MAX: usize = 4;

/// How long a call waits for a connection to an app without a sidecar, while another instance takes the call.
pub(crate) const PATIENCE: Duration = Duration::from_millis(200);

/// Who answers a call outside of the mesh.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upstream<'a> {
    /// The own app.
    App {
        /// The port on which it listens.
        number: u16,
    },
    /// The app of an instance without a sidecar.
    Plain {
        /// Where it listens.
        address: SocketAddr,
        /// What its port declares that it speaks.
        declared: Protocol,
        /// RPC: the group that its port demands; empty means any.
        group: &'a str,
        /// Whether another instance takes the call, so that it waits [`PATIENCE`] at the most to be connected.
        is_one_of_many: bool,
    },
    /// An external host.
    External {
        /// Host and port, port 80 when there is none.
        authority: &'a str,
    },
}

impl Upstream<'_> {
    /// The key under which connections are pooled.
    pub(crate) fn pool_key(&self) -> PoolKey {
        match self {
            Self::App { number } => PoolKey::App(*number),
            Self::Plain { address, .. } => PoolKey::Plain(*address),
            Self::External { authority } => PoolKey::External((*authority).into()),
        }
    }

    /// Connects within the limit. To the app by IPv4 loopback, else by IPv6 loopback.
    ///
    /// # Errors
    /// `NameUnresolved`, `Loop` when the address is one of the own listeners, `ConnectTimeout`,
    /// `ConnectRefused`.
    pub(crate) async fn connect(&self, ctx: &Context) -> Result<TcpStream, Failure> {
        let limit = self.patience(ctx).unwrap_or(ctx.settings.limits.connect);
        let attempt = async {
            match self {
                Self::App { number } => {
                    let v4 = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), *number);
                    match TcpStream::connect(v4).await {
                        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                            let v6 = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), *number);
                            TcpStream::connect(v6)
                                .await
                                .map_err(|_| refused(v4, &error))
                        }
                        result => result.map_err(|error| refused(v4, &error)),
                    }
                }
                Self::Plain { address, .. } => connect_to(ctx, *address).await,
                Self::External { authority } => connect_external(ctx, authority).await,
            }
        };
        match tokio::time::timeout(limit, attempt).await {
            Ok(result) => {
                let stream = result?;
                // A socket that is already closed refuses the option; the first write will say so.
                let _ = stream.set_nodelay(true);
                Ok(stream)
            }
            Err(_) => Err(Failure::with(
                Code::ConnectTimeout,
                format!(
                    "no connection to {} within {} ms",
                    self.text(),
                    limit.as_millis()
                ),
            )),
        }
    }

    /// How long a call waits to be connected, when that is less than a connection may take.
    pub(crate) fn patience(&self, ctx: &Context) -> Option<Duration> {
        match self {
            Self::Plain {
                is_one_of_many: true,
                ..
            } => Some(PATIENCE.min(ctx.settings.limits.connect)),
            Self::Plain { .. } | Self::App { .. } | Self::External { .. } => None,
        }
    }

    /// What a person calls it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::App { number } => format!("the app on port {number}"),
            Self::Plain { address, .. } => format!("the app at {address}"),
            Self::External { authority } => format!("external host \"{authority}\""),
        }
    }
}

/// What tells pools of connections apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PoolKey {
    /// The own app's port.
    App(u16),
    /// An app without a sidecar.
    Plain(SocketAddr),
    /// An external host and port.
    External(Box<str>),
}

fn refused(address: SocketAddr, error: &io::Error) -> Failure {
    Failure::with(
        Code::ConnectRefused,
        format!("connecting to {address}: {error}"),
    )
}

async fn connect_external(ctx: &Context, authority: &str) -> Result<TcpStream, Failure> {
    let (host, port) = split_authority(authority);
    let port: u16 = match port {
        None | Some("") => 80,
        Some(text) => text.parse().map_err(|_| {
            Failure::with(
                Code::NameUnresolved,
                format!("\"{text}\" in \"{authority}\" is not a port number"),
            )
        })?,
    };
    let addresses: Vec<SocketAddr> = match host.parse::<IpAddr>() {
        Ok(ip) => vec![SocketAddr::new(ip, port)],
        Err(_) => tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| {
                Failure::with(Code::NameUnresolved, format!("host \"{host}\": {error}"))
            })?
            .take(ADDRESSES_MAX)
            .collect(),
    };
    let mut last = Failure::with(
        Code::NameUnresolved,
        format!("host \"{host}\" has no address"),
    );
    for address in addresses {
        match connect_to(ctx, address).await {
            Err(failure) if failure.code == Code::ConnectRefused => last = failure,
            result => return result,
        }
    }
    Err(last)
}

/// Connects, unless that would come back to this sidecar.
async fn connect_to(ctx: &Context, address: SocketAddr) -> Result<TcpStream, Failure> {
    if ctx.settings.is_own_address(address) {
        return Err(Failure::with(
            Code::Loop,
            format!("{address} is a listener of this sidecar"),
        ));
    }
    let connected = TcpStream::connect(address).await;
    connected.map_err(|error| refused(address, &error))
}
