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
    for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0"] {
        // A machine without IPv6 has nothing to say about it.
        let Ok(listener) = TcpListener::bind(address) else {
            continue;
        };
        let port = listener.local_addr().unwrap().port();
        let found = on_port(port);
        assert_eq!(found.len(), 1, "{address}");
        assert_eq!(found, by_tables(port));
        drop(listener);
        assert_eq!(on_port(port), []);
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
