//! The link between two sidecars: one long-lived HTTP/2 stream that carries the frames of every call.
//!
//! `wire.rs` is the link itself, `drive.rs` moves its bytes in batches, `arriving.rs` takes its frames. `slot.rs` is one
//! call's place on it, `sender.rs` sends a body, `pulse.rs` knows who lives. `links.rs` makes and keeps links, `returning.rs` makes them again
//! to addresses that no call tries, `client.rs` opens calls on
//! them; `server.rs` takes both. The frames themselves are weft-codec's.

mod arriving;
pub(crate) mod client;
mod drive;
pub(crate) mod links;
pub(crate) mod pulse;
mod returning;
pub(crate) mod sender;
pub(crate) mod server;
pub(crate) mod slot;
pub(crate) mod wire;

/// Where the stream is opened (`weft.link.v1.Link/Open` in gRPC's spelling).
pub(crate) const PATH: &str = "/weft.link.v1.Link/Open";

/// Bytes per call before its first Credit.
pub(crate) const CREDIT_INITIAL: u32 = 16 * 1024;

/// Bytes per call that may be under way when its reader keeps up.
pub(crate) const CREDIT_MAX: u32 = 256 * 1024;

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
