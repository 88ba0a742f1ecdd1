//! Wire formats as pure functions and state machines: bytes in, frames out.
//!
//! | file | defines |
//! |---|---|
//! | `fields.rs` | `Fields`: ordered, repeatable names and values in one flat buffer, for every protocol |
//! | `h2.rs` | HTTP/2: heads of frames, and the debt of a peer |
//! | `http1.rs` | HTTP/1.1 heads and bodies, both directions |
//! | `motan2.rs` | Motan2 frames and metadata |
//! | `link.rs` | the frames between two sidecars (`weft.link.v1`) |
//! | `tls.rs` | the name that a TLS client asks for |
//! | `sniff.rs` | `Prefix`: what the first bytes say about a protocol |
//!
//! Never in here: I/O, async, clocks, an allocation sized by the wire, a panic on input, another weft crate.

#![warn(clippy::indexing_slicing)]

pub mod fields;
pub mod h2;
pub mod http1;
pub mod link;
pub mod motan2;
pub mod sniff;
pub mod tls;

pub use fields::{Fields, Span};
pub use sniff::Prefix;
