//! Floods of frames: A1 to A9b, A11 and A12, each as the bytes of its start and of one unit.

use super::bytes::{
    END_HEADERS, END_STREAM, HEADER_TABLE_SIZE, INITIAL_WINDOW_SIZE, NEWEST_ENTRY, block, cancel,
    continuation, data, entry, field, frame, get, ping, post, preface, priority, settings_frame,
    window,
};
use weft_codec::h2::frames::{HEADERS, SETTINGS};

/// Units that an attacker may have processed before it is cut off.
const UNITS_MAX: u32 = 1000;

/// The same where each unit begins a request.
const REQUESTS_MAX: u32 = 200;

/// Requests of one connection that may reach the app then.
pub(super) const REACHED_MAX: u32 = 100;

/// The path on which the app waits.
const SLOW: &str = "/slow";

/// What the unit says of its place: the n-th of its connection, from 0.
type Unit = fn(u32, &mut Vec<u8>);

/// One flood.
pub(super) struct Plan {
    /// As in the list of attacks.
    pub(super) id: &'static str,
    /// What it is.
    pub(super) name: &'static str,
    /// What comes before the first unit.
    pub(super) start: fn() -> Vec<u8>,
    pub(super) unit: Unit,
    /// Frames of a unit.
    pub(super) frames: u32,
    /// Units in the full form, and in the short one.
    pub(super) units: (u32, u32),
    /// Connections in the full form, and in the short one.
    pub(super) connections: (usize, usize),
    /// Whether the attacker reads what it is answered.
    pub(super) reads: bool,
    /// Units processed on one connection until it is closed; none where it is not to be closed.
    pub(super) units_max: Option<u32>,
    /// Whether each unit begins a request, of which few may reach the app.
    pub(super) calls: bool,
}

impl Plan {
    /// Its rows begin so.
    pub(super) fn title(&self) -> String {
        format!("{} {}", self.id, self.name)
    }
}

/// What most plans have in common.
const FLOOD: Plan = Plan {
    id: "",
    name: "",
    start: plain,
    unit: rapid_reset,
    frames: 1,
    units: (500_000, 20_000),
    connections: (1, 1),
    reads: true,
    units_max: Some(UNITS_MAX),
    calls: false,
};

/// What the attacks by requests have in common.
const CALLS: Plan = Plan {
    frames: 2,
    units: (100_000, 5_000),
    units_max: Some(REQUESTS_MAX),
    calls: true,
    ..FLOOD
};

/// What the attacks by header blocks have in common.
const BLOCKS: Plan = Plan {
    units: (320, 320),
    connections: (50, 4),
    calls: false,
    ..FLOOD
};

/// All of them.
pub(super) fn all() -> Vec<Plan> {
    [requests(), frames(), blocks()]
        .into_iter()
        .flatten()
        .collect()
}

fn requests() -> Vec<Plan> {
    vec![
        Plan {
            id: "A1",
            name: "rapid reset",
            ..CALLS
        },
        Plan {
            id: "A1b",
            name: "rapid reset, never reading",
            units: (200_000, 10_000),
            reads: false,
            ..CALLS
        },
        Plan {
            id: "A1c",
            name: "rapid reset, many connections",
            units: (20_000, 2_000),
            connections: (20, 5),
            ..CALLS
        },
        Plan {
            id: "A2",
            name: "MadeYouReset, window update of 0",
            unit: |n, out| made(n, out, |id, out| window(id, 0, out)),
            ..CALLS
        },
        Plan {
            id: "A2b",
            name: "MadeYouReset, DATA after the end",
            unit: |n, out| made(n, out, |id, out| data(id, b"x", out)),
            ..CALLS
        },
        Plan {
            id: "A2c",
            name: "MadeYouReset, window overflow",
            unit: |n, out| made(n, out, |id, out| window(id, 0x7fff_ffff, out)),
            ..CALLS
        },
        Plan {
            id: "A2d",
            name: "MadeYouReset, PRIORITY of 4 bytes",
            unit: |n, out| made(n, out, |id, out| priority(id, &[0; 4], out)),
            ..CALLS
        },
        Plan {
            id: "A2e",
            name: "MadeYouReset, PRIORITY on itself",
            unit: |n, out| made(n, out, priority_on_itself),
            ..CALLS
        },
        Plan {
            id: "A2f",
            name: "MadeYouReset, HEADERS after the end",
            unit: |n, out| made(n, out, |id, out| get(id, SLOW, out)),
            ..CALLS
        },
        Plan {
            id: "A11",
            name: "an illegal field",
            unit: illegal,
            frames: 1,
            units: (50_000, 5_000),
            units_max: Some(UNITS_MAX),
            ..CALLS
        },
    ]
}

fn frames() -> Vec<Plan> {
    vec![
        Plan {
            id: "A4",
            name: "SETTINGS, never reading",
            unit: |_, out| settings_frame(&[], out),
            reads: false,
            ..FLOOD
        },
        Plan {
            id: "A4b",
            name: "SETTINGS that flap",
            unit: flap,
            units: (200_000, 20_000),
            ..FLOOD
        },
        Plan {
            id: "A5",
            name: "PING, never reading",
            unit: |_, out| ping(out),
            reads: false,
            ..FLOOD
        },
        Plan {
            id: "A6",
            name: "empty DATA",
            start: open_post,
            unit: |_, out| data(1, b"", out),
            ..FLOOD
        },
        Plan {
            id: "A6b",
            name: "DATA of 1 byte",
            start: open_post,
            unit: |_, out| data(1, b"x", out),
            units_max: None,
            ..FLOOD
        },
        Plan {
            id: "A7",
            name: "PRIORITY",
            unit: |n, out| priority(2 * (n % 1000) + 3, &[0, 0, 0, 1, 7], out),
            ..FLOOD
        },
        Plan {
            id: "A7b",
            name: "WINDOW_UPDATE of 1",
            unit: |_, out| window(0, 1, out),
            ..FLOOD
        },
        Plan {
            id: "A12",
            name: "frames of an unknown type",
            unit: |_, out| frame(0xbb, 0, 0, &[0; 8], out),
            units: (200_000, 20_000),
            ..FLOOD
        },
    ]
}

fn blocks() -> Vec<Plan> {
    vec![
        Plan {
            id: "A3",
            name: "CONTINUATION without end",
            start: open_block,
            unit: |_, out| continuation(1, &tiny_fields(16_000), out),
            units: (5_000, 1_000),
            connections: (1, 1),
            ..BLOCKS
        },
        Plan {
            id: "A3b",
            name: "empty CONTINUATION",
            start: open_block,
            unit: |_, out| continuation(1, b"", out),
            units: (500_000, 20_000),
            connections: (1, 1),
            ..BLOCKS
        },
        Plan {
            id: "A8",
            name: "HPACK bomb",
            unit: |n, out| bomb(n, out, 16_000, |out| entry("x", 3_967, out)),
            ..BLOCKS
        },
        Plan {
            id: "A9",
            name: "HTTP/2 bomb",
            start: no_window,
            unit: |n, out| bomb(n, out, 15_900, |out| entry("x", 0, out)),
            units: (96, 96),
            connections: (10, 4),
            ..BLOCKS
        },
        Plan {
            id: "A9b",
            name: "HTTP/2 bomb of cookies",
            start: no_window,
            unit: |n, out| {
                bomb(n, out, 15_900, |out| {
                    out.extend_from_slice(&[0x60, 1, b'a']);
                });
            },
            units: (96, 96),
            connections: (10, 4),
            ..BLOCKS
        },
    ]
}

fn plain() -> Vec<u8> {
    preface(&[])
}

fn no_window() -> Vec<u8> {
    preface(&[(INITIAL_WINDOW_SIZE, 0)])
}

fn open_post() -> Vec<u8> {
    let mut out = plain();
    post(1, "/body", &mut out);
    out
}

fn open_block() -> Vec<u8> {
    let mut out = plain();
    frame(HEADERS, END_STREAM, 1, &block("GET", SLOW), &mut out);
    out
}

fn rapid_reset(n: u32, out: &mut Vec<u8>) {
    get(2 * n + 1, SLOW, out);
    cancel(2 * n + 1, out);
}

/// A request, and what makes the other side reset it.
fn made(n: u32, out: &mut Vec<u8>, fault: fn(u32, &mut Vec<u8>)) {
    get(2 * n + 1, SLOW, out);
    fault(2 * n + 1, out);
}

fn priority_on_itself(id: u32, out: &mut Vec<u8>) {
    let mut payload = id.to_be_bytes().to_vec();
    payload.push(15);
    priority(id, &payload, out);
}

fn illegal(n: u32, out: &mut Vec<u8>) {
    let mut block = block("GET", SLOW);
    field("connection", "close", &mut block);
    frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &block, out);
}

fn flap(n: u32, out: &mut Vec<u8>) {
    let size = if n.is_multiple_of(2) { 0 } else { 4096 };
    settings_frame(&[(HEADER_TABLE_SIZE, size)], out);
}

/// About so many bytes of fields with a name of one byte and no value.
fn tiny_fields(bytes: usize) -> Vec<u8> {
    [0, 1, b'x', 0].repeat(bytes / 4)
}

/// A request that names one entry of the table again and again.
fn bomb(n: u32, out: &mut Vec<u8>, references: usize, entry: fn(&mut Vec<u8>)) {
    let mut block = block("GET", SLOW);
    let mut references = references;
    if n == 0 {
        entry(&mut block);
        // The first block carries the entry itself, and still fits a frame.
        references = references.min(16_000 - block.len());
    }
    block.extend(std::iter::repeat_n(NEWEST_ENTRY, references));
    frame(HEADERS, END_STREAM | END_HEADERS, 2 * n + 1, &block, out);
}

/// An ACK of SETTINGS, for attackers that otherwise behave.
pub(super) fn ack(out: &mut Vec<u8>) {
    frame(SETTINGS, 1, 0, &[], out);
}
