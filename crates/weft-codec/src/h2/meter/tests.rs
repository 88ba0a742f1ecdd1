//! Who is cut off, after how much; and who never is.

use super::*;
use crate::h2::frames::{GOAWAY, PRIORITY};
use crate::sniff::HTTP2_PREFACE;

/// What browsers send instead of PRIORITY (RFC 9218 7).
const PRIORITY_UPDATE: u8 = 0x10;

const CANCEL: u32 = 8;
const PROTOCOL_ERROR: u32 = 1;

fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let mut out = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
    out
}

fn request(stream: u32) -> Vec<u8> {
    frame(HEADERS, 5, stream, &[0x82, 0x84])
}

fn open_request(stream: u32) -> Vec<u8> {
    frame(HEADERS, 4, stream, &[0x83, 0x84])
}

fn answer(stream: u32) -> Vec<u8> {
    frame(HEADERS, 5, stream, &[0x88])
}

fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, 0, stream, &code.to_be_bytes())
}

/// A caller that has said its preface and settings.
fn caller() -> Meter {
    let mut meter = Meter::new(PeerSide::Caller, Limits::default(), 0);
    meter.received(HTTP2_PREFACE, 0);
    meter.received(&frame(SETTINGS, 0, 0, &[]), 0);
    meter.sent(&frame(SETTINGS, 0, 0, &[]), 0);
    meter.received(&frame(SETTINGS, 1, 0, &[]), 0);
    meter
}

/// How many units until the peer is asked to go, and until it is cut off.
fn units(meter: &mut Meter, mut unit: impl FnMut(&mut Meter, u32)) -> (u32, u32) {
    let mut went = None;
    for count in 1..=1000 {
        unit(meter, count);
        match meter.verdict() {
            Verdict::Fine => {}
            Verdict::GoAway => went = went.or(Some(count)),
            Verdict::Close | Verdict::BlockTooLarge => return (went.unwrap_or(count), count),
        }
    }
    panic!("not cut off after 1,000 units; debt {}", meter.debt());
}

#[test]
fn rapid_reset_is_cut_off_at_200_pairs() {
    let mut meter = caller();
    let (went, cut) = units(&mut meter, |meter, n| {
        meter.received(&request(2 * n - 1), 5);
        meter.received(&reset(2 * n - 1, CANCEL), 5);
    });
    assert_eq!((went, cut), (101, 200));
}

#[test]
fn the_peer_that_makes_us_reset_is_cut_off_at_200_streams() {
    let mut meter = caller();
    let (went, cut) = units(&mut meter, |meter, n| {
        meter.received(&request(2 * n - 1), 5);
        meter.received(&frame(WINDOW_UPDATE, 0, 2 * n - 1, &[0; 4]), 5);
        meter.sent(&reset(2 * n - 1, PROTOCOL_ERROR), 5);
    });
    assert!(went <= 101 && cut <= 200, "{went} {cut}");
}

#[test]
fn what_makes_us_reset_is_owed_before_we_have() {
    type Fault = fn(u32) -> Vec<u8>;
    let faults: &[(&str, Fault)] = &[
        ("a window of 0", |id| frame(WINDOW_UPDATE, 0, id, &[0; 4])),
        ("a window that overflows", |id| {
            frame(WINDOW_UPDATE, 0, id, &[0x7f, 0xff, 0xff, 0xff])
        }),
        ("DATA behind the end", |id| frame(DATA, 0, id, b"x")),
        ("HEADERS behind the end", request),
        ("a priority of 4 bytes", |id| {
            frame(PRIORITY, 0, id, &[0; 4])
        }),
        ("a priority on itself", |id| {
            frame(PRIORITY, 0, id, &[&id.to_be_bytes()[..], &[1]].concat())
        }),
    ];
    for (name, fault) in faults {
        let mut meter = caller();
        let flood: Vec<u8> = (0..1000)
            .flat_map(|n| [request(2 * n + 1), fault(2 * n + 1)].concat())
            .collect();
        let before = meter.frames();
        assert_eq!(meter.received(&flood, 0), Verdict::Close, "{name}");
        assert!(meter.frames() - before <= 400, "{name}");
    }
}

#[test]
fn an_answer_that_ends_with_an_error_of_the_peer_does_not_pay() {
    let mut meter = caller();
    let (_, cut) = units(&mut meter, |meter, n| {
        meter.received(&open_request(2 * n - 1), 5);
        meter.sent(&answer(2 * n - 1), 5);
        meter.sent(&reset(2 * n - 1, PROTOCOL_ERROR), 5);
    });
    assert!(cut <= 200, "{cut}");
}

#[test]
fn each_flood_is_cut_off() {
    let ping = frame(PING, 0, 0, &[0; 8]);
    let floods: &[(&str, Vec<u8>)] = &[
        ("settings", frame(SETTINGS, 0, 0, &[])),
        (
            "settings that flap",
            frame(SETTINGS, 0, 0, &[0, 1, 0, 0, 16, 0]),
        ),
        ("answers to no settings", frame(SETTINGS, 1, 0, &[])),
        ("pings", ping),
        ("answers to no pings", frame(PING, 1, 0, &[0; 8])),
        ("empty data", frame(DATA, 0, 1, &[])),
        ("padding", frame(DATA, PADDED, 1, &[3, 0, 0, 0])),
        ("priority", frame(PRIORITY, 0, 3, &[0, 0, 0, 0, 1])),
        ("window updates", frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 1])),
        ("an unknown kind", frame(0xbb, 0, 0, &[0; 8])),
        ("trailers", frame(HEADERS, 4, 1, &[0x82])),
        ("goaway", frame(GOAWAY, 0, 0, &[0; 8])),
        ("resets of nothing", reset(99, CANCEL)),
    ];
    for (name, unit) in floods {
        let mut meter = caller();
        meter.received(&open_request(1), 0);
        let (went, cut) = units(&mut meter, |meter, _| {
            meter.received(unit, 1);
        });
        assert!(went <= 122 && cut <= 222, "{name}: {went} {cut}");
    }
}

const PADDED: u8 = 8;

#[test]
fn a_header_block_without_end_is_cut_off() {
    let mut meter = caller();
    meter.received(&frame(HEADERS, 1, 1, &[0x82]), 0);
    let (_, cut) = units(&mut meter, |meter, _| {
        meter.received(&frame(CONTINUATION, 0, 1, &[0; 16_000]), 0);
    });
    assert_eq!(cut, 5);
    for payload in [&[][..], &[0]] {
        let mut meter = caller();
        meter.received(&frame(HEADERS, 1, 1, &[0x82]), 7);
        assert_eq!(meter.block_since_ms(), Some(7));
        let (_, cut) = units(&mut meter, |meter, _| {
            meter.received(&frame(CONTINUATION, 0, 1, payload), 0);
        });
        assert!(cut <= 208, "{cut}");
    }
}

#[test]
fn bytes_behind_the_cut_are_not_looked_at() {
    let mut meter = caller();
    let before = meter.frames();
    let flood = frame(DATA, 0, 1, &[]).repeat(100_000);
    assert_eq!(meter.received(&flood, 0), Verdict::Close);
    assert_eq!(meter.frames() - before, 200);
}

#[test]
fn a_million_little_messages_with_pings_cost_nothing() {
    let mut meter = caller();
    meter.received(&open_request(1), 0);
    for n in 0..1_000_000_u64 {
        // 5,000 a second; gRPC's frame of 5 bytes, then 1 to 20.
        let now = n / 5;
        let length = 5 + 1 + (n % 20) as usize;
        meter.received(&frame(DATA, 0, 1, &[7; 25][..length]), now);
        // The measure of bandwidth answers each round trip; here each message is one.
        meter.received(&frame(PING, 0, 0, &[2; 8]), now);
        meter.sent(&frame(PING, 1, 0, &[2; 8]), now);
        if n % 100 == 0 {
            meter.sent(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 8, 0]), now);
        }
    }
    assert_eq!((meter.verdict(), meter.debt()), (Verdict::Fine, 0));
}

#[test]
fn a_hundred_thousand_little_answers_with_pings_and_window_updates_cost_nothing() {
    let mut meter = caller();
    meter.received(&open_request(1), 0);
    for n in 0..100_000_u64 {
        let now = n / 5;
        meter.sent(&frame(DATA, 0, 1, &[7; 12]), now);
        meter.received(&frame(PING, 0, 0, &[2; 8]), now);
        meter.received(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 0, 12]), now);
        meter.received(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 0, 12]), now);
    }
    assert_eq!((meter.verdict(), meter.debt()), (Verdict::Fine, 0));
}

#[test]
fn large_answers_may_be_acknowledged_by_the_kib() {
    let mut meter = caller();
    meter.received(&open_request(1), 0);
    for n in 0..10_000 {
        meter.sent(&frame(DATA, 0, 1, &[0; 16_384]), n);
        for _ in 0..16 {
            meter.received(&frame(WINDOW_UPDATE, 0, 1, &[0, 0, 4, 0]), n);
            meter.received(&frame(WINDOW_UPDATE, 0, 0, &[0, 0, 4, 0]), n);
        }
    }
    assert_eq!((meter.verdict(), meter.debt()), (Verdict::Fine, 0));
}

#[test]
fn thirty_of_a_hundred_calls_that_are_given_up_cost_nothing() {
    let mut meter = caller();
    // 1,000 calls a second, answered after 20 ms or given up after 200.
    let mut due: Vec<(u64, u32, bool)> = Vec::new();
    for n in 0..100_000_u32 {
        let now = u64::from(n);
        let id = 2 * n + 1;
        meter.received(&request(id), now);
        let is_given_up = n % 10 < 3;
        due.push((now + if is_given_up { 200 } else { 20 }, id, is_given_up));
        due.retain(|(at, id, is_given_up)| {
            if *at > now {
                return true;
            }
            if *is_given_up {
                meter.received(&reset(*id, CANCEL), now);
            } else {
                meter.sent(&answer(*id), now);
            }
            false
        });
        assert_eq!(
            meter.verdict(),
            Verdict::Fine,
            "after {n} calls, debt {}",
            meter.debt()
        );
    }
}

#[test]
fn a_peer_asked_to_go_may_give_up_all_it_has_under_way() {
    let mut meter = caller();
    // An app that hangs: every call is given up, one hundred at a time.
    let mut next = 1;
    let mut under_way = Vec::new();
    while meter.verdict() == Verdict::Fine {
        for _ in 0..100 - under_way.len() {
            meter.received(&request(next), 0);
            under_way.push(next);
            next += 2;
        }
        meter.received(&reset(under_way.remove(0), CANCEL), 200);
    }
    // It has not heard of it yet: what it opens is refused.
    for _ in 0..100 - under_way.len() {
        meter.received(&request(next), 200);
        meter.sent(&reset(next, REFUSED_STREAM), 200);
        next += 2;
    }
    let answered = under_way.split_off(99);
    for id in under_way {
        meter.received(&reset(id, CANCEL), 201);
    }
    assert_eq!(meter.verdict(), Verdict::GoAway);
    for id in answered {
        meter.sent(&answer(id), 201);
    }
    assert_eq!(meter.verdict(), Verdict::GoAway);
}

#[test]
fn keep_alive_pings_cost_nothing() {
    let mut meter = caller();
    for second in 0..100_000 {
        meter.received(&frame(PING, 0, 0, &[0; 8]), second * 1000);
    }
    assert_eq!(meter.debt(), 0);
}

#[test]
fn a_browser_with_its_priorities_costs_nothing() {
    let mut meter = caller();
    for stream in [3, 5, 7, 9, 11] {
        meter.received(&frame(PRIORITY, 0, stream, &[0; 5]), 0);
    }
    meter.received(&frame(WINDOW_UPDATE, 0, 0, &[0, 1, 0, 0]), 0);
    for n in 0..10_000 {
        meter.received(&frame(PRIORITY_UPDATE, 0, 0, &[0; 9]), 0);
        meter.received(&request(13 + 2 * n), 0);
        meter.received(&frame(WINDOW_UPDATE, 0, 13 + 2 * n, &[0, 1, 0, 0]), 0);
        meter.sent(&answer(13 + 2 * n), 0);
    }
    assert_eq!(meter.debt(), 0);
}

#[test]
fn the_limit_grows_with_completed_requests_and_no_further_than_its_end() {
    let mut meter = caller();
    for n in 0..20_000 {
        meter.received(&request(2 * n + 1), 0);
        meter.sent(&answer(2 * n + 1), 0);
    }
    let flood = frame(DATA, 0, 1, &[]);
    let mut count = 0;
    while meter.received(&flood, 0) != Verdict::Close {
        count += 1;
    }
    assert_eq!(count, 1999);
}

#[test]
fn payload_pays_only_where_it_is_awaited() {
    let mut meter = caller();
    meter.received(&open_request(1), 0);
    for _ in 0..50 {
        meter.received(&frame(DATA, 0, 1, &[]), 0);
    }
    assert_eq!(meter.debt(), 50);
    meter.received(&frame(DATA, 0, 1, &[0; 10 * 1024]), 0);
    assert_eq!(meter.debt(), 40);
    meter.received(&frame(DATA, 0, 3, &[0; 10 * 1024]), 0);
    assert_eq!(meter.debt(), 41, "nobody opened stream 3");
    meter.received(&frame(DATA, 1, 1, &[0; 1024]), 0);
    meter.received(&frame(DATA, 0, 1, &[0; 10 * 1024]), 0);
    assert_eq!(meter.debt(), 41, "stream 1 had ended");
}

#[test]
fn an_upstream_that_resets_what_it_is_asked_is_cut_off() {
    let mut meter = Meter::new(PeerSide::Upstream, Limits::default(), 0);
    meter.sent(HTTP2_PREFACE, 0);
    let (went, cut) = units(&mut meter, |meter, n| {
        meter.sent(&request(2 * n - 1), 0);
        meter.received(&reset(2 * n - 1, CANCEL), 0);
    });
    assert_eq!((went, cut), (101, 200));
}

#[test]
fn an_upstream_that_answers_without_reading_all_costs_nothing() {
    let mut meter = Meter::new(PeerSide::Upstream, Limits::default(), 0);
    meter.sent(HTTP2_PREFACE, 0);
    for n in 0..1000 {
        meter.sent(&open_request(2 * n + 1), 0);
        meter.received(&answer(2 * n + 1), 0);
        meter.received(&reset(2 * n + 1, 0), 0);
    }
    assert_eq!(meter.debt(), 0);
}

#[test]
fn an_upstream_that_only_says_interim_answers_is_cut_off() {
    let mut meter = Meter::new(PeerSide::Upstream, Limits::default(), 0);
    meter.sent(HTTP2_PREFACE, 0);
    meter.sent(&request(1), 0);
    let (_, cut) = units(&mut meter, |meter, _| {
        meter.received(&frame(HEADERS, 4, 1, &[0x08]), 0);
    });
    assert!(cut <= 216, "{cut}");
}

#[test]
fn what_we_give_up_ourselves_is_not_the_peer_s_doing() {
    let mut meter = caller();
    for n in 0..1000 {
        meter.received(&request(2 * n + 1), 0);
        meter.sent(&reset(2 * n + 1, CANCEL), 0);
    }
    assert_eq!(meter.debt(), 0);
}

#[test]
fn memory_is_bounded_however_many_streams_are_opened() {
    let mut meter = caller();
    for n in 0..10_000 {
        meter.received(&request(2 * n + 1), 0);
    }
    assert!(meter.streams.len() <= STREAMS_TRACKED_MAX);
    assert!(size_of::<Meter>() <= 320, "{}", size_of::<Meter>());
}

#[test]
fn no_bytes_make_it_panic() {
    // xorshift: the same bytes each time.
    let mut random = 0x2545_f491_4f6c_dd1d_u64;
    for _ in 0..200 {
        let mut meter = Meter::new(PeerSide::Caller, Limits::default(), 0);
        for now in 0..200 {
            let bytes: Vec<u8> = (0..97)
                .map(|_| {
                    random ^= random << 13;
                    random ^= random >> 7;
                    random ^= random << 17;
                    // Mostly small numbers, so that lengths are short and kinds known.
                    (random % 13) as u8 * u8::from(random & 0x700 != 0)
                })
                .collect();
            meter.received(&bytes, now);
            meter.sent(&bytes, now);
        }
    }
}
