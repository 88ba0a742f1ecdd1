//! What workers count is read summed, and differences are what happened between two readings.

use super::*;

fn key(service: &str, outcome: Outcome) -> SeriesKey<'_> {
    SeriesKey {
        direction: Direction::Outbound,
        caller: "web",
        service,
        protocol: "http",
        outcome,
    }
}

#[test]
fn workers_are_summed_under_one_key() {
    let registry = Arc::new(Registry::default());
    let mut one = WorkerSeries::new(Arc::clone(&registry));
    let mut two = WorkerSeries::new(Arc::clone(&registry));
    one.record(key("orders", Outcome::Ok), 10);
    two.record(key("orders", Outcome::Ok), 10);
    two.record(key("orders", Outcome::Failed(Code::NoInstance)), 3);
    let rows = registry.rows();
    assert_eq!(rows.len(), 2);
    let ok = rows.iter().find(|row| row.code == "ok").unwrap();
    assert_eq!(
        (ok.calls, ok.duration_us_sum, &*ok.buckets),
        (2, 20, &[(10, 2)][..])
    );
}

#[test]
fn a_difference_holds_only_what_happened_since() {
    let registry = Arc::new(Registry::default());
    let mut worker = WorkerSeries::new(Arc::clone(&registry));
    worker.record(key("orders", Outcome::Ok), 10);
    worker.record(key("stock", Outcome::Ok), 10);
    let before = registry.rows();
    worker.record(key("orders", Outcome::Ok), 11);
    let since = rows_since(&before, &registry.rows());
    assert_eq!(since.len(), 1);
    assert_eq!((since[0].calls, &*since[0].buckets), (1, &[(11, 1)][..]));
}

#[test]
fn too_many_series_are_counted_and_not_kept() {
    let registry = Arc::new(Registry::default());
    let mut worker = WorkerSeries::new(Arc::clone(&registry));
    for n in 0..SERIES_MAX + 5 {
        worker.record(key(&n.to_string(), Outcome::Ok), 1);
    }
    assert_eq!(registry.rows().len(), SERIES_MAX);
    assert_eq!(worker.counters.series_dropped.load(Relaxed), 5);
}
