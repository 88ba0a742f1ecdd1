//! The way out, in the order in which nobody loses a call: the sidecar drains (peers hear first), then the app
//! is told to end, then the sidecar ends. The app's own calls go on until its end.

use super::{Agent, GOODBYE, GRACE, Phase, ended_by, say, signals};
use crate::clock;
use crate::owner;
use rustix::process::Signal;
use std::time::{Duration, Instant};
use weft_api::agent::ToSidecar;

/// A drain takes at least this long, so that every peer has heard of it.
const DRAIN_MIN: Duration = Duration::from_secs(2);

/// How long an app may take to end that is told to because of its sidecar.
pub(super) const APP_END_MAX: Duration = Duration::from_secs(5);

/// A drain under way.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Draining {
    /// Not over before.
    pub(super) earliest: Instant,
    /// Over by then.
    pub(super) until: Instant,
    /// When the app is killed at the latest.
    pub(super) kill_at: Instant,
    /// Whether the sidecar said that no call for the app is under way.
    pub(super) is_drained: bool,
    /// What was asked for, and what the app gets then.
    pub(super) signal: Signal,
}

impl Draining {
    /// A drain that begins now.
    pub(super) fn begin(now: Instant, limit: Duration, grace: Duration, signal: Signal) -> Self {
        Self {
            earliest: now + DRAIN_MIN.min(limit),
            until: now + limit,
            kill_at: now + grace.max(limit),
            is_drained: false,
            signal,
        }
    }

    pub(super) fn is_over(&self, now: Instant) -> bool {
        self.wake_at() <= now
    }

    pub(super) fn wake_at(&self) -> Instant {
        if self.is_drained {
            self.earliest
        } else {
            self.until
        }
    }
}

impl Agent {
    pub(super) fn on_signal(&mut self, signal: Signal) {
        let is_end = [Signal::TERM, Signal::INT].contains(&signal)
            || self.app.is_none() && [Signal::QUIT, Signal::HUP].contains(&signal);
        if !is_end {
            self.forward(signal);
            return;
        }
        match self.phase {
            Phase::Starting { .. } => self.end(ended_by(signal.as_raw()), GOODBYE),
            Phase::Running => self.leave(signal),
            // Asked twice: no more patience.
            Phase::Draining(draining) => self.stop_app(&draining),
            Phase::Stopping { .. } => self.forward(signal),
            Phase::Ending { code, asked, .. } => {
                self.phase = Phase::Ending {
                    code,
                    next_push: clock::now(),
                    asked,
                };
            }
            Phase::Over { .. } => {}
        }
    }

    fn forward(&self, signal: Signal) {
        if let Some(app) = self.app
            && !signals::terminal_has_sent(signal)
        {
            let _ = rustix::process::kill_process(app, signal);
        }
    }

    /// Begins to leave.
    pub(super) fn leave(&mut self, signal: Signal) {
        // Nobody calls an app without ports, so nobody needs to hear of it first.
        let limit = if self.config.spec.ports.is_empty() {
            Duration::ZERO
        } else {
            self.config.drain_limit
        };
        if self.is_left_by_its_app() {
            // As at the end of a pod, where the app goes first: no call for it is under way, and whoever still
            // means it moves on at once.
            self.end(self.code_without_app(signal), limit.max(GOODBYE));
            return;
        }
        let now = clock::now();
        let draining = Draining::begin(now, limit, self.config.grace, signal);
        self.phase = Phase::Draining(draining);
        self.tell_to_drain(now);
    }

    /// Whether the app is one that we did not start, and listens no more.
    fn is_left_by_its_app(&self) -> bool {
        let ports = &self.config.spec.ports;
        let numbers: Vec<u16> = ports.iter().map(|port| port.0.number).collect();
        self.config.command.is_empty()
            && !numbers.is_empty()
            && owner::listening_sockets(&numbers).is_empty()
    }

    /// Tells the sidecar where in leaving we are; one that was started meanwhile, too.
    pub(super) fn tell_to_drain(&self, now: Instant) {
        let limit = match self.phase {
            Phase::Draining(draining) => draining.until.saturating_duration_since(now),
            Phase::Stopping { .. } => Duration::ZERO,
            _ => return,
        };
        self.tell(&ToSidecar::Drain {
            limit_ms: limit.as_millis() as u64,
        });
    }

    /// The sidecar has drained, or time is over: the app's turn.
    pub(super) fn stop_app(&mut self, draining: &Draining) {
        if self.app.is_some() {
            self.phase = Phase::Stopping {
                kill_at: draining.kill_at,
            };
            self.forward(draining.signal);
            return;
        }
        let code = self.code_without_app(draining.signal);
        let left = draining.until.saturating_duration_since(clock::now());
        self.end(code, left.max(GOODBYE));
    }

    /// The app had its time.
    pub(super) fn kill_app(&mut self, now: Instant) {
        say("the app has not ended in time: it is killed; give it more with --grace");
        if let Some(app) = self.app {
            let _ = rustix::process::kill_process(app, Signal::KILL);
        }
        self.phase = Phase::Stopping {
            kill_at: now + GRACE,
        };
    }

    /// Ends the sidecar in good order, and then all with this code.
    pub(super) fn end(&mut self, code: u8, limit: Duration) {
        self.respawn_at = None;
        self.foreign.stop();
        self.checking = None;
        self.start_app_at = None;
        if self.sidecar.is_none() {
            self.phase = Phase::Over { code };
            return;
        }
        self.tell(&ToSidecar::End {
            limit_ms: limit.as_millis() as u64,
        });
        self.phase = Phase::Ending {
            code,
            next_push: clock::now() + limit + GRACE,
            asked: false,
        };
    }
}

#[cfg(test)]
mod tests;
