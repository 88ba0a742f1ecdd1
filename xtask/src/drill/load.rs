//! The load of a drill: clients on HTTP/1.1 and Motan2 at the same time, at a steady rate, that count.
//!
//! Every call ends in one of: answered, failed with a reason and when it began and ended. Connects that were refused
//! are counted by themselves, also when the client then tried again. A client that keeps its connection looks before
//! each call whether the other side has closed it, as any client does.

use super::mesh::{INTERFACE, SERVICE};
use super::wire::{Wire, frame_bytes};
use crate::bench::processes::now;
use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::TcpStream;
use tokio::task::LocalSet;
use tokio::time::{MissedTickBehavior, interval_at, timeout};
use weft_codec::motan2::Header;

/// How long a client waits for a reply.
const CALL_WAIT: Duration = Duration::from_secs(10);

/// Failures that are kept with their reasons, at the most.
const FAILURES_KEPT_MAX: usize = 100_000;

/// Where the calls go.
#[derive(Clone, Debug)]
pub(super) struct Target {
    /// Where HTTP/1.1 is spoken, and Motan2 too when it is a sidecar.
    pub(super) address: SocketAddr,
    /// The Host of HTTP calls.
    host: String,
    /// The interface of Motan2 calls.
    interface: String,
}

impl Target {
    /// The service that drills call, through this address.
    pub(super) fn at(address: SocketAddr) -> Self {
        Self {
            address,
            host: SERVICE.to_owned(),
            interface: INTERFACE.to_owned(),
        }
    }
}

/// What a client speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Protocol {
    Http1,
    Motan2,
}

/// What a client is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Kind {
    pub(super) protocol: Protocol,
    /// Its calls may be tried twice: GET, or a declared method.
    pub(super) idempotent: bool,
    /// It keeps its connection; else each call has a new one.
    pub(super) keeps: bool,
    /// It tries a failed call once more by itself.
    pub(super) retries: bool,
}

/// A call that was not answered.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) kind: Kind,
    pub(super) began: Instant,
    pub(super) ended: Instant,
    pub(super) why: String,
}

/// What all clients counted.
#[derive(Clone, Debug, Default)]
pub(super) struct Counts {
    opened: BTreeMap<Kind, u64>,
    closed: BTreeMap<Kind, u64>,
    /// Calls that were answered well.
    pub(super) answered: u64,
    /// The same by what the reply said: the name of the app.
    pub(super) answered_by: BTreeMap<String, u64>,
    /// Calls that were not.
    pub(super) failed: u64,
    /// The failed ones, as far as they are kept.
    pub(super) failures: Vec<Failure>,
    /// Connects that were refused.
    pub(super) refused: u64,
    last: BTreeMap<Protocol, Instant>,
    longest: Duration,
    slowest_idempotent: Duration,
}

impl Counts {
    /// Calls of such clients that were opened until now.
    pub(super) fn opened(&self, which: impl Fn(Kind) -> bool) -> u64 {
        sum(&self.opened, which)
    }

    /// Calls of such clients that are open now.
    pub(super) fn in_flight(&self, which: impl Fn(Kind) -> bool) -> u64 {
        self.opened(&which) - sum(&self.closed, &which)
    }

    fn answer(&mut self, protocol: Protocol, name: String, at: Instant) {
        self.answered += 1;
        *self.answered_by.entry(name).or_default() += 1;
        if let Some(last) = self.last.insert(protocol, at) {
            self.longest = self.longest.max(at.saturating_duration_since(last));
        }
    }

    /// The slowest answered idempotent call since the last question.
    pub(super) fn take_slowest(&mut self) -> Duration {
        std::mem::take(&mut self.slowest_idempotent)
    }

    /// The longest time without an answered call, of the protocol that fared worse, since the last question.
    pub(super) fn take_longest_gap(&mut self, at: Instant) -> Duration {
        let open = self.last.values();
        let open = open.map(|last| at.saturating_duration_since(*last)).max();
        let longest = self.longest.max(open.unwrap_or_default());
        self.longest = Duration::ZERO;
        for last in self.last.values_mut() {
            *last = at;
        }
        longest
    }
}

fn sum(counts: &BTreeMap<Kind, u64>, which: impl Fn(Kind) -> bool) -> u64 {
    counts
        .iter()
        .filter(|(kind, _)| which(**kind))
        .map(|(_, count)| count)
        .sum()
}

/// A load that runs on a thread of its own.
pub(super) struct Load {
    counts: Arc<Mutex<Counts>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Load {
    /// Starts these clients, each at this many calls a second.
    pub(super) fn start(target: Target, clients: Vec<Kind>, rate: f64) -> Result<Self, String> {
        let counts = Arc::new(Mutex::new(Counts::default()));
        let stop = Arc::new(AtomicBool::new(false));
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("start the runtime of the load: {error}"))?;
        let (shared, stopped) = (Arc::clone(&counts), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            let every = Duration::from_secs_f64(1.0 / rate);
            let total = clients.len().max(1) as u32;
            LocalSet::new().block_on(&runtime, async {
                let begin = tokio::time::Instant::now();
                let mut tasks = Vec::new();
                for (index, kind) in clients.into_iter().enumerate() {
                    let client = Client {
                        kind,
                        target: target.clone(),
                        counts: Arc::clone(&shared),
                        kept: None,
                        last_id: (index as u64) << 32,
                    };
                    let first = begin + every * index as u32 / total;
                    let ticks = interval_at(first, every);
                    tasks.push(tokio::task::spawn_local(
                        client.run(ticks, Arc::clone(&stopped)),
                    ));
                }
                for task in tasks {
                    let _ = task.await;
                }
            });
        });
        Ok(Self {
            counts,
            stop,
            thread: Some(thread),
        })
    }

    /// What was counted until now.
    pub(super) fn counts(&self) -> MutexGuard<'_, Counts> {
        lock(&self.counts)
    }

    /// Ends the load after the calls that are open.
    pub(super) fn end(mut self) -> Counts {
        self.join();
        self.counts().clone()
    }

    fn join(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl Drop for Load {
    fn drop(&mut self) {
        self.join();
    }
}

fn lock(counts: &Mutex<Counts>) -> MutexGuard<'_, Counts> {
    // Nothing panics while it holds the lock; if it did, the counts would still be whole.
    counts.lock().unwrap_or_else(PoisonError::into_inner)
}

/// What the reply said and whether its connection may be kept; or what was answered instead.
type Answer = Result<(String, bool), String>;

struct Client {
    kind: Kind,
    target: Target,
    counts: Arc<Mutex<Counts>>,
    kept: Option<Wire>,
    last_id: u64,
}

impl Client {
    async fn run(mut self, mut ticks: tokio::time::Interval, stop: Arc<AtomicBool>) {
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            if stop.load(Ordering::Relaxed) {
                return;
            }
            let began = now();
            *lock(&self.counts).opened.entry(self.kind).or_default() += 1;
            let mut outcome = self.try_once().await;
            if outcome.is_err() && self.kind.retries {
                outcome = self.try_once().await;
            }
            let ended = now();
            let mut counts = lock(&self.counts);
            *counts.closed.entry(self.kind).or_default() += 1;
            match outcome {
                Ok(name) => {
                    if self.kind.idempotent {
                        counts.slowest_idempotent = counts.slowest_idempotent.max(ended - began);
                    }
                    counts.answer(self.kind.protocol, name, ended);
                }
                Err(why) => {
                    counts.failed += 1;
                    if counts.failures.len() < FAILURES_KEPT_MAX {
                        counts.failures.push(Failure {
                            kind: self.kind,
                            began,
                            ended,
                            why,
                        });
                    }
                }
            }
        }
    }

    /// One attempt; what the reply said.
    async fn try_once(&mut self) -> Result<String, String> {
        let kept = self.kept.take().filter(|wire| !wire.is_stale());
        let exchange = async {
            let reused = kept.is_some();
            let mut wire = match kept {
                Some(wire) => wire,
                None => self.connect().await?,
            };
            let told = |error: std::io::Error| {
                let connection = if reused { "kept" } else { "new" };
                format!("{connection} connection broke: {error}")
            };
            let (name, keeps) = match self.kind.protocol {
                Protocol::Http1 => self.http1(&mut wire).await.map_err(told)??,
                Protocol::Motan2 => self.motan2(&mut wire).await.map_err(told)??,
            };
            if keeps && self.kind.keeps {
                self.kept = Some(wire);
            }
            Ok(name)
        };
        timeout(CALL_WAIT, exchange)
            .await
            .unwrap_or_else(|_| Err(format!("no reply within {} s", CALL_WAIT.as_secs())))
    }

    async fn connect(&self) -> Result<Wire, String> {
        let stream = TcpStream::connect(self.target.address)
            .await
            .map_err(|error| {
                if error.kind() == ErrorKind::ConnectionRefused {
                    lock(&self.counts).refused += 1;
                }
                format!("connect: {error}")
            })?;
        let _ = stream.set_nodelay(true);
        Ok(Wire::new(stream))
    }

    /// One call; what the reply said and whether the connection may be kept, or what was answered instead.
    async fn http1(&self, wire: &mut Wire) -> std::io::Result<Answer> {
        let host = &self.target.host;
        let request = if self.kind.idempotent {
            format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n")
        } else {
            format!("POST / HTTP/1.1\r\nHost: {host}\r\nContent-Length: 4\r\n\r\nbody")
        };
        wire.write(request.as_bytes()).await?;
        let reply = wire.reply().await?;
        if reply.status == 200 {
            let name = reply.text.rsplit("\r\n\r\n").next().unwrap_or_default();
            return Ok(Ok((name.to_owned(), reply.keeps)));
        }
        let text = reply.text.trim().replace("\r\n", "; ");
        Ok(Err(format!("answered {}: {text}", reply.status)))
    }

    async fn motan2(&mut self, wire: &mut Wire) -> std::io::Result<Answer> {
        self.last_id += 1;
        let header = Header {
            request_id: self.last_id,
            ..Header::default()
        };
        let method = if self.kind.idempotent { "get" } else { "put" };
        let metadata = [("M_p", self.target.interface.as_str()), ("M_m", method)];
        wire.write(&frame_bytes(header, &metadata, b"body")).await?;
        loop {
            let frame = wire.frame().await?.ok_or(ErrorKind::UnexpectedEof)?;
            if frame.header.request_id != self.last_id || !frame.header.response {
                continue;
            }
            if frame.header.exception {
                let text = frame.value("M_e").unwrap_or_default();
                return Ok(Err(format!("answered with an exception: {text}")));
            }
            return Ok(Ok((
                String::from_utf8_lossy(&frame.body).into_owned(),
                true,
            )));
        }
    }
}

#[cfg(test)]
mod tests;
