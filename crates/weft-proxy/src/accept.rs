//! Stage 1: a socket, who is at its other end, and which way its calls go.

use crate::context::Context;
use crate::protocol::ProtocolId;
use crate::record::ConnectionRecord;
use crate::sources::Visit;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;
use weft_telemetry::Direction;

/// Which listener a connection came in by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Listener {
    /// 9981: the app's calls, any protocol.
    Outbound,
    /// 9983: the app's calls through an HTTP forward proxy.
    HttpProxy,
    /// 9982: links from peers, and plain callers.
    Inbound,
    /// One that a person declared.
    Declared(Declared),
}

/// A listener of which the protocol is declared.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Declared {
    /// Its place in the settings.
    pub(crate) position: usize,
    /// Whose calls come in by it.
    pub(crate) direction: Direction,
    /// What is spoken there; none: that is found out as everywhere.
    pub(crate) protocol: Option<ProtocolId>,
}

impl Listener {
    /// Whose calls come in by it.
    pub(crate) fn direction(self) -> Direction {
        match self {
            Self::Outbound | Self::HttpProxy => Direction::Outbound,
            Self::Inbound => Direction::Inbound,
            Self::Declared(declared) => declared.direction,
        }
    }

    /// What is spoken there, when that is declared.
    pub(crate) fn declared_protocol(self) -> Option<ProtocolId> {
        match self {
            Self::Declared(declared) => declared.protocol,
            Self::Outbound | Self::HttpProxy | Self::Inbound => None,
        }
    }
}

/// Bytes that the kernel holds for a caller beyond what the caller's window takes. More would only be memory: of one
/// that reads slowly, the kernel would take megabytes.
const UNSENT_BYTES_MAX: u32 = 128 * 1024;

/// A connection as it was handed to this worker.
pub(crate) struct Incoming {
    /// The socket.
    pub(crate) stream: TcpStream,
    /// Its other end.
    pub(crate) peer: SocketAddr,
    /// The listener.
    pub(crate) listener: Listener,
    /// Its place among those of its source.
    pub(crate) visit: Visit,
}

/// A connection with its record.
pub(crate) struct Accepted {
    /// The socket.
    pub(crate) stream: TcpStream,
    /// Its other end.
    pub(crate) peer: SocketAddr,
    /// The listener.
    pub(crate) listener: Listener,
    /// The connection's record.
    pub(crate) record: ConnectionRecord,
}

/// Opens the connection's record. Small replies are not held back for more (Nagle); large ones wait here, not in
/// the kernel.
pub(crate) fn accept(ctx: &Rc<Context>, incoming: Incoming) -> Accepted {
    // A socket that the caller has already closed refuses the option; the first read will say so.
    let _ = incoming.stream.set_nodelay(true);
    let socket = socket2::SockRef::from(&incoming.stream);
    let _ = socket.set_tcp_notsent_lowat(UNSENT_BYTES_MAX);
    Accepted {
        stream: incoming.stream,
        peer: incoming.peer,
        listener: incoming.listener,
        record: ConnectionRecord::open(ctx, incoming.visit),
    }
}
