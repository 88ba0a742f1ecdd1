//! `cargo xtask bench`: figures, against peers and against committed gates.
//!
//! | file | measures |
//! |---|---|
//! | `bench/http1.rs` | CPU per request of an HTTP/1.1 hop and of a pair of sidecars, memory, start; against Envoy |
//! | `bench/gates.rs` | instructions and allocations per call, counted by valgrind: the same on every machine |
//! | `bench/backend.rs` | the app behind both sides: a constant reply |
//! | `bench/mesh.rs` | weft's own processes, started for a bench |
//! | `bench/envoy.rs` | Envoy's configuration and process |
//! | `bench/meter.rs` | what the kernel knows of a process: CPU time, memory |
//! | `bench/client.rs` | requests of a known number on one connection |
//!
//! A bench is never a timed test: `test` does not run it.

pub(crate) mod gates;
