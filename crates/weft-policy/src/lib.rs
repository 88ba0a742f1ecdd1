//! Decisions as pure functions: (snapshot, what is asked, random) -> decision.
//!
//! | file | decides |
//! |---|---|
//! | `matching.rs` | which service and port a call is for, or that it leaves the mesh |
//! | `balance.rs` | which instance takes it |
//! | `removal.rs` | whether an update may take many instances of a service away |
//! | `retry.rs` | whether a failed call may move on |
//!
//! Never in here: I/O, async, a clock, global randomness.

pub mod balance;
pub mod matching;
pub mod removal;
pub mod retry;
