//! The contract between center, sidecar, host agent, CLI and console.
//!
//! | file | defines |
//! |---|---|
//! | `agent.rs` | what the host agent and its sidecar say to each other |
//! | `grpc.rs` | the framing of one message after another on a stream |
//! | `kinds.rs` | what people declare: its kinds, their specs, and what they mean |
//! | `link.rs` | the frames between two sidecars, generated |
//! | `saved.rs` | the file in which a sidecar keeps what it knows of the mesh, generated, and its frame |
//! | `sidecar.rs` | what a sidecar is told at its start |
//! | `sync.rs` | what a sidecar and a center say to each other, generated, and `Instance` both ways |
//!
//! Never in here: server logic, storage.

pub mod agent;
pub mod grpc;
pub mod kinds;
pub mod link;
pub mod saved;
pub mod sidecar;
pub mod sync;
