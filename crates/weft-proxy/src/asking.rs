//! Calls of a service of which this sidecar knows nothing yet: a center is asked, and the call waits a little for
//! what it tells.
//!
//! Away from the ordinary way of a call: only a name that is in the set of names and leads nowhere comes here.
//! Never in here: the stream to the center (`sync.rs`), where a call goes (`route.rs`).

use crate::context::Context;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::timeout;
use weft_model::{Code, Failure, Family, Key, Snapshot};

/// Calls that wait at a time, in all of the process.
pub(crate) const HELD_CALLS_MAX: usize = 1_024;

/// How long a call waits.
pub(crate) const HELD_WAIT_MAX: Duration = Duration::from_secs(1);

/// Keys on their way to the one who asks the center; with more, the next call asks again.
const ASKED_MAX: usize = 2 * HELD_CALLS_MAX;

/// The side of the calls.
#[derive(Debug)]
pub(crate) struct Asking {
    keys: mpsc::Sender<Key>,
    /// Calls that wait.
    held: AtomicUsize,
    /// Changes when a center has answered.
    answers: watch::Receiver<()>,
}

/// The side of the one who asks the center.
#[derive(Debug)]
pub(crate) struct Asked {
    /// What calls ask for, often more than once.
    pub(crate) keys: mpsc::Receiver<Key>,
    /// To be told when a snapshot has an answer.
    pub(crate) answers: watch::Sender<()>,
}

/// Both sides.
pub(crate) fn channel() -> (Asking, Asked) {
    let (keys, asked) = mpsc::channel(ASKED_MAX);
    let (answers, answered) = watch::channel(());
    let asking = Asking {
        keys,
        held: AtomicUsize::new(0),
        answers: answered,
    };
    let asked = Asked {
        keys: asked,
        answers,
    };
    (asking, asked)
}

impl Asking {
    /// Has a center asked, and waits for nothing.
    pub(crate) fn ask(&self, key: Key) {
        // Without room, or without anybody who asks, the next call tries again.
        let _ = self.keys.try_send(key);
    }

    /// Changes when a center has answered after now.
    pub(crate) fn answers(&self) -> watch::Receiver<()> {
        let mut answers = self.answers.clone();
        answers.mark_unchanged();
        answers
    }
}

/// A call's place among those that wait.
struct Held<'a>(&'a AtomicUsize);

impl<'a> Held<'a> {
    fn take(held: &'a AtomicUsize) -> Result<Self, Failure> {
        let place = Self(held);
        if held.fetch_add(1, Relaxed) < HELD_CALLS_MAX {
            return Ok(place);
        }
        let found = format!("{HELD_CALLS_MAX} calls wait for a center to tell where they go");
        Err(Failure::with(Code::Overloaded, found))
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Relaxed);
    }
}

/// Asks, and waits for a snapshot in which the key leads somewhere, or is known to lead nowhere.
pub(crate) async fn until_told(ctx: &Rc<Context>, key: Key) -> Result<Arc<Snapshot>, Failure> {
    let asking = &ctx.shared.asking;
    let place = Held::take(&asking.held)?;
    let mut answers = asking.answers();
    asking.ask(key.clone());
    let told = timeout(HELD_WAIT_MAX, async {
        loop {
            let snapshot = ctx.snapshot();
            if is_told(&snapshot, &key) {
                return snapshot;
            }
            if answers.changed().await.is_err() {
                // Nobody is left who could tell.
                std::future::pending::<()>().await;
            }
        }
    });
    let told = told.await;
    drop(place);
    told.map_err(|_| {
        let found = format!(
            "\"{}\" was asked for and no center answered within {} ms",
            key.name,
            HELD_WAIT_MAX.as_millis()
        );
        Failure::with(Code::NotSynced, found)
    })
}

fn is_told(snapshot: &Snapshot, key: &Key) -> bool {
    let hash = key.hash64();
    let leads = match key.family {
        Family::Host => snapshot.service(&key.namespace, &key.name).is_some(),
        Family::Address => {
            let address = key.name.parse().ok();
            address.is_some_and(|address| snapshot.address(address).is_some())
        }
        // Who is known already may not be all.
        Family::Rpc => false,
    };
    leads || snapshot.is_answered(hash) || !snapshot.has_name(hash)
}
