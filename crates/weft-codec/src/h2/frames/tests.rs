//! Frames' heads in every split, and what they say.

use super::*;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn found(frames: &mut Frames, pieces: &[&[u8]]) -> Vec<FrameHead> {
    let mut found = Vec::new();
    for piece in pieces {
        let mut rest = *piece;
        loop {
            let (count, frame) = frames.next(rest);
            rest = &rest[count..];
            match frame {
                Some(frame) => found.push(frame),
                None => break,
            }
        }
        assert!(rest.is_empty(), "without a frame all bytes are taken");
    }
    found
}

fn conversation() -> Vec<u8> {
    let mut bytes = HTTP2_PREFACE.to_vec();
    bytes.extend(frame(SETTINGS, 0, 0, &[0; 12]));
    bytes.extend(frame(HEADERS, 4, 1, &[0x82; 30]));
    bytes.extend(frame(DATA, 9, 1, &[3, b'x', b'y', 0, 0, 0]));
    bytes.extend(frame(RST_STREAM, 0, 1, &[0, 0, 0, 8]));
    bytes.extend(frame(
        GOAWAY,
        0,
        0,
        &[0, 0, 0, 1, 0, 0, 0, 11, b'w', b'h', b'y'],
    ));
    bytes.extend(frame(PING, 1, 0x8000_0000, &[0; 8]));
    bytes
}

#[test]
fn frames_are_the_same_in_every_split() {
    let bytes = conversation();
    let whole = found(&mut Frames::behind_preface(), &[&bytes]);
    assert_eq!(
        whole.iter().map(|frame| frame.kind).collect::<Vec<_>>(),
        [SETTINGS, HEADERS, DATA, RST_STREAM, GOAWAY, PING]
    );
    for split in 0..=bytes.len() {
        let (first, second) = bytes.split_at(split);
        let mut frames = Frames::behind_preface();
        assert_eq!(
            found(&mut frames, &[first, second]),
            whole,
            "split at {split}"
        );
        assert!(frames.is_between_frames());
    }
    let single: Vec<&[u8]> = bytes.chunks(1).collect();
    assert_eq!(found(&mut Frames::behind_preface(), &single), whole);
}

#[test]
fn what_a_frame_says_is_read() {
    let frames = found(&mut Frames::behind_preface(), &[&conversation()]);
    let [_, headers, data, reset, goaway, ping] = &frames[..] else {
        panic!("six frames: {frames:?}");
    };
    assert!(headers.ends_block() && !headers.ends_stream());
    assert!(data.ends_stream());
    assert_eq!(
        data.useful_bytes(),
        2,
        "six bytes, one that names three more as padding"
    );
    assert_eq!(reset.error_code(), 8);
    assert_eq!(goaway.error_code(), 11);
    assert!(ping.is_ack());
    assert_eq!(ping.stream, 0, "the reserved bit is no part of the stream");
}

#[test]
fn a_length_without_bytes_costs_nothing() {
    let mut frames = Frames::new();
    let head = [0xff, 0xff, 0xff, DATA, 0, 0, 0, 0, 1];
    assert_eq!(found(&mut frames, &[&head]).len(), 1);
    assert!(!frames.is_between_frames());
    assert!(found(&mut frames, &[&[0; 4096]]).is_empty());
}

#[test]
fn padding_longer_than_its_frame_is_no_payload() {
    let bytes = frame(DATA, PADDED, 1, &[200, 1, 2]);
    assert_eq!(found(&mut Frames::new(), &[&bytes])[0].useful_bytes(), 0);
    let bytes = frame(DATA, PADDED, 1, &[]);
    assert_eq!(found(&mut Frames::new(), &[&bytes])[0].useful_bytes(), 0);
    let bytes = frame(RST_STREAM, 0, 1, &[]);
    assert_eq!(found(&mut Frames::new(), &[&bytes])[0].error_code(), 0);
}
