//! HTTP/1.1: `server.rs` serves callers, `upstream.rs` calls apps and external hosts, `answer.rs` tells a
//! caller of a failure. What HTTP/1.1 and HTTP/2 share stands in `protocol/http.rs`.

pub(crate) mod answer;
pub(crate) mod server;
pub(crate) mod upstream;
