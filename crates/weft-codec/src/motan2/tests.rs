//! Motan2 against the captured vectors, and against whatever else arrives.

use super::*;

const VECTORS: &str = include_str!("../../vectors/motan2.tsv");

/// The vectors: name and bytes.
fn vectors() -> Vec<(&'static str, Vec<u8>)> {
    VECTORS
        .lines()
        .map(|line| {
            let mut columns = line.split('\t');
            let (name, hex) = (columns.next().unwrap(), columns.next().unwrap());
            (name, bytes_of(hex))
        })
        .collect()
}

fn vector(name: &str) -> Vec<u8> {
    let found = vectors().into_iter().find(|(known, _)| *known == name);
    found.expect("the vector is in the file").1
}

fn bytes_of(hex: &str) -> Vec<u8> {
    (0..hex.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
        .collect()
}

/// A whole frame: header, metadata, body.
type Whole = (Header, Fields, Vec<u8>);

fn read(bytes: &[u8]) -> Result<Whole, Refusal> {
    let limits = Limits::default();
    match parse(bytes, &limits)? {
        Step::Need(count) => panic!("a whole frame of {} bytes needs {count}", bytes.len()),
        Step::Frame { header, meta, body } => {
            let mut fields = Fields::new();
            parse_metadata(&bytes[meta], &limits, &mut fields)?;
            assert_eq!(body.end, bytes.len());
            Ok((header, fields, bytes[body].to_vec()))
        }
    }
}

fn write((header, fields, body): &Whole) -> Vec<u8> {
    let mut out = Vec::new();
    write_head(*header, fields, body.len() as u32, &mut out);
    out.extend_from_slice(body);
    out
}

fn pairs(fields: &Fields) -> Vec<(String, String)> {
    let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
    fields
        .iter()
        .map(|(key, value)| (text(key), text(value)))
        .collect()
}

fn fields_of(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (key, value) in pairs {
        fields.push(key.as_bytes(), value.as_bytes());
    }
    fields
}

#[test]
fn every_good_vector_is_read_and_written_again_as_it_was() {
    let mut count = 0;
    for (name, bytes) in vectors() {
        if name.starts_with("bad-") {
            continue;
        }
        let whole = read(&bytes).unwrap_or_else(|refusal| panic!("{name}: {refusal:?}"));
        // Pairs are kept in their order, so that even frames with many pairs come out byte by byte.
        assert_eq!(write(&whole), bytes, "{name}");
        count += 1;
    }
    assert_eq!(count, 28);
}

#[test]
fn every_bad_vector_is_refused() {
    let mut refusals = Vec::new();
    for (name, bytes) in vectors() {
        if !name.starts_with("bad-") {
            continue;
        }
        let limits = Limits::default();
        let refusal = match parse(&bytes, &limits) {
            Err(refusal) => refusal,
            Ok(Step::Frame { meta, .. }) => {
                parse_metadata(&bytes[meta], &limits, &mut Fields::new()).unwrap_err()
            }
            Ok(Step::Need(count)) => panic!("{name} needs {count} bytes"),
        };
        refusals.push((name, refusal.request_id, refusal.reason));
    }
    assert_eq!(
        refusals,
        [
            ("bad-magic", None, "a motan2 frame does not begin with f1f1"),
            (
                "bad-version-2",
                None,
                "a motan frame has an unknown version"
            ),
            (
                "bad-odd-metadata",
                None,
                "motan2 metadata has a key without a value"
            ),
            (
                "bad-metadata-over-10mib-head",
                Some(5),
                "a motan2 frame declares more metadata than allowed"
            ),
        ]
    );
}

#[test]
fn a_request_is_read_with_all_its_parts() {
    let (header, fields, body) = read(&vector("hop-oneway-2-agent-to-server")).unwrap();
    let expected = Header {
        proxy: true,
        one_way: true,
        serialize: 0x30,
        request_id: 0x18ea_599c_c0d0_000e,
        ..Header::default()
    };
    assert_eq!(header, expected);
    let expected = [
        ("M_p", "com.t.Svc"),
        ("M_s", "agent-test"),
        ("M_m", "hello"),
        ("M_g", "g1"),
        ("M_rid", "5"),
        ("host", "127.0.0.1"),
    ];
    assert_eq!(
        pairs(&fields),
        expected.map(|(key, value)| (key.to_owned(), value.to_owned()))
    );
    assert_eq!(body, b"\x01\0\0\0\x03Ray");
}

#[test]
fn heartbeat_gzip_and_exception_are_told_by_their_bits() {
    let (heartbeat, ..) = read(&vector("heartbeat-reply-of-agent")).unwrap();
    assert!(heartbeat.heartbeat && heartbeat.response && heartbeat.proxy && !heartbeat.exception);
    let (gzip, ..) = read(&vector("request-gzip-64a")).unwrap();
    assert!(gzip.gzip && !gzip.response);
    let (exception, fields, body) = read(&vector("response-exception-404")).unwrap();
    assert!(exception.exception && exception.response);
    let json = exception_json(404, "provider not exist serviceKey=g_s", 1);
    assert_eq!(fields.last_exact("M_e"), Some(json.as_bytes()));
    assert!(body.is_empty());
}

#[test]
fn every_split_needs_more_and_never_more_than_the_frame_takes() {
    for (name, bytes) in vectors() {
        if name.starts_with("bad-") {
            continue;
        }
        let whole = parse(&bytes, &Limits::default());
        for split in 0..bytes.len() {
            match parse(&bytes[..split], &Limits::default()) {
                Ok(Step::Need(count)) => {
                    assert!(
                        split < count && count <= bytes.len(),
                        "{name} at {split}: {count}"
                    );
                }
                other => panic!("{name} at {split}: {other:?}"),
            }
        }
        // What follows is the next frame's.
        let followed = [&bytes[..], &bytes[..]].concat();
        assert_eq!(parse(&followed, &Limits::default()), whole, "{name}");
    }
}

#[test]
fn wrong_first_bytes_are_refused_before_a_head_is_there() {
    for (bytes, reason) in [
        (&b"G"[..], "a motan2 frame does not begin with f1f1"),
        (&[0xf1, 0xf0], "a motan2 frame does not begin with f1f1"),
        (
            &[0xf1, 0xf1, 0, 0],
            "a motan1 frame stands where a motan2 frame must begin",
        ),
        (
            &[0xf1, 0xf1, 0, 0x10],
            "a motan frame has an unknown version",
        ),
    ] {
        let refusal = Refusal {
            request_id: None,
            reason,
        };
        assert_eq!(parse(bytes, &Limits::default()), Err(refusal));
    }
}

#[test]
fn a_status_that_means_nothing_is_refused() {
    let mut bytes = vector("request-proxied-empty");
    bytes[3] |= 2;
    let refusal = parse(&bytes, &Limits::default()).unwrap_err();
    assert_eq!(refusal.request_id, Some(1));
}

/// Robustness B1: 17 bytes that declare much. `parse` hands out positions and never memory, so all there is
/// to check is that it refuses or asks for more, at once.
#[test]
fn a_length_bomb_is_refused_before_the_bytes_arrive() {
    let bomb = bytes_of("f1f10008300000000000000007009fffff");
    let refusal = parse(&bomb, &Limits::default()).unwrap_err();
    assert_eq!(refusal.request_id, Some(7));
    // 2^31 and more is a length like others, not a negative one.
    for declared in ["7fffffff", "80000000", "ffffffff"] {
        let bytes = bytes_of(&format!("f1f10008300000000000000007{declared}"));
        assert!(parse(&bytes, &Limits::default()).is_err(), "{declared}");
        let bytes = bytes_of(&format!("f1f1000830000000000000000700000000{declared}"));
        let refusal = parse(&bytes, &Limits::default()).unwrap_err();
        assert_eq!(
            refusal.reason,
            "a motan2 frame declares a longer body than allowed"
        );
    }
}

#[test]
fn lengths_at_the_limit_pass_and_one_more_is_refused() {
    let limits = Limits {
        meta_bytes_max: 4,
        body_bytes_max: 5,
        pairs_max: 1,
    };
    let head = |meta: u32, body: u32| {
        let mut bytes = bytes_of("f1f100083000000000000000ff");
        bytes.extend(meta.to_be_bytes());
        bytes.extend(vec![b'a'; meta as usize]);
        bytes.extend(body.to_be_bytes());
        bytes
    };
    assert_eq!(parse(&head(4, 5), &limits), Ok(Step::Need(30)));
    assert_eq!(
        parse(&head(4, 6), &limits).unwrap_err().request_id,
        Some(255)
    );
    assert_eq!(
        parse(&head(5, 0), &limits).unwrap_err().request_id,
        Some(255)
    );
}

#[test]
fn metadata_is_read_strictly() {
    let check = |meta: &str, expected: Result<&[(&str, &str)], &str>| {
        let mut fields = Fields::new();
        let found = parse_metadata(meta.as_bytes(), &Limits::default(), &mut fields);
        match expected {
            Ok(expected) => {
                assert_eq!(found, Ok(()), "{meta:?}");
                assert_eq!(pairs(&fields), pairs(&fields_of(expected)), "{meta:?}");
            }
            Err(reason) => assert_eq!(found.unwrap_err().reason, reason, "{meta:?}"),
        }
    };
    check("", Ok(&[]));
    check("k\nv", Ok(&[("k", "v")]));
    // OpenResty ends with an LF.
    check("k\nv\n", Ok(&[("k", "v")]));
    check("k\nv\nl\nw", Ok(&[("k", "v"), ("l", "w")]));
    check("k\nv\nk\nw\n", Ok(&[("k", "v"), ("k", "w")]));
    // An empty last value, as Java writes it; and empty values elsewhere.
    check("k\n", Ok(&[("k", "")]));
    check("k\nv\nl\n", Ok(&[("k", "v"), ("l", "")]));
    check("k\nv\nl\n\n", Ok(&[("k", "v"), ("l", "")]));
    check("k\n\nl\nw", Ok(&[("k", ""), ("l", "w")]));
    check("k", Err("motan2 metadata has a key without a value"));
    check("k\nv\nl", Err("motan2 metadata has a key without a value"));
    check("\n", Err("motan2 metadata has an empty key"));
    check("\nv", Err("motan2 metadata has an empty key"));
    check("k\nv\n\n", Err("motan2 metadata has an empty key"));
    check("k\nv\n\nw", Err("motan2 metadata has an empty key"));
}

#[test]
fn more_pairs_than_allowed_are_refused() {
    let limits = Limits {
        pairs_max: 2,
        ..Limits::default()
    };
    let mut fields = Fields::new();
    assert_eq!(
        parse_metadata(b"a\nb\nc\nd\n", &limits, &mut fields),
        Ok(())
    );
    assert!(parse_metadata(b"a\nb\nc\nd\ne\nf", &limits, &mut fields).is_err());
}

#[test]
fn a_pair_that_would_shift_the_others_is_left_out() {
    let fields = fields_of(&[
        ("", "x"),
        ("a\nb", "x"),
        ("k", "a\nb"),
        ("M_m", "hello"),
        ("e", ""),
    ]);
    let mut out = Vec::new();
    write_head(Header::default(), &fields, 0, &mut out);
    let (_, found, _) = read(&out).unwrap();
    assert_eq!(
        pairs(&found),
        pairs(&fields_of(&[("M_m", "hello"), ("e", "")]))
    );

    let mut out = Vec::new();
    let header = Header {
        serialize: 0x30,
        request_id: 1,
        ..Header::default()
    };
    write_head(header, &fields_of(&[("k", "a\nb")]), 0, &mut out);
    assert_eq!(out, vector("encoder-drops-empty-or-lf-value"));
}

#[test]
fn a_head_is_appended_to_what_is_there() {
    let mut out = b"before".to_vec();
    write_head(Header::default(), &fields_of(&[("k", "v")]), 9, &mut out);
    let need = parse(&out[6..], &Limits::default());
    assert_eq!(need, Ok(Step::Need(out.len() - 6 + 9)));
}

#[test]
fn an_exception_is_json_whatever_the_message() {
    let check = |message: &str, expected: &str| {
        let json = exception_json(503, message, 0);
        assert_eq!(
            json,
            format!("{{\"errcode\":503,\"errmsg\":\"{expected}\",\"errtype\":0}}")
        );
        assert!(!json.contains(|char: char| char.is_ascii_control()));
    };
    check("", "");
    check("no instance of \"stock\"", "no instance of \\\"stock\\\"");
    check("C:\\x", "C:\\\\x");
    check("a\nb\rc\td", "a\\nb\\rc\\td");
    check(
        "\0\u{1}\u{8}\u{c}\u{1f} ",
        "\\u0000\\u0001\\u0008\\u000c\\u001f ",
    );
    check("größer 中文 🧵", "größer 中文 🧵");
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
fn mutants_never_panic_and_never_ask_for_more_than_the_limits() {
    let limits = Limits {
        meta_bytes_max: 200,
        body_bytes_max: 300,
        pairs_max: 6,
    };
    let vectors = vectors();
    let (mut fields, mut seed) = (Fields::new(), Seed(0x6d6f_7461_6e32));
    let (mut frames, mut refused) = (0, 0);
    for _ in 0..200_000 {
        let mut bytes = vectors[seed.below(vectors.len())].1.clone();
        for _ in 0..seed.below(4) {
            let at = seed.below(bytes.len());
            bytes[at] = match seed.below(3) {
                0 => bytes[at] ^ (1 << seed.below(8)),
                1 => b'\n',
                _ => seed.next() as u8,
            };
        }
        bytes.truncate(bytes.len() - seed.below(2) * seed.below(bytes.len()));
        match parse(&bytes, &limits) {
            Ok(Step::Need(count)) => {
                assert!(
                    bytes.len() < count && count <= FRAME_BYTES_MIN + 200 + 300,
                    "{bytes:x?}"
                );
            }
            Ok(Step::Frame { header, meta, body }) => {
                assert!(
                    meta.end + 4 == body.start && body.end <= bytes.len(),
                    "{bytes:x?}"
                );
                assert!(meta.len() <= 200 && body.len() <= 300, "{bytes:x?}");
                fields.clear();
                if parse_metadata(&bytes[meta], &limits, &mut fields).is_ok() {
                    assert!(fields.len() <= 6);
                    let whole = (header, fields.clone(), bytes[body].to_vec());
                    let (again, _, _) = read(&write(&whole)).unwrap();
                    assert_eq!(again, header);
                    frames += 1;
                }
            }
            Err(refusal) => {
                assert!(!refusal.reason.is_empty());
                refused += 1;
            }
        }
    }
    // The mutants reach both ends.
    assert!(
        frames > 10_000 && refused > 10_000,
        "{frames} frames, {refused} refused"
    );
}
