//! The order of transports: declared, found, forgotten.

use super::{DeclaredHops, Found, REMEMBERED_FOR};
use std::net::SocketAddr;
use weft_model::declared::Hop::{H2, Http1};

#[test]
fn every_order_that_can_be_declared_is_kept() {
    let declared = DeclaredHops::default();
    assert_eq!(declared.order(), (H2, Some(Http1)), "nothing declared");
    for (hops, order) in [
        (vec![Http1], (Http1, None)),
        (vec![H2], (H2, None)),
        (vec![Http1, H2], (Http1, Some(H2))),
        (vec![H2, Http1], (H2, Some(Http1))),
        (vec![Http1], (Http1, None)),
        (vec![], (H2, Some(Http1))),
    ] {
        declared.set(&hops);
        assert_eq!(declared.order(), order, "{hops:?}");
    }
}

#[test]
fn a_peer_that_http_2_did_not_reach_is_tried_over_http_1_first_for_a_while() {
    let (found, peer) = (Found::default(), SocketAddr::from(([10, 0, 0, 7], 9982)));
    let other = SocketAddr::from(([10, 0, 0, 8], 9982));
    let (both, long) = ((H2, Some(Http1)), REMEMBERED_FOR.as_millis() as u64);
    found.got_through(Http1, peer, 5);
    assert_eq!(found.order(both, peer, 5), (Http1, Some(H2)));
    assert_eq!(found.order(both, other, 5), both);
    assert_eq!(
        found.order(both, peer, 5 + long),
        both,
        "HTTP/2 is tried again"
    );
    found.got_through(H2, peer, 6);
    assert_eq!(
        found.order(both, peer, 6),
        both,
        "it reaches the peer again"
    );
}

#[test]
fn what_the_mesh_declares_alone_is_not_widened_by_what_was_found() {
    let (found, peer) = (Found::default(), SocketAddr::from(([10, 0, 0, 7], 9982)));
    found.got_through(Http1, peer, 5);
    assert_eq!(found.order((H2, None), peer, 5), (H2, None));
    found.sweep(5 + REMEMBERED_FOR.as_millis() as u64);
    assert_eq!(found.0.borrow().len(), 0);
}
