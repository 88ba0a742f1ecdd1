//! What is read by hand is what the generated messages say.

use super::*;
use crate::sync::{Check, Delta, NameSet, Port, Version, from_center, instances_from_wire};

fn record(id: u32) -> Instance {
    Instance {
        namespace: "default".into(),
        service: "orders".into(),
        id: format!("orders-{id}"),
        incarnation: u64::from(id) * 1_000_000,
        address: format!("10.0.{}.{}", id / 250, id % 250),
        inbound_port: 9982,
        ports: vec![Port {
            name: "http".into(),
            protocol: "http".into(),
            number: 8080,
            ..Port::default()
        }],
        labels: [("version".to_owned(), format!("v{}", id % 20))].into(),
        zone: "a".into(),
        weight: 100,
        idempotent: vec!["get*".into()],
        state: (id % 5).cast_signed(),
        link_tls: id.is_multiple_of(2),
        management_port: 8002,
        offline: id.is_multiple_of(7),
        offline_changed_ms: 5,
        check: id.is_multiple_of(11).then(|| Check {
            kind: "tcp".into(),
            port: 8080,
            interval_ms: 1_000,
            ..Check::default()
        }),
    }
}

fn delta() -> Delta {
    Delta {
        version: Some(Version {
            epoch: 3,
            revision: 9,
        }),
        namespace: "default".into(),
        service: "orders".into(),
        full: true,
        upserted: (1..500).map(record).collect(),
        removed: vec!["a".into(), "b".into()],
    }
}

#[test]
fn instances_read_by_hand_are_those_of_the_generated_messages() {
    let delta = delta();
    let message = FromCenter {
        kind: Some(from_center::Kind::Delta(delta.clone())),
    };
    let Ok(Heard::Delta(arrived)) = read_message(&message.encode_to_vec()) else {
        panic!("a delta");
    };
    assert_eq!(arrived.count(), 499);
    let head = Delta {
        upserted: Vec::new(),
        ..delta.clone()
    };
    assert_eq!(arrived.head, head);
    assert!(
        ArrivingDelta::from(delta.clone())
            .upserted()
            .eq(arrived.upserted())
    );
    let mut reader = InstanceReader::default();
    let read: Result<Vec<_>, _> = arrived
        .upserted()
        .map(|wire| reader.read(wire, || "it".to_owned()))
        .collect();
    assert_eq!(read.unwrap(), instances_from_wire(&delta.upserted).unwrap());
}

#[test]
fn what_two_instances_have_in_common_is_held_once() {
    let mut reader = InstanceReader::default();
    let mut read = |record: Instance| reader.read(&record.encode_to_vec(), String::new).unwrap();
    let (first, second) = (read(record(1)), read(record(21)));
    assert!(Arc::ptr_eq(&first.shape, &second.shape));
    let heavier = read(Instance {
        weight: 150,
        ..record(61)
    });
    assert_eq!(heavier.weight, 150);
    assert!(Arc::ptr_eq(&first.shape, &heavier.shape));
    // In another order on the wire, too: it is read whole, and found to be equal.
    let mut shuffled = record(41);
    let zone = Instance {
        zone: std::mem::take(&mut shuffled.zone),
        ..Instance::default()
    };
    let wire = [shuffled.encode_to_vec(), zone.encode_to_vec()].concat();
    let third = reader.read(&wire, String::new).unwrap();
    assert!(Arc::ptr_eq(&first.shape, &third.shape));
}

#[test]
fn a_field_at_fault_is_named_also_when_the_rest_is_known() {
    let mut reader = InstanceReader::default();
    let good = record(1);
    reader
        .read(&good.encode_to_vec(), || "instances[0]".into())
        .unwrap();
    for (wrong, field) in [
        (
            Instance {
                id: String::new(),
                ..good.clone()
            },
            "instances[1].id",
        ),
        (
            Instance {
                address: "nowhere".into(),
                ..good.clone()
            },
            "instances[1].address",
        ),
        (
            Instance {
                inbound_port: 0,
                ..good.clone()
            },
            "instances[1].inbound_port",
        ),
        (
            Instance {
                inbound_port: 65_536,
                ..good.clone()
            },
            "instances[1].inbound_port",
        ),
        (
            Instance {
                id: "x".repeat(TEXT_BYTES_MAX + 1),
                ..good.clone()
            },
            "instances[1].id",
        ),
    ] {
        let found = reader.read(&wrong.encode_to_vec(), || "instances[1]".into());
        assert_eq!(found.unwrap_err().field, field);
    }
}

#[test]
fn bytes_that_are_cut_or_changed_are_read_as_the_generated_message_reads_them() {
    let good = record(1).encode_to_vec();
    let mut agreed = 0;
    for at in 0..good.len() * 8 {
        let mut wire = good.clone();
        wire[at / 8] ^= 1 << (at % 8);
        let mut reader = InstanceReader::default();
        reader.read(&good, String::new).unwrap();
        let ours = reader.read(&wire, || "it".to_owned());
        let theirs = Instance::decode(&*wire)
            .map_err(|_| ())
            .and_then(|message| instance_from_wire(&message, "it").map_err(|_| ()));
        assert_eq!(ours.ok(), theirs.ok(), "bit {at}");
        agreed += 1;
    }
    for length in 0..good.len() {
        let mut reader = InstanceReader::default();
        reader.read(&good, String::new).unwrap();
        let ours = reader.read(&good[..length], || "it".to_owned());
        assert!(ours.is_err() || length > 0);
        agreed += 1;
    }
    assert!(agreed > 500);
}

#[test]
fn every_other_message_is_the_generated_one() {
    let kind = from_center::Kind::Names(NameSet {
        full: true,
        added: vec![1, 2, 3],
        subscribed: 4,
        ..NameSet::default()
    });
    let message = FromCenter {
        kind: Some(kind.clone()),
    }
    .encode_to_vec();
    assert_eq!(read_message(&message), Ok(Heard::Other(Some(kind))));
    assert_eq!(read_message(&[]), Ok(Heard::Other(None)));
    let delta = FromCenter {
        kind: Some(from_center::Kind::Delta(delta())),
    };
    let delta = delta.encode_to_vec();
    for length in 1..delta.len().min(400) {
        assert!(
            read_message(&delta[..length]).is_err(),
            "cut after {length}"
        );
    }
}

#[test]
fn an_instance_that_is_held_and_has_not_changed_is_the_very_same() {
    let held = Arc::new(instance_from_wire(&record(1), "it").unwrap());
    let find = |id: &str| (id == "orders-1").then_some(&held);
    let mut reader = InstanceReader::default();
    let mut read = |record: &Instance| {
        reader
            .read_held(&record.encode_to_vec(), String::new, find)
            .unwrap()
    };
    // Read whole the first time, and by its known part the second.
    for _ in 0..2 {
        assert!(Arc::ptr_eq(&read(&record(1)), &held));
    }
    for changed in [
        Instance {
            incarnation: 9,
            ..record(1)
        },
        Instance {
            address: "10.9.9.9".into(),
            ..record(1)
        },
        Instance {
            inbound_port: 1,
            ..record(1)
        },
        Instance {
            weight: 1,
            ..record(1)
        },
        Instance {
            offline: true,
            ..record(1)
        },
    ] {
        let read = read(&changed);
        assert_eq!(*read, instance_from_wire(&changed, "it").unwrap());
        assert!(Arc::ptr_eq(&read.shape, &held.shape));
    }
    let moved = Instance {
        zone: "b".into(),
        ..record(1)
    };
    for _ in 0..2 {
        assert_eq!(*read(&moved), instance_from_wire(&moved, "it").unwrap());
    }
    let other = read(&record(21));
    assert_eq!(*other, instance_from_wire(&record(21), "it").unwrap());
}
