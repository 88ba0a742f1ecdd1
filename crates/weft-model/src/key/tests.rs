//! The hash of a key is part of the sync protocol.

use super::*;

#[test]
fn the_hash_never_changes() {
    assert_eq!(
        key_hash(Family::Host, "orders", "", "", "default"),
        0x9a35_c3cb_9a84_cab0_u64
    );
}

#[test]
fn parts_do_not_run_into_each_other() {
    let one = key_hash(Family::Rpc, "ab", "c", "", "default");
    let two = key_hash(Family::Rpc, "a", "bc", "", "default");
    assert_ne!(one, two);
}

#[test]
fn an_address_is_hashed_like_its_text() {
    for text in ["10.0.0.1:8080", "[fd00::7]:80", "[::ffff:1.2.3.4]:1"] {
        let address = text.parse().unwrap();
        assert_eq!(
            address_hash(address),
            key_hash(Family::Address, text, "", "", "")
        );
        assert_eq!(address_hash(address), Key::of_address(address).hash64());
    }
}
