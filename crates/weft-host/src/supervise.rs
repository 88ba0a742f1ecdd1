//! The agent's loop: start the sidecar, wait until it is ready, start the app, keep the sidecar alive, forward
//! signals, reap children, end with the app's exit code.
//!
//! One loop on one thread: every event comes through one queue, every wait is one deadline. It works as
//! process 1 of a container, where it also inherits orphans; therefore it reaps with wait(2) for *any* child
//! and nothing else in the process may wait for one.

use crate::agent_socket::{self, Asked};
use crate::backoff::Backoff;
use crate::clock;
use crate::folders::Slot;
use crate::policy::{Deaths, Decision};
use crate::run::RunConfig;
use crate::runtime_file::RuntimeFile;
use crate::sidecar::Sidecar;
use crate::sockets::Listeners;
use checking::{Checking, Looked};
use foreign::Foreign;
use leaving::Draining;
use offline::Offline;
use replacing::Replacing;
use rustix::process::{Pid, Signal, WaitOptions, WaitStatus};
use std::io::{self, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use watchdog::Watchdog;
use weft_api::agent::{AGE_UNKNOWN, FromSidecar, ToSidecar};

mod app_life;
mod checking;
mod foreign;
mod leaving;
mod offline;
mod replacing;
mod sidecar_life;
mod signals;
mod threads;
mod watchdog;

/// How long the app waits for a sidecar that knows the mesh.
const READY_WAIT: Duration = Duration::from_secs(5);
/// How long a sidecar has to say goodbye after its app's end.
const GOODBYE: Duration = Duration::from_secs(2);
/// What a sidecar gets on top of a drain's limit before it is asked by signal, and then again before it is
/// killed.
const GRACE: Duration = Duration::from_secs(1);
/// How often an app that weft did not start is looked for: one that lives for less is not seen at all.
const WATCH_EVERY: Duration = Duration::from_millis(100);
/// The socket for the CLI, in the sidecar's runtime folder.
const SOCKET: &str = "agent.sock";
/// Events that wait for the loop, at the most.
const EVENTS_MAX: usize = 64;

/// Runs sidecar and app to the end of the app; returns the exit code. Fails only when signals cannot be heard.
pub(crate) async fn supervise(
    config: RunConfig,
    listeners: Listeners,
    slot: Slot,
) -> io::Result<u8> {
    let (events, queue) = mpsc::channel(EVENTS_MAX);
    signals::listen(&events)?;
    let (asking, asked) = mpsc::channel(EVENTS_MAX);
    let path = slot.folder.join(SOCKET);
    let mut agent = Agent::new(config, listeners, slot, events);
    match agent_socket::listen(&path, asking) {
        Ok(()) => agent.socket = Some(path),
        Err(error) => say(&format!(
            "cannot listen at {}: {error}; \"weft drain\" and \"weft restart\" do not reach this instance, \
             signals do",
            path.display()
        )),
    }
    Ok(agent.live(queue, asked).await)
}

/// What the loop hears of.
#[derive(Debug)]
enum Event {
    /// A child has changed.
    Child,
    /// A signal that is meant for the app.
    Signal(Signal),
    /// Somebody looked whether the app works.
    Looked(Looked),
    /// A sidecar spoke.
    Sidecar(Pid, FromSidecar),
}

/// Where in its life the agent is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// The sidecar was started; the app waits for it until then.
    Starting { until: Instant },
    /// App and sidecar run.
    Running,
    /// The sidecar tells all that the instance leaves; the app does not know yet.
    Draining(Draining),
    /// The app was told to end; it is killed then.
    Stopping { kill_at: Instant },
    /// The app is gone or was never ours: the sidecar ends, gets SIGTERM then, and SIGKILL a while later.
    Ending {
        code: u8,
        next_push: Instant,
        asked: bool,
    },
    /// All is over.
    Over { code: u8 },
}

struct Agent {
    config: RunConfig,
    listeners: Listeners,
    slot: Slot,
    events: mpsc::Sender<Event>,
    phase: Phase,
    sidecar: Option<Sidecar>,
    /// A planned restart of it under way.
    replacing: Option<Replacing>,
    watchdog: Watchdog,
    /// Where the CLI asks for something.
    socket: Option<PathBuf>,
    /// When the next sidecar starts, while there is none.
    respawn_at: Option<Instant>,
    backoff: Backoff,
    deaths: Deaths,
    /// What follows when there were too many.
    decision: Decision,
    /// The app, when we started it.
    app: Option<Pid>,
    app_born: Instant,
    app_backoff: Backoff,
    /// When the app is started again, while it is down.
    start_app_at: Option<Instant>,
    /// When an app that is restarted because of its sidecar is killed.
    kill_app_at: Option<Instant>,
    /// Whether the app was told to end in order to be started again.
    restarts_app: bool,
    /// The sidecar died too often, and the policy is to give up.
    gave_up: bool,
    /// Whether the app is up, whoever started it.
    app_up: bool,
    /// Whether it ever was.
    app_was_up: bool,
    /// When it last came up: a successor of the sidecar wants to know. None when that was before we looked.
    app_since: Option<Instant>,
    /// What is known of an app that something else starts.
    foreign: Foreign,
    /// The check of the app, while there is one to check.
    checking: Option<Checking>,
    /// The app that we started was told to end because it failed its check.
    app_hangs: bool,
    /// +1 at each start of the app.
    incarnation: u64,
    /// Whether a person took the instance out of use.
    offline: Offline,
}

impl Agent {
    fn new(
        config: RunConfig,
        listeners: Listeners,
        slot: Slot,
        events: mpsc::Sender<Event>,
    ) -> Self {
        let now = clock::now();
        Self {
            incarnation: config.spec.incarnation,
            decision: Decision {
                said_here: config.sidecar_failure,
                declared: None,
            },
            config,
            listeners,
            slot,
            events,
            phase: Phase::Starting {
                until: now + READY_WAIT,
            },
            sidecar: None,
            replacing: None,
            watchdog: Watchdog::new(now),
            socket: None,
            respawn_at: Some(now),
            backoff: Backoff::default(),
            deaths: Deaths::default(),
            app: None,
            app_born: now,
            app_backoff: Backoff::default(),
            start_app_at: None,
            kill_app_at: None,
            restarts_app: false,
            gave_up: false,
            app_up: false,
            app_was_up: false,
            app_since: None,
            foreign: Foreign::default(),
            checking: None,
            app_hangs: false,
            offline: Offline::default(),
        }
    }

    async fn live(
        mut self,
        mut queue: mpsc::Receiver<Event>,
        mut asked: mpsc::Receiver<Asked>,
    ) -> u8 {
        if self.config.command.is_empty() {
            self.begin_foreign(clock::now());
        }
        loop {
            self.act_on_time(clock::now());
            if let Phase::Over { code } = self.phase {
                let _ = std::fs::remove_file(&self.slot.runtime_file);
                if let Some(path) = &self.socket {
                    let _ = std::fs::remove_file(path);
                }
                return code;
            }
            let wake = self.next_wake();
            let event = tokio::select! {
                event = queue.recv() => event,
                Some(asked) = asked.recv() => {
                    self.on_asked(asked);
                    None
                }
                () = sleep_until(wake) => None,
            };
            match event {
                None => {}
                Some(Event::Child) => self.reap(),
                Some(Event::Signal(signal)) => self.on_signal(signal),
                Some(Event::Looked(looked)) => self.on_look(looked),
                Some(Event::Sidecar(pid, message)) => self.on_sidecar(pid, &message),
            }
        }
    }

    /// The earliest of all deadlines.
    fn next_wake(&self) -> Option<Instant> {
        let phase = match self.phase {
            Phase::Starting { until } => Some(until),
            Phase::Draining(draining) => Some(draining.wake_at()),
            Phase::Stopping { kill_at } => Some(kill_at),
            Phase::Ending { next_push, .. } => Some(next_push),
            Phase::Running | Phase::Over { .. } => None,
        };
        let watchdog = self.is_watched().then(|| self.watchdog.wake_at());
        let replacing = self.replacing.as_ref().map(Replacing::wake_at);
        let app = [self.start_app_at, self.kill_app_at];
        let sidecar = [self.respawn_at, watchdog, replacing];
        let foreign = self.foreign.wake_at();
        let all = [phase, foreign].into_iter().chain(app).chain(sidecar);
        all.flatten().min()
    }

    fn act_on_time(&mut self, now: Instant) {
        self.foreign_on_time(now);
        if self.respawn_at.is_some_and(|at| at <= now) {
            self.respawn_at = None;
            self.start_sidecar(now);
        }
        self.replacing_on_time(now);
        self.app_on_time(now);
        if self.is_watched() {
            self.watch_sidecar(now);
        }
        match self.phase {
            Phase::Starting { until } if until <= now => {
                let and_so = if self.config.command.is_empty() {
                    ""
                } else {
                    "the app starts anyway, "
                };
                say(&format!(
                    "the sidecar does not know the mesh after {} s (no answer from center {}); {and_so}calls to \
                     services fail until the center answers",
                    READY_WAIT.as_secs(),
                    self.centers(),
                ));
                self.start_app();
            }
            Phase::Ending {
                code,
                next_push,
                asked,
            } if next_push <= now => {
                if let Some(sidecar) = &self.sidecar {
                    sidecar.signal(if asked { Signal::KILL } else { Signal::TERM });
                }
                self.phase = Phase::Ending {
                    code,
                    next_push: now + GRACE,
                    asked: true,
                };
            }
            Phase::Draining(draining) if draining.is_over(now) => self.stop_app(&draining),
            Phase::Stopping { kill_at } if kill_at <= now => self.kill_app(now),
            _ => {}
        }
    }

    fn centers(&self) -> String {
        if self.config.spec.centers.is_empty() {
            return "(none is configured)".into();
        }
        self.config.spec.centers.join(", ")
    }

    fn write_runtime_file(&self) {
        let file = RuntimeFile {
            service: self.config.spec.service.clone(),
            instance: self.config.spec.instance.clone(),
            pid: std::process::id(),
            sidecar_pid: self.sidecar.as_ref().map(|sidecar| pid_number(sidecar.pid)),
            ports: self.listeners.ports(),
            socket: self.socket.clone(),
        };
        if let Err(error) = file.write(&self.slot.runtime_file) {
            say(&error.to_string());
        }
    }

    fn app_is_up(&mut self, is_new: bool) {
        self.app_up = true;
        self.app_was_up = true;
        self.app_since = is_new.then(clock::now);
        self.tell(&ToSidecar::AppStarted {
            incarnation: self.incarnation,
            age_ms: if is_new { 0 } else { AGE_UNKNOWN },
        });
    }

    fn tell(&self, message: &ToSidecar) {
        if let Some(sidecar) = &self.sidecar {
            sidecar.tell(message);
        }
    }

    /// Takes in every child that has ended, also those that others left to us.
    fn reap(&mut self) {
        while let Ok(Some((pid, status))) = rustix::process::wait(WaitOptions::NOHANG) {
            if Some(pid) == self.app {
                self.after_app(status);
            } else if self.reap_replacing(pid) {
                self.replacing = None;
            } else if let Some(sidecar) = self.sidecar.take_if(|sidecar| sidecar.pid == pid) {
                self.after_sidecar(&sidecar, status);
            }
        }
    }
}

fn pid_number(pid: Pid) -> u32 {
    pid.as_raw_nonzero().get() as u32
}

async fn sleep_until(wake: Option<Instant>) {
    match wake {
        Some(at) => tokio::time::sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// The exit code of a process, as shells have it: 128 and the signal for one that a signal ended.
fn exit_code(status: WaitStatus) -> u8 {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code as u8,
        (None, Some(signal)) => ended_by(signal),
        (None, None) => 1,
    }
}

fn ended_by(signal: i32) -> u8 {
    128u8.saturating_add(signal as u8)
}

fn describe(status: WaitStatus) -> String {
    match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => "an unknown status".into(),
    }
}

/// A line for the person who started us. Standard output is the app's.
pub(crate) fn say(text: &str) {
    let _ = writeln!(io::stderr(), "weft run: {text}");
}

#[cfg(test)]
mod tests;
