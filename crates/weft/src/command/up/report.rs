//! What the load generator wrote: one JSON line a second, the last one is the sum.

use serde_json::Value;
use std::fs;
use std::path::Path;

/// Numbers of a second, or of all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Numbers {
    pub(super) calls: u64,
    pub(super) failed: u64,
    pub(super) p50_us: u64,
    pub(super) p95_us: u64,
    pub(super) p99_us: u64,
}

/// The state of the report.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Report {
    /// Whether steady answers came before the counting; none: still trying.
    pub(super) is_warm: Option<bool>,
    /// What the last failed call found; empty when none failed.
    pub(super) found: String,
    /// How many seconds were counted.
    pub(super) seconds: u64,
    /// The last second.
    pub(super) second: Numbers,
    /// All so far; its times are there only at the end.
    pub(super) total: Numbers,
}

impl Report {
    /// Reads what is there; nothing when nothing is.
    pub(super) fn read(path: &Path) -> Self {
        fs::read_to_string(path)
            .map(|text| Self::parse(&text))
            .unwrap_or_default()
    }

    fn parse(text: &str) -> Self {
        let mut report = Self::default();
        for line in text.lines() {
            // The last line may be half written.
            let Ok(line) = serde_json::from_str::<Value>(line) else {
                continue;
            };
            let number = |name: &str| line.get(name).and_then(Value::as_u64).unwrap_or(0);
            let numbers = Numbers {
                calls: number("calls"),
                failed: number("failed"),
                p50_us: number("p50_us"),
                p95_us: number("p95_us"),
                p99_us: number("p99_us"),
            };
            let found = line.get("found").and_then(Value::as_str);
            report.found = found.map(str::to_owned).unwrap_or_default();
            if let Some(is_warm) = line.get("warm").and_then(Value::as_bool) {
                report.is_warm = Some(is_warm);
            } else if line.get("done").is_some() {
                report.total = numbers;
            } else if line.get("second").is_some() {
                report.seconds = number("second");
                report.second = numbers;
                report.total.calls = number("total_calls");
                report.total.failed = number("total_failed");
            }
        }
        report
    }
}

#[cfg(test)]
mod tests;
