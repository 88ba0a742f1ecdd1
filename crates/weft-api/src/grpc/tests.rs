//! Messages survive every split; what is over a limit is refused before it costs memory.

use super::*;
use crate::sync::{FromCenter, Nack, NameSet, Version, from_center};

fn names(count: u64) -> FromCenter {
    let set = NameSet {
        version: Some(Version {
            epoch: 7,
            revision: count,
        }),
        full: true,
        added: (0..count).collect(),
        removed: Vec::new(),
        subscribed: 0,
    };
    FromCenter {
        kind: Some(from_center::Kind::Names(set)),
    }
}

fn stream() -> (Vec<FromCenter>, Vec<u8>) {
    let messages = vec![names(0), names(3), FromCenter::default(), names(40)];
    let mut bytes = Vec::new();
    for message in &messages {
        encode(message, &mut bytes);
    }
    (messages, bytes)
}

fn drain(decoder: &mut Decoder) -> Vec<FromCenter> {
    std::iter::from_fn(|| decoder.next().unwrap()).collect()
}

#[test]
fn messages_come_out_as_they_went_in_at_every_split() {
    let (messages, bytes) = stream();
    for split in 0..=bytes.len() {
        let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
        decoder.push(&bytes[..split]);
        let mut found = drain(&mut decoder);
        decoder.push(&bytes[split..]);
        found.extend(drain(&mut decoder));
        assert_eq!(found, messages, "split at {split}");
        assert_eq!(decoder.pending(), 0);
    }
}

#[test]
fn messages_come_out_byte_by_byte() {
    let (messages, bytes) = stream();
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
    let mut found = Vec::new();
    for byte in bytes {
        decoder.push(&[byte]);
        found.extend(drain(&mut decoder));
    }
    assert_eq!(found, messages);
}

#[test]
fn a_compressed_message_is_refused_at_its_first_byte() {
    let mut decoder = Decoder::new(16);
    decoder.push(&[1]);
    assert_eq!(decoder.next::<Nack>(), Err(GrpcError::Compressed));
    assert_eq!(decoder.next::<Nack>(), Err(GrpcError::Compressed));
    let mut decoder = Decoder::new(16);
    decoder.push(&[9]);
    assert_eq!(decoder.next::<Nack>(), Err(GrpcError::UnknownFlag(9)));
}

#[test]
fn a_message_over_the_limit_is_refused_before_its_bytes_and_costs_no_memory() {
    let mut decoder = Decoder::new(16);
    decoder.push(&[0, 0, 0, 0, 17]);
    assert_eq!(
        decoder.next::<Nack>(),
        Err(GrpcError::TooLong {
            length: 17,
            max: 16
        })
    );
    let mut decoder = Decoder::new(usize::MAX);
    decoder.push(&[0, 0xff, 0xff, 0xff, 0xff]);
    assert_eq!(decoder.next::<Nack>(), Ok(None));
    assert!(decoder.buffer.capacity() < 64);
}

#[test]
fn a_malformed_message_says_so() {
    let mut decoder = Decoder::new(16);
    decoder.push(&[0, 0, 0, 0, 2, 0x12, 0x05]);
    let error = decoder.next::<Nack>().unwrap_err();
    assert!(
        error
            .to_string()
            .starts_with("a gRPC message is malformed: "),
        "{error}"
    );
}

#[test]
fn the_buffer_is_compacted_and_a_large_one_is_given_back() {
    let mut decoder = Decoder::new(MESSAGE_BYTES_MAX);
    let mut small = Vec::new();
    encode(&names(3), &mut small);
    for _ in 0..10_000 {
        // One and a half messages at a time, so that the buffer is never empty in between.
        decoder.push(&small);
        decoder.push(&small[..small.len() / 2]);
        assert_eq!(drain(&mut decoder), [names(3)]);
        decoder.push(&small[small.len() / 2..]);
        assert_eq!(drain(&mut decoder), [names(3)]);
    }
    assert!(decoder.buffer.capacity() <= 4 * small.len());

    let mut large = Vec::new();
    encode(&names(100_000), &mut large);
    decoder.push(&large);
    assert_eq!(drain(&mut decoder).len(), 1);
    decoder.push(&small);
    assert!(decoder.buffer.capacity() <= KEPT_BYTES_MAX);
}
