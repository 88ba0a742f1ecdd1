//! What follows from the check that a person named: an app that we started and that hangs is ended like one that
//! ended by itself; one that something else starts counts as dead until it passes again.

use super::leaving::APP_END_MAX;
use super::{Agent, Event, Phase, say};
use crate::check::{Check, Verdicts};
use crate::clock;
use rustix::process::{Pid, Signal};
use tokio::task::AbortHandle;
use weft_api::agent::ToSidecar;

/// The check of one app, while it is followed.
#[derive(Debug)]
pub(super) struct Checking {
    verdicts: Verdicts,
    /// Whether the last word was that it passes.
    passes: bool,
    /// Whom looks under way are about.
    of: Option<Pid>,
    task: AbortHandle,
}

impl Drop for Checking {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// One look at an app.
#[derive(Debug)]
pub(super) struct Looked {
    of: Option<Pid>,
    found: Result<(), String>,
}

impl Agent {
    /// Begins to check the app, when a person named a check. `of` is the app that we started.
    pub(super) fn begin_check(&mut self, of: Option<Pid>) {
        let Some(check) = self.config.check.clone() else {
            return;
        };
        let verdicts = Verdicts::begin(&check, clock::now());
        let events = self.events.clone();
        let task = tokio::spawn(async move { follow(&check, of, &events).await }).abort_handle();
        self.checking = Some(Checking {
            verdicts,
            passes: false,
            of,
            task,
        });
    }

    /// Whether nothing speaks against an app that something else starts, except its ports.
    pub(super) fn passes_check(&self) -> bool {
        self.config.check.is_none()
            || self
                .checking
                .as_ref()
                .is_some_and(|checking| checking.passes)
    }

    /// What was seen so far was of an app that is gone.
    pub(super) fn forget_check(&mut self) {
        if let Some(checking) = &mut self.checking {
            checking.passes = false;
        }
    }

    pub(super) fn on_look(&mut self, looked: Looked) {
        let Looked { of, found } = looked;
        let Some(checking) = self.checking.as_mut().filter(|current| current.of == of) else {
            return;
        };
        let is_dead = checking.verdicts.take(found.is_ok(), clock::now());
        checking.passes = found.is_ok() || checking.passes && !is_dead;
        match (of, found) {
            (Some(app), Err(found)) if is_dead => self.end_hanging_app(app, &found),
            (None, found) => self.watch_app_checked(is_dead, found),
            _ => {}
        }
    }

    /// The app that we started hangs: callers hear of it at once, then it ends; `--restart` says what follows.
    fn end_hanging_app(&mut self, app: Pid, found: &str) {
        if self.phase != Phase::Running || self.kill_app_at.is_some() {
            return;
        }
        say(&format!(
            "the app fails its check {} ({found}): it is told to end, and killed {APP_END_MAX:?} later",
            self.check_text()
        ));
        self.checking = None;
        self.app_hangs = true;
        self.app_up = false;
        self.tell(&ToSidecar::AppDead);
        self.kill_app_at = Some(clock::now() + APP_END_MAX);
        let _ = rustix::process::kill_process(app, Signal::TERM);
    }

    fn watch_app_checked(&mut self, is_dead: bool, found: Result<(), String>) {
        match found {
            Ok(()) if !self.app_up => self.watch_app(clock::now()),
            Err(found) if is_dead && self.app_up => {
                say(&format!(
                    "the app fails its check {} ({found}): it counts as dead until it passes",
                    self.check_text()
                ));
                self.app_up = false;
                self.tell(&ToSidecar::AppDead);
            }
            _ => {}
        }
    }

    fn check_text(&self) -> String {
        let check = self.config.check.as_ref();
        check.map_or_else(String::new, |check| check.probe.to_string())
    }
}

/// Looks again and again, until nobody listens.
async fn follow(check: &Check, of: Option<Pid>, events: &tokio::sync::mpsc::Sender<Event>) {
    let mut has_passed = false;
    loop {
        let found = check.look().await;
        has_passed |= found.is_ok();
        let looked = Looked { of, found };
        if events.send(Event::Looked(looked)).await.is_err() {
            return;
        }
        tokio::time::sleep(check.pause(has_passed)).await;
    }
}
