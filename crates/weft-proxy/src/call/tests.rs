//! Addresses are written as the standard library writes them.

use super::*;

#[test]
fn an_address_is_written_as_the_standard_library_writes_it() {
    for text in [
        "0.0.0.0",
        "127.0.0.1",
        "10.20.100.200",
        "255.255.255.255",
        "1.2.3.4",
        "::1",
        "fe80::1:2",
    ] {
        let mut out = Vec::new();
        write_address(text.parse().unwrap(), &mut out);
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }
}
