//! The links of one worker: made at the first call, kept, and made again when they broke.
//!
//! A link is made in a task of its own, because the call that asked first may be cancelled while others still want
//! it. A call waits [`PATIENCE`] for it, then looks for another instance; the making goes on, and the instance is
//! passed over until it is done. A peer to which the last attempt failed is not waited for at all while another
//! instance takes the call. Never in here: what goes over a link.

use crate::call::Call;
use crate::clock;
use crate::connecting::Connecting;
use crate::context::Context;
use crate::pick::{Others, Outstanding};
use crate::protocol::link::hops::Found;
use crate::protocol::link::opening;
use crate::protocol::link::wire::Core;
use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::SocketAddr;
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::Duration;
use weft_model::instance::InstanceLoad;
use weft_model::{Code, Failure};

/// How long a call waits for a link that is being made, while another instance takes it.
const PATIENCE: Duration = Duration::from_millis(200);

/// How long a peer is passed over after the first attempt that failed; doubled with each further one.
pub(super) const PAUSE_FIRST: Duration = Duration::from_millis(50);

/// How long it is passed over at the most.
pub(super) const PAUSE_MAX: Duration = Duration::from_secs(5);

/// An attempt that failed is remembered for this long.
const DOUBT_FOR: Duration = Duration::from_mins(1);

/// The links of one worker: to each peer one for ordinary calls and one for bulk.
#[derive(Default)]
pub(crate) struct Links {
    /// Those opened here, by the peer's inbound address and whether they are for bulk.
    opened: RefCell<HashMap<(SocketAddr, bool), Entry, foldhash::fast::RandomState>>,
    /// Those that peers opened.
    taken: RefCell<Vec<Weak<Core>>>,
    /// Peers whose instance said that it takes no calls, and went: whether it, or its successor, is back.
    pub(super) awaited: RefCell<HashSet<SocketAddr, foldhash::fast::RandomState>>,
    /// Peers to which the last attempt failed.
    doubted: RefCell<HashMap<SocketAddr, Doubt, foldhash::fast::RandomState>>,
    /// Peers that HTTP/2 does not reach.
    pub(super) found: Found,
}

#[derive(Clone)]
enum Entry {
    Connecting(Rc<Connecting<Core>>),
    Open(Rc<Core>),
}

/// What is remembered of attempts that failed.
#[derive(Clone, Copy, Debug, Default)]
struct Doubt {
    /// In a row.
    failures: u32,
    /// When the last one was.
    at_ms: u64,
}

impl Links {
    /// The link to this peer, when there is one.
    pub(crate) fn open(&self, peer: SocketAddr, bulk: bool) -> Option<Rc<Core>> {
        match self.opened.borrow().get(&(peer, bulk)) {
            Some(Entry::Open(core)) if core.is_usable() => Some(Rc::clone(core)),
            Some(Entry::Open(_) | Entry::Connecting(_)) | None => None,
        }
    }

    /// The link to this peer, made when there is none; not waited for for long while another instance takes the
    /// call.
    pub(crate) async fn reach(
        &self,
        ctx: &Rc<Context>,
        (peer, bulk): (SocketAddr, bool),
        permit: &Outstanding,
        others: Others<'_>,
        call: &Call,
    ) -> Result<Rc<Core>, Failure> {
        let connecting = self.connecting(ctx, peer, bulk, permit.load());
        let is_doubted = self.doubted.borrow().contains_key(&peer);
        let mut patience = if is_doubted { Duration::ZERO } else { PATIENCE };
        loop {
            if let Ok(result) = tokio::time::timeout(patience, connecting.result()).await {
                return result;
            }
            // Until the attempt ends, which says better.
            let (now_ms, limit) = (clock::now_ms(), ctx.settings.limits.connect);
            permit.load().avoid_until(now_ms + limit.as_millis() as u64);
            if others.take(call, Code::LinkRefused, now_ms) {
                let detail = format!("no link to {peer} within {} ms", patience.as_millis());
                return Err(Failure::with(Code::LinkRefused, detail));
            }
            patience = PATIENCE;
        }
    }

    /// The attempt to make a link to this peer.
    pub(super) fn connecting(
        &self,
        ctx: &Rc<Context>,
        peer: SocketAddr,
        bulk: bool,
        load: &Arc<InstanceLoad>,
    ) -> Rc<Connecting<Core>> {
        if let Some(Entry::Connecting(connecting)) = self.opened.borrow().get(&(peer, bulk)) {
            return Rc::clone(connecting);
        }
        let connecting = Rc::new(Connecting::default());
        let entry = Entry::Connecting(Rc::clone(&connecting));
        self.opened.borrow_mut().insert((peer, bulk), entry);
        let (task_ctx, shared, load) = (Rc::clone(ctx), Rc::clone(&connecting), Arc::clone(load));
        ctx.spawn(async move {
            let limit = task_ctx.settings.limits.connect;
            let result = match tokio::time::timeout(limit, opening::open(&task_ctx, peer)).await {
                Ok(result) => result,
                Err(_) => Err(Failure::with(
                    Code::LinkRefused,
                    format!("no link to {peer} within {} ms", limit.as_millis()),
                )),
            };
            task_ctx.links.made(&task_ctx, (peer, bulk), &result, &load);
            shared.finish(result);
        });
        connecting
    }

    /// An attempt has ended.
    fn made(
        &self,
        ctx: &Context,
        (peer, bulk): (SocketAddr, bool),
        result: &Result<Rc<Core>, Failure>,
        load: &InstanceLoad,
    ) {
        let now = clock::now_ms();
        let Ok(core) = result else {
            self.opened.borrow_mut().remove(&(peer, bulk));
            let mut doubted = self.doubted.borrow_mut();
            let doubt = doubted.entry(peer).or_default();
            doubt.failures += 1;
            doubt.at_ms = now;
            load.avoid_until(now + doubt.pause_ms(ctx.random()));
            return;
        };
        let entry = Entry::Open(Rc::clone(core));
        self.opened.borrow_mut().insert((peer, bulk), entry);
        self.doubted.borrow_mut().remove(&peer);
        load.avoid_until(now);
    }

    /// Remembers a link that a peer opened.
    pub(crate) fn taken(&self, core: &Rc<Core>) {
        self.taken.borrow_mut().push(Rc::downgrade(core));
    }

    /// Tells every peer with a link to here that this sidecar leaves.
    pub(crate) fn leave(&self) {
        for core in self.taken.borrow().iter().filter_map(Weak::upgrade) {
            core.leave();
        }
    }

    /// Tells every peer how this instance is.
    pub(crate) fn tell_health(&self) {
        for core in self.taken.borrow().iter().filter_map(Weak::upgrade) {
            core.tell_health();
        }
        for entry in self.opened.borrow().values() {
            if let Entry::Open(core) = entry {
                core.tell_health();
            }
        }
    }

    /// Forgets links that have ended, and failures of long ago.
    pub(crate) fn sweep(&self) {
        self.taken
            .borrow_mut()
            .retain(|core| core.strong_count() > 0);
        self.opened.borrow_mut().retain(|_, entry| match entry {
            Entry::Open(core) => core.is_usable(),
            Entry::Connecting(_) => true,
        });
        let (now, kept) = (clock::now_ms(), DOUBT_FOR.as_millis() as u64);
        self.found.sweep(now);
        self.doubted
            .borrow_mut()
            .retain(|_, doubt| now.saturating_sub(doubt.at_ms) < kept);
    }
}

impl Doubt {
    /// How long the peer is passed over now: half of it is drawn by lot, so that callers do not come back together.
    fn pause_ms(self, random: u64) -> u64 {
        let doublings = self.failures.saturating_sub(1).min(16);
        let whole = (PAUSE_FIRST.as_millis() as u64) << doublings;
        let whole = whole.min(PAUSE_MAX.as_millis() as u64);
        whole / 2 + random % (whole / 2 + 1)
    }
}

#[cfg(test)]
mod tests;
