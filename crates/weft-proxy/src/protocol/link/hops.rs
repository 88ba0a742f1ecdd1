//! Over which transport a link to a peer is tried, and in which order: as the mesh declares it, and as was found.
//!
//! HTTP/2 comes first unless the mesh says otherwise. Where it does not get through while HTTP/1.1 does, that is
//! remembered for a while. Never in here: how a transport is tried.

use crate::context::Shared;
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::watch;
use weft_api::sync::{OwnPolicy, hops_from_wire};
use weft_model::declared::Hop;

/// How long HTTP/1.1 is tried first towards a peer that HTTP/2 did not reach; then HTTP/2 is tried again.
const REMEMBERED_FOR: Duration = Duration::from_mins(10);

/// Peers of which that is remembered by one worker; of more it is found anew at each link.
const REMEMBERED_MAX: usize = 4096;

/// One transport, and the one that is tried when it does not get through.
pub(crate) type Order = (Hop, Option<Hop>);

/// What the mesh declares, for all threads.
#[derive(Debug, Default)]
pub(crate) struct DeclaredHops(AtomicU8);

/// Every order there is; a number in [`DeclaredHops`] is a place in here.
const ORDERS: [Order; 4] = [
    (Hop::H2, Some(Hop::Http1)),
    (Hop::Http1, Some(Hop::H2)),
    (Hop::H2, None),
    (Hop::Http1, None),
];

impl DeclaredHops {
    /// Holds from the next link on. Nothing declared: HTTP/2, then HTTP/1.1.
    pub(crate) fn set(&self, hops: &[Hop]) {
        let order = hops
            .split_first()
            .map(|(first, rest)| (*first, rest.first().copied()));
        let place = ORDERS.iter().position(|known| Some(*known) == order);
        self.0.store(place.unwrap_or_default() as u8, Relaxed);
    }

    pub(super) fn order(&self) -> Order {
        let [first, ..] = ORDERS;
        ORDERS
            .get(usize::from(self.0.load(Relaxed)))
            .copied()
            .unwrap_or(first)
    }
}

/// Keeps what the mesh declares, until nobody tells it any more.
pub(crate) async fn follow(shared: Arc<Shared>, mut policy: watch::Receiver<OwnPolicy>) {
    loop {
        let hops = hops_from_wire(&policy.borrow_and_update().hops);
        shared.hops.set(&hops);
        if policy.changed().await.is_err() {
            return;
        }
    }
}

/// What one worker found.
#[derive(Debug, Default)]
pub(super) struct Found(RefCell<HashMap<SocketAddr, u64, foldhash::fast::RandomState>>);

impl Found {
    /// The order for this peer.
    pub(super) fn order(&self, declared: Order, peer: SocketAddr, now_ms: u64) -> Order {
        let is_found = self
            .0
            .borrow()
            .get(&peer)
            .is_some_and(|at| is_fresh(*at, now_ms));
        match declared {
            (Hop::H2, Some(Hop::Http1)) if is_found => (Hop::Http1, Some(Hop::H2)),
            _ => declared,
        }
    }

    /// This transport got through where the one before it did not.
    pub(super) fn got_through(&self, hop: Hop, peer: SocketAddr, now_ms: u64) {
        let mut found = self.0.borrow_mut();
        match hop {
            Hop::H2 => {
                found.remove(&peer);
            }
            Hop::Http1 if found.len() < REMEMBERED_MAX || found.contains_key(&peer) => {
                found.insert(peer, now_ms);
            }
            Hop::Http1 => {}
        }
    }

    /// Forgets what is old.
    pub(super) fn sweep(&self, now_ms: u64) {
        self.0.borrow_mut().retain(|_, at| is_fresh(*at, now_ms));
    }
}

fn is_fresh(at_ms: u64, now_ms: u64) -> bool {
    now_ms.saturating_sub(at_ms) < REMEMBERED_FOR.as_millis() as u64
}

#[cfg(test)]
mod tests;
