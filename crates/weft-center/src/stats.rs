//! What happened to calls in the last minute, as sidecars told it: one series per direction, caller,
//! service, protocol and code, in slots of a second, merged when somebody asks.
//!
//! A sidecar reports what passed since its last report. Counts are spread over the seconds that a report
//! covers, so a rate does not jump with the moment at which reports arrive. Never in here: sockets, a clock.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::time::Instant;
use weft_api::sync;
use weft_model::ServiceName;
use weft_telemetry::histogram;

/// Seconds kept of each series.
pub(crate) const SECONDS_KEPT: u64 = 64;

/// Seconds over which a rate, a share or a quantile is told.
pub(crate) const WINDOW_SECONDS: u64 = 10;

/// The newest seconds are left out: some sidecars have not yet reported them (they do every 2 s).
pub(crate) const LAG_SECONDS: u64 = 3;

/// Series in one center; rows of further ones are dropped.
pub(crate) const SERIES_MAX: usize = 4_096;

/// Rows taken of one report.
pub(crate) const ROWS_MAX: usize = 1_024;

/// Bytes of a name in a row.
pub(crate) const NAME_BYTES_MAX: usize = 256;

/// Calls that one row, or one of its buckets, counts at the most: sums stay far from overflow.
const ROW_CALLS_MAX: u64 = 1 << 32;

/// Milliseconds that one report may cover.
const INTERVAL_MS_MAX: u64 = 60_000;

/// The code of a call that went well.
const CODE_OK: &str = "ok";

/// From where a call was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Direction {
    Inbound,
    Outbound,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct SeriesKey {
    direction: Direction,
    caller: String,
    service: String,
    protocol: String,
    code: String,
}

struct Slot {
    second: u64,
    calls: f64,
    /// Sparse, sorted by bucket.
    buckets: Vec<(u32, u64)>,
}

struct Series {
    first_second: u64,
    /// Sorted by second.
    slots: Vec<Slot>,
}

/// What is told of a service or an edge. None where there was no call.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) calls_per_second: f64,
    /// The share of calls that went well.
    pub(crate) success: Option<f64>,
    pub(crate) p50_us: Option<u64>,
    pub(crate) p95_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
}

/// The last minute of the mesh.
pub(crate) struct Stats {
    started: Instant,
    series: HashMap<SeriesKey, Series>,
}

impl Stats {
    pub(crate) fn new(now: Instant) -> Self {
        Self {
            started: now,
            series: HashMap::new(),
        }
    }

    /// Takes a report. Of itself a sidecar is believed, so its own side of each row is `reporter`. Tells how
    /// many rows were not taken because a limit was reached or because they made no sense.
    pub(crate) fn add(
        &mut self,
        reporter: &ServiceName,
        report: &sync::Stats,
        now: Instant,
    ) -> usize {
        let end_ms = now.saturating_duration_since(self.started).as_millis() as u64;
        let interval_ms = u64::from(report.interval_ms).clamp(1, INTERVAL_MS_MAX);
        self.forget_before((end_ms / 1_000).saturating_sub(SECONDS_KEPT));
        let mut dropped = report.rows.len().saturating_sub(ROWS_MAX);
        for row in report.rows.iter().take(ROWS_MAX) {
            if row.calls == 0 {
                continue;
            }
            let key = series_key(reporter, row).filter(|_| buckets_are_sound(row));
            let place = key.and_then(|key| self.place(key, end_ms / 1_000));
            match place {
                Some(series) => series.add(row, end_ms.saturating_sub(interval_ms), end_ms),
                None => dropped += 1,
            }
        }
        dropped
    }

    fn place(&mut self, key: SeriesKey, second: u64) -> Option<&mut Series> {
        if self.series.len() >= SERIES_MAX && !self.series.contains_key(&key) {
            return None;
        }
        let new = || Series {
            first_second: second,
            slots: Vec::new(),
        };
        Some(self.series.entry(key).or_insert_with(new))
    }

    fn forget_before(&mut self, second: u64) {
        self.series.retain(|_, series| {
            series.slots.retain(|slot| slot.second >= second);
            !series.slots.is_empty()
        });
    }

    /// What the instances of a service saw arrive.
    pub(crate) fn service(&self, service: &ServiceName, now: Instant) -> Summary {
        let name = service.to_string();
        let mut sum = Sum::default();
        for (key, series) in &self.series {
            if key.direction == Direction::Inbound && key.service == name {
                sum.add(key, series, self.second(now));
            }
        }
        sum.summary(self.second(now))
    }

    /// What each caller of a service saw, by the caller's name.
    pub(crate) fn edges(&self, service: &ServiceName, now: Instant) -> BTreeMap<String, Summary> {
        let name = service.to_string();
        let mut sums: BTreeMap<String, Sum> = BTreeMap::new();
        for (key, series) in &self.series {
            if key.direction == Direction::Outbound && key.service == name {
                sums.entry(key.caller.clone())
                    .or_default()
                    .add(key, series, self.second(now));
            }
        }
        let second = self.second(now);
        sums.into_iter()
            .map(|(caller, sum)| (caller, sum.summary(second)))
            .collect()
    }

    fn second(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_secs()
    }
}

impl Series {
    fn add(&mut self, row: &sync::StatsRow, start_ms: u64, end_ms: u64) {
        let length = (end_ms - start_ms).max(1) as f64;
        let last = end_ms.saturating_sub(1) / 1_000;
        self.first_second = self.first_second.min(start_ms / 1_000);
        for second in start_ms / 1_000..=last {
            let from = start_ms.max(second * 1_000);
            let to = end_ms.min((second + 1) * 1_000);
            let share = to.saturating_sub(from) as f64 / length;
            self.slot(second).calls += row.calls.min(ROW_CALLS_MAX) as f64 * share;
        }
        let slot = self.slot(last);
        for (bucket, count) in row.bucket_index.iter().zip(&row.bucket_count) {
            add_bucket(&mut slot.buckets, *bucket, (*count).min(ROW_CALLS_MAX));
        }
    }

    fn slot(&mut self, second: u64) -> &mut Slot {
        let position = match self.slots.binary_search_by_key(&second, |slot| slot.second) {
            Ok(position) => position,
            Err(position) => {
                let slot = Slot {
                    second,
                    calls: 0.0,
                    buckets: Vec::new(),
                };
                self.slots.insert(position, slot);
                position
            }
        };
        &mut self.slots[position]
    }
}

/// Series being merged.
#[derive(Default)]
struct Sum {
    calls: f64,
    ok: f64,
    first_second: Option<u64>,
    buckets: Vec<(u32, u64)>,
}

impl Sum {
    fn add(&mut self, key: &SeriesKey, series: &Series, second: u64) {
        let first = self
            .first_second
            .unwrap_or(series.first_second)
            .min(series.first_second);
        self.first_second = Some(first);
        let is_recent = |slot: &&Slot| slot.second + LAG_SECONDS + WINDOW_SECONDS > second;
        for slot in series.slots.iter().filter(is_recent) {
            // Durations come with the last second of their report: none is too new to count.
            for (bucket, count) in &slot.buckets {
                add_bucket(&mut self.buckets, *bucket, *count);
            }
            if slot.second + LAG_SECONDS > second {
                continue;
            }
            self.calls += slot.calls;
            if key.code == CODE_OK {
                self.ok += slot.calls;
            }
        }
    }

    fn summary(&self, second: u64) -> Summary {
        let end = (second + 1).saturating_sub(LAG_SECONDS);
        let known = end.saturating_sub(self.first_second.unwrap_or(end));
        let span = known.clamp(1, WINDOW_SECONDS) as f64;
        let quantile = |q| histogram::quantile(&self.buckets, q);
        Summary {
            calls_per_second: self.calls / span,
            success: (self.calls > 0.0).then(|| (self.ok / self.calls).min(1.0)),
            p50_us: quantile(0.50),
            p95_us: quantile(0.95),
            p99_us: quantile(0.99),
        }
    }
}

fn series_key(reporter: &ServiceName, row: &sync::StatsRow) -> Option<SeriesKey> {
    let names = [&row.caller, &row.service, &row.protocol, &row.code];
    if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
        return None;
    }
    let own = reporter.to_string();
    let (direction, caller, service) = match row.direction.as_str() {
        "inbound" => (Direction::Inbound, row.caller.clone(), own),
        "outbound" => (Direction::Outbound, own, row.service.clone()),
        _ => return None,
    };
    let (protocol, code) = (row.protocol.clone(), row.code.clone());
    Some(SeriesKey {
        direction,
        caller,
        service,
        protocol,
        code,
    })
}

fn buckets_are_sound(row: &sync::StatsRow) -> bool {
    row.bucket_index.len() == row.bucket_count.len()
        && row
            .bucket_index
            .iter()
            .all(|index| (*index as usize) < histogram::BUCKETS)
}

fn add_bucket(buckets: &mut Vec<(u32, u64)>, bucket: u32, count: u64) {
    match buckets.binary_search_by_key(&bucket, |(index, _)| *index) {
        Ok(position) => buckets[position].1 = buckets[position].1.saturating_add(count),
        Err(position) => buckets.insert(position, (bucket, count)),
    }
}

#[cfg(test)]
mod tests;
