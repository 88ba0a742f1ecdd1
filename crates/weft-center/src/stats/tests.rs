//! Rates, shares and quantiles from reports, with a clock that the test moves.

use super::*;
use crate::clock;
use std::time::Duration;

fn service(name: &str) -> ServiceName {
    ServiceName::new("default", name)
}

fn row(direction: &str, caller: &str, service: &str, code: &str, calls: u64) -> sync::StatsRow {
    sync::StatsRow {
        direction: direction.into(),
        caller: caller.into(),
        service: service.into(),
        protocol: "http".into(),
        code: code.into(),
        calls,
        duration_us_sum: calls * 100,
        bucket_index: vec![histogram::bucket_of(100) as u32],
        bucket_count: vec![calls],
    }
}

fn report(rows: Vec<sync::StatsRow>) -> sync::Stats {
    sync::Stats {
        interval_ms: 2_000,
        rows,
    }
}

/// Twenty seconds of reports, each 2 s, of `rows`.
fn after_reports(reporter: &str, rows: &[sync::StatsRow]) -> (Stats, Instant) {
    let start = clock::now();
    let mut stats = Stats::new(start);
    let mut now = start;
    for _ in 0..10 {
        now += Duration::from_secs(2);
        assert_eq!(
            stats.add(&service(reporter), &report(rows.to_vec()), now),
            0
        );
    }
    (stats, now)
}

#[test]
fn rates_shares_and_quantiles_of_a_service_come_from_what_its_instances_saw() {
    let rows = [
        row("inbound", "web", "orders", "ok", 90),
        row("inbound", "web", "orders", "app_error", 10),
    ];
    let (stats, now) = after_reports("orders", &rows);
    let summary = stats.service(&service("orders"), now);
    assert!(
        (summary.calls_per_second - 50.0).abs() < 0.001,
        "{summary:?}"
    );
    assert!(
        (summary.success.unwrap() - 0.9).abs() < 0.001,
        "{summary:?}"
    );
    let expect = histogram::upper_bound_us(histogram::bucket_of(100));
    assert_eq!(
        (summary.p50_us, summary.p99_us),
        (Some(expect), Some(expect))
    );
}

#[test]
fn edges_come_from_what_callers_saw_and_leave_out_other_services() {
    let rows = [
        row("outbound", "web", "orders", "ok", 20),
        row("outbound", "web", "example.com", "ok", 4),
    ];
    let (stats, now) = after_reports("web", &rows);
    let edges = stats.edges(&service("orders"), now);
    assert_eq!(edges.keys().collect::<Vec<_>>(), ["web"]);
    assert!((edges["web"].calls_per_second - 10.0).abs() < 0.001);
    assert_eq!(stats.service(&service("orders"), now), Summary::default());
}

#[test]
fn a_sidecar_is_believed_of_itself_only() {
    let rows = [row("inbound", "web", "payments", "ok", 20)];
    let (stats, now) = after_reports("orders", &rows);
    assert_eq!(stats.service(&service("payments"), now), Summary::default());
    assert!(stats.service(&service("orders"), now).calls_per_second > 9.0);
}

#[test]
fn a_rate_does_not_jump_with_the_moment_at_which_reports_arrive() {
    let start = clock::now();
    let mut stats = Stats::new(start);
    let mut now = start;
    for step in 0..20_u64 {
        // Reports that come early and late by turns, each with what passed since the last.
        let span = if step % 2 == 0 { 1_700 } else { 2_300 };
        now += Duration::from_millis(span);
        let rows = vec![row("inbound", "web", "orders", "ok", span / 10)];
        let report = sync::Stats {
            interval_ms: span as u32,
            rows,
        };
        stats.add(&service("orders"), &report, now);
        if step > 8 {
            let rate = stats.service(&service("orders"), now).calls_per_second;
            assert!((rate - 100.0).abs() < 1.0, "step {step}: {rate}");
        }
    }
}

#[test]
fn a_young_series_is_measured_over_its_own_life() {
    let start = clock::now();
    let mut stats = Stats::new(start);
    for step in 1..=3 {
        let now = start + Duration::from_secs(100 + 2 * step);
        stats.add(
            &service("orders"),
            &report(vec![row("inbound", "w", "orders", "ok", 20)]),
            now,
        );
    }
    let now = start + Duration::from_secs(106);
    let rate = stats.service(&service("orders"), now).calls_per_second;
    assert!((rate - 10.0).abs() < 0.001, "{rate}");
}

#[test]
fn a_minute_later_nothing_is_left() {
    let rows = [row("inbound", "web", "orders", "ok", 90)];
    let (mut stats, now) = after_reports("orders", &rows);
    let later = now + Duration::from_secs(SECONDS_KEPT + 1);
    assert_eq!(stats.service(&service("orders"), later), Summary::default());
    stats.add(&service("orders"), &report(Vec::new()), later);
    assert!(stats.series.is_empty());
}

#[test]
fn rows_that_make_no_sense_are_left_out() {
    let mut stats = Stats::new(clock::now());
    let mut wrong_bucket = row("inbound", "web", "orders", "ok", 1);
    wrong_bucket.bucket_index = vec![histogram::BUCKETS as u32];
    let mut uneven = row("inbound", "web", "orders", "ok", 1);
    uneven.bucket_count.clear();
    let sideways = row("sideways", "web", "orders", "ok", 1);
    let long = row(
        "inbound",
        &"w".repeat(NAME_BYTES_MAX + 1),
        "orders",
        "ok",
        1,
    );
    let rows = vec![wrong_bucket, uneven, sideways, long];
    assert_eq!(
        stats.add(&service("orders"), &report(rows), clock::now()),
        4
    );
    assert!(stats.series.is_empty());
}

#[test]
fn series_over_the_limit_are_dropped_and_counted() {
    let now = clock::now();
    let mut stats = Stats::new(now);
    let mut dropped = 0;
    for number in 0..SERIES_MAX + 10 {
        let rows = vec![row("inbound", &format!("c{number}"), "orders", "ok", 1)];
        dropped += stats.add(
            &service("orders"),
            &report(rows),
            now + Duration::from_secs(5),
        );
    }
    assert_eq!((stats.series.len(), dropped), (SERIES_MAX, 10));
    let many = vec![row("inbound", "c1", "orders", "ok", 1); ROWS_MAX + 3];
    assert_eq!(
        stats.add(
            &service("orders"),
            &report(many),
            now + Duration::from_secs(5)
        ),
        3
    );
}

#[test]
fn counts_at_their_largest_do_not_overflow() {
    let now = clock::now();
    let mut stats = Stats::new(now);
    for _ in 0..100 {
        let rows = vec![row("inbound", "web", "orders", "ok", u64::MAX / 1_000)];
        stats.add(
            &service("orders"),
            &report(rows),
            now + Duration::from_secs(5),
        );
    }
    let summary = stats.service(&service("orders"), now + Duration::from_secs(8));
    assert!(summary.p99_us.is_some());
}
