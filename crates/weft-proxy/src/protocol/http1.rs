//! HTTP/1.1: `server.rs` serves callers, `upstream.rs` calls apps and external hosts, `answer.rs` tells a
//! caller of a failure, `progress.rs` knows when a body comes too slowly, `tunnel.rs` is the connection that has become
//! something else. What HTTP/1.1 and HTTP/2 share stands in `protocol/http.rs`.

pub(crate) mod answer;
mod progress;
pub(crate) mod server;
mod tunnel;
pub(crate) mod upstream;
