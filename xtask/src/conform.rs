//! `cargo xtask conform`: wire formats against their grammar and an oracle.
//!
//! One suite a protocol, each in a file `conform_<name>.rs` of its own; this file only names them, and
//! `conform/rows.rs` prints what they count.

pub(crate) mod rows;

use crate::{conform_h1, conform_tunnel};

/// HTTP/1.1; with `full` the long form.
pub(crate) fn h1(full: bool, json: bool) -> bool {
    conform_h1::run(full, json)
}

/// Tunnels by `Upgrade` and CONNECT, through real sidecars.
pub(crate) fn tunnel(json: bool) -> Result<bool, String> {
    conform_tunnel::run(json)
}
