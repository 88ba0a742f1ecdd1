//! `cargo xtask bench`: figures, against peers and against committed gates.
//!
//! | file | measures |
//! |---|---|
//! | `bench/http1.rs` | CPU per request of an HTTP/1.1 hop and of a pair of sidecars, memory, start; against Envoy |
//! | `bench/streams.rs` | the same of a hop in HTTP/2, in gRPC, from HTTP/2 to HTTP/1.1, and of bytes that pass unread |
//! | `bench/gates.rs` | instructions and allocations per call, counted by valgrind: the same on every machine |
//! | `bench/backend.rs`, `bench/h2.rs` | the app behind both sides: a constant reply |
//! | `bench/processes.rs` | the processes of a bench: the app, weft's own, their folders and ends |
//! | `bench/envoy.rs` | Envoy's configuration and process |
//! | `bench/load.rs` | rounds of wrk and h2load, and the CPU time that proxies took meanwhile |
//! | `bench/meter.rs` | what the kernel knows of a process: CPU time, memory |
//! | `bench/client.rs`, `bench/motan.rs` | requests of a known number on one connection |
//!
//! A bench is never a timed test: `test` does not run it.

pub(crate) mod backend;
mod client;
pub(crate) mod envoy;
pub(crate) mod gates;
mod h2;
pub(crate) mod http1;
mod load;
pub(crate) mod meter;
mod motan;
pub(crate) mod processes;
pub(crate) mod streams;
