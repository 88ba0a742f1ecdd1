//! How many connections each source has open: one address never takes all that there are.
//!
//! Looked at when a connection is accepted and when it ends, never on the path of a call. Loopback is exempt: it is
//! the own host, whose app may have thousands of connections to its sidecar.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};

/// The sources of all workers' connections. Holds one entry per address with a connection open.
#[derive(Debug)]
pub(crate) struct Sources {
    open: Mutex<HashMap<IpAddr, usize>>,
    max: usize,
}

/// One connection of a source; counted until it is dropped.
#[derive(Debug, Default)]
pub(crate) struct Visit(Option<(Arc<Sources>, IpAddr)>);

impl Sources {
    /// Sources of which each may have so many connections open.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self {
            open: Mutex::default(),
            max,
        })
    }

    /// One more connection of this source; none when it has as many as it may.
    pub(crate) fn visit(self: &Arc<Self>, source: IpAddr) -> Option<Visit> {
        let source = source.to_canonical();
        if source.is_loopback() {
            return Some(Visit(None));
        }
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let count = open.entry(source).or_default();
        if *count >= self.max {
            return None;
        }
        *count += 1;
        Some(Visit(Some((Arc::clone(self), source))))
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let Some((sources, source)) = self.0.take() else {
            return;
        };
        let mut open = sources.open.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(count) = open.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                open.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests;
