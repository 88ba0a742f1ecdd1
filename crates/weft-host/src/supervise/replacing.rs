//! What the CLI asks the agent for: a drain, another sidecar, offline or online. A planned restart overlaps: the next sidecar
//! first, on the same sockets; once it is ready the one before gives way and finishes what it has.

use super::{Agent, GRACE, Phase, pid_number, say};
use crate::agent_socket::Asked;
use crate::clock;
use crate::sidecar::Sidecar;
use rustix::process::{Pid, Signal};
use std::time::{Duration, Instant};
use tokio::sync::oneshot;
use weft_api::agent::{AgentAnswer, AgentRequest, ToSidecar};

/// How long the one before may take to finish what it has.
const GIVE_WAY: Duration = Duration::from_secs(25);
/// How long the next one may take to be ready; it waits up to 5 s for a center.
const READY_MAX: Duration = Duration::from_secs(10);

/// A planned restart under way.
#[derive(Debug)]
pub(super) enum Replacing {
    /// The next sidecar starts, beside the one that serves.
    Starting {
        next: Sidecar,
        until: Instant,
        answer: oneshot::Sender<AgentAnswer>,
    },
    /// The next one serves; the one before finishes until then.
    GivingWay { before: Sidecar, until: Instant },
}

impl Replacing {
    pub(super) fn wake_at(&self) -> Instant {
        match self {
            Self::Starting { until, .. } | Self::GivingWay { until, .. } => *until,
        }
    }

    pub(super) fn sidecar(&self) -> &Sidecar {
        match self {
            Self::Starting { next, .. } => next,
            Self::GivingWay { before, .. } => before,
        }
    }
}

fn answer(to: oneshot::Sender<AgentAnswer>, done: bool, text: String) {
    // One who does not wait for it has gone.
    let _ = to.send(AgentAnswer { done, text });
}

impl Agent {
    pub(super) fn on_asked(&mut self, asked: Asked) {
        match asked.request {
            AgentRequest::Drain => {
                let text = match self.phase {
                    Phase::Running | Phase::Starting { .. } => {
                        self.on_signal(Signal::TERM);
                        "drains"
                    }
                    _ => "is leaving already",
                };
                answer(asked.answer, true, text.into());
            }
            AgentRequest::RestartProxy => self.replace(asked.answer),
            AgentRequest::SetOffline { offline } => {
                let leaves = !matches!(self.phase, Phase::Running | Phase::Starting { .. });
                let text = if leaves {
                    "is leaving already"
                } else {
                    self.set_offline(offline)
                };
                answer(asked.answer, !leaves, text.into());
            }
            AgentRequest::Unknown => {
                let text = "the host agent does not know this request: it is older than this weft; \
                            restart its \"weft run\"";
                answer(asked.answer, false, text.into());
            }
        }
    }

    fn replace(&mut self, to: oneshot::Sender<AgentAnswer>) {
        if self.phase != Phase::Running || self.sidecar.is_none() {
            let text = "no sidecar runs that could be replaced now: the instance starts or leaves, or its \
                        sidecar has just died; try again";
            return answer(to, false, text.into());
        }
        if self.replacing.is_some() {
            let text = "a restart of the sidecar is under way; try again when it is over";
            return answer(to, false, text.into());
        }
        match self.spawn_sidecar() {
            Ok(next) => {
                let until = clock::now() + READY_MAX;
                self.replacing = Some(Replacing::Starting {
                    next,
                    until,
                    answer: to,
                });
            }
            Err(error) => answer(to, false, format!("cannot start the next sidecar: {error}")),
        }
    }

    /// A sidecar other than the one that serves is ready: perhaps the next one of a planned restart.
    pub(super) fn next_is_ready(&mut self, pid: Pid) {
        let is_next =
            matches!(&self.replacing, Some(Replacing::Starting { next, .. }) if next.pid == pid);
        if !is_next {
            return;
        }
        if let Some(Replacing::Starting {
            next, answer: to, ..
        }) = self.replacing.take()
        {
            let now = pid_number(next.pid);
            self.watchdog.begin(clock::now());
            let before = self.sidecar.replace(next);
            let text = match before {
                Some(before) => {
                    before.tell(&ToSidecar::Replaced {
                        limit_ms: GIVE_WAY.as_millis() as u64,
                    });
                    let text = format!(
                        "the sidecar (pid {now}) has taken over from pid {}",
                        pid_number(before.pid)
                    );
                    self.replacing = Some(Replacing::GivingWay {
                        before,
                        until: clock::now() + GIVE_WAY + GRACE,
                    });
                    text
                }
                None => format!("the sidecar (pid {now}) serves"),
            };
            say(&text);
            answer(to, true, text);
            self.write_runtime_file();
        }
    }

    /// A child ended; whether it was of a planned restart.
    pub(super) fn reap_replacing(&mut self, pid: Pid) -> bool {
        let is_ours = self
            .replacing
            .as_ref()
            .is_some_and(|replacing| replacing.sidecar().pid == pid);
        if is_ours && let Some(Replacing::Starting { answer: to, .. }) = self.replacing.take() {
            let text = "the next sidecar ended before it was ready; the one before goes on";
            say(text);
            answer(to, false, text.into());
        }
        is_ours
    }

    /// The sidecar that serves died: the next one of a planned restart, if there is one, takes its place.
    pub(super) fn promote_next(&mut self) -> bool {
        match self.replacing.take() {
            Some(Replacing::Starting {
                next, answer: to, ..
            }) => {
                answer(to, true, "the sidecar died; the next one serves".into());
                self.watchdog.begin(clock::now());
                self.sidecar = Some(next);
                self.tell_to_drain(clock::now());
                self.write_runtime_file();
                true
            }
            other => {
                self.replacing = other;
                false
            }
        }
    }

    /// One that takes too long is killed.
    pub(super) fn replacing_on_time(&mut self, now: Instant) {
        match &mut self.replacing {
            Some(Replacing::Starting { next, until, .. }) if *until <= now => {
                next.signal(Signal::KILL);
                *until = now + READY_MAX;
            }
            Some(Replacing::GivingWay { before, until }) if *until <= now => {
                before.signal(Signal::KILL);
                *until = now + READY_MAX;
            }
            _ => {}
        }
    }
}
