//! What `weft up` shows, and what tests and benches use: small apps that speak each protocol, and the load
//! generator. They know of the mesh what any app may know: the address in `WEFT_OUTBOUND`.
//!
//! | file | defines |
//! |---|---|
//! | `web.rs` | the app `web`: HTTP, asks `orders`, holds a stream of `stock-grpc` |
//! | `orders.rs` | the app `orders`: HTTP, asks `stock` in Motan2 and `stock-grpc` in turns |
//! | `stock.rs` | the app `stock`: Motan2 |
//! | `stock_grpc.rs` | the app `stock-grpc`: gRPC, unary calls and a stream |
//! | `load.rs` | the app `visitors`: calls at a steady rate, counted and timed |
//! | `latencies.rs` | how long calls took |
//! | `echo_http.rs`, `motan_echo.rs` | test apps that say what they got |
//! | `http_server.rs`, `http_client.rs` | small HTTP/1.1 ends on weft-codec |
//! | `motan.rs` | frames of a Motan2 connection, its server and its client |
//! | `grpc.rs` | gRPC on the `h2` crate, and the few messages used here |
//! | `simple.rs` | Motan's "simple" serialization, as far as it is used here |
//! | `app.rs` | how an app starts: its port, its runtime, its sidecar's address |
//!
//! Never in here: weft-proxy, weft-center. What the mesh measures is not asked; these apps count for themselves.

pub mod app;
mod clock;
pub mod echo_http;
mod grpc;
mod http_client;
mod http_server;
mod latencies;
pub mod load;
mod motan;
pub mod motan_echo;
pub mod orders;
mod simple;
pub mod stock;
pub mod stock_grpc;
pub mod web;
mod wire;
