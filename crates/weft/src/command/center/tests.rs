//! Tests of the address that the center's runtime file names.

use super::*;

#[test]
fn a_center_on_every_address_is_reached_on_loopback() {
    let check = |listen: &str, reached: &str| {
        assert_eq!(
            reached_at(listen.parse().unwrap()),
            reached.parse().unwrap()
        );
    };
    check("0.0.0.0:9700", "127.0.0.1:9700");
    check("[::]:9700", "[::1]:9700");
    check("10.0.0.5:9700", "10.0.0.5:9700");
}
