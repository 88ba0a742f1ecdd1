//! The link between two sidecars: one long-lived HTTP/2 stream that carries the frames of every call; where only
//! HTTP/1.1 gets through, one upgraded connection.
//!
//! `wire.rs` is the link itself, `drive.rs` moves its bytes in batches, `arriving.rs` takes its frames. `slot.rs` is one
//! call's place on it, `sender.rs` sends a body, `pulse.rs` knows who lives. `links.rs` keeps links, `opening.rs` makes
//! them over one of two transports (`hops.rs`, `transport.rs`), `returning.rs` makes them again to addresses that no call tries, `client.rs` opens calls on
//! them; `server.rs` takes both, `upgraded.rs` a link over HTTP/1.1. The frames themselves are weft-codec's.

mod arriving;
pub(crate) mod client;
mod drive;
pub(crate) mod hops;
pub(crate) mod links;
mod opening;
pub(crate) mod pulse;
mod returning;
pub(crate) mod sender;
pub(crate) mod server;
pub(crate) mod slot;
pub(crate) mod transport;
pub(crate) mod upgraded;
pub(crate) mod wire;

pub(crate) use weft_codec::link::upgrade::PATH;

/// Bytes per call before its first Credit.
pub(crate) const CREDIT_INITIAL: u32 = 16 * 1024;

/// Bytes per call that may be under way when its reader keeps up.
pub(crate) const CREDIT_MAX: u32 = 256 * 1024;

/// Bytes that all calls of one link may have under way together beyond what each began with. So a link holds at most
/// [`CALLS_MAX`] times [`CREDIT_INITIAL`] and this.
pub(crate) const LINK_GROWN_MAX: u32 = 16 * 1024 * 1024;

/// Calls open on one link.
pub(crate) const CALLS_MAX: u32 = 4096;

/// Frames wait for the socket up to this many bytes; then calls with more data wait in turn.
pub(crate) const OUT_BYTES_MAX: usize = 64 * 1024;

/// HTTP/2 windows: only per-call credit holds a call back, so these only have to be out of the way.
pub(crate) const WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// The largest HTTP/2 frame taken: a batch leaves in one.
pub(crate) const H2_FRAME_BYTES: u32 = 256 * 1024;

/// A body declared larger than this goes on a second link, so that its bytes hold no short call back.
pub(crate) const BULK_BYTES: u64 = 1024 * 1024;
