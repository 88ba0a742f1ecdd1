//! The app that something else starts: known by its ports, and by its check when a person named one.
//!
//! Closed ports mean a dead app at once, and after `--app-away` one that does not come back: the instance leaves.

use super::{Agent, Phase, WATCH_EVERY, say};
use crate::owner;
use rustix::process::Signal;
use std::time::Instant;
use weft_api::agent::ToSidecar;

/// What is known of such an app.
#[derive(Debug, Default)]
pub(super) struct Foreign {
    /// The sockets on which it listens.
    sockets: Vec<u64>,
    /// It was seen to be away: when it comes, it is new.
    was_away: bool,
    /// When it is looked for next.
    watch_at: Option<Instant>,
    /// When it has been away for so long that the instance leaves.
    leave_at: Option<Instant>,
}

impl Foreign {
    pub(super) fn wake_at(&self) -> Option<Instant> {
        // It cannot be late by more than one look.
        self.watch_at
    }

    /// No more looks: all ends.
    pub(super) fn stop(&mut self) {
        self.watch_at = None;
    }
}

impl Agent {
    /// Begins to look for it. The first look comes before the first sidecar, which would otherwise know an app that
    /// we missed. One without ports is always there.
    pub(super) fn begin_foreign(&mut self, now: Instant) {
        if self.config.spec.ports.is_empty() && self.config.check.is_none() {
            self.app_is_up(false);
            return;
        }
        self.begin_check(None);
        self.foreign.watch_at = Some(now);
    }

    pub(super) fn foreign_on_time(&mut self, now: Instant) {
        if self.foreign.watch_at.is_none_or(|at| at > now) {
            return;
        }
        self.foreign.watch_at = Some(now + WATCH_EVERY);
        self.watch_app(now);
        if self.foreign.leave_at.is_some_and(|at| at <= now) && self.phase == Phase::Running {
            say(&format!(
                "the app's ports have been closed for {:?}: the instance leaves; --app-away says how long it waits",
                self.config.app_away
            ));
            self.leave(Signal::TERM);
        }
    }

    /// It is up when one of its ports listens and its check does not say otherwise.
    pub(super) fn watch_app(&mut self, now: Instant) {
        let ports = self.config.spec.ports.iter().map(|port| port.0.number);
        let sockets = owner::listening_sockets(&ports.collect::<Vec<_>>());
        let before = std::mem::replace(&mut self.foreign.sockets, sockets);
        let sockets = &self.foreign.sockets;
        if !before.is_empty() && !before.iter().any(|socket| sockets.contains(socket)) {
            // Gone, or gone and come again between two looks.
            self.foreign.leave_at = Some(now + self.config.app_away);
            self.foreign.was_away = true;
            self.incarnation += 1;
            self.app_up = false;
            self.forget_check();
            self.tell(&ToSidecar::AppDead);
        }
        let is_there = !self.foreign.sockets.is_empty();
        if is_there {
            self.foreign.leave_at = None;
        }
        // One without ports is there as long as it passes its check.
        let is_there = is_there || self.config.spec.ports.is_empty();
        self.foreign.was_away |= !is_there;
        if !self.app_up && is_there && self.passes_check() {
            self.app_is_up(self.foreign.was_away);
        }
    }
}
