//! Every duration falls into the bucket whose bounds hold it.

use super::*;

#[test]
fn a_duration_lies_within_its_bucket() {
    let mut us = 0_u64;
    while us < 1 << 36 {
        let bucket = bucket_of(us);
        assert!(us <= upper_bound_us(bucket), "{us} in {bucket}");
        assert!(
            bucket == 0 || us > upper_bound_us(bucket - 1),
            "{us} in {bucket}"
        );
        us += 1 + us / 13;
    }
    assert_eq!(bucket_of(u64::MAX), BUCKETS - 1);
    assert_eq!(bucket_of((1 << 36) - 1), BUCKETS - 1);
}

#[test]
fn the_indexes_never_change() {
    for (us, bucket) in [
        (0, 0),
        (7, 7),
        (8, 8),
        (15, 15),
        (16, 16),
        (17, 16),
        (1_000, 63),
        (1_000_000, 143),
    ] {
        assert_eq!(bucket_of(us), bucket, "{us}");
    }
    assert_eq!(BUCKETS, 272);
}

#[test]
fn a_quantile_is_the_bound_of_the_bucket_that_holds_its_rank() {
    assert_eq!(quantile(&[], 0.5), None);
    assert_eq!(quantile(&[(3, 98), (100, 1), (120, 1)], 0.5), Some(3));
    assert_eq!(
        quantile(&[(3, 98), (100, 1), (120, 1)], 0.99),
        Some(upper_bound_us(100))
    );
    assert_eq!(
        quantile(&[(3, 98), (100, 1), (120, 1)], 1.0),
        Some(upper_bound_us(120))
    );
}
