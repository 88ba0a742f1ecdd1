//! The text is what Prometheus reads.

use super::*;
use crate::series::{Direction, Outcome, SeriesKey, WorkerSeries};

#[test]
fn calls_are_exposed_with_their_labels_and_histogram() {
    let registry = Arc::new(Registry::default());
    let mut worker = WorkerSeries::new(Arc::clone(&registry));
    let key = SeriesKey {
        direction: Direction::Inbound,
        caller: "we\"b",
        service: "orders",
        protocol: "http",
        outcome: Outcome::Ok,
    };
    worker.record(key, 240);
    worker.record(key, 999_999);
    let text = prometheus_text(
        &registry,
        Gauges {
            snapshot_generation: 3,
            synced: true,
            buffer_bytes: 7,
        },
    );
    let labels =
        "direction=\"inbound\",caller=\"we\\\"b\",service=\"orders\",protocol=\"http\",code=\"ok\"";
    for line in [
        format!("weft_calls_total{{{labels}}} 2"),
        format!("weft_call_duration_seconds_bucket{{{labels},le=\"0.0001\"}} 0"),
        format!("weft_call_duration_seconds_bucket{{{labels},le=\"0.0005\"}} 1"),
        format!("weft_call_duration_seconds_bucket{{{labels},le=\"+Inf\"}} 2"),
        format!("weft_call_duration_seconds_count{{{labels}}} 2"),
        "weft_snapshot_generation 3".to_owned(),
        "weft_synced 1".to_owned(),
    ] {
        assert!(
            text.lines().any(|known| known == line),
            "{line} is not in\n{text}"
        );
    }
}

#[test]
fn every_metric_of_the_table_is_exposed_once() {
    let text = prometheus_text(
        &Registry::default(),
        Gauges {
            snapshot_generation: 0,
            synced: false,
            buffer_bytes: 0,
        },
    );
    for metric in names::ALL {
        let line = format!("# HELP {} ", metric.name);
        assert_eq!(text.matches(&line).count(), 1, "{}", metric.name);
    }
}
