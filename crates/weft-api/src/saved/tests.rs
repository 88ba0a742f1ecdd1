//! A saved snapshot comes back whole, or is refused with the reason.

use super::*;
use crate::sync;

/// The bytes of [`saved`] in format 1. Every later build reads them.
const GOLDEN: &[u8] = include_bytes!("../../golden/saved-v1.bin");

/// The bytes of [`saved_later`].
const GOLDEN_LATER: &[u8] = include_bytes!("../../golden/saved-v1-used.bin");

fn instance(service: &str, id: &str) -> sync::Instance {
    sync::Instance {
        namespace: "default".into(),
        service: service.into(),
        id: id.into(),
        incarnation: 3,
        address: "10.0.0.7".into(),
        inbound_port: 9982,
        ports: vec![sync::Port {
            name: "http".into(),
            protocol: "http".into(),
            number: 8080,
            ..sync::Port::default()
        }],
        labels: [("version".to_owned(), "v2".to_owned())].into(),
        zone: "a".into(),
        weight: 100,
        idempotent: vec!["get*".into()],
        state: sync::InstanceState::Ready as i32,
        ..sync::Instance::default()
    }
}

fn saved() -> Saved {
    Saved {
        store_id: "4f7c".into(),
        version: Some(sync::Version {
            epoch: 7,
            revision: 41,
        }),
        center: "127.0.0.1:9700".into(),
        saved_at_ms: 1_700_000_000_123,
        names: vec![1, 0xffff_ffff_ffff_ffff],
        instances: vec![instance("orders", "o1"), instance("stock", "s1")],
        unconfirmed: vec![instance("orders", "o0")],
        departed: vec![instance("web", "w1")],
        used: Vec::new(),
        last_uses: Vec::new(),
    }
}

/// With what later builds of this format added.
fn saved_later() -> Saved {
    Saved {
        used: vec![UsedKey {
            family: 1,
            name: "orders".into(),
            namespace: "default".into(),
            used_at_ms: 1_700_000_000_000,
            held: true,
        }],
        last_uses: vec![LastUse {
            namespace: "default".into(),
            service: "orders".into(),
            at_ms: 1_700_000_000_000,
        }],
        ..saved()
    }
}

#[test]
fn a_message_in_parts_is_the_same_file() {
    let whole = saved_later();
    let head = Saved {
        instances: Vec::new(),
        unconfirmed: Vec::new(),
        departed: Vec::new(),
        used: Vec::new(),
        last_uses: Vec::new(),
        ..whole.clone()
    };
    let file = encode_parts(|part| {
        part(Part::Fields(&head));
        for instance in &whole.instances {
            part(Part::Fields(&Saved {
                instances: vec![instance.clone()],
                ..Saved::default()
            }));
        }
        part(Part::Fields(&Saved {
            unconfirmed: whole.unconfirmed.clone(),
            departed: whole.departed.clone(),
            used: whole.used.clone(),
            last_uses: whole.last_uses.clone(),
            ..Saved::default()
        }));
    });
    assert_eq!(file, encode(&whole));
}

#[test]
fn the_golden_file_is_written_and_read() {
    assert_eq!(decode(GOLDEN), Ok(saved()));
    assert_eq!(encode(&saved()), GOLDEN);
}

#[test]
fn what_is_used_comes_back() {
    let bytes = encode(&saved_later());
    assert_eq!(decode(GOLDEN_LATER), Ok(saved_later()));
    assert_eq!(bytes, GOLDEN_LATER);
}

#[test]
fn a_file_cut_anywhere_is_torn() {
    for length in 0..GOLDEN.len() {
        let found = length as u64;
        match decode(&GOLDEN[..length]) {
            Err(Unusable::Torn {
                expected,
                found: told,
            }) => {
                assert_eq!(told, found);
                assert!(expected > found);
            }
            other => panic!("cut after {length} bytes: {other:?}"),
        }
    }
}

#[test]
fn a_flipped_bit_anywhere_is_found() {
    for position in 0..GOLDEN.len() * 8 {
        let mut file = GOLDEN.to_vec();
        file[position / 8] ^= 1 << (position % 8);
        assert!(decode(&file).is_err(), "bit {position}");
    }
}

#[test]
fn another_format_is_named_and_not_read() {
    for format in [0_u32, 2, 99] {
        let mut file = GOLDEN.to_vec();
        file[8..12].copy_from_slice(&format.to_le_bytes());
        let error = decode(&file).unwrap_err();
        assert_eq!(error, Unusable::OtherFormat(format));
        let sentence = format!("it has format {format}, this weft reads format 1");
        assert_eq!(error.to_string(), sentence);
    }
}

#[test]
fn a_file_that_is_not_ours_is_left_alone() {
    assert_eq!(decode(b"#!/bin/sh\n"), Err(Unusable::Foreign));
    assert_eq!(decode(&[0; 4096]), Err(Unusable::Foreign));
    let mut longer = GOLDEN.to_vec();
    longer.push(0);
    assert_eq!(decode(&longer), Err(Unusable::Corrupt));
}

#[test]
fn sound_bytes_that_make_no_message_are_refused() {
    let mut file = encode(&Saved::default());
    file.extend_from_slice(&[0xff; 3]);
    file[12..20].copy_from_slice(&3_u64.to_le_bytes());
    let sum = checksum(CHECKSUM_OF_NOTHING, &[0xff; 3]).to_le_bytes();
    file[20..28].copy_from_slice(&sum);
    assert_eq!(decode(&file), Err(Unusable::Malformed));
}
