//! What travels beside the fields comes out as it went in.

use super::*;

#[test]
fn extra_parts_come_out_as_they_went_in() {
    for extra in [
        Extra::default(),
        Extra {
            length: Some(7),
            ..Extra::default()
        },
        Extra {
            length: Some(u64::MAX),
            declared_length: true,
            expect_continue: true,
            reason: b"Fine",
            ..Extra::default()
        },
        Extra {
            expect_continue: true,
            upgrade: b"websocket",
            ..Extra::default()
        },
        Extra {
            reason: b"I'm a teapot",
            ..Extra::default()
        },
    ] {
        let mut bytes = Vec::new();
        extra.write(&mut bytes);
        assert_eq!(Extra::read(&bytes), extra);
    }
    assert_eq!(Extra::read(b"\x01\x00"), Extra::default());
}
