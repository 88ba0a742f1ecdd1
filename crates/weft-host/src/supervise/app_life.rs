//! The app's starts and ends: who started it is who starts it again.

use super::leaving::APP_END_MAX;
use super::{Agent, GOODBYE, Phase, ended_by, exit_code, say};
use crate::app::{self, AppEnvironment};
use crate::clock;
use rustix::process::{Signal, WaitStatus};
use std::time::Instant;
use weft_api::agent::{OnDeath, ToSidecar};

use crate::policy::SidecarFailure;

/// The exit code of an agent that gave up on its sidecar, whatever the app's was.
const GAVE_UP: u8 = 70;
/// The exit code of an app that failed its check, whatever its own was.
const FAILED_CHECK: u8 = 69;

impl Agent {
    pub(super) fn start_app(&mut self) {
        self.phase = Phase::Running;
        if self.config.command.is_empty() {
            return;
        }
        let environment = AppEnvironment {
            service: &self.config.spec.service,
            instance: &self.config.spec.instance,
            ports: self.listeners.ports(),
            set_http_proxy: self.config.set_http_proxy,
        };
        match app::spawn(&self.config.program, &self.config.command, &environment) {
            Ok(pid) => {
                self.app = Some(pid);
                self.app_born = clock::now();
                self.app_is_up(true);
                self.begin_check(Some(pid));
            }
            Err(error) => {
                say(&format!("cannot start the app: {error}"));
                self.end(app::NOT_STARTED, GOODBYE);
            }
        }
    }

    pub(super) fn after_app(&mut self, status: WaitStatus) {
        self.app = None;
        self.app_up = false;
        self.kill_app_at = None;
        self.checking = None;
        self.tell(&ToSidecar::AppDead);
        let code = if std::mem::take(&mut self.app_hangs) {
            FAILED_CHECK
        } else {
            exit_code(status)
        };
        let is_asked = std::mem::take(&mut self.restarts_app);
        let starts_again =
            self.phase == Phase::Running && (is_asked || self.config.restart.applies(code));
        if !starts_again {
            let code = if self.gave_up { GAVE_UP } else { code };
            self.end(code, GOODBYE);
            return;
        }
        let now = clock::now();
        let lived = now.saturating_duration_since(self.app_born);
        let wait = self.app_backoff.after_death(lived);
        self.incarnation += 1;
        self.start_app_at = Some(now + wait);
        say(&format!(
            "the app ended with {} after {lived:.1?}; it is started again after {wait:?}",
            super::describe(status)
        ));
    }

    /// The app's part of what is done on time.
    pub(super) fn app_on_time(&mut self, now: Instant) {
        if self.kill_app_at.is_some_and(|at| at <= now) {
            self.kill_app_at = None;
            if let Some(app) = self.app {
                let _ = rustix::process::kill_process(app, Signal::KILL);
            }
        }
        if self.start_app_at.is_some_and(|at| at <= now) {
            self.start_app_at = None;
            if self.phase == Phase::Running {
                self.start_app();
            }
        }
    }

    /// The center says what follows when the sidecar keeps dying; or that nobody declares it any more.
    pub(super) fn mesh_declares(&mut self, declared: Option<OnDeath>) {
        let before = self.decision.made();
        self.decision.declared = declared;
        let made = self.decision.made();
        if made != before {
            say(&format!(
                "as the mesh declares, after five deaths of the sidecar in a minute: {made}"
            ));
        }
    }

    /// The sidecar died once more after five deaths in a minute.
    pub(super) fn on_sidecar_failure(&mut self) {
        let now = clock::now();
        match self.decision.made() {
            SidecarFailure::KeepTrying => {}
            SidecarFailure::RestartApp => {
                let (Phase::Running, Some(app)) = (self.phase, self.app) else {
                    return;
                };
                say(
                    "the sidecar died more than five times in a minute: the app is restarted with it",
                );
                self.restarts_app = true;
                self.kill_app_at = Some(now + APP_END_MAX);
                let _ = rustix::process::kill_process(app, Signal::TERM);
            }
            SidecarFailure::GiveUp => {
                say(
                    "the sidecar died more than five times in a minute: given up, the app is told to end",
                );
                self.gave_up = true;
                self.start_app_at = None;
                match (self.phase, self.app) {
                    (Phase::Starting { .. } | Phase::Running, Some(app)) => {
                        self.phase = Phase::Stopping {
                            kill_at: now + APP_END_MAX,
                        };
                        let _ = rustix::process::kill_process(app, Signal::TERM);
                    }
                    (Phase::Starting { .. } | Phase::Running, None) => self.end(GAVE_UP, GOODBYE),
                    _ => {}
                }
            }
        }
    }

    /// The exit code when we leave and there is no app that could have one.
    pub(super) fn code_without_app(&self, signal: Signal) -> u8 {
        match (self.gave_up, self.config.command.is_empty()) {
            (true, _) => GAVE_UP,
            (false, true) => 0,
            (false, false) => ended_by(signal.as_raw()),
        }
    }
}
