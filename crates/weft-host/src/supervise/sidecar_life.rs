//! The sidecar's starts and ends, its words, and whether it still answers: what the agent does about each.
//!
//! Never in here: how it is started (`sidecar.rs`), and a planned restart (`replacing.rs`).

use super::watchdog::Watch;
use super::{Agent, Event, GRACE, Phase, describe, pid_number, say, threads};
use crate::clock;
use crate::sidecar::Sidecar;
use rustix::process::{Pid, Signal, WaitStatus};
use std::io;
use std::time::{Duration, Instant};
use weft_api::agent::{AGE_UNKNOWN, FromSidecar, ToSidecar};
use weft_api::sidecar::SidecarSpec;

impl Agent {
    /// A sidecar that ends may take its time.
    pub(super) fn is_watched(&self) -> bool {
        self.sidecar.is_some() && !matches!(self.phase, Phase::Ending { .. } | Phase::Over { .. })
    }

    pub(super) fn watch_sidecar(&mut self, now: Instant) {
        let Some(sidecar) = &self.sidecar else { return };
        match self.watchdog.act(now, || threads::of(sidecar.pid)) {
            Watch::Wait => {}
            Watch::Ask => sidecar.tell(&ToSidecar::Ping),
            Watch::Hangs => {
                say(&format!(
                    "the sidecar (pid {}) hangs: it answers no question any more although it has its cores; it is killed",
                    pid_number(sidecar.pid)
                ));
                sidecar.signal(Signal::KILL);
            }
        }
    }

    pub(super) fn start_sidecar(&mut self, now: Instant) {
        match self.spawn_sidecar() {
            Ok(sidecar) => {
                self.sidecar = Some(sidecar);
                self.watchdog.begin(now);
                self.tell_to_drain(now);
                self.write_runtime_file();
            }
            Err(error) => {
                let wait = self.backoff.after_death(Duration::ZERO).max(GRACE);
                say(&format!(
                    "cannot start the sidecar: {error}; tried again in {wait:?}"
                ));
                self.respawn_at = Some(now + wait);
            }
        }
    }

    /// Starts a sidecar that knows how its app is.
    pub(super) fn spawn_sidecar(&self) -> io::Result<Sidecar> {
        let spec = SidecarSpec {
            incarnation: self.incarnation,
            ..self.config.spec.clone()
        };
        let (sidecar, mut lines) = Sidecar::spawn(&self.config.program, &spec, &self.listeners)?;
        let (pid, events) = (sidecar.pid, self.events.clone());
        tokio::spawn(async move {
            while let Some(message) = lines.next().await {
                if events.send(Event::Sidecar(pid, message)).await.is_err() {
                    return;
                }
            }
        });
        if let Some(message) = self.offline.message() {
            sidecar.tell(&message);
        }
        if self.app_up {
            let age = |since| clock::now().saturating_duration_since(since).as_millis() as u64;
            sidecar.tell(&ToSidecar::AppStarted {
                incarnation: self.incarnation,
                age_ms: self.app_since.map_or(AGE_UNKNOWN, age),
            });
        } else if self.app_was_up {
            sidecar.tell(&ToSidecar::AppDead);
        }
        Ok(sidecar)
    }

    pub(super) fn on_sidecar(&mut self, pid: Pid, message: &FromSidecar) {
        // Of a planned restart either may be the one that heard the center last.
        if let FromSidecar::OnDeath { declared } = message {
            self.mesh_declares(*declared);
            return;
        }
        if self.sidecar.as_ref().map(|sidecar| sidecar.pid) != Some(pid) {
            if matches!(message, FromSidecar::Ready { .. }) {
                self.next_is_ready(pid);
            }
            return;
        }
        match message {
            FromSidecar::Ready { synced } => {
                self.watchdog.answered();
                let waits = matches!(self.phase, Phase::Starting { .. });
                if waits && (*synced || self.config.spec.centers.is_empty()) {
                    if !synced {
                        say("no center is configured: calls to other services fail until one is");
                    }
                    self.start_app();
                }
            }
            FromSidecar::Drained => {
                if let Phase::Draining(draining) = &mut self.phase {
                    draining.is_drained = true;
                }
            }
            FromSidecar::Offline {
                offline,
                changed_ms,
            } => self.heard_offline(*offline, *changed_ms),
            FromSidecar::Pong => self.watchdog.answered(),
            FromSidecar::OnDeath { .. } | FromSidecar::Unknown => {}
        }
    }

    pub(super) fn after_sidecar(&mut self, sidecar: &Sidecar, status: WaitStatus) {
        if let Phase::Ending { code, .. } = self.phase {
            self.phase = Phase::Over { code };
            return;
        }
        if self.promote_next() {
            return;
        }
        let now = clock::now();
        let lived = now.saturating_duration_since(sidecar.born);
        let wait = self.backoff.after_death(lived);
        self.respawn_at = Some(now + wait);
        // Without a wait the successor comes before anything is written.
        self.act_on_time(now);
        say(&format!(
            "the sidecar (pid {}) ended with {} after {lived:.1?}; its successor starts after {wait:?}, on \
             the same sockets",
            sidecar.pid,
            describe(status),
        ));
        if self.deaths.are_too_many(now) {
            self.on_sidecar_failure();
        }
    }
}
