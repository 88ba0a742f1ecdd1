//! What a sidecar and a center say to each other (`weft.sync.v1`), and the one translation between an
//! instance on the wire and an instance that is true.
//!
//! The messages are generated from `proto/weft/sync/v1/sync.proto`. Never in here: when to send what.

#[rustfmt::skip]
#[path = "gen/weft.sync.v1.rs"]
#[allow(
    missing_docs, clippy::pedantic, clippy::use_self, unused_qualifications,
    reason = "generated: the .proto is the place for words"
)]
mod generated;

pub use generated::*;
