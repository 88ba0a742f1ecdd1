//! What is written and read by hand is what the generated messages say.

use super::*;
use crate::saved::{Encoder, Part, decode, encode, encode_parts, find};
use crate::sync::{Check, InstanceState, Port, instance_from_wire};

/// Instances that differ in everything, some of one shape after each other.
fn record(number: u32) -> sync::Instance {
    let kind = number / 3;
    sync::Instance {
        namespace: ["default", "far"][kind as usize % 2].into(),
        service: format!("orders-{}", kind % 7),
        id: format!("orders-{number}"),
        incarnation: u64::from(number) << (number % 60),
        address: match number % 4 {
            0 => format!("2001:db8::{:x}", number + 1),
            1 => format!("{}.0.9.{}", number % 256, number * 7 % 256),
            2 => format!("10.10.{}.99", number % 256),
            _ => format!("255.100.{}.1", number * 13 % 256),
        },
        inbound_port: if kind.is_multiple_of(11) { 0 } else { 9982 },
        ports: (0..kind % 3)
            .map(|port| Port {
                name: format!("p{port}"),
                protocol: "motan".into(),
                number: 8080 + port,
                interface: "a.b.C".into(),
                ..Port::default()
            })
            .collect(),
        labels: (0..kind % 4)
            .map(|label| (format!("l{label}"), "x".repeat(label as usize * 50)))
            .collect(),
        zone: "z".repeat(kind as usize % 3),
        weight: number * 37 % 1000,
        idempotent: (0..kind % 2).map(|_| "get*".to_owned()).collect(),
        state: [
            InstanceState::Ready,
            InstanceState::Unconfirmed,
            InstanceState::Draining,
        ][number as usize % 3]
            .into(),
        check: kind.is_multiple_of(11).then(|| Check {
            kind: "tcp".into(),
            port: 8080,
            interval_ms: 1_000,
            ..Check::default()
        }),
        ..sync::Instance::default()
    }
}

fn whole() -> Saved {
    Saved {
        store_id: "store".into(),
        names: vec![1, 2, 3],
        instances: (0..300).map(record).collect(),
        unconfirmed: (300..320).map(record).collect(),
        departed: vec![record(400)],
        ..Saved::default()
    }
}

/// The true instances of whole, each shape held once while it repeats.
fn instances() -> Vec<(Place, Instance)> {
    let whole = whole();
    let lists = [
        (Place::Instances, whole.instances),
        (Place::Unconfirmed, whole.unconfirmed),
        (Place::Departed, whole.departed),
    ];
    let mut all: Vec<(Place, Instance)> = Vec::new();
    for (place, list) in lists {
        for wire in list {
            let mut instance = instance_from_wire(&wire, "it").unwrap();
            let before = all.last().map(|(_, before)| Arc::clone(&before.shape));
            if let Some(before) = before.filter(|before| *before == instance.shape) {
                instance.shape = before;
            }
            all.push((place, instance));
        }
    }
    all
}

#[test]
fn instances_written_by_hand_are_those_of_the_generated_message() {
    let all = instances();
    let shared = all.windows(2).filter(|pair| {
        let [(_, one), (_, other)] = pair else {
            return false;
        };
        Arc::ptr_eq(&one.shape, &other.shape)
    });
    assert!(shared.count() > 100);
    let fields = Saved {
        instances: Vec::new(),
        unconfirmed: Vec::new(),
        departed: Vec::new(),
        ..whole()
    };
    let file = encode_parts(|part| {
        part(Part::Fields(&fields));
        for (place, instance) in &all {
            part(Part::Instance(*place, instance));
        }
    });
    assert_eq!(decode(&file).unwrap(), whole());
    assert_eq!(file, encode(&whole()));
}

#[test]
fn instances_are_found_where_they_were_written() {
    let file = encode(&whole());
    let found = find(&file).unwrap();
    let fields = Saved {
        instances: Vec::new(),
        unconfirmed: Vec::new(),
        departed: Vec::new(),
        ..whole()
    };
    assert_eq!((&found.rest, found.count()), (&fields, 321));
    for (place, list) in [
        (Place::Instances, whole().instances),
        (Place::Unconfirmed, whole().unconfirmed),
        (Place::Departed, whole().departed),
    ] {
        let read = found.instances(place).map(sync::Instance::decode);
        let read: Result<Vec<_>, _> = read.collect();
        assert_eq!(read.unwrap(), list, "{}", place.name());
    }
    let made = Found::from(whole());
    for place in Place::ALL {
        assert!(made.instances(place).eq(found.instances(place)));
    }
}

#[test]
fn a_field_of_a_later_version_hides_no_instance() {
    // A group, which only the generated message passes over.
    let later = [0xa3, 0x06, 0xa4, 0x06];
    let message = [whole().encode_to_vec(), later.to_vec()].concat();
    let found = Found::read(&message).unwrap();
    assert_eq!(found, Found::from(whole()));
    assert!(Found::read(&message[..message.len() - 1]).is_err());
}

#[test]
fn an_encoder_counts_what_it_wrote() {
    let (place, instance) = instances().swap_remove(0);
    let mut encoder = Encoder::default();
    let before = encoder.file_bytes();
    let written = encoder.part(Part::Instance(place, &instance)).len() as u64;
    assert!(written > 40);
    assert_eq!(encoder.file_bytes(), before + written);
}
