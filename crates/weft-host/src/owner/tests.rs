//! Tests of the look-up of a port's owner.

use super::*;
use std::net::TcpListener;

const TABLE: &str = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 0100007F:26FD 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 41234 1 0000000000000000 100 0 0 10 0
   1: 0100007F:26FD 0100007F:D2F0 01 00000000:00000000 00:00000000 00000000  1000        0 41235 1 0000000000000000 20 4 30 10 -1
   2: 00000000:0016 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 900 1 0000000000000000 100 0 0 10 0
   3: broken
";

#[test]
fn only_listening_rows_of_the_port_count() {
    assert_eq!(
        listeners(TABLE, 9981),
        [Listener {
            uid: 1000,
            inode: 41234
        }]
    );
    assert_eq!(listeners(TABLE, 22), [Listener { uid: 0, inode: 900 }]);
    assert_eq!(listeners(TABLE, 23), []);
}

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
