//! Which version of HTTP an app was found to speak, where its port leaves that open. Learned from what it answers to
//! the wrong one, remembered for a while. Never in here: what a port declares, which needs no finding out.

use crate::context::Context;
use crate::protocol::ProtocolId;
use crate::upstream::{PoolKey, Upstream};
use std::cell::RefCell;
use std::collections::HashMap;
use std::time::Duration;

/// How long an app is called in the version in which it answered.
const FOUND_FOR: Duration = Duration::from_mins(1);

/// Apps that are remembered; beyond that they are found out anew.
const FOUND_MAX: usize = 4096;

/// What apps were found to speak, and when.
#[derive(Debug, Default)]
pub(crate) struct Versions(
    RefCell<HashMap<PoolKey, (ProtocolId, u64), foldhash::fast::RandomState>>,
);

impl Versions {
    /// What this one was lately found to speak.
    pub(crate) fn found(&self, ctx: &Context, upstream: &Upstream<'_>) -> Option<ProtocolId> {
        let known = self.0.borrow();
        // As nearly always: then no key is made.
        if known.is_empty() {
            return None;
        }
        let (found, since) = known.get(&upstream.pool_key())?;
        let age_ms = ctx.deadlines.now_ms().saturating_sub(*since);
        (age_ms < FOUND_FOR.as_millis() as u64).then_some(*found)
    }

    /// Remembers what one speaks.
    pub(crate) fn remember(&self, ctx: &Context, key: &PoolKey, found: ProtocolId) {
        let mut known = self.0.borrow_mut();
        if known.len() >= FOUND_MAX {
            known.clear();
        }
        known.insert(key.clone(), (found, ctx.deadlines.now_ms()));
    }
}
