//! The frames between two sidecars as prost reads them: the oracle of weft-codec's hand-written codec.
//!
//! The hot path never uses these types; tests and tools do. Generated from `proto/weft/link/v1/link.proto`.

#[rustfmt::skip]
#[path = "gen/weft.link.v1.rs"]
#[allow(
    missing_docs, unused_qualifications, clippy::all, clippy::pedantic, clippy::use_self,
    reason = "generated: the .proto is the place for words"
)]
mod generated;

pub use generated::*;

#[cfg(test)]
mod tests;
