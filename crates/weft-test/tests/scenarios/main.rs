//! The scenarios: real sidecars over one link, apps and callers that a test controls byte by byte. One module per
//! behaviour; each scenario ends with the question whether every call was recorded.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "apps and callers of tests: an expectation that does not hold is a failed test"
)]

mod alone;
mod bodies;
mod breaks;
mod capture;
mod databases;
mod detection;
mod failures;
mod fields;
mod grpc;
mod h2;
mod h2_tunnels;
mod health;
mod http;
mod link;
mod many;
mod memory;
mod motan;
mod peers;
mod peers_grpc;
mod plain;
mod restarts;
mod routing;
mod tcp;
mod upgrade;
mod used;
