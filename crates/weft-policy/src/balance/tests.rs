//! The less loaded of two, never one already tried.

use super::*;

fn well(outstanding: u32) -> Candidate {
    Candidate {
        outstanding,
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
            eligible: at == 3,
        };
        assert_eq!(picked(6, only_third, &[], random(&mut seed)), Some(3));
        let none = |_| Candidate {
            outstanding: 0,
            eligible: false,
        };
        assert!(picked(6, none, &[], random(&mut seed)).is_some());
        assert_eq!(
            picked(6, only_third, &[0, 1, 3, 4, 5], random(&mut seed)),
            Some(2)
        );
    }
}
