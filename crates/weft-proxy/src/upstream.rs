//! Where a call leaves the mesh: the own app, or an external host. Connecting is the same for every protocol.

use crate::context::Context;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use tokio::net::TcpStream;
use weft_model::{Code, Failure};
use weft_policy::matching::split_authority;

/// Addresses of one external host that are tried at the most.
const ADDRESSES_MAX: usize = 4;

/// Who answers a call outside of the mesh.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Upstream<'a> {
    /// The own app.
    App {
        /// The port on which it listens.
        number: u16,
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
            Self::External { authority } => PoolKey::External((*authority).into()),
        }
    }

    /// Connects within the limit. To the app by IPv4 loopback, else by IPv6 loopback.
    ///
    /// # Errors
    /// `NameUnresolved`, `Loop` when the address is one of the own listeners, `ConnectTimeout`,
    /// `ConnectRefused`.
    pub(crate) async fn connect(&self, ctx: &Context) -> Result<TcpStream, Failure> {
        let limit = ctx.settings.limits.connect;
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

    /// What a person calls it.
    pub(crate) fn text(&self) -> String {
        match self {
            Self::App { number } => format!("the app on port {number}"),
            Self::External { authority } => format!("external host \"{authority}\""),
        }
    }
}

/// What tells pools of connections apart.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum PoolKey {
    /// The own app's port.
    App(u16),
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
        if ctx.settings.is_own_address(address) {
            return Err(Failure::with(
                Code::Loop,
                format!("{address} is a listener of this sidecar"),
            ));
        }
        match TcpStream::connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = refused(address, &error),
        }
    }
    Err(last)
}
