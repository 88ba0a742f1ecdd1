//! The vocabulary of weft: pure values that are always valid.
//!
//! | file | defines |
//! |---|---|
//! | `declared.rs` | what people declare, once it is known to be valid |
//! | `failure.rs` | `Code`, `Blame`, `Failure`: the one closed table of what can go wrong with a call |
//! | `instance.rs` | `Instance`, `Port`, `InstanceId`, `Protocol`: one running copy of a service |
//! | `key.rs` | `Key`: what a caller can name, and its 64-bit hash |
//! | `limit.rs` | `Limit`: the one closed table of what a peer may do at the most |
//! | `snapshot.rs` | `Snapshot`: one immutable, indexed view of the mesh |
//!
//! Never in here: I/O, async, serde, clocks, randomness.

pub mod declared;
pub mod failure;
pub mod instance;
pub mod key;
pub mod limit;
pub mod snapshot;

pub use failure::{Blame, Code, Failure};
pub use instance::{Instance, InstanceId, InstanceState, Port, PortSpec, Protocol, ServiceName};
pub use key::{Family, Key};
pub use limit::Limit;
pub use snapshot::{Service, Snapshot, Version};
