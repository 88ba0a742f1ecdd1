//! Link frames by themselves: splits, refusals, mutants. That they are protobuf, and which bytes they are, is
//! held by the tests of weft-api against prost.

use super::*;
use crate::Fields;

/// A frame and the fields beside it.
type Sample = (Frame<'static>, Vec<(&'static str, &'static str)>);

/// At least one frame of each kind.
fn samples() -> Vec<Sample> {
    let long = vec![b'x'; 20_000].leak();
    let hello = Hello {
        version: LINK_VERSION,
        features: 1 << 63,
        namespace: b"default",
        service: b"orders",
        instance: b"orders-1",
        incarnation: 300,
        credit_initial: 16 * 1024,
        calls_max: 1024,
        frame_bytes_max: FRAME_BYTES_MAX as u32,
        mesh: b"3f0c9a",
    };
    let open = Open {
        call_id: 1,
        protocol: b"http",
        service: b"orders",
        method: b"POST",
        path: b"/orders/1?x=%20",
        port: b"http",
        instance: b"orders-1",
        incarnation: 2,
        caller_service: b"web.default",
        caller_address: b"127.0.0.1:40000",
        deadline_us: 1_500_000,
        attempt: 1,
        lane: b"blue",
        trace: b"00-abc",
        kind: Kind::Stream,
        opaque: b"\x30\0",
        body: long,
        end: true,
    };
    let headers = vec![
        ("accept", "*/*"),
        ("x-empty", ""),
        ("accept", "text/html"),
        ("", ""),
    ];
    let reply = Reply {
        call_id: 1,
        status: 503,
        informational: true,
        failure: b"no_instance",
        opaque: b"o",
        body: b"none",
        end: true,
    };
    let reset = Reset {
        call_id: u64::MAX,
        reason: ResetReason::NotDispatched,
        code: b"wrong_instance",
        detail: b"meant for another",
        service: b"stock",
        instance: b"stock-9",
        incarnation: 4,
    };
    let health = Health {
        instance: b"orders-1",
        incarnation: 2,
        sequence: 128,
        state: HealthState::Warming,
        weight: 40,
    };
    vec![
        (Frame::Hello(hello), vec![]),
        (Frame::Open(open), headers.clone()),
        (Frame::Open(Open::default()), vec![]),
        (Frame::Data(1, b"more", false), vec![]),
        (Frame::Data(0, b"", true), vec![]),
        (Frame::Reply(reply), headers),
        (Frame::Trailers(1), vec![("grpc-status", "0")]),
        (Frame::Reset(reset), vec![]),
        (Frame::Credit(1, u32::MAX), vec![]),
        (Frame::Health(health), vec![]),
        (Frame::Goaway(7, b"draining"), vec![]),
        (Frame::Goaway(0, b""), vec![]),
    ]
}

fn write(frame: &Frame<'_>, fields: &Fields, out: &mut Vec<u8>) {
    match frame {
        Frame::Hello(hello) => write_hello(hello, out),
        Frame::Open(open) => write_open(open, fields, out),
        Frame::Data(call_id, bytes, end) => write_data(*call_id, bytes, *end, out),
        Frame::Reply(reply) => write_reply(reply, fields, out),
        Frame::Trailers(call_id) => write_trailers(*call_id, fields, out),
        Frame::Reset(reset) => write_reset(reset, out),
        Frame::Credit(call_id, bytes) => write_credit(*call_id, *bytes, out),
        Frame::Health(health) => write_health(health, out),
        Frame::Goaway(last_call_id, reason) => write_goaway(*last_call_id, reason, out),
        Frame::Unknown => out.extend_from_slice(&framed(&[])),
    }
}

fn fields_of(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in pairs {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

fn written(samples: &[Sample]) -> Vec<u8> {
    let mut out = Vec::new();
    for (frame, pairs) in samples {
        write(frame, &fields_of(pairs), &mut out);
    }
    out
}

fn framed(message: &[u8]) -> Vec<u8> {
    let mut out = vec![0];
    out.extend_from_slice(&(message.len() as u32).to_be_bytes());
    out.extend_from_slice(message);
    out
}

/// All whole frames at the front of `bytes`, as text, and how many bytes they take.
fn read(bytes: &[u8]) -> (Vec<String>, usize) {
    let (mut found, mut at, mut fields) = (Vec::new(), 0, Fields::new());
    while let Step::Frame(frame, taken) = decode(&bytes[at..], &mut fields).unwrap() {
        found.push(shown(&frame, &fields));
        at += taken;
    }
    (found, at)
}

fn shown(frame: &Frame<'_>, fields: &Fields) -> String {
    format!("{frame:?} {:?}", fields.iter().collect::<Vec<_>>())
}

#[test]
fn a_frame_that_was_taken_back_is_skipped_and_its_neighbours_stay() {
    let mut out = Vec::new();
    write_data(1, b"before", false, &mut out);
    let start = out.len();
    let open = Open {
        call_id: 2,
        method: b"GET",
        ..Open::default()
    };
    write_open(&open, &Fields::new(), &mut out);
    write_data(1, b"after", true, &mut out);
    take_back(start, &mut out);
    let mut fields = Fields::new();
    let mut at = 0;
    let mut found = Vec::new();
    while let Step::Frame(frame, taken) = decode(&out[at..], &mut fields).unwrap() {
        found.push(match frame {
            Frame::Data(1, bytes, _) => bytes.to_vec(),
            Frame::Unknown => b"nothing".to_vec(),
            other => panic!("{other:?}"),
        });
        at += taken;
    }
    assert_eq!(found, [&b"before"[..], b"nothing", b"after"]);
    assert_eq!(at, out.len());
}

#[test]
fn frames_come_out_as_they_went_in() {
    let samples = samples();
    let (found, taken) = read(&written(&samples));
    let expected: Vec<_> = samples
        .iter()
        .map(|(frame, pairs)| shown(frame, &fields_of(pairs)))
        .collect();
    assert_eq!(found, expected);
    assert_eq!(taken, written(&samples).len());
}

#[test]
fn a_stream_cut_anywhere_yields_the_same_frames() {
    // Without the 20,000 bytes of body, for the sake of the number of splits.
    let samples: Vec<_> = samples()
        .into_iter()
        .map(|(frame, pairs)| match frame {
            Frame::Open(open) => (
                Frame::Open(Open {
                    body: b"short",
                    ..open
                }),
                pairs,
            ),
            frame => (frame, pairs),
        })
        .collect();
    let bytes = written(&samples);
    let (expected, _) = read(&bytes);
    for split in 0..bytes.len() {
        let (mut found, taken) = read(&bytes[..split]);
        let (rest, _) = read(&bytes[taken..]);
        found.extend(rest);
        assert_eq!(found, expected, "cut at {split}");
    }
}

#[test]
fn what_is_at_its_default_takes_no_bytes() {
    let mut out = Vec::new();
    write_data(0, b"", false, &mut out);
    assert_eq!(out, [0, 0, 0, 0, 2, 0x1a, 0]);
    out.clear();
    write_open(&Open::default(), &Fields::new(), &mut out);
    assert_eq!(out, [0, 0, 0, 0, 2, 0x12, 0]);
}

#[test]
fn lengths_on_either_side_of_a_varint_step_are_right() {
    for len in [
        0, 1, 120, 126, 127, 128, 129, 16_370, 16_383, 16_384, 16_385, 100_000,
    ] {
        let body = vec![7; len];
        let mut out = Vec::new();
        write_data(u64::MAX, &body, true, &mut out);
        let mut fields = Fields::new();
        let step = decode(&out, &mut fields).unwrap();
        assert_eq!(
            step,
            Step::Frame(Frame::Data(u64::MAX, &body, true), out.len())
        );
    }
    for shift in 0..64 {
        for call_id in [(1_u64 << shift) - 1, 1 << shift] {
            let mut out = Vec::new();
            write_credit(call_id, 1, &mut out);
            let step = decode(&out, &mut Fields::new());
            assert_eq!(step, Ok(Step::Frame(Frame::Credit(call_id, 1), out.len())));
        }
    }
}

#[test]
fn every_kind_reason_and_state_comes_back() {
    let mut out = Vec::new();
    let mut expected = Vec::new();
    for kind in [Kind::Unary, Kind::Stream, Kind::OneWay, Kind::Tunnel] {
        expected.push(Frame::Open(Open {
            kind,
            ..Open::default()
        }));
    }
    for reason in [
        ResetReason::Unknown,
        ResetReason::Cancelled,
        ResetReason::NotDispatched,
        ResetReason::Failed,
        ResetReason::PeerReset,
    ] {
        expected.push(Frame::Reset(Reset {
            reason,
            ..Reset::default()
        }));
    }
    for state in [
        HealthState::Unknown,
        HealthState::Ready,
        HealthState::Warming,
        HealthState::Overloaded,
        HealthState::Draining,
        HealthState::AppDead,
    ] {
        expected.push(Frame::Health(Health {
            state,
            ..Health::default()
        }));
    }
    for frame in &expected {
        write(frame, &Fields::new(), &mut out);
    }
    let expected: Vec<_> = expected
        .iter()
        .map(|frame| shown(frame, &Fields::new()))
        .collect();
    assert_eq!(read(&out).0, expected);
}

/// The frame with this message is refused for this reason.
fn check_refused(message: &[u8], reason: &str) {
    let refusal = decode(&framed(message), &mut Fields::new()).unwrap_err();
    assert_eq!(refusal.0, reason, "{message:x?}");
}

#[test]
fn a_head_that_is_wrong_is_refused_at_once() {
    let refused = |bytes: &[u8]| decode(bytes, &mut Fields::new()).unwrap_err().0;
    assert_eq!(refused(&[1]), "a link frame is compressed");
    assert_eq!(
        refused(b"P"),
        "a link frame begins with another byte than 0"
    );
    let over = (FRAME_BYTES_MAX as u32 + 1).to_be_bytes();
    assert_eq!(
        refused(&[&[0], &over[..]].concat()),
        "a link frame is longer than 128 KiB"
    );
    assert_eq!(
        refused(&[0, 255, 255, 255, 255]),
        "a link frame is longer than 128 KiB"
    );
    let at_limit = (FRAME_BYTES_MAX as u32).to_be_bytes();
    let head = [&[0], &at_limit[..]].concat();
    assert_eq!(decode(&head, &mut Fields::new()), Ok(Step::Need));
}

#[test]
fn what_protobuf_does_not_allow_is_refused() {
    const BROKEN: &str = "a link frame ends within a field";
    const WRONG_TYPE: &str = "a link frame has a field of another wire type than known";
    const OVERLONG: &str = "a link frame has a varint beyond 64 bits";
    check_refused(
        &[0x00],
        "a link frame has a field number that protobuf does not allow",
    );
    check_refused(&[0x1a], BROKEN);
    check_refused(&[0x1a, 0x05, 0x08], BROKEN);
    check_refused(&[0x80], BROKEN);
    // Data as a varint, its call id as bytes, its end as fixed32.
    check_refused(&[0x18, 0x01], WRONG_TYPE);
    check_refused(&[0x1a, 0x02, 0x0a, 0x00], WRONG_TYPE);
    check_refused(&[0x1a, 0x05, 0x1d, 0, 0, 0, 0], WRONG_TYPE);
    // Ten bytes of varint with a 65th bit, and eleven.
    let over = [0x1a, 11, 8, 255, 255, 255, 255, 255, 255, 255, 255, 255, 2];
    check_refused(&over, OVERLONG);
    let over = [
        0x1a, 12, 8, 128, 128, 128, 128, 128, 128, 128, 128, 128, 129, 0,
    ];
    check_refused(&over, OVERLONG);
    check_refused(
        &[255, 255, 255, 255, 127, 0],
        "a link frame has a field number that protobuf does not allow",
    );
    // Groups: 15 begins, ends; wire types 6 and 7.
    for key in [0x7b, 0x7c, 0x7e, 0x7f] {
        check_refused(
            &[key],
            "a link frame has a field of a wire type that proto3 does not have",
        );
    }
    check_refused(&[0x1a, 0, 0x1a, 0], "a link frame has two kinds");
    // A length of 2^64 - 1 within a message.
    let long = [
        0x1a, 12, 0x12, 255, 255, 255, 255, 255, 255, 255, 255, 255, 1, 0,
    ];
    check_refused(&long, BROKEN);
}

#[test]
fn unknown_fields_frames_and_values_are_skipped() {
    let read = |message: &[u8]| {
        let mut fields = Fields::new();
        let bytes = framed(message);
        match decode(&bytes, &mut fields).unwrap() {
            Step::Frame(frame, taken) => {
                assert_eq!(taken, bytes.len());
                shown(&frame, &fields)
            }
            Step::Need => panic!("a whole frame needs more"),
        }
    };
    let unknown = shown(&Frame::Unknown, &Fields::new());
    assert_eq!(read(&[]), unknown);
    // Fields 15 and 16: varint, fixed64, bytes, fixed32.
    let extra = [
        &[0x78, 0x80, 0x01][..],
        &[0x79, 1, 2, 3, 4, 5, 6, 7, 8],
        &[0x82, 0x01, 2, 9, 9],
        &[0x85, 0x01, 1, 2, 3, 4],
    ]
    .concat();
    assert_eq!(read(&extra), unknown);
    let inner = [&[0x08, 5][..], &extra, &[0x18, 1]].concat();
    let data = [&[0x1a, inner.len() as u8], &inner[..], &extra].concat();
    assert_eq!(
        read(&data),
        shown(&Frame::Data(5, b"", true), &Fields::new())
    );
    // A Reset with reason 99 and a Field with a third part.
    let reset = shown(&Frame::Reset(Reset::default()), &Fields::new());
    assert_eq!(read(&[0x32, 2, 0x10, 99]), reset);
    let field = [0x2a, 9, 0x12, 7, 0x0a, 1, b'n', 0x1a, 2, 8, 8];
    assert_eq!(
        read(&field),
        shown(&Frame::Trailers(0), &fields_of(&[("n", "")]))
    );
}

#[test]
fn the_number_of_fields_has_a_limit() {
    for (count, taken) in [(FIELDS_MAX, true), (FIELDS_MAX + 1, false)] {
        let fields = fields_of(&vec![("n", "v"); count]);
        let mut out = Vec::new();
        write_trailers(1, &fields, &mut out);
        let mut found = Fields::new();
        assert_eq!(decode(&out, &mut found).is_ok(), taken, "{count} fields");
        assert!(found.len() <= FIELDS_MAX);
    }
}

#[test]
fn fields_of_an_earlier_frame_are_forgotten() {
    let mut fields = fields_of(&[("old", "1")]);
    decode(
        &written(&[(Frame::Data(1, b"", true), vec![])]),
        &mut fields,
    )
    .unwrap();
    assert!(fields.is_empty());
    fields.push(b"old", b"1");
    assert_eq!(decode(&[], &mut fields), Ok(Step::Need));
    assert!(fields.is_empty());
}

/// A small seeded generator (splitmix64): the same mutants in every run.
struct Seed(u64);

impl Seed {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound as u64) as usize
    }
}

#[test]
fn mutants_never_panic_and_never_take_more_than_is_there() {
    let frames: Vec<_> = samples()
        .into_iter()
        .map(|(frame, pairs)| match frame {
            Frame::Open(open) => (
                Frame::Open(Open {
                    body: b"short",
                    ..open
                }),
                pairs,
            ),
            frame => (frame, pairs),
        })
        .map(|sample| written(&[sample]))
        .collect();
    let (mut fields, mut seed) = (Fields::new(), Seed(0x6c69_6e6b));
    let (mut whole, mut refused, mut needing) = (0, 0, 0);
    for _ in 0..200_000 {
        let mut bytes = frames[seed.below(frames.len())].clone();
        for _ in 0..seed.below(4) {
            let at = seed.below(bytes.len());
            bytes[at] = match seed.below(2) {
                0 => bytes[at] ^ (1 << seed.below(8)),
                _ => seed.next() as u8,
            };
        }
        bytes.truncate(bytes.len() - seed.below(2) * seed.below(bytes.len()));
        match decode(&bytes, &mut fields) {
            Ok(Step::Frame(_, taken)) => {
                assert!(taken <= bytes.len(), "{bytes:x?}");
                // Memory follows received bytes.
                assert!(fields.byte_len() <= taken, "{bytes:x?}");
                whole += 1;
            }
            Ok(Step::Need) => needing += 1,
            Err(refusal) => {
                assert!(!refusal.0.is_empty());
                refused += 1;
            }
        }
    }
    // The mutants reach every end.
    assert!(
        whole > 10_000 && refused > 10_000 && needing > 10_000,
        "{whole} {refused} {needing}"
    );
}
