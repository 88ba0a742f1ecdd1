//! Tests of the look-up of a port's owner.

use super::*;
use std::net::TcpListener;

#[test]
fn the_owner_of_our_own_socket_is_this_process() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let Some(Owner::Process { pid, name }) = owner_of(port) else {
        panic!("no owner of port {port} found");
    };
    assert_eq!(pid, std::process::id());
    assert!(!name.is_empty());
    assert!(any_listens(&[port]));
}

#[test]
fn a_port_that_nobody_listens_on_has_no_owner() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap().port()
    };
    assert_eq!(owner_of(port), None);
}

#[test]
fn a_new_listener_on_the_same_port_is_another_socket() {
    let first = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = first.local_addr().unwrap();
    let before = listening_sockets(&[address.port()]);
    assert_eq!(before, listening_sockets(&[address.port()]));
    drop(first);
    let _second = TcpListener::bind(address).unwrap();
    let after = listening_sockets(&[address.port()]);
    assert_eq!((before.len(), after.len()), (1, 1));
    assert_ne!(before, after);
}
