//! The contract between center, sidecar, host agent, CLI and console.
//!
//! | file | defines |
//! |---|---|
//! | `agent.rs` | what the host agent and its sidecar say to each other |
//! | `sidecar.rs` | what a sidecar is told at its start |
//!
//! Never in here: server logic, storage.

pub mod agent;
pub mod sidecar;
