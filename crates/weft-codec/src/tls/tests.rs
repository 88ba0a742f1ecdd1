//! Hellos made by hand, whole, cut at every byte, and broken.

use super::*;

/// Puts the length of `bytes` before them.
fn sized(width: usize, bytes: &[u8]) -> Vec<u8> {
    let length = bytes.len().to_be_bytes();
    [&length[length.len() - width..], bytes].concat()
}

fn extension(kind: u16, bytes: &[u8]) -> Vec<u8> {
    [&kind.to_be_bytes()[..], &sized(2, bytes)].concat()
}

fn name_extension(name: &[u8]) -> Vec<u8> {
    extension(0, &sized(2, &[&[0][..], &sized(2, name)].concat()))
}

fn hello(extensions: &[u8]) -> Vec<u8> {
    let body = [
        &[3, 3][..],
        &[7; 32],
        &sized(1, &[9; 32]),
        &sized(2, &[0x13, 1, 0x13, 2]),
        &sized(1, &[0]),
        &sized(2, extensions),
    ]
    .concat();
    let handshake = [&[1][..], &sized(3, &body)].concat();
    [&[22, 3, 1][..], &sized(2, &handshake)].concat()
}

#[test]
fn a_hello_tells_the_name_wherever_it_stands() {
    let other = extension(0x33, &[1; 1200]);
    let name = name_extension(b"orders.example");
    for extensions in [
        name.clone(),
        [&other[..], &name].concat(),
        [&name[..], &other].concat(),
    ] {
        let hello = hello(&extensions);
        assert_eq!(server_name(&hello), ServerName::Name("orders.example"));
        let longer = [&hello[..], b"more"].concat();
        assert_eq!(server_name(&longer), ServerName::Name("orders.example"));
    }
}

#[test]
fn a_hello_that_is_cut_asks_for_more() {
    let hello = hello(&name_extension(b"orders"));
    for end in 0..hello.len() {
        assert_eq!(server_name(&hello[..end]), ServerName::NeedMore, "{end}");
    }
}

#[test]
fn what_is_no_hello_or_names_nobody_is_none() {
    for bytes in [
        &b"GET / HTTP/1.1\r\n"[..],
        b"\x16\x02",
        b"\x16\x03\x01\x00\x05\x02",
        // Longer than a record may be.
        b"\x16\x03\x01\xff\xff\x01",
    ] {
        assert_eq!(server_name(bytes), ServerName::None, "{bytes:?}");
    }
    for extensions in [
        Vec::new(),
        extension(1, b"x"),
        name_extension(b""),
        name_extension(b"a b"),
        name_extension(b"a\r\nb"),
        name_extension(b"\xff"),
        name_extension(&[b'a'; 254]),
        extension(0, b"\x00\x09\x00\x00\x01a"),
        b"\x00\x00\x00\xff".to_vec(),
    ] {
        let hello = hello(&extensions);
        assert_eq!(server_name(&hello), ServerName::None, "{extensions:?}");
    }
}

#[test]
fn no_byte_that_differs_makes_it_panic() {
    let hello = hello(&name_extension(b"orders"));
    for at in 0..hello.len() {
        for byte in [0, 1, 0x7f, 0xff] {
            let mut broken = hello.clone();
            broken[at] = byte;
            // Whatever it says, it ends.
            let _ = server_name(&broken);
        }
    }
}
