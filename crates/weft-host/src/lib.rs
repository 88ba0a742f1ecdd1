//! What surrounds a sidecar on a machine: the sockets it listens on, the process it runs in, the app beside
//! it, and the files that tell others where both are.
//!
//! | file | defines |
//! |---|---|
//! | `run.rs` | `run`: what `weft run` is told, how it begins |
//! | `supervise.rs` | the agent's loop: from the sidecar's start to the app's exit code |
//! | `agent_socket.rs` | where the CLI asks the agent for a drain or a new sidecar, and how it asks |
//! | `sockets.rs` | `Plan`, `Listeners`: which ports are opened; `take` is the sidecar's side of the hand-over |
//! | `open_files.rs` | how many files a process may have open |
//! | `owner.rs` | who listens on a port |
//! | `sidecar.rs` | the sidecar's process and the lines it exchanges with the agent |
//! | `app.rs` | the app's process: its environment, and that it never outlives the agent |
//! | `check.rs` | whether an app that runs still works |
//! | `backoff.rs` | how long a sidecar that keeps dying stays down |
//! | `policy.rs` | what follows when a sidecar dies again and again, or an app ends by itself |
//! | `folders.rs` | the runtime and the state folder, and one slot per sidecar in them |
//! | `runtime_file.rs` | the files in the runtime folder: ports and pids of a sidecar, address of the center |
//!
//! Never in here: parsing of traffic, TLS, the path of a call.

mod agent_socket;
pub mod app;
mod backoff;
pub mod check;
mod clock;
pub mod folders;
pub mod open_files;
pub mod owner;
pub mod policy;
mod run;
pub mod runtime_file;
mod sidecar;
pub mod sockets;
mod supervise;

pub use agent_socket::{AskError, ask};
pub use folders::Folders;
pub use run::{RunConfig, RunError, run};
pub use runtime_file::{CenterFile, Ports, RuntimeFile};
pub use sidecar::die_with_the_agent;
