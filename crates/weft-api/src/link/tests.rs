//! weft-codec's hand-written link codec against prost, both ways, and against the committed golden bytes.

use super::*;
use crate::grpc;
use bytes::Bytes;
use prost::Message;
use std::fmt::Write as _;
use weft_codec::Fields;
use weft_codec::link as hand;

/// `name<TAB>hex` of whole frames. A line changes only together with the format's version.
const GOLDEN: &str = include_str!("../../golden/link-v1.tsv");

/// Random frames per kind.
const FRAMES_PER_KIND: usize = 2_500;

/// The kinds of frames: the arms of `random`.
const KINDS: usize = 9;

#[test]
fn hand_and_prost_write_the_same_bytes_and_read_each_other() {
    let mut seed = Seed(0x7765_6674);
    let mut fields = Fields::new();
    for kind in 0..KINDS {
        for round in 0..FRAMES_PER_KIND {
            let frame = random(kind, &mut seed);
            let by_prost = by_prost(&frame);
            assert_eq!(by_hand(&frame), by_prost, "round {round}: {frame:?}");
            let step = hand::decode(&by_prost, &mut fields).unwrap();
            let hand::Step::Frame(read, taken) = step else {
                panic!("round {round}: a whole frame needs more: {frame:?}");
            };
            assert_eq!(taken, by_prost.len());
            assert_eq!(of_hand(&read, &fields), frame, "round {round}");
        }
    }
}

/// The part of the page below this heading.
fn section<'a>(page: &'a str, heading: &str) -> &'a str {
    let start = page.find(&format!("\n### {heading}\n"));
    let start = start.unwrap_or_else(|| panic!("docs/link.md has no part \"{heading}\""));
    let rest = &page[start + 5..];
    &rest[..rest.find("\n##").unwrap_or(rest.len())]
}

#[test]
fn the_page_names_every_field_of_every_message_where_it_describes_the_message() {
    const PROTO: &str = include_str!("../../proto/weft/link/v1/link.proto");
    const PAGE: &str = include_str!("../../../../docs/link.md");
    let (mut block, mut named) = (("", ""), 0);
    for line in PROTO.lines().map(str::trim) {
        let mut words = line.split_whitespace();
        if let (Some(kind @ ("message" | "enum")), Some(name)) = (words.next(), words.next()) {
            block = (kind, name);
        }
        let Some((before, _)) = line.split_once(" = ") else {
            continue;
        };
        if line.starts_with("//") || line.starts_with("syntax") {
            continue;
        }
        let name = before.split_whitespace().next_back().unwrap();
        let place = match block {
            // Those that say what nobody says.
            ("enum", _) if name.ends_with("_UNKNOWN") => continue,
            ("enum", _) | ("message", "Frame" | "Field") => PAGE,
            (_, message) => section(PAGE, message),
        };
        assert!(
            place.contains(&format!("`{name}`")),
            "docs/link.md does not say what `{name}` of {} is",
            block.1
        );
        named += 1;
    }
    assert!(named > 60, "only {named} fields were found in link.proto");
    for limit in [
        hand::DATA_BYTES_MAX,
        hand::FRAME_BYTES_MAX,
        hand::FIELDS_MAX,
    ] {
        assert!(
            PAGE.contains(&limit.to_string()),
            "docs/link.md lacks {limit}"
        );
    }
    let mut opening = Vec::new();
    hand::upgrade::write_upgrade("<the peer's address>", &mut opening);
    for line in String::from_utf8(opening).unwrap().lines() {
        assert!(
            PAGE.contains(line),
            "docs/link.md lacks the line \"{line}\""
        );
    }
}

#[test]
fn a_stream_of_frames_cut_anywhere_is_read_alike() {
    let mut seed = Seed(0x0063_7574);
    let frames: Vec<_> = (0..200)
        .map(|round| random(round % KINDS, &mut seed))
        .collect();
    let stream: Vec<u8> = frames.iter().flat_map(by_prost).collect();
    let mut fields = Fields::new();
    let (mut buffer, mut found, mut from) = (Vec::new(), Vec::new(), 0);
    while from < stream.len() {
        let to = stream.len().min(from + 1 + seed.below(97));
        buffer.extend_from_slice(&stream[from..to]);
        from = to;
        let mut taken = 0;
        while let hand::Step::Frame(frame, length) =
            hand::decode(&buffer[taken..], &mut fields).unwrap()
        {
            found.push(of_hand(&frame, &fields));
            taken += length;
        }
        buffer.drain(..taken);
    }
    assert!(buffer.is_empty());
    assert_eq!(found, frames);
}

/// What the hand-written decoder takes, prost takes with the same meaning. What prost takes and it does not
/// is one of the refusals that are stricter on purpose.
#[test]
fn mutants_mean_the_same_to_both_or_are_refused() {
    const STRICTER: &[&str] = &[
        "a link frame has two kinds",
        "a link frame has a field of a wire type that proto3 does not have",
    ];
    let mut seed = Seed(0x6d75_7461_6e74);
    let mut fields = Fields::new();
    let (mut taken_by_both, mut refused_by_both) = (0, 0);
    for round in 0..60_000 {
        let mut bytes = by_prost(&random(round % KINDS, &mut seed));
        for _ in 0..=seed.below(3) {
            let at = 5 + seed.below(bytes.len() - 5);
            match seed.below(3) {
                0 => bytes[at] ^= 1 << seed.below(8),
                1 => bytes[at] = seed.next() as u8,
                _ => bytes[at] = seed.below(32) as u8,
            }
        }
        let oracle = Frame::decode(&bytes[5..]);
        match (hand::decode(&bytes, &mut fields), oracle) {
            (Ok(hand::Step::Frame(frame, _)), Ok(oracle)) => {
                let expected = known(oracle);
                assert_eq!(
                    of_hand(&frame, &fields),
                    expected,
                    "round {round}: {bytes:x?}"
                );
                taken_by_both += 1;
            }
            (Err(_), Err(_)) => refused_by_both += 1,
            (Err(refusal), Ok(_)) => {
                assert!(
                    STRICTER.contains(&refusal.0),
                    "round {round}: {refusal:?}: {bytes:x?}"
                );
            }
            (step, oracle) => panic!("round {round}: {step:?} but {oracle:?}: {bytes:x?}"),
        }
    }
    assert!(
        taken_by_both > 10_000 && refused_by_both > 10_000,
        "{taken_by_both} {refused_by_both}"
    );
}

#[test]
fn the_encoder_writes_the_golden_bytes() {
    let mut written = String::new();
    for (name, frame) in golden() {
        writeln!(written, "{name}\t{}", hex(&by_hand(&frame))).unwrap();
    }
    assert_eq!(GOLDEN, written, "the encoder writes:\n{written}");
}

#[test]
fn the_decoder_reads_the_golden_bytes() {
    let mut fields = Fields::new();
    let expected = golden();
    assert_eq!(GOLDEN.lines().count(), expected.len());
    for (line, (name, frame)) in GOLDEN.lines().zip(expected) {
        let (found, hex) = line
            .split_once('\t')
            .expect("a line is a name, a tab and hex");
        let bytes = bytes_of(hex);
        let step = hand::decode(&bytes, &mut fields).expect("golden bytes are never refused");
        let hand::Step::Frame(read, taken) = step else {
            panic!("{name}: the golden bytes are no whole frame");
        };
        assert_eq!((found, taken), (name, bytes.len()));
        assert_eq!(of_hand(&read, &fields), frame, "{name}");
    }
}

/// What the golden file holds: every kind, empty and full, and the edges of lengths.
fn golden() -> Vec<(&'static str, Frame)> {
    let text = |text: &'static str| Bytes::from_static(text.as_bytes());
    let field = |name, value| Field {
        name: text(name),
        value: text(value),
    };
    let hello = Hello {
        version: hand::LINK_VERSION,
        features: 0,
        namespace: text("default"),
        service: text("web"),
        instance: text("web-5f2c"),
        incarnation: 3,
        credit_initial: 16_384,
        calls_max: 1024,
        frame_bytes_max: 131_072,
        mesh: Bytes::new(),
    };
    let hello_of_mesh = Hello {
        mesh: text("3f0c9a"),
        ..hello.clone()
    };
    let open = Open {
        call_id: 1,
        protocol: text("http"),
        service: text("orders"),
        method: text("GET"),
        path: text("/orders/7?full=1"),
        headers: vec![
            field("user-agent", "curl/8.5.0"),
            field("Accept", "*/*"),
            field("accept", "text/html"),
            field("x-empty", ""),
        ],
        port: text("http"),
        instance: text("orders-91ab"),
        incarnation: 2,
        caller_service: text("web"),
        caller_address: text("127.0.0.1:40312"),
        deadline_us: 1_500_000,
        attempt: 1,
        lane: text("blue"),
        trace: text("0af7651916cd43dd8448eb211c80319c"),
        kind: Kind::Stream as i32,
        opaque: Bytes::from_static(&[0x30, 0x00, 0xff]),
        body: text("first bytes"),
        end: true,
    };
    let reply = Reply {
        call_id: 1,
        status: 503,
        headers: vec![
            field("content-type", "text/plain"),
            field("x-weft-blame", "mesh"),
        ],
        informational: false,
        failure: text("no_instance"),
        opaque: Bytes::from_static(&[0x30]),
        body: text("no instance of orders"),
        end: true,
    };
    let interim = Reply {
        call_id: 2,
        status: 100,
        informational: true,
        ..Reply::default()
    };
    let reset = Reset {
        call_id: 300,
        reason: ResetReason::NotDispatched as i32,
        code: text("wrong_instance"),
        detail: text("meant for orders-91ab 2"),
        service: text("stock"),
        instance: text("stock-02"),
        incarnation: 9,
    };
    let health = Health {
        instance: text("orders-91ab"),
        incarnation: 2,
        sequence: 17,
        state: HealthState::Warming as i32,
        weight: 40,
    };
    let trailers = Trailers {
        call_id: 128,
        trailers: vec![field("grpc-status", "0"), field("t", "")],
    };
    let long = Data {
        call_id: u64::MAX,
        body: Bytes::from(vec![0x61; 128]),
        end: false,
    };
    let frame = |kind| Frame { kind: Some(kind) };
    vec![
        ("hello", frame(frame::Kind::Hello(hello))),
        ("hello-mesh", frame(frame::Kind::Hello(hello_of_mesh))),
        ("open-full", frame(frame::Kind::Open(open))),
        ("open-empty", frame(frame::Kind::Open(Open::default()))),
        (
            "data-end",
            frame(frame::Kind::Data(Data {
                call_id: 1,
                body: Bytes::new(),
                end: true,
            })),
        ),
        ("data-128-bytes", frame(frame::Kind::Data(long))),
        ("reply-full", frame(frame::Kind::Reply(reply))),
        ("reply-interim", frame(frame::Kind::Reply(interim))),
        ("trailers", frame(frame::Kind::Trailers(trailers))),
        ("reset-not-dispatched", frame(frame::Kind::Reset(reset))),
        (
            "credit",
            frame(frame::Kind::Credit(Credit {
                call_id: 1,
                bytes: 65_536,
            })),
        ),
        ("health-warming", frame(frame::Kind::Health(health))),
        (
            "health-empty",
            frame(frame::Kind::Health(Health::default())),
        ),
        (
            "goaway",
            frame(frame::Kind::Goaway(Goaway {
                last_call_id: 41,
                reason: text("draining"),
            })),
        ),
    ]
}

fn by_prost(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    grpc::encode(frame, &mut out);
    out
}

/// The frame as the hand-written encoder writes it.
fn by_hand(frame: &Frame) -> Vec<u8> {
    let mut out = Vec::new();
    match frame.kind.as_ref().expect("only known kinds are written") {
        frame::Kind::Hello(hello) => hand::write_hello(&hello_by_hand(hello), &mut out),
        frame::Kind::Open(open) => {
            hand::write_open(&open_by_hand(open), &fields_of(&open.headers), &mut out);
        }
        frame::Kind::Data(data) => {
            hand::write_data(data.call_id, &data.body, data.end, &mut out);
        }
        frame::Kind::Reply(reply) => {
            let head = hand::Reply {
                call_id: reply.call_id,
                status: reply.status,
                informational: reply.informational,
                failure: &reply.failure,
                opaque: &reply.opaque,
                body: &reply.body,
                end: reply.end,
            };
            hand::write_reply(&head, &fields_of(&reply.headers), &mut out);
        }
        frame::Kind::Trailers(trailers) => {
            hand::write_trailers(trailers.call_id, &fields_of(&trailers.trailers), &mut out);
        }
        frame::Kind::Reset(reset) => {
            let reason = REASONS
                .iter()
                .find(|(number, _)| *number as i32 == reset.reason);
            let reset = hand::Reset {
                call_id: reset.call_id,
                reason: reason.expect("only known reasons are written").1,
                code: &reset.code,
                detail: &reset.detail,
                service: &reset.service,
                instance: &reset.instance,
                incarnation: reset.incarnation,
            };
            hand::write_reset(&reset, &mut out);
        }
        frame::Kind::Credit(credit) => hand::write_credit(credit.call_id, credit.bytes, &mut out),
        frame::Kind::Health(health) => {
            let state = STATES
                .iter()
                .find(|(number, _)| *number as i32 == health.state);
            let health = hand::Health {
                instance: &health.instance,
                incarnation: health.incarnation,
                sequence: health.sequence,
                state: state.expect("only known states are written").1,
                weight: health.weight,
            };
            hand::write_health(&health, &mut out);
        }
        frame::Kind::Goaway(goaway) => {
            hand::write_goaway(goaway.last_call_id, &goaway.reason, &mut out);
        }
    }
    out
}

fn hello_by_hand(hello: &Hello) -> hand::Hello<'_> {
    hand::Hello {
        version: hello.version,
        features: hello.features,
        namespace: &hello.namespace,
        service: &hello.service,
        instance: &hello.instance,
        incarnation: hello.incarnation,
        credit_initial: hello.credit_initial,
        calls_max: hello.calls_max,
        frame_bytes_max: hello.frame_bytes_max,
        mesh: &hello.mesh,
    }
}

fn open_by_hand(open: &Open) -> hand::Open<'_> {
    let kind = CALL_KINDS
        .iter()
        .find(|(number, _)| *number as i32 == open.kind);
    hand::Open {
        call_id: open.call_id,
        protocol: &open.protocol,
        service: &open.service,
        method: &open.method,
        path: &open.path,
        port: &open.port,
        instance: &open.instance,
        incarnation: open.incarnation,
        caller_service: &open.caller_service,
        caller_address: &open.caller_address,
        deadline_us: open.deadline_us,
        attempt: open.attempt,
        lane: &open.lane,
        trace: &open.trace,
        kind: kind.expect("only known kinds are written").1,
        opaque: &open.opaque,
        body: &open.body,
        end: open.end,
    }
}

/// The frame that the hand-written decoder read.
fn of_hand(frame: &hand::Frame<'_>, fields: &Fields) -> Frame {
    let bytes = Bytes::copy_from_slice;
    let listed = || -> Vec<Field> {
        fields
            .iter()
            .map(|(name, value)| Field {
                name: bytes(name),
                value: bytes(value),
            })
            .collect()
    };
    let kind = match frame {
        hand::Frame::Hello(hello) => frame::Kind::Hello(Hello {
            version: hello.version,
            features: hello.features,
            namespace: bytes(hello.namespace),
            service: bytes(hello.service),
            instance: bytes(hello.instance),
            incarnation: hello.incarnation,
            credit_initial: hello.credit_initial,
            calls_max: hello.calls_max,
            frame_bytes_max: hello.frame_bytes_max,
            mesh: bytes(hello.mesh),
        }),
        hand::Frame::Open(open) => frame::Kind::Open(open_of_hand(open, listed())),
        hand::Frame::Data(call_id, body, end) => frame::Kind::Data(Data {
            call_id: *call_id,
            body: bytes(body),
            end: *end,
        }),
        hand::Frame::Reply(reply) => frame::Kind::Reply(Reply {
            call_id: reply.call_id,
            status: reply.status,
            headers: listed(),
            informational: reply.informational,
            failure: bytes(reply.failure),
            opaque: bytes(reply.opaque),
            body: bytes(reply.body),
            end: reply.end,
        }),
        hand::Frame::Trailers(call_id) => frame::Kind::Trailers(Trailers {
            call_id: *call_id,
            trailers: listed(),
        }),
        hand::Frame::Reset(reset) => frame::Kind::Reset(Reset {
            call_id: reset.call_id,
            reason: numbered(REASONS, reset.reason) as i32,
            code: bytes(reset.code),
            detail: bytes(reset.detail),
            service: bytes(reset.service),
            instance: bytes(reset.instance),
            incarnation: reset.incarnation,
        }),
        hand::Frame::Credit(call_id, bytes) => frame::Kind::Credit(Credit {
            call_id: *call_id,
            bytes: *bytes,
        }),
        hand::Frame::Health(health) => frame::Kind::Health(Health {
            instance: bytes(health.instance),
            incarnation: health.incarnation,
            sequence: health.sequence,
            state: numbered(STATES, health.state) as i32,
            weight: health.weight,
        }),
        hand::Frame::Goaway(last_call_id, reason) => frame::Kind::Goaway(Goaway {
            last_call_id: *last_call_id,
            reason: bytes(reason),
        }),
        hand::Frame::Unknown => return Frame { kind: None },
    };
    Frame { kind: Some(kind) }
}

fn open_of_hand(open: &hand::Open<'_>, headers: Vec<Field>) -> Open {
    let bytes = Bytes::copy_from_slice;
    Open {
        call_id: open.call_id,
        protocol: bytes(open.protocol),
        service: bytes(open.service),
        method: bytes(open.method),
        path: bytes(open.path),
        headers,
        port: bytes(open.port),
        instance: bytes(open.instance),
        incarnation: open.incarnation,
        caller_service: bytes(open.caller_service),
        caller_address: bytes(open.caller_address),
        deadline_us: open.deadline_us,
        attempt: open.attempt,
        lane: bytes(open.lane),
        trace: bytes(open.trace),
        kind: numbered(CALL_KINDS, open.kind) as i32,
        opaque: bytes(open.opaque),
        body: bytes(open.body),
        end: open.end,
    }
}

/// A frame with enum values of a later version put to their default, as prost's accessors do.
fn known(mut frame: Frame) -> Frame {
    match &mut frame.kind {
        Some(frame::Kind::Open(open)) => open.kind = open.kind() as i32,
        Some(frame::Kind::Reset(reset)) => reset.reason = reset.reason() as i32,
        Some(frame::Kind::Health(health)) => health.state = health.state() as i32,
        _ => {}
    }
    frame
}

const CALL_KINDS: &[(Kind, hand::Kind)] = &[
    (Kind::Unary, hand::Kind::Unary),
    (Kind::Stream, hand::Kind::Stream),
    (Kind::OneWay, hand::Kind::OneWay),
    (Kind::Tunnel, hand::Kind::Tunnel),
];

const REASONS: &[(ResetReason, hand::ResetReason)] = &[
    (ResetReason::ResetUnknown, hand::ResetReason::Unknown),
    (ResetReason::Cancelled, hand::ResetReason::Cancelled),
    (ResetReason::NotDispatched, hand::ResetReason::NotDispatched),
    (ResetReason::Failed, hand::ResetReason::Failed),
    (ResetReason::PeerReset, hand::ResetReason::PeerReset),
];

const STATES: &[(HealthState, hand::HealthState)] = &[
    (HealthState::HealthUnknown, hand::HealthState::Unknown),
    (HealthState::Ready, hand::HealthState::Ready),
    (HealthState::Warming, hand::HealthState::Warming),
    (HealthState::Overloaded, hand::HealthState::Overloaded),
    (HealthState::Draining, hand::HealthState::Draining),
    (HealthState::AppDead, hand::HealthState::AppDead),
];

/// The wire's value of a value of the hand-written codec.
fn numbered<W: Copy, H: Copy + PartialEq>(table: &[(W, H)], value: H) -> W {
    table
        .iter()
        .find(|(_, known)| *known == value)
        .expect("the table has every value")
        .0
}

fn fields_of(list: &[Field]) -> Fields {
    let mut fields = Fields::new();
    for field in list {
        fields.push(&field.name, &field.value);
    }
    fields
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    })
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// A random frame of the kind with this number; each part is at its default a third of the time.
fn random(kind: usize, seed: &mut Seed) -> Frame {
    let kind = match kind {
        0 => frame::Kind::Hello(Hello {
            version: seed.uint() as u32,
            features: seed.uint(),
            namespace: seed.bytes(),
            service: seed.bytes(),
            instance: seed.bytes(),
            incarnation: seed.uint(),
            credit_initial: seed.uint() as u32,
            calls_max: seed.uint() as u32,
            frame_bytes_max: seed.uint() as u32,
            mesh: seed.bytes(),
        }),
        1 => frame::Kind::Open(random_open(seed)),
        2 => frame::Kind::Data(Data {
            call_id: seed.uint(),
            body: seed.bytes(),
            end: seed.coin(),
        }),
        3 => frame::Kind::Reply(Reply {
            call_id: seed.uint(),
            status: seed.uint() as u32,
            headers: seed.fields(),
            informational: seed.coin(),
            failure: seed.bytes(),
            opaque: seed.bytes(),
            body: seed.bytes(),
            end: seed.coin(),
        }),
        4 => frame::Kind::Trailers(Trailers {
            call_id: seed.uint(),
            trailers: seed.fields(),
        }),
        5 => frame::Kind::Reset(Reset {
            call_id: seed.uint(),
            reason: seed.among(REASONS) as i32,
            code: seed.bytes(),
            detail: seed.bytes(),
            service: seed.bytes(),
            instance: seed.bytes(),
            incarnation: seed.uint(),
        }),
        6 => frame::Kind::Credit(Credit {
            call_id: seed.uint(),
            bytes: seed.uint() as u32,
        }),
        7 => frame::Kind::Health(Health {
            instance: seed.bytes(),
            incarnation: seed.uint(),
            sequence: seed.uint(),
            state: seed.among(STATES) as i32,
            weight: seed.uint() as u32,
        }),
        _ => frame::Kind::Goaway(Goaway {
            last_call_id: seed.uint(),
            reason: seed.bytes(),
        }),
    };
    Frame { kind: Some(kind) }
}

fn random_open(seed: &mut Seed) -> Open {
    Open {
        call_id: seed.uint(),
        protocol: seed.bytes(),
        service: seed.bytes(),
        method: seed.bytes(),
        path: seed.bytes(),
        headers: seed.fields(),
        port: seed.bytes(),
        instance: seed.bytes(),
        incarnation: seed.uint(),
        caller_service: seed.bytes(),
        caller_address: seed.bytes(),
        deadline_us: seed.uint(),
        attempt: seed.uint() as u32,
        lane: seed.bytes(),
        trace: seed.bytes(),
        kind: seed.among(CALL_KINDS) as i32,
        opaque: seed.bytes(),
        body: seed.bytes(),
        end: seed.coin(),
    }
}

/// A small seeded generator (splitmix64): the same frames in every run.
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

    /// The wire's value of one of the rows.
    fn among<W: Copy, H>(&mut self, table: &[(W, H)]) -> W {
        table[self.below(table.len())].0
    }

    fn coin(&mut self) -> bool {
        self.below(2) == 1
    }

    /// Any number of bits, so that every length of a varint comes up.
    fn uint(&mut self) -> u64 {
        if self.below(3) == 0 {
            0
        } else {
            self.next() >> self.below(64)
        }
    }

    /// Mostly short; now and then around and beyond one and two bytes of length.
    fn bytes(&mut self) -> Bytes {
        let length = match self.below(60) {
            0..20 => 0,
            20..57 => 1 + self.below(24),
            57..59 => 100 + self.below(60),
            _ => 16_300 + self.below(200),
        };
        (0..length).map(|_| self.next() as u8).collect()
    }

    fn fields(&mut self) -> Vec<Field> {
        // Names and values repeat, and either may be empty.
        let count = if self.below(50) == 0 {
            200
        } else {
            self.below(8)
        };
        let text = |seed: &mut Self| {
            let length = if seed.below(40) == 0 {
                130
            } else {
                seed.below(6)
            };
            (0..length).map(|_| b"ab"[seed.below(2)]).collect()
        };
        (0..count)
            .map(|_| Field {
                name: text(self),
                value: text(self),
            })
            .collect()
    }
}
