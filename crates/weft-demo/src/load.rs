//! The load generator: calls at a steady rate, whatever the answers do, counted and timed.
//!
//! An open loop: each call has an instant at which it is due, and its time runs from there. A connection that
//! is held up by a slow answer is late for its next calls, and those count the delay: it is what a visitor
//! would have waited. A timer that fires late is not: a call whose connection was free is timed from its start.

use crate::app::{self, StartError};
use crate::clock;
use crate::http_client::{CallError, Connection, Get};
use crate::latencies::Latencies;
use serde_json::{Value, json};
use std::fs::File;
use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

/// How long a call may take.
const CALL_WAIT: Duration = Duration::from_secs(5);
/// The pause before a connection that failed is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(20);
/// Answers in a row after which the mesh counts as up.
const WARM_ANSWERS: u32 = 20;
/// The pause between attempts while it is not.
const WARM_PAUSE: Duration = Duration::from_millis(50);
/// Characters of a bad answer that are told.
const FOUND_CHARS_MAX: usize = 300;
/// Connections, at the most.
pub const CONNECTIONS_MAX: usize = 1024;

/// What the load generator is told.
#[derive(Clone, Debug)]
pub struct LoadConfig {
    /// Where they go; none: to the sidecar.
    pub target: Option<SocketAddr>,
    /// The Host of the calls.
    pub host: String,
    /// The path of the calls.
    pub path: String,
    /// Calls a second over all connections.
    pub rate: u32,
    /// Kept connections.
    pub connections: usize,
    /// How long; none: until a signal.
    pub duration: Option<Duration>,
    /// How long the first answers are waited for, uncounted.
    pub warm_up: Duration,
    /// Where a JSON line goes each second and at the end; none: standard output.
    pub report: Option<PathBuf>,
}

/// Calls until the time is over or a signal asks to end; the last line of the report is the sum. Returns how
/// many calls failed.
pub fn run(config: &LoadConfig) -> Result<u64, StartError> {
    let target = config.target.map_or_else(app::sidecar, Ok)?;
    app::block_on(generate(config, target))
}

async fn generate(config: &LoadConfig, target: SocketAddr) -> Result<u64, StartError> {
    let mut report = Report::open(config.report.as_ref())?;
    let mut asked_to_end = pin_signals()?;
    let warm = tokio::select! {
        warm = warm_up(config, target) => warm,
        _ = asked_to_end.changed() => return Ok(0),
    };
    report.line(&json!({ "warm": warm.is_ok(), "found": warm.err() }));
    let start = clock::now();
    let end = config.duration.map(|duration| start + duration);
    let counts = Arc::new(Mutex::new(Counts::default()));
    let callers: Vec<_> = (0..config.connections)
        .map(|index| {
            let caller = Caller {
                target,
                host: config.host.clone(),
                path: config.path.clone(),
                schedule: Schedule {
                    start,
                    index,
                    of: config.connections,
                    rate: config.rate,
                },
                end,
                counts: Arc::clone(&counts),
            };
            tokio::spawn(caller.call(asked_to_end.clone()))
        })
        .collect();
    let mut all = tokio::spawn(async move {
        for caller in callers {
            // A caller has no way to fail but a bug, which has said so on standard error.
            let _ = caller.await;
        }
    });
    let mut second = 0u64;
    loop {
        second += 1;
        let tick = start + Duration::from_secs(second);
        tokio::select! {
            _ = &mut all => break,
            () = sleep_until(tick.into()) => {
                let line = lock(&counts).line(second);
                report.line(&line);
            }
        }
    }
    let counts = lock(&counts);
    report.line(&counts.sum(clock::now().saturating_duration_since(start)));
    Ok(counts.failed)
}

/// Becomes true when the process is asked to end.
fn pin_signals() -> Result<watch::Receiver<bool>, StartError> {
    let failed = |error| StartError::System("listen to signals".into(), error);
    let mut term = signal(SignalKind::terminate()).map_err(failed)?;
    let mut int = signal(SignalKind::interrupt()).map_err(failed)?;
    let (asked, end) = watch::channel(false);
    tokio::spawn(async move {
        tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
        asked.send_replace(true);
        // Kept, so that nobody takes a closed channel for a wish.
        asked.closed().await;
    });
    Ok(end)
}

/// Waits until the mesh answers steadily; what was found last when it did not within the time.
async fn warm_up(config: &LoadConfig, target: SocketAddr) -> Result<(), String> {
    let get = Get {
        host: &config.host,
        path: &config.path,
        request_id: None,
    };
    let mut found = String::from("no answer");
    let steadily = async {
        let mut connection = None;
        let mut answers = 0;
        while answers < WARM_ANSWERS {
            match call_once(&mut connection, target, get).await {
                Ok(()) => answers += 1,
                Err(text) => {
                    answers = 0;
                    found = text;
                    tokio::time::sleep(WARM_PAUSE).await;
                }
            }
        }
    };
    match timeout(config.warm_up, steadily).await {
        Ok(()) => Ok(()),
        Err(_late) => Err(found),
    }
}

/// One call over a kept connection, opened when there is none; what was found when the answer is no good one.
async fn call_once(
    connection: &mut Option<Connection>,
    target: SocketAddr,
    get: Get<'_>,
) -> Result<(), String> {
    let call = async {
        let mut open = match connection.take().filter(|open| !open.is_stale()) {
            Some(open) => open,
            None => Connection::open(target).await?,
        };
        let (answer, keep) = open.get(get).await?;
        if keep {
            *connection = Some(open);
        }
        Ok::<_, CallError>(answer)
    };
    match timeout(CALL_WAIT, call).await {
        Ok(Ok(answer)) if (200..400).contains(&answer.status) => Ok(()),
        Ok(Ok(answer)) => {
            let text = String::from_utf8_lossy(&answer.body);
            let start: String = text.trim_end().chars().take(FOUND_CHARS_MAX).collect();
            Err(format!("status {}: {start}", answer.status))
        }
        Ok(Err(error)) => Err(error.to_string()),
        Err(_late) => Err(CallError::Late.to_string()),
    }
}

/// When the calls of one connection are due: each connection takes every n-th of all.
#[derive(Clone, Copy, Debug)]
struct Schedule {
    start: Instant,
    index: usize,
    of: usize,
    rate: u32,
}

impl Schedule {
    fn due(&self, call: u64) -> Instant {
        let overall = call * self.of as u64 + self.index as u64;
        let nanos = u128::from(overall) * 1_000_000_000 / u128::from(self.rate.max(1));
        self.start + Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }
}

/// One connection and its calls.
struct Caller {
    target: SocketAddr,
    host: String,
    path: String,
    schedule: Schedule,
    end: Option<Instant>,
    counts: Arc<Mutex<Counts>>,
}

impl Caller {
    async fn call(self, mut asked_to_end: watch::Receiver<bool>) {
        let get = Get {
            host: &self.host,
            path: &self.path,
            request_id: None,
        };
        let mut connection = None;
        for number in 0.. {
            let mut from = self.schedule.due(number);
            if self.end.is_some_and(|end| from >= end) || *asked_to_end.borrow() {
                return;
            }
            if from > clock::now() {
                tokio::select! {
                    () = sleep_until(from.into()) => {}
                    _ = asked_to_end.changed() => return,
                }
                from = clock::now();
            }
            let answer = call_once(&mut connection, self.target, get).await;
            let took = clock::now().saturating_duration_since(from);
            let failed = answer.is_err();
            lock(&self.counts).add(answer, took);
            if failed && connection.is_none() {
                tokio::time::sleep(REOPEN_PAUSE).await;
            }
        }
    }
}

/// What was counted.
#[derive(Default)]
struct Counts {
    calls: u64,
    failed: u64,
    times: Latencies,
    second_calls: u64,
    second_failed: u64,
    second_times: Latencies,
    /// What the last failed call found.
    found: Option<String>,
}

impl Counts {
    fn add(&mut self, answer: Result<(), String>, took: Duration) {
        self.calls += 1;
        self.second_calls += 1;
        if let Err(found) = answer {
            self.found = Some(found);
            self.failed += 1;
            self.second_failed += 1;
        }
        self.times.add(took);
        self.second_times.add(took);
    }

    /// The line of a second; the next second begins.
    fn line(&mut self, second: u64) -> Value {
        let line = json!({
            "second": second,
            "calls": self.second_calls,
            "failed": self.second_failed,
            "p50_us": self.second_times.quantile_us(0.5),
            "p95_us": self.second_times.quantile_us(0.95),
            "p99_us": self.second_times.quantile_us(0.99),
            "total_calls": self.calls,
            "total_failed": self.failed,
            "found": self.found,
        });
        self.second_calls = 0;
        self.second_failed = 0;
        self.second_times.clear();
        line
    }

    fn sum(&self, took: Duration) -> Value {
        json!({
            "done": true,
            "seconds": took.as_secs_f64(),
            "calls": self.calls,
            "failed": self.failed,
            "found": self.found,
            "p50_us": self.times.quantile_us(0.5),
            "p95_us": self.times.quantile_us(0.95),
            "p99_us": self.times.quantile_us(0.99),
        })
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    // Nothing panics while it holds the lock; if it did, the counts would still be counts.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where the lines go.
struct Report(Box<dyn Write + Send>);

impl Report {
    fn open(path: Option<&PathBuf>) -> Result<Self, StartError> {
        let Some(path) = path else {
            return Ok(Self(Box::new(io::stdout())));
        };
        let file = File::create(path).map_err(|error| {
            StartError::System(format!("create the report {}", path.display()), error)
        })?;
        Ok(Self(Box::new(file)))
    }

    fn line(&mut self, line: &Value) {
        // A reader that is gone must not end the load.
        let _ = writeln!(self.0, "{line}").and_then(|()| self.0.flush());
    }
}

#[cfg(test)]
mod tests;
