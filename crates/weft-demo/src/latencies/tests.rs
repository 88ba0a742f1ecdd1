//! Tests of the counted durations.

use super::*;

#[test]
fn every_duration_lies_in_its_bucket_and_close_to_its_end() {
    for micros in (0..40).flat_map(|bits| [(1u64 << bits) - 1, 1 << bits, (1 << bits) + 1]) {
        let bucket = bucket_of(micros);
        assert!(bucket < BUCKETS);
        if micros < 1 << MAX_BITS {
            let end = upper_bound(bucket);
            assert!(
                end >= micros && end - micros <= micros / 128 + 1,
                "{micros} in {end}"
            );
            assert_eq!(bucket_of(end), bucket);
            assert_eq!(bucket_of(end + 1), (bucket + 1).min(BUCKETS - 1));
        }
    }
}

#[test]
fn quantiles_are_the_shares_of_what_was_counted() {
    let mut latencies = Latencies::default();
    assert_eq!(latencies.quantile_us(0.5), 0);
    for millis in 1..=100 {
        latencies.add(Duration::from_millis(millis));
    }
    let near = |share, expected: u64| {
        let found = latencies.quantile_us(share);
        assert!(
            found >= expected && found <= expected + expected / 100,
            "{found} for {share}"
        );
    };
    near(0.5, 50_000);
    near(0.99, 99_000);
    near(1.0, 100_000);
    latencies.clear();
    assert_eq!(latencies.quantile_us(0.5), 0);
}
