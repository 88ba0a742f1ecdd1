//! The way out of a sidecar, and the line on which the host agent asks for it: drain, end, be replaced.
//!
//! Peers, callers and the center hear first that the instance leaves; the app's own calls go on until the end.
//! Without a host agent a signal asks for all of it at once. Never in here: how a call or a link ends.

use crate::agent::{self, FromAgent, ToAgent};
use crate::context::{OwnHealth, Stage, Vitals};
use crate::control::Started;
use crate::{StartError, clock, health, log};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use weft_api::agent::{FromSidecar, ToSidecar};
use weft_model::instance::HealthState;

/// A worker that has not swept for this long hangs. It sweeps ten times a second.
const HANGS_AFTER_MS: u64 = 500;

/// After the end of accepting every connection is with its worker.
const HANDED_OUT_AFTER: Duration = Duration::from_millis(20);

/// How long a replaced sidecar stays at least: each busy connection has had a reply with `Connection: close`.
const REPLACED_MIN: Duration = Duration::from_secs(2);

/// Workers have shown what is under way since the drain began.
const SHOWN_AFTER: Duration = Duration::from_millis(100);

/// How long the goodbye to the center may take.
const GOODBYE_MAX: Duration = Duration::from_secs(1);

/// How often a wait looks.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// What a sidecar is asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    /// Drain; more follows.
    Drain(Duration),
    /// End within this time.
    End(Duration),
    /// Give way to the next sidecar within this time.
    Replaced(Duration),
}

/// Whoever may ask a sidecar to leave: the host agent, and signals.
pub(crate) struct Line {
    from_agent: Option<FromAgent>,
    to_agent: Option<ToAgent>,
    terminate: Signal,
    interrupt: Signal,
    vitals: Vec<Arc<Vitals>>,
}

impl Line {
    pub(crate) fn new(
        agent: Option<std::os::unix::net::UnixStream>,
        vitals: Vec<Arc<Vitals>>,
    ) -> Result<Self, StartError> {
        let failed = |error| StartError::new("listening to signals", error);
        let line = agent.map(agent::line).transpose();
        let line =
            line.map_err(|error| StartError::new("taking the host agent's line over", error))?;
        let (from_agent, to_agent) = line.unzip();
        Ok(Self {
            from_agent,
            to_agent,
            terminate: signal(SignalKind::terminate()).map_err(failed)?,
            interrupt: signal(SignalKind::interrupt()).map_err(failed)?,
            vitals,
        })
    }

    /// Tells the host agent, when there is one.
    pub(crate) async fn tell(&mut self, message: &FromSidecar) {
        if let Some(agent) = &mut self.to_agent {
            agent.tell(message).await;
        }
    }

    /// The next order; all else that the agent says is done in here. May be given up and called again.
    pub(crate) async fn order(&mut self, started: &Started) -> Order {
        loop {
            let message = tokio::select! {
                _ = self.terminate.recv() => return Order::End(started.shared.settings.limits.drain),
                _ = self.interrupt.recv() => return Order::End(started.shared.settings.limits.drain),
                message = next(&mut self.from_agent) => message,
            };
            match message {
                None => {
                    log::line(&log::event("warn", "the host agent is gone: leaving"));
                    self.from_agent = None;
                    return Order::End(Duration::ZERO);
                }
                Some(ToSidecar::Drain { limit_ms }) => {
                    return Order::Drain(Duration::from_millis(limit_ms));
                }
                Some(ToSidecar::End { limit_ms }) => {
                    return Order::End(Duration::from_millis(limit_ms));
                }
                Some(ToSidecar::Replaced { limit_ms }) => {
                    return Order::Replaced(Duration::from_millis(limit_ms));
                }
                Some(ToSidecar::Ping) => {
                    if is_at_work(&self.vitals, clock::now_ms()) {
                        self.tell(&FromSidecar::Pong).await;
                    }
                }
                Some(message) => started.take(&message),
            }
        }
    }

    /// Answers the host agent while the workers end one by one. Never ends by itself.
    pub(crate) async fn answer(&mut self, started: &Started) {
        self.vitals.clear();
        while self.from_agent.is_some() {
            self.order(started).await;
        }
        std::future::pending::<()>().await;
    }

    /// Waits until something is so, or the time is over, or an order to end comes: that order.
    async fn until(
        &mut self,
        started: &Started,
        limit: Duration,
        mut is_so: impl FnMut(&[Arc<Vitals>]) -> bool,
    ) -> Option<Order> {
        let until = clock::now() + limit;
        loop {
            tokio::select! {
                order = self.order(started) => if matches!(order, Order::End(_)) {
                    return Some(order);
                },
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            if clock::now() >= until || is_so(&self.vitals) {
                return None;
            }
        }
    }
}

/// The next message of an agent; never, when there is none.
async fn next(agent: &mut Option<FromAgent>) -> Option<ToSidecar> {
    match agent {
        Some(agent) => agent.next().await,
        None => std::future::pending().await,
    }
}

/// Whether every worker has swept lately.
fn is_at_work(vitals: &[Arc<Vitals>], now_ms: u64) -> bool {
    vitals
        .iter()
        .all(|worker| now_ms.saturating_sub(worker.swept_ms.load(Relaxed)) < HANGS_AFTER_MS)
}

/// What is told on the way out.
pub(crate) struct Leaving {
    /// To the workers.
    pub(crate) stage: watch::Sender<Stage>,
    /// To peers.
    pub(crate) health: watch::Sender<OwnHealth>,
    /// To the one who follows the center: say goodbye.
    pub(crate) goodbye: watch::Sender<bool>,
    /// The one who follows the center.
    pub(crate) following: JoinHandle<()>,
    /// To the management port: all is over.
    pub(crate) ended: watch::Sender<bool>,
}

impl Leaving {
    /// Leaves as ordered, up to the last stage; how long calls under way may still take.
    pub(crate) async fn leave(
        &mut self,
        started: &Started,
        line: &mut Line,
        order: Order,
    ) -> Duration {
        let shared = &started.shared;
        started.ready.send_replace(false);
        shared.draining.store(true, Relaxed);
        let limit = match order {
            Order::Replaced(limit) => self.give_way(started, line, limit).await,
            Order::End(limit) => {
                self.tell_all().await;
                limit
            }
            Order::Drain(limit) => self.drain(started, line, limit).await,
        };
        shared.drained.store(true, Relaxed);
        if *self.stage.borrow() < Stage::Replaced {
            // First nothing more is accepted, so that no connection comes to a worker that has ended.
            self.stage.send_replace(Stage::Replaced);
            tokio::time::sleep(HANDED_OUT_AFTER).await;
        }
        self.stage.send_replace(Stage::Ending);
        limit
    }

    /// The instance leaves: peers, callers and the center hear of it, before any call is refused.
    async fn tell_all(&mut self) {
        health::change(&self.health, HealthState::Draining);
        self.stage.send_replace(Stage::Draining);
        self.goodbye.send_replace(true);
        let _ = tokio::time::timeout(GOODBYE_MAX, &mut self.following).await;
    }

    async fn drain(&mut self, started: &Started, line: &mut Line, limit: Duration) -> Duration {
        let until = clock::now() + limit;
        self.tell_all().await;
        let shown_at = clock::now() + SHOWN_AFTER;
        let left = until.saturating_duration_since(clock::now());
        let is_idle = |vitals: &[Arc<Vitals>]| {
            clock::now() >= shown_at && sum(vitals, |worker| &worker.inbound_calls) == 0
        };
        let ending = line.until(started, left, is_idle).await;
        if let Some(Order::End(limit)) = ending {
            return limit;
        }
        // Before the app hears of it: what comes from now on is refused here.
        started.shared.drained.store(true, Relaxed);
        line.tell(&FromSidecar::Drained).await;
        loop {
            if let Order::End(limit) = line.order(started).await {
                return limit;
            }
        }
    }

    /// The next sidecar serves: peers are asked to make new links, nobody hears that the instance leaves.
    async fn give_way(&mut self, started: &Started, line: &mut Line, limit: Duration) -> Duration {
        self.following.abort();
        self.ended.send_replace(true);
        self.stage.send_replace(Stage::Replaced);
        let now = clock::now();
        let (quiet_at, until) = (now + REPLACED_MIN.min(limit), now + limit);
        let is_idle = |vitals: &[Arc<Vitals>]| {
            clock::now() >= quiet_at && sum(vitals, |worker| &worker.calls) == 0
        };
        let ending = line.until(started, limit, is_idle).await;
        match ending {
            Some(Order::End(limit)) => limit,
            _ => until.saturating_duration_since(clock::now()),
        }
    }
}

fn sum(vitals: &[Arc<Vitals>], of: impl Fn(&Vitals) -> &std::sync::atomic::AtomicU64) -> u64 {
    vitals.iter().map(|worker| of(worker).load(Relaxed)).sum()
}
