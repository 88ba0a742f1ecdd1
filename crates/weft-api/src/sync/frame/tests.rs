//! The frame by hand is the frame of the generated messages.

use super::*;
use crate::grpc;
use crate::sync::{FromCenter, Port, Version, from_center};

#[test]
fn a_frame_of_encoded_instances_reads_as_the_delta_that_they_make() {
    let instance = |id: &str, zone_bytes: usize| Instance {
        id: id.into(),
        zone: "z".repeat(zone_bytes),
        ports: vec![Port::default(); 2],
        ..Instance::default()
    };
    for (full, upserted, removed) in [
        (false, vec![], vec![]),
        (true, vec![instance("a", 0)], vec![]),
        (
            false,
            vec![instance("a", 1), instance("b", 200), instance("c", 40_000)],
            vec!["d", "e"],
        ),
    ] {
        let head = Delta {
            version: Some(Version {
                epoch: 7,
                revision: 1_000_000,
            }),
            namespace: "default".into(),
            service: "orders".into(),
            full,
            upserted: Vec::new(),
            removed: removed.iter().map(ToString::to_string).collect(),
        };
        let bytes: Vec<Vec<u8>> = upserted.iter().map(instance_bytes).collect();
        let bytes: Vec<&[u8]> = bytes.iter().map(Vec::as_slice).collect();
        let frame = delta_frame(&head, &bytes);
        let mut decoder = grpc::Decoder::new(grpc::MESSAGE_BYTES_MAX);
        decoder.push(&frame);
        let read = decoder.next::<FromCenter>().unwrap().unwrap();
        assert_eq!(decoder.pending(), 0);
        let whole = FromCenter {
            kind: Some(from_center::Kind::Delta(Delta { upserted, ..head })),
        };
        assert_eq!(read, whole);
        let mut generated = Vec::new();
        grpc::encode(&whole, &mut generated);
        assert_eq!(frame.len(), generated.len());
    }
}

#[test]
fn a_framed_message_is_the_message_with_its_head() {
    let instance = Instance {
        id: "a".into(),
        ..Instance::default()
    };
    let mut generated = Vec::new();
    grpc::encode(&instance, &mut generated);
    assert_eq!(grpc::framed(&instance_bytes(&instance)), generated);
}
