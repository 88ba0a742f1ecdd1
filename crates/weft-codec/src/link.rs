//! The frames between two sidecars: `weft.link.v1` (the `.proto` stands in weft-api), in gRPC framing.
//!
//! Encoder and decoder are written by hand because every call passes them; weft-api's tests hold them against
//! prost both ways. Each frame is one gRPC message: a zero byte, a big-endian u32 length, the `Frame` message.
//! Unknown frames and fields are skipped.

//!
//! | file | defines |
//! |---|---|
//! | `link/decode.rs` | `decode` |
//! | `link/encode.rs` | `write_hello`, `write_open` and the like |
//! | `link/upgrade.rs` | how a link opens over HTTP/1.1 |

mod decode;
mod encode;
pub mod upgrade;

pub use decode::decode;
pub use encode::{
    take_back, write_credit, write_data, write_goaway, write_health, write_hello, write_open,
    write_reply, write_reset, write_trailers,
};

/// The version in Hello.
pub const LINK_VERSION: u32 = 1;

/// Bytes of one frame at the most; a longer one breaks the link.
pub const FRAME_BYTES_MAX: usize = 128 * 1024;

/// Bytes of payload in one Data frame at the most.
pub const DATA_BYTES_MAX: usize = 16 * 1024;

/// Fields of one head at the most.
pub const FIELDS_MAX: usize = 512;

/// First frame, both ways; a later one changes limits for calls opened after it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Hello<'a> {
    /// [`LINK_VERSION`].
    pub version: u32,
    /// Bits of optional features; none exist yet.
    pub features: u64,
    /// The sender's service namespace.
    pub namespace: &'a [u8],
    /// The sender's service.
    pub service: &'a [u8],
    /// The sender's instance id.
    pub instance: &'a [u8],
    /// The sender's incarnation.
    pub incarnation: u64,
    /// Bytes per call that may be sent to the sender of this Hello before its first Credit.
    pub credit_initial: u32,
    /// Open calls that the sender of this Hello takes.
    pub calls_max: u32,
    /// Bytes of a frame that the sender of this Hello takes.
    pub frame_bytes_max: u32,
    /// The id of its center's store; empty as long as it has met none.
    pub mesh: &'a [u8],
}

/// What kind of call it is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// One request, one reply.
    #[default]
    Unary,
    /// Long or endless bodies.
    Stream,
    /// No reply is awaited.
    OneWay,
    /// Opaque bytes both ways.
    Tunnel,
}

/// Opens a call. Headers are in the `Fields` beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Open<'a> {
    /// Grows from 1 on each link.
    pub call_id: u64,
    /// The protocol's name (`http`, `motan`).
    pub protocol: &'a [u8],
    /// HTTP: the authority asked for. RPC: the interface.
    pub service: &'a [u8],
    /// The method.
    pub method: &'a [u8],
    /// HTTP: the target. RPC: the group.
    pub path: &'a [u8],
    /// The name of the instance's port.
    pub port: &'a [u8],
    /// The instance meant.
    pub instance: &'a [u8],
    /// The incarnation meant; 0 means any.
    pub incarnation: u64,
    /// The caller's service (`name` or `name.namespace`).
    pub caller_service: &'a [u8],
    /// The caller's address.
    pub caller_address: &'a [u8],
    /// Microseconds until the caller's deadline; 0 means none.
    pub deadline_us: u64,
    /// 0 for the first attempt.
    pub attempt: u32,
    /// The lane.
    pub lane: &'a [u8],
    /// The call id (and later trace context).
    pub trace: &'a [u8],
    /// What kind of call.
    pub kind: Kind,
    /// Bytes that only the protocol file reads.
    pub opaque: &'a [u8],
    /// The first bytes of the body.
    pub body: &'a [u8],
    /// Whether the body ends with them.
    pub end: bool,
}

/// The head of a reply. Headers are in the `Fields` beside it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply<'a> {
    /// The call.
    pub call_id: u64,
    /// HTTP status; RPC: 200, or 500 for an exception.
    pub status: u32,
    /// An interim reply (1xx): another Reply follows.
    pub informational: bool,
    /// When the mesh made this reply because the call failed there: the stable text of the code.
    pub failure: &'a [u8],
    /// Bytes that only the protocol file reads.
    pub opaque: &'a [u8],
    /// The first bytes of the body.
    pub body: &'a [u8],
    /// Whether the body ends with them.
    pub end: bool,
}

/// Why a call ended early.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ResetReason {
    /// Unknown to this version.
    #[default]
    Unknown,
    /// The caller went away.
    Cancelled,
    /// The app never saw the call.
    NotDispatched,
    /// The call failed after the app may have seen it.
    Failed,
    /// The other side's connection was reset.
    PeerReset,
}

/// Ends a call early.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reset<'a> {
    /// The call.
    pub call_id: u64,
    /// Why.
    pub reason: ResetReason,
    /// The stable text of the failure's code.
    pub code: &'a [u8],
    /// What was attempted and found.
    pub detail: &'a [u8],
    /// Who refuses: service, instance and incarnation, when the call was meant for somebody else.
    pub service: &'a [u8],
    /// See `service`.
    pub instance: &'a [u8],
    /// See `service`.
    pub incarnation: u64,
}

/// The states that Health tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum HealthState {
    /// Unknown to this version.
    #[default]
    Unknown,
    /// Takes calls.
    Ready,
    /// Takes a share of them.
    Warming,
    /// Takes fewer.
    Overloaded,
    /// Takes no new ones.
    Draining,
    /// The app is dead.
    AppDead,
}

/// Health of the sender's instance; also the heartbeat.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Health<'a> {
    /// The instance.
    pub instance: &'a [u8],
    /// Its incarnation.
    pub incarnation: u64,
    /// Grows with each change.
    pub sequence: u64,
    /// How it is.
    pub state: HealthState,
    /// Weight in percent while warming or overloaded.
    pub weight: u32,
}

/// One decoded frame; byte slices borrow from the input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Frame<'a> {
    /// See [`Hello`].
    Hello(Hello<'a>),
    /// See [`Open`].
    Open(Open<'a>),
    /// Bytes of a body: call id, bytes, end?
    Data(u64, &'a [u8], bool),
    /// See [`Reply`].
    Reply(Reply<'a>),
    /// Trailers end a body: call id; the fields are beside it.
    Trailers(u64),
    /// See [`Reset`].
    Reset(Reset<'a>),
    /// Bytes more that the reader of a call takes: call id, bytes.
    Credit(u64, u32),
    /// See [`Health`].
    Health(Health<'a>),
    /// Calls above this id were not dispatched: last call id, reason.
    Goaway(u64, &'a [u8]),
    /// A frame of a later version.
    Unknown,
}

/// One step through the bytes of a link.
#[derive(Debug, PartialEq, Eq)]
#[allow(
    clippy::large_enum_variant,
    reason = "a step lives on the stack for one match; a box would cost each frame an allocation"
)]
pub enum Step<'a> {
    /// More bytes are needed.
    Need,
    /// A frame that takes this many bytes.
    Frame(Frame<'a>, usize),
}

/// Why a link's bytes are refused: lower case, no full stop. The link closes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Refusal(pub &'static str);

#[cfg(test)]
mod tests;
