//! The less loaded of two, never one already tried.

use super::*;

fn well(outstanding: u32) -> Candidate {
    Candidate {
        outstanding,
        weight: 100,
        eligible: true,
    }
}

fn random(seed: &mut u64) -> u64 {
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    *seed
}

#[test]
fn of_two_the_less_loaded_is_picked() {
    let loads = [5, 1];
    for n in 0..50_u64 {
        let mut seed = n + 1;
        assert_eq!(
            picked(2, |at| well(loads[at]), &[], random(&mut seed)),
            Some(1)
        );
    }
}

#[test]
fn equal_loads_are_spread_over_all() {
    let mut counts = [0_u32; 5];
    let mut seed = 42;
    for _ in 0..10_000 {
        counts[picked(5, |_| well(0), &[], random(&mut seed)).unwrap()] += 1;
    }
    assert!(
        counts.iter().all(|count| (1_600..2_400).contains(count)),
        "{counts:?}"
    );
}

#[test]
fn the_most_loaded_of_many_gets_almost_nothing() {
    let mut loads = [0_u32; 10];
    let mut seed = 7;
    for _ in 0..10_000 {
        let at = picked(10, |at| well(loads[at]), &[], random(&mut seed)).unwrap();
        loads[at] += 1;
    }
    let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
    assert!(most - least <= 10, "{loads:?}");
}

/// How many of 10,000 calls each of these gets: with none under way, and with so many under way at a time.
fn shares(weights: &[u32], under_way: usize) -> Vec<u32> {
    let mut counts = vec![0_u32; weights.len()];
    let mut loads = vec![0_u32; weights.len()];
    let mut open = std::collections::VecDeque::new();
    let mut seed = 42;
    for _ in 0..10_000 {
        let candidate = |at: usize| Candidate {
            weight: weights[at],
            ..well(loads[at])
        };
        let at = picked(weights.len(), candidate, &[], random(&mut seed)).unwrap();
        counts[at] += 1;
        loads[at] += 1;
        open.push_back(at);
        if open.len() > under_way {
            loads[open.pop_front().unwrap()] -= 1;
        }
    }
    counts
}

#[test]
fn calls_follow_the_weights_with_few_under_way_and_with_many() {
    for under_way in [0, 1, 8, 64, 500] {
        for (weights, least, most) in [
            (&[100, 5][..], 100, 900),
            (&[100, 50], 2_300, 3_900),
            (&[300, 100], 1_900, 3_200),
            (&[100, 100, 100, 10], 150, 700),
        ] {
            let counts = shares(weights, under_way);
            let last = counts.last().unwrap();
            assert!(
                (least..=most).contains(last),
                "{weights:?} with {under_way} under way: {counts:?}"
            );
        }
    }
}

#[test]
fn weights_are_relative_and_one_alone_takes_all() {
    for under_way in [0, 8, 64] {
        let counts = shares(&[5; 4], under_way);
        assert!(
            counts.iter().all(|count| (2_200..2_800).contains(count)),
            "{counts:?}"
        );
    }
    assert_eq!(shares(&[1], 8), [10_000]);
    let counts = shares(&[0, 0], 0);
    assert!(counts.iter().all(|count| *count > 4_000), "{counts:?}");
    assert_eq!(shares(&[100, 0], 0), [10_000, 0]);
}

#[test]
fn at_most_half_is_passed_over_and_never_the_last() {
    for (instances, at_most) in [(0, 0), (1, 0), (2, 1), (3, 1), (4, 2), (101, 50)] {
        let over = (0..instances).take_while(|over| may_be_passed_over(instances, *over));
        assert_eq!(over.count(), at_most, "of {instances}");
    }
}

#[test]
fn an_instance_is_tried_once() {
    let mut seed = 3;
    for _ in 0..100 {
        assert_eq!(picked(3, |_| well(0), &[0, 2], random(&mut seed)), Some(1));
        assert_eq!(picked(2, |_| well(0), &[0, 1], random(&mut seed)), None);
        assert_eq!(picked(0, |_| well(0), &[], random(&mut seed)), None);
    }
}

#[test]
fn an_instance_that_is_not_eligible_gets_calls_only_when_none_is() {
    let mut seed = 11;
    for _ in 0..1_000 {
        let only_third = |at| Candidate {
            outstanding: 9,
            weight: 100,
            eligible: at == 3,
        };
        assert_eq!(picked(6, only_third, &[], random(&mut seed)), Some(3));
        let none = |_| Candidate {
            outstanding: 0,
            weight: 100,
            eligible: false,
        };
        assert!(picked(6, none, &[], random(&mut seed)).is_some());
        assert_eq!(
            picked(6, only_third, &[0, 1, 3, 4, 5], random(&mut seed)),
            Some(2)
        );
    }
}
