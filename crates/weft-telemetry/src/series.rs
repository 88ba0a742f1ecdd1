//! What workers count. Each worker writes into its own series with relaxed atomics, so that the path of a call
//! takes no lock another worker can hold; the control thread reads them all.

use crate::histogram::{BUCKETS, bucket_of};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use weft_model::{Code, Limit};

/// Series of one sidecar at the most; further ones are counted as `other`.
pub const SERIES_MAX: usize = 4096;

/// Whose call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Direction {
    /// From the own app into the mesh.
    Outbound,
    /// From the mesh to the own app.
    Inbound,
}

impl Direction {
    /// The label.
    pub fn text(self) -> &'static str {
        match self {
            Self::Outbound => "outbound",
            Self::Inbound => "inbound",
        }
    }
}

/// How a call ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The app answered.
    Ok,
    /// The app answered with its own failure (HTTP 5xx, an RPC exception).
    AppError,
    /// The call failed for this reason.
    Failed(Code),
}

impl Outcome {
    /// The label `code`.
    pub fn text(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::AppError => "app_error",
            Self::Failed(code) => code.text(),
        }
    }
}

/// What tells series apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SeriesKey<'a> {
    /// Whose call.
    pub direction: Direction,
    /// The calling service; empty when unknown.
    pub caller: &'a str,
    /// The called service, or `external`.
    pub service: &'a str,
    /// The protocol's name.
    pub protocol: &'static str,
    /// How it ended.
    pub outcome: Outcome,
}

/// One series: calls, the sum of their durations, and their histogram. One worker writes.
#[derive(Debug)]
pub struct Series {
    direction: Direction,
    caller: Box<str>,
    service: Box<str>,
    protocol: &'static str,
    outcome: Outcome,
    calls: AtomicU64,
    duration_us_sum: AtomicU64,
    buckets: [AtomicU64; BUCKETS],
}

impl Series {
    fn new(key: SeriesKey<'_>) -> Self {
        Self {
            direction: key.direction,
            caller: key.caller.into(),
            service: key.service.into(),
            protocol: key.protocol,
            outcome: key.outcome,
            calls: AtomicU64::new(0),
            duration_us_sum: AtomicU64::new(0),
            buckets: [const { AtomicU64::new(0) }; BUCKETS],
        }
    }

    fn is(&self, key: SeriesKey<'_>) -> bool {
        self.direction == key.direction
            && self.outcome == key.outcome
            && *self.service == *key.service
            && *self.caller == *key.caller
            && self.protocol == key.protocol
    }

    fn add(&self, us: u64) {
        // One writer: a plain load and store is enough, and cheaper than a locked add.
        let bump =
            |counter: &AtomicU64, by: u64| counter.store(counter.load(Relaxed) + by, Relaxed);
        bump(&self.calls, 1);
        bump(&self.duration_us_sum, us);
        if let Some(bucket) = self.buckets.get(bucket_of(us)) {
            bump(bucket, 1);
        }
    }
}

/// A series as it stands, summed over workers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Whose calls.
    pub direction: Direction,
    /// The calling service.
    pub caller: Box<str>,
    /// The called service.
    pub service: Box<str>,
    /// The protocol's name.
    pub protocol: &'static str,
    /// `ok`, `app_error` or the failure's text.
    pub code: &'static str,
    /// How many ended so.
    pub calls: u64,
    /// The sum of their durations.
    pub duration_us_sum: u64,
    /// (bucket, count), only those that are not 0, in order.
    pub buckets: Vec<(u32, u64)>,
}

/// Counters of one worker that have no labels. One worker writes.
#[derive(Debug, Default)]
pub struct Counters {
    /// Calls whose first byte was read.
    pub calls_opened: AtomicU64,
    /// Calls that were recorded.
    pub calls_recorded: AtomicU64,
    /// Connections accepted.
    pub connections_opened: AtomicU64,
    /// Connections that were recorded.
    pub connections_recorded: AtomicU64,
    /// Streams of HTTP/2 callers that are open.
    pub streams: AtomicU64,
    /// Links open that this side connected, over HTTP/2.
    pub links_out: AtomicU64,
    /// Links open that the peer connected, over HTTP/2.
    pub links_in: AtomicU64,
    /// Links open that this side connected, over HTTP/1.1.
    pub links_out_http1: AtomicU64,
    /// Links open that the peer connected, over HTTP/1.1.
    pub links_in_http1: AtomicU64,
    /// How often the other end of a link in use fell silent.
    pub links_suspected: AtomicU64,
    /// Outbound calls whose reply streams.
    pub streams_out: AtomicU64,
    /// Inbound calls whose reply streams.
    pub streams_in: AtomicU64,
    /// Log lines dropped.
    pub log_lines_dropped: AtomicU64,
    /// Tasks that panicked.
    pub panics: AtomicU64,
    /// Calls counted as `other`.
    pub series_dropped: AtomicU64,
    /// HTTP/2 frames read from callers.
    pub h2_frames_caller: AtomicU64,
    /// HTTP/2 frames read from upstreams.
    pub h2_frames_upstream: AtomicU64,
    /// How often each limit was reached.
    pub limits_hit: LimitsHit,
    /// Connections by the code they ended with; index 0 is ok.
    pub connection_ends: ConnectionEnds,
}

/// Ends of connections: ok, then every code.
#[derive(Debug)]
pub struct ConnectionEnds(Vec<AtomicU64>);

impl Default for ConnectionEnds {
    fn default() -> Self {
        Self((0..=Code::ALL.len()).map(|_| AtomicU64::new(0)).collect())
    }
}

impl ConnectionEnds {
    /// Counts one end.
    pub fn add(&self, code: Option<Code>) {
        let index = code.map_or(0, |code| code as usize + 1);
        if let Some(counter) = self.0.get(index) {
            counter.store(counter.load(Relaxed) + 1, Relaxed);
        }
    }

    /// The counts by label, without zeros.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let texts = std::iter::once("ok").chain(Code::ALL.iter().map(|code| code.text()));
        texts
            .zip(&self.0)
            .map(|(text, count)| (text, count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
    }
}

/// How often each limit was reached.
#[derive(Debug)]
pub struct LimitsHit(Vec<AtomicU64>);

impl Default for LimitsHit {
    fn default() -> Self {
        Self(Limit::ALL.iter().map(|_| AtomicU64::new(0)).collect())
    }
}

impl LimitsHit {
    /// Counts once.
    pub fn add(&self, limit: Limit) {
        if let Some(counter) = self.0.get(limit as usize) {
            counter.store(counter.load(Relaxed) + 1, Relaxed);
        }
    }

    /// The counts by label, without zeros.
    pub fn counts(&self) -> impl Iterator<Item = (&'static str, u64)> {
        Limit::ALL
            .iter()
            .zip(&self.0)
            .map(|(limit, count)| (limit.name(), count.load(Relaxed)))
            .filter(|(_, count)| *count > 0)
    }
}

/// Adds to a counter that only the calling worker writes.
pub fn bump(counter: &AtomicU64, by: i64) {
    counter.store(counter.load(Relaxed).wrapping_add_signed(by), Relaxed);
}

/// All that the workers of one sidecar count. Its lock is taken when a series is first seen and when somebody
/// reads; never on the ordinary path of a call.
#[derive(Debug, Default)]
pub struct Registry {
    series: Mutex<Vec<Arc<Series>>>,
    counters: Mutex<Vec<Arc<Counters>>>,
}

impl Registry {
    /// Counters for one more worker.
    pub fn counters(&self) -> Arc<Counters> {
        let counters = Arc::new(Counters::default());
        self.counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(Arc::clone(&counters));
        counters
    }

    /// The counters of all workers.
    pub fn all_counters(&self) -> Vec<Arc<Counters>> {
        self.counters
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    fn open(&self, key: SeriesKey<'_>) -> Option<Arc<Series>> {
        let mut all = self.series.lock().unwrap_or_else(PoisonError::into_inner);
        if all.len() >= SERIES_MAX {
            return None;
        }
        let series = Arc::new(Series::new(key));
        all.push(Arc::clone(&series));
        Some(series)
    }

    /// Every series as it stands, those of several workers with one key summed, sorted by key.
    pub fn rows(&self) -> Vec<Row> {
        let all = self
            .series
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let mut merged: HashMap<(Direction, &str, &str, &str, &str), Row> = HashMap::new();
        for series in &all {
            let code = series.outcome.text();
            let key = (
                series.direction,
                &*series.caller,
                &*series.service,
                series.protocol,
                code,
            );
            let row = merged.entry(key).or_insert_with(|| Row {
                direction: series.direction,
                caller: series.caller.clone(),
                service: series.service.clone(),
                protocol: series.protocol,
                code,
                calls: 0,
                duration_us_sum: 0,
                buckets: Vec::new(),
            });
            row.calls += series.calls.load(Relaxed);
            row.duration_us_sum += series.duration_us_sum.load(Relaxed);
            merge_buckets(&mut row.buckets, &series.buckets);
        }
        let mut rows: Vec<Row> = merged.into_values().collect();
        rows.sort_by(|a, b| {
            (a.direction, &a.caller, &a.service, a.protocol, a.code).cmp(&(
                b.direction,
                &b.caller,
                &b.service,
                b.protocol,
                b.code,
            ))
        });
        rows
    }
}

fn merge_buckets(into: &mut Vec<(u32, u64)>, from: &[AtomicU64]) {
    for (index, count) in (0_u32..).zip(from.iter().map(|count| count.load(Relaxed))) {
        if count == 0 {
            continue;
        }
        match into.binary_search_by_key(&index, |(known, _)| *known) {
            Ok(at) => {
                if let Some((_, sum)) = into.get_mut(at) {
                    *sum += count;
                }
            }
            Err(at) => into.insert(at, (index, count)),
        }
    }
}

/// What changed between two readings of [`Registry::rows`] (both sorted by key, none removed).
pub fn rows_since(before: &[Row], now: &[Row]) -> Vec<Row> {
    type RowKey<'a> = (Direction, &'a str, &'a str, &'a str, &'a str);
    fn key(row: &Row) -> RowKey<'_> {
        (
            row.direction,
            &row.caller,
            &row.service,
            row.protocol,
            row.code,
        )
    }
    let known: HashMap<RowKey<'_>, &Row> = before.iter().map(|row| (key(row), row)).collect();
    let mut changed = Vec::new();
    for row in now {
        let Some(old) = known.get(&key(row)) else {
            changed.push(row.clone());
            continue;
        };
        if row.calls == old.calls {
            continue;
        }
        let mut difference = row.clone();
        difference.calls -= old.calls.min(row.calls);
        difference.duration_us_sum -= old.duration_us_sum.min(row.duration_us_sum);
        for (index, count) in &mut difference.buckets {
            if let Ok(at) = old.buckets.binary_search_by_key(index, |(known, _)| *known) {
                *count -= old.buckets.get(at).map_or(0, |(_, old)| *old).min(*count);
            }
        }
        difference.buckets.retain(|(_, count)| *count > 0);
        changed.push(difference);
    }
    changed
}

/// FNV-1a: keys are short and made by ourselves, so no defence against chosen keys is needed beyond
/// [`SERIES_MAX`].
#[derive(Default)]
struct ShortHasher(u64);

impl Hasher for ShortHasher {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn write_u64(&mut self, value: u64) {
        self.0 = (self.0 ^ value).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}

/// One worker's way to its series.
#[derive(Debug)]
pub struct WorkerSeries {
    registry: Arc<Registry>,
    /// The counters of this worker.
    pub counters: Arc<Counters>,
    known: HashMap<u64, Vec<Arc<Series>>, BuildHasherDefault<ShortHasher>>,
}

impl WorkerSeries {
    /// A way for one more worker.
    pub fn new(registry: Arc<Registry>) -> Self {
        let counters = registry.counters();
        Self {
            registry,
            counters,
            known: HashMap::default(),
        }
    }

    /// Counts one ended call.
    pub fn record(&mut self, key: SeriesKey<'_>, duration_us: u64) {
        let mut hasher = ShortHasher(0xcbf2_9ce4_8422_2325);
        hasher.write(key.service.as_bytes());
        hasher.write(key.caller.as_bytes());
        hasher.write(key.outcome.text().as_bytes());
        hasher.write(&[key.direction as u8]);
        let list = self.known.entry(hasher.finish()).or_default();
        if let Some(series) = list.iter().find(|series| series.is(key)) {
            series.add(duration_us);
            return;
        }
        if let Some(series) = self.registry.open(key) {
            series.add(duration_us);
            list.push(series);
            return;
        }
        bump(&self.counters.series_dropped, 1);
    }
}

#[cfg(test)]
mod tests;
