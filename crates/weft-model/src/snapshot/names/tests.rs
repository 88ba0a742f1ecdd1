//! A set of names is like a HashSet, and its copies never change.

use super::*;
use std::collections::HashSet;

#[test]
fn it_does_what_a_set_does() {
    let mut names = Names::default();
    let mut plain: HashSet<u64> = HashSet::new();
    for step in 0..5_000_u64 {
        let hash = (step * 7 % 1_000).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        if step % 3 == 0 {
            names.remove(hash);
            plain.remove(&hash);
        } else {
            names.insert(hash);
            plain.insert(hash);
        }
        assert_eq!(names.contains(hash), plain.contains(&hash));
    }
    assert_eq!(names.len(), plain.len());
    assert!(names.iter().all(|hash| plain.contains(&hash)));
    assert_eq!(names.iter().count(), plain.len());
}

#[test]
fn a_copy_stays_as_it_is_and_shares_all_parts_but_the_one_that_changed() {
    let mut names: Names = (0..10_000).collect();
    let copy = names.clone();
    names.insert(10_000);
    assert!(names.contains(10_000) && !copy.contains(10_000));
    let pairs = copy.shards.iter().zip(names.shards.iter());
    let shared = pairs.filter(|(old, new)| Arc::ptr_eq(old, new)).count();
    assert_eq!(shared, SHARDS - 1);
}

#[test]
fn a_set_made_at_once_is_the_set_made_one_by_one() {
    let hashes = || (0..3_000_u64).map(|n| (n % 2_000).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    let at_once: Names = hashes().collect();
    let mut one_by_one = Names::default();
    hashes().for_each(|hash| one_by_one.insert(hash));
    assert_eq!(at_once.len(), 2_000);
    assert_eq!(one_by_one.len(), 2_000);
    assert!(at_once.iter().eq(one_by_one.iter()));
    assert!(Names::from_iter([]).is_empty());
}
