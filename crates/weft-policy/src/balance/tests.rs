//! The less loaded of two, never one already tried.

use super::*;

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
        assert_eq!(picked(2, |at| loads[at], &[], random(&mut seed)), Some(1));
    }
}

#[test]
fn equal_loads_are_spread_over_all() {
    let mut counts = [0_u32; 5];
    let mut seed = 42;
    for _ in 0..10_000 {
        counts[picked(5, |_| 0, &[], random(&mut seed)).unwrap()] += 1;
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
        let at = picked(10, |at| loads[at], &[], random(&mut seed)).unwrap();
        loads[at] += 1;
    }
    let (least, most) = (loads.iter().min().unwrap(), loads.iter().max().unwrap());
    assert!(most - least <= 10, "{loads:?}");
}

#[test]
fn an_instance_is_tried_once() {
    let mut seed = 3;
    for _ in 0..100 {
        assert_eq!(picked(3, |_| 0, &[0, 2], random(&mut seed)), Some(1));
        assert_eq!(picked(2, |_| 0, &[0, 1], random(&mut seed)), None);
        assert_eq!(picked(0, |_| 0, &[], random(&mut seed)), None);
    }
}
