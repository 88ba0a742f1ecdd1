//! Prometheus text (exposition format 0.0.4) from the registry.

use crate::histogram::upper_bound_us;
use crate::names::{self, Kind, Metric};
use crate::series::{Counters, Direction, Registry, Row};
use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// The bounds shown, in microseconds; the histograms themselves are finer.
const BOUNDS_US: &[u64] = &[
    100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 100_000, 250_000, 500_000,
    1_000_000, 2_500_000, 5_000_000, 10_000_000, 60_000_000,
];

/// What is known beside the registry.
#[derive(Clone, Copy, Debug)]
pub struct Gauges {
    /// The generation of the snapshot in use.
    pub snapshot_generation: u64,
    /// Whether a center has been heard.
    pub synced: bool,
    /// Bytes of buffers in use.
    pub buffer_bytes: u64,
}

/// All metrics as Prometheus text.
pub fn prometheus_text(registry: &Registry, gauges: Gauges) -> String {
    let mut out = String::new();
    let rows = registry.rows();
    calls(&mut out, &rows);
    let counters = registry.all_counters();
    let sum = |pick: fn(&Counters) -> &AtomicU64| -> u64 {
        counters
            .iter()
            .map(|counters: &Arc<Counters>| pick(counters).load(Relaxed))
            .fold(0, u64::wrapping_add)
    };
    let opened = sum(|counters| &counters.calls_opened);
    plain(&mut out, names::CALLS_OPENED, opened);
    plain(
        &mut out,
        names::CALLS_ACTIVE,
        opened.saturating_sub(sum(|counters| &counters.calls_recorded)),
    );
    let connections = sum(|counters| &counters.connections_opened);
    plain(&mut out, names::CONNECTIONS, connections);
    let connections_recorded = sum(|counters| &counters.connections_recorded);
    plain(
        &mut out,
        names::CONNECTIONS_ACTIVE,
        connections.saturating_sub(connections_recorded),
    );
    let ends = counters
        .iter()
        .flat_map(|counters| counters.connection_ends.counts());
    labelled(&mut out, names::CONNECTION_ENDS, ends);
    let hit = counters
        .iter()
        .flat_map(|counters| counters.limits_hit.counts());
    labelled(&mut out, names::LIMITS_HIT, hit);
    let frames = [
        ("caller", sum(|counters| &counters.h2_frames_caller)),
        ("upstream", sum(|counters| &counters.h2_frames_upstream)),
    ];
    labelled(&mut out, names::H2_FRAMES, frames.into_iter());
    plain(
        &mut out,
        names::H2_STREAMS_ACTIVE,
        sum(|counters| &counters.streams),
    );
    links(&mut out, sum);
    plain(&mut out, names::BUFFER_BYTES, gauges.buffer_bytes);
    head(&mut out, names::STREAMS_ACTIVE);
    let name = names::STREAMS_ACTIVE.name;
    for (direction, count) in [
        (Direction::Outbound, sum(|counters| &counters.streams_out)),
        (Direction::Inbound, sum(|counters| &counters.streams_in)),
    ] {
        let _ = writeln!(out, "{name}{{direction=\"{}\"}} {count}", direction.text());
    }
    plain(
        &mut out,
        names::LOG_LINES_DROPPED,
        sum(|counters| &counters.log_lines_dropped),
    );
    plain(
        &mut out,
        names::SNAPSHOT_GENERATION,
        gauges.snapshot_generation,
    );
    plain(&mut out, names::SYNCED, u64::from(gauges.synced));
    plain(&mut out, names::PANICS, sum(|counters| &counters.panics));
    plain(
        &mut out,
        names::SERIES_DROPPED,
        sum(|counters| &counters.series_dropped),
    );
    out
}

/// A metric with one label, the counts of all workers summed.
fn labelled(out: &mut String, metric: Metric, counts: impl Iterator<Item = (&'static str, u64)>) {
    head(out, metric);
    let mut sums: Vec<(&str, u64)> = Vec::new();
    for (text, count) in counts {
        match sums.iter_mut().find(|(known, _)| *known == text) {
            Some((_, sum)) => *sum += count,
            None => sums.push((text, count)),
        }
    }
    let label = metric.labels.first().copied().unwrap_or_default();
    for (text, count) in sums {
        let _ = writeln!(out, "{}{{{label}=\"{text}\"}} {count}", metric.name);
    }
}

fn links(out: &mut String, sum: impl Fn(fn(&Counters) -> &AtomicU64) -> u64) {
    head(out, names::LINKS_ACTIVE);
    let name = names::LINKS_ACTIVE.name;
    let mut row = |side: &str, hop: &str, count: u64| {
        let _ = writeln!(out, "{name}{{side=\"{side}\",hop=\"{hop}\"}} {count}");
    };
    row("out", "h2", sum(|counters| &counters.links_out));
    row("out", "http1", sum(|counters| &counters.links_out_http1));
    row("in", "h2", sum(|counters| &counters.links_in));
    row("in", "http1", sum(|counters| &counters.links_in_http1));
    let suspected = sum(|counters| &counters.links_suspected);
    plain(out, names::LINKS_SUSPECTED, suspected);
}

fn head(out: &mut String, metric: Metric) {
    let kind = match metric.kind {
        Kind::Counter => "counter",
        Kind::Gauge => "gauge",
        Kind::Histogram => "histogram",
    };
    let _ = writeln!(
        out,
        "# HELP {} {}\n# TYPE {} {kind}",
        metric.name, metric.help, metric.name
    );
}

fn plain(out: &mut String, metric: Metric, value: u64) {
    head(out, metric);
    let _ = writeln!(out, "{} {value}", metric.name);
}

fn calls(out: &mut String, rows: &[Row]) {
    head(out, names::CALLS);
    for row in rows {
        let _ = writeln!(
            out,
            "{}{{{}}} {}",
            names::CALLS.name,
            labels(row),
            row.calls
        );
    }
    head(out, names::CALL_DURATION);
    let name = names::CALL_DURATION.name;
    for row in rows {
        let labels = labels(row);
        for bound in BOUNDS_US {
            let below: u64 = row
                .buckets
                .iter()
                .take_while(|(index, _)| upper_bound_us(*index as usize) <= *bound)
                .map(|(_, count)| count)
                .sum();
            let seconds = *bound as f64 / 1e6;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{seconds}\"}} {below}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", row.calls);
        let _ = writeln!(
            out,
            "{name}_sum{{{labels}}} {}",
            row.duration_us_sum as f64 / 1e6
        );
        let _ = writeln!(out, "{name}_count{{{labels}}} {}", row.calls);
    }
}

fn labels(row: &Row) -> String {
    let mut text = String::new();
    for (name, value) in [
        ("direction", row.direction.text()),
        ("caller", &row.caller),
        ("service", &row.service),
        ("protocol", row.protocol),
        ("code", row.code),
    ] {
        let separator = if text.is_empty() { "" } else { "," };
        let _ = write!(text, "{separator}{name}=\"{}\"", escaped(value));
    }
    text
}

fn escaped(value: &str) -> String {
    value
        .replace('\\', "\\\\")
        .replace('"', "\\\"")
        .replace('\n', "\\n")
}

#[cfg(test)]
mod tests;
