//! Tests of the two ways to learn who listens.

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
        in_table(TABLE, 9981),
        [Listener {
            uid: 1000,
            inode: 41234
        }]
    );
    assert_eq!(in_table(TABLE, 22), [Listener { uid: 0, inode: 900 }]);
    assert_eq!(in_table(TABLE, 23), []);
}

#[test]
fn the_kernel_and_its_tables_say_the_same() {
    /// Others on this machine may take the same port at another address meanwhile.
    const PORTS_TRIED: u32 = 10;
    for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        // A machine without IPv6 has nothing to say about it.
        if TcpListener::bind(address).is_err() {
            continue;
        }
        let is_same = (0..PORTS_TRIED).any(|_| {
            let listener = TcpListener::bind(address).unwrap();
            let port = listener.local_addr().unwrap().port();
            let found = on_port(port);
            let tables = by_tables(port);
            drop(listener);
            found.len() == 1 && found == tables && on_port(port).is_empty()
        });
        assert!(is_same, "{address}");
    }
}

#[test]
fn a_broken_answer_is_an_error_and_not_a_panic() {
    let mut listeners = Vec::new();
    for bytes in [
        &[1][..],
        &[0; 16],
        &[0xff; 40],
        &[20, 0, 0, 0, 20, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3, 4],
    ] {
        assert!(read(bytes, 80, &mut listeners).is_err(), "{bytes:?}");
    }
    assert_eq!(listeners, []);
}
