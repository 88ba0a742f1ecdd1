//! HTTP/2 as far as weft reads it itself: heads of frames, and what they cost.
//!
//! Streams, header compression and flow control are the `h2` crate's. What it lacks is one budget for all that a
//! peer may do without getting anywhere; that stands here, in front of it.
//!
//! | file | defines |
//! |---|---|
//! | `h2/frames.rs` | `Frames`: heads of frames in a stream of bytes, split anywhere |
//! | `h2/meter.rs` | `Meter`: the debt of a peer, and when it is sent away |
//!
//! Never in here: header blocks, payload, state of streams beyond what the budget needs.

pub mod frames;
pub mod meter;

pub use frames::{FrameHead, Frames};
pub use meter::{Limits, Meter, PeerSide, Verdict};
