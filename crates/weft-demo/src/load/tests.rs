//! Tests of the schedule and the counts.

use super::*;

#[test]
fn connections_take_turns_and_keep_the_rate_together() {
    let start = clock::now();
    let due = |index, call| {
        let schedule = Schedule {
            start,
            index,
            of: 4,
            rate: 200,
        };
        schedule.due(call).duration_since(start).as_millis()
    };
    assert_eq!(
        [due(0, 0), due(1, 0), due(2, 0), due(3, 0), due(0, 1)],
        [0, 5, 10, 15, 20]
    );
    assert_eq!(due(0, 50), 1000);
}

#[test]
fn a_second_is_counted_once_and_the_sum_holds_all() {
    let mut counts = Counts::default();
    for millis in 1..=100 {
        let answer = if millis == 7 {
            Err("status 503".into())
        } else {
            Ok(())
        };
        counts.add(answer, Duration::from_millis(millis));
    }
    let first = counts.line(1);
    assert_eq!(
        (first["calls"].as_u64(), first["failed"].as_u64()),
        (Some(100), Some(1))
    );
    let second = counts.line(2);
    assert_eq!(
        (second["calls"].as_u64(), second["total_calls"].as_u64()),
        (Some(0), Some(100))
    );
    assert_eq!(second["p50_us"].as_u64(), Some(0));
    let sum = counts.sum(Duration::from_secs(2));
    assert_eq!(
        (sum["calls"].as_u64(), sum["failed"].as_u64()),
        (Some(100), Some(1))
    );
    let p50 = sum["p50_us"].as_u64().unwrap();
    assert!((50_000..51_000).contains(&p50), "{p50}");
    assert_eq!(sum["found"].as_str(), Some("status 503"));
}
