//! Frames: Motan2, the link's by both of its readers, gRPC's, and the first bytes of any connection.

use crate::cut;
use prost::Message as _;
use weft_api::{grpc, link as generated};
use weft_codec::fields::Fields;
use weft_codec::h2::{self, Frames, Meter, PeerSide};
use weft_codec::link as codec;
use weft_codec::motan2::{self as motan, Limits, Step, motan2_prefix};
use weft_codec::sniff::{Prefix, http2_prefix};
use weft_codec::tls::{HELLO_BYTES_MAX, ServerName, server_name};
use weft_codec::{http1, motan2};

pub(crate) fn motan2(bytes: &[u8]) {
    let limits = Limits::default();
    let Ok(step) = motan::parse(bytes, &limits) else {
        return;
    };
    let (header, meta, body) = match step {
        Step::Need(length) => {
            assert!(length > bytes.len(), "needs what is there");
            return;
        }
        Step::Frame { header, meta, body } => (header, meta, body),
    };
    assert!(meta.end <= body.start && body.end <= bytes.len());
    let mut fields = Fields::new();
    if motan::parse_metadata(&bytes[meta], &limits, &mut fields).is_err() {
        return;
    }
    let mut written = Vec::new();
    motan2::write_head(header, &fields, body.len() as u32, &mut written);
    written.extend_from_slice(&bytes[body.clone()]);
    let Ok(Step::Frame {
        header: again,
        meta,
        body: same,
    }) = motan::parse(&written, &limits)
    else {
        panic!("what was written is no frame");
    };
    assert_eq!(header, again);
    assert_eq!(&bytes[body], &written[same]);
    let mut twice = Fields::new();
    assert!(motan::parse_metadata(&written[meta], &limits, &mut twice).is_ok());
    assert!(fields.iter().eq(twice.iter()));
}

/// The decoder by hand against the generated one: what the first takes, the second takes.
pub(crate) fn link(bytes: &[u8]) {
    let mut fields = Fields::new();
    let Ok(codec::Step::Frame(_, length)) = codec::decode(bytes, &mut fields) else {
        return;
    };
    let message = bytes.get(5..length).unwrap_or_default();
    assert!(
        generated::Frame::decode(message).is_ok(),
        "the generated reader refuses what is taken"
    );
    for shorter in 0..length.min(bytes.len()) {
        let step = codec::decode(&bytes[..shorter], &mut fields);
        assert!(
            matches!(step, Ok(codec::Step::Need)),
            "at {shorter} of {length}"
        );
    }
}

/// Once sure, always sure: more bytes change no answer but `NeedMore`.
pub(crate) fn sniff(bytes: &[u8]) {
    for prefix in [http1::http1_prefix, http2_prefix, motan2_prefix] {
        let mut last = Prefix::NeedMore;
        for length in 0..=bytes.len().min(64) {
            let found = prefix(&bytes[..length]);
            assert!(
                last == Prefix::NeedMore || last == found,
                "{last:?}, then {found:?}"
            );
            last = found;
        }
    }
    let sure = [http1::http1_prefix, http2_prefix, motan2_prefix]
        .iter()
        .filter(|prefix| prefix(bytes) == Prefix::Match)
        .count();
    assert!(sure <= 1, "two protocols claim the same bytes");
}

pub(crate) fn grpc_framing(bytes: &[u8]) {
    const MAX: usize = 4096;
    let read = |pieces: &[&[u8]]| {
        let mut decoder = grpc::Decoder::new(MAX);
        let mut messages: Vec<Vec<u8>> = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            loop {
                match decoder.next_by(|message| Ok(message.to_vec())) {
                    Ok(Some(message)) => messages.push(message),
                    Ok(None) => break,
                    Err(_) => return (messages, None),
                }
            }
        }
        let pending = decoder.pending();
        (messages, Some(pending))
    };
    let (pieces, whole) = cut(bytes);
    assert_eq!(
        read(&[whole]),
        read(&pieces),
        "a split changed what was read"
    );
}

/// HTTP/2 frames as they are counted: any split finds the same ones.
pub(crate) fn h2_frames(bytes: &[u8]) {
    let read = |pieces: &[&[u8]]| {
        let mut frames = Frames::new();
        let mut found = Vec::new();
        for piece in pieces {
            let mut rest = *piece;
            loop {
                let (taken, frame) = frames.next(rest);
                rest = &rest[taken..];
                match frame {
                    Some(frame) => found.push(frame),
                    None => break,
                }
            }
            assert!(rest.is_empty(), "bytes were left");
        }
        (found, frames.is_between_frames())
    };
    let (pieces, whole) = cut(bytes);
    assert_eq!(
        read(&[whole]),
        read(&pieces),
        "a split changed what was found"
    );
}

/// What a peer spent of its budget: any split comes to the same, and a verdict is never taken back.
pub(crate) fn h2_meter(bytes: &[u8]) {
    let Some((first, bytes)) = bytes.split_first() else {
        return;
    };
    let side = if first & 1 == 0 {
        PeerSide::Caller
    } else {
        PeerSide::Upstream
    };
    let count = |pieces: &[&[u8]]| {
        let mut meter = Meter::new(side, h2::Limits::default(), 0);
        let mut worst = meter.verdict();
        for piece in pieces {
            let verdict = meter.received(piece, 0);
            assert!(verdict >= worst, "a verdict was taken back");
            worst = verdict;
        }
        worst
    };
    let (pieces, whole) = cut(bytes);
    assert_eq!(
        count(&[whole]),
        count(&pieces),
        "a split changed the verdict"
    );
}

/// Once sure, always sure; a name that is found stands in the bytes, and is one that a host can have.
pub(crate) fn tls_name(bytes: &[u8]) {
    let mut last = ServerName::NeedMore;
    for length in 0..=bytes.len() {
        let found = server_name(&bytes[..length]);
        assert!(
            last == ServerName::NeedMore || last == found,
            "{last:?}, then {found:?}"
        );
        last = found;
    }
    assert!(last != ServerName::NeedMore || bytes.len() < HELLO_BYTES_MAX);
    if let ServerName::Name(name) = last {
        let stands = bytes
            .windows(name.len())
            .any(|part| part == name.as_bytes());
        assert!(stands, "a name that was not sent");
        assert!(
            (1..=253).contains(&name.len()) && name.bytes().all(|byte| byte.is_ascii_graphic())
        );
    }
}
