//! Every function of weft that eats bytes from outside, under libFuzzer: `cargo xtask fuzz`.
//!
//! | file | functions |
//! |---|---|
//! | `http1.rs` | heads, bodies |
//! | `frames.rs` | Motan2, link, HTTP/2 as it is counted, first bytes, gRPC framing, the name in a TLS hello |
//! | `mesh.rs` | what a center says, what is saved, what people write |
//!
//! One program with a table; `WEFT_FUZZ` names the target. A target panics when a rule is broken: incomplete input is
//! never an error, any split means the same, what is written is read as it was, and what two readers of one format
//! both take means the same to both.

#![no_main]

mod frames;
mod http1;
mod mesh;

use std::sync::OnceLock;

/// A function that is given any bytes.
type Target = fn(&[u8]);

/// Every target by its name; `xtask/src/fuzz.rs` reads the names from here.
const TARGETS: &[(&str, Target)] = &[
    ("http1_request", http1::request),
    ("http1_reply", http1::reply),
    ("http1_body", http1::body),
    ("motan2", frames::motan2),
    ("link", frames::link),
    ("sniff", frames::sniff),
    ("h2_frames", frames::h2_frames),
    ("h2_meter", frames::h2_meter),
    ("grpc_framing", frames::grpc_framing),
    ("tls_name", frames::tls_name),
    ("sync_message", mesh::sync_message),
    ("sync_instance", mesh::sync_instance),
    ("saved", mesh::saved),
    ("kinds", mesh::kinds),
    ("port_argument", mesh::port_argument),
];

static CHOSEN: OnceLock<Target> = OnceLock::new();

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    let target = CHOSEN.get_or_init(|| {
        let name = std::env::var("WEFT_FUZZ").unwrap_or_default();
        match TARGETS.iter().find(|(known, _)| *known == name) {
            Some((_, target)) => *target,
            None => panic!("WEFT_FUZZ names no target: \"{name}\""),
        }
    });
    target(bytes);
});

/// The input in pieces, cut at places that its first bytes choose, and the input behind them.
fn cut(bytes: &[u8]) -> (Vec<&[u8]>, &[u8]) {
    let (places, input) = bytes.split_at(bytes.len().min(3));
    let mut places: Vec<usize> = places
        .iter()
        .map(|place| usize::from(*place) * input.len().max(1) / 256)
        .collect();
    places.sort_unstable();
    let mut pieces = Vec::new();
    let mut from = 0;
    for place in places {
        pieces.push(&input[from..place.max(from)]);
        from = place.max(from);
    }
    pieces.push(&input[from..]);
    (pieces, input)
}
