//! Who calls while others attack: a new connection every 5 ms, each of which must be answered 200.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Between two calls.
const EVERY: Duration = Duration::from_millis(5);

/// A call that takes longer has failed.
const ANSWERED_WITHIN: Duration = Duration::from_secs(5);

const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nHost: shop\r\nConnection: close\r\n\r\n";

/// What it saw.
#[derive(Clone, Debug, Default)]
pub(super) struct Seen {
    pub(super) calls: usize,
    pub(super) errors: usize,
    pub(super) p99_ms: f64,
    /// Why the first call failed that did.
    pub(super) why: Option<String>,
}

/// One that calls until it is asked what it saw.
pub(super) struct Bystander {
    stop: Arc<AtomicBool>,
    thread: std::thread::JoinHandle<Seen>,
}

impl Bystander {
    /// Begins to call.
    pub(super) fn start(address: SocketAddr) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build();
            runtime.map_or_else(
                |error| Seen {
                    errors: 1,
                    why: Some(error.to_string()),
                    ..Seen::default()
                },
                |runtime| runtime.block_on(stand_by(address, &stopped)),
            )
        });
        Self { stop, thread }
    }

    /// Ends it.
    pub(super) fn end(self) -> Seen {
        self.stop.store(true, Relaxed);
        self.thread.join().unwrap_or_default()
    }
}

async fn stand_by(address: SocketAddr, stop: &AtomicBool) -> Seen {
    let mut tick = interval(EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut calls = JoinSet::new();
    let mut results = Vec::new();
    while !stop.load(Relaxed) {
        tick.tick().await;
        calls.spawn(call(address));
        while let Some(Ok(result)) = calls.try_join_next() {
            results.push(result);
        }
    }
    while let Some(result) = calls.join_next().await {
        results.extend(result);
    }
    let why = results.iter().find_map(|result| result.clone().err());
    let errors = results.iter().filter(|result| result.is_err()).count();
    let mut times: Vec<f64> = results.iter().flatten().copied().collect();
    times.sort_by(f64::total_cmp);
    let p99 = times.get((times.len() * 99 / 100).min(times.len().saturating_sub(1)));
    Seen {
        calls: results.len(),
        errors,
        p99_ms: p99.copied().unwrap_or(0.0),
        why,
    }
}

/// One call: its milliseconds.
async fn call(address: SocketAddr) -> Result<f64, String> {
    let began = crate::bench::processes::now();
    let exchange = async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(REQUEST).await?;
        let mut reply = Vec::new();
        stream.read_to_end(&mut reply).await?;
        Ok::<_, std::io::Error>(reply)
    };
    match timeout(ANSWERED_WITHIN, exchange).await {
        Err(_) => Err(format!("no answer within {} s", ANSWERED_WITHIN.as_secs())),
        Ok(Err(error)) => Err(error.to_string()),
        Ok(Ok(reply)) if reply.starts_with(b"HTTP/1.1 200 ") => {
            Ok((crate::bench::processes::now() - began).as_secs_f64() * 1000.0)
        }
        Ok(Ok(reply)) => Err(String::from_utf8_lossy(&reply).chars().take(100).collect()),
    }
}
