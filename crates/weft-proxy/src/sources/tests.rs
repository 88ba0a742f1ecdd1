//! How many connections a source may have.

use super::*;

#[test]
fn a_source_has_no_more_connections_than_it_may() {
    let sources = Sources::new(2);
    let (one, two) = ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap());
    let first = sources.visit(one).unwrap();
    let _second = sources.visit(one).unwrap();
    assert!(sources.visit(one).is_none());
    assert!(sources.visit(two).is_some(), "another one may");
    // The same address, as a socket of IPv6 tells it.
    assert!(sources.visit("::ffff:10.0.0.1".parse().unwrap()).is_none());
    drop(first);
    assert!(sources.visit(one).is_some());
}

#[test]
fn the_own_host_may_have_any_number() {
    let sources = Sources::new(1);
    let own = "127.0.0.1".parse().unwrap();
    let held: Vec<Visit> = (0..100).filter_map(|_| sources.visit(own)).collect();
    assert_eq!(held.len(), 100);
}

#[test]
fn a_source_without_connections_is_forgotten() {
    let sources = Sources::new(1);
    for last in 0..200 {
        drop(sources.visit(IpAddr::from([10, 0, 0, last])));
    }
    assert_eq!(sources.open.lock().unwrap().len(), 0);
}
