//! Waits for the return of an instance that said it takes no calls, and whose link then ended.
//!
//! No call goes there, so no call would make a new link: without this a replacement at the same address would be
//! found by nobody while the center is away. Who answers there says in its Hello who it is: the instance itself,
//! its successor, or somebody else.

use crate::clock;
use crate::context::Context;
use crate::protocol::link::links::{PAUSE_FIRST, PAUSE_MAX};
use crate::protocol::link::wire::{Core, Peer};
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use weft_model::instance::InstanceLoad;

/// How long an instance is waited for.
const AWAITED_MAX: Duration = Duration::from_mins(10);

/// Instances that one worker waits for.
const AWAITED_COUNT_MAX: usize = 1024;

/// A link from here to this peer has ended: begins to wait, unless calls try the peer by themselves.
pub(super) fn await_return(core: &Rc<Core>, peer: SocketAddr) {
    let (Some(load), Some(before)) = (core.pulse.load(), core.peer()) else {
        return;
    };
    let mut awaited = core.ctx.links.awaited.borrow_mut();
    if load.state().takes_calls() || awaited.len() >= AWAITED_COUNT_MAX || !awaited.insert(peer) {
        return;
    }
    let ctx = Rc::clone(&core.ctx);
    core.ctx.spawn(async move {
        wait(&ctx, peer, &before, &load).await;
        ctx.links.awaited.borrow_mut().remove(&peer);
    });
}

async fn wait(ctx: &Rc<Context>, peer: SocketAddr, before: &Peer, load: &Arc<InstanceLoad>) {
    let until = clock::now() + AWAITED_MAX;
    let mut pause = PAUSE_FIRST;
    while clock::now() < until {
        // Half of it by lot, so that callers do not come together.
        let half = pause / 2;
        let lot = ctx.random() % (half.as_millis() as u64 + 1);
        tokio::time::sleep(half + Duration::from_millis(lot)).await;
        // It takes calls again, or no snapshot has it any more.
        if load.state().takes_calls() || Arc::strong_count(load) == 1 {
            return;
        }
        let made = match ctx.links.open(peer, false) {
            Some(core) => Ok(core),
            None => ctx.links.connecting(ctx, peer, false, load).result().await,
        };
        if let Ok(core) = made {
            let mesh = &ctx.snapshot().mesh;
            let is_successor = core
                .peer()
                .is_some_and(|peer| peer.has_succeeded(before, mesh));
            let is_itself = core
                .peer()
                .is_some_and(|peer| peer.instance == before.instance);
            if is_successor || is_itself {
                core.pulse.meet(load, is_successor);
            }
            return;
        }
        pause = (pause * 2).min(PAUSE_MAX);
    }
}
