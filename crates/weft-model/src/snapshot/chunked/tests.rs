//! A chunked list is like a Vec, and its copies never change.

use super::*;

#[test]
fn it_does_what_a_vec_does() {
    let mut list = Chunked::default();
    let mut plain: Vec<usize> = Vec::new();
    for value in 0..1_000_usize {
        // Three come, one goes, from everywhere.
        if value % 4 == 3 {
            let position = value * 31 % plain.len();
            assert_eq!(
                list.swap_remove(position),
                Some(plain.swap_remove(position))
            );
        } else {
            assert_eq!(list.push(value), plain.len());
            plain.push(value);
        }
        assert_eq!(list.len(), plain.len());
    }
    assert!(list.iter().eq(plain.iter()));
    assert_eq!(list.get(plain.len()), None);
    assert_eq!(list.swap_remove(plain.len()), None);
    while let Some(last) = plain.pop() {
        assert_eq!(list[plain.len()], last);
        assert_eq!(list.swap_remove(plain.len()), Some(last));
    }
    assert!(list.is_empty());
    assert_eq!(list.iter().next(), None);
}

#[test]
fn a_copy_stays_as_it_is_and_shares_all_chunks_but_the_one_that_changed() {
    let mut list = Chunked::default();
    for value in 0..10 * CHUNK {
        list.push(value);
    }
    let copy = list.clone();
    *list.get_mut(3 * CHUNK).unwrap() = 0;
    assert_eq!((copy[3 * CHUNK], list[3 * CHUNK]), (3 * CHUNK, 0));
    let pairs = copy.chunks.iter().zip(&list.chunks);
    let shared = pairs.filter(|(old, new)| Arc::ptr_eq(old, new)).count();
    assert_eq!(shared, 9);
}
