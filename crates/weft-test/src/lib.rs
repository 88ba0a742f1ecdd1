//! The harness of the scenarios: real processes of the `weft` binary, and apps and callers that a test controls
//! byte by byte.
//!
//! | file | defines |
//! |---|---|
//! | `scenario.rs` | [`scenario()`]: a test's frame; at its end every call that was opened must have been recorded |
//! | `mesh.rs`, `sidecar.rs` | [`Mesh`], [`Sidecar`]: a center and sidecars, in folders of their own |
//! | `process.rs` | processes that do not outlive their test, and what they wrote |
//! | `metrics.rs` | what a sidecar counted |
//! | `http.rs`, `http_app.rs` | an HTTP/1.1 caller and an HTTP/1.1 app |
//! | `h2.rs` | an HTTP/2 caller and an HTTP/2 app |
//! | `motan.rs` | a Motan2 caller and a Motan2 app |
//! | `tcp_app.rs` | an app of which a test writes every byte |
//! | `relay.rs` | a way between two sidecars that can become a black hole |
//! | `wait.rs` | waiting for a state, with a bound |
//! | `peer.rs` | real clients: found, or left out with a reason |
//!
//! Never in here: a sleep that hopes, a fixed port, code of the data plane. HTTP/1.1 is read by a small reader of
//! its own, so that the product is not proven by itself.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::return_self_not_must_use,
    clippy::future_not_send,
    reason = "a harness: an expectation that does not hold is a failed test"
)]

mod clock;
pub mod h2;
pub mod http;
pub mod http_app;
pub mod mesh;
pub mod metrics;
pub mod motan;
pub mod peer;
pub mod process;
pub mod relay;
mod scenario;
pub mod sidecar;
pub mod tcp_app;
pub mod wait;

pub use h2::{H2App, H2Connection, H2Message};
pub use http::{HttpConnection, Reply};
pub use http_app::{HttpApp, Request};
pub use mesh::Mesh;
pub use motan::{Frame, MotanApp, MotanConnection};
pub use scenario::{scenario, scenario_without_center};
pub use sidecar::Sidecar;
pub use tcp_app::TcpApp;
