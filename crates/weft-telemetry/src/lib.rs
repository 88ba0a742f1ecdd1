//! What is measured: the one table of metric names and labels, the series of calls, and their exposition.
//!
//! | file | defines |
//! |---|---|
//! | `names.rs` | every metric's name, help and labels |
//! | `histogram.rs` | the shape of the histograms of durations, shared by sidecar and center |
//! | `series.rs` | `SeriesKey`, `Series`, `WorkerSeries`: what a worker counts, without locks on the path of a call |
//! | `exposition.rs` | Prometheus text |
//!
//! Never in here: network clients, types of a protocol.

pub mod exposition;
pub mod histogram;
pub mod names;
pub mod series;

pub use series::{Direction, Outcome, Registry, Row, SeriesKey, WorkerSeries};
