//! How many files a process may have open: every connection is one.
//!
//! Systems still hand out 1,024 as the soft limit, for the sake of programs that use select(2). Ours do not; a
//! sidecar with a thousand calls needs more. The app's own limit is left alone: this is called by the sidecar, not
//! by the agent from which the app inherits.

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// Raises this process's soft limit to its hard limit, and says what it is then. A system that refuses leaves it as
/// it was.
pub fn raise_limit() -> u64 {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: limit.maximum,
        maximum: limit.maximum,
    };
    let _ = setrlimit(Resource::Nofile, raised);
    // No limit reads as none.
    getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX)
}
