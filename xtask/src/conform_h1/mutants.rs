//! Messages that are valid by construction, from a seed, and small harms done to them.
//!
//! The harms are those of the classes that parsers disagree on: line ends, lengths, repeated and moved
//! lines, bytes at the edge of a class. Some mutants stay valid; they keep the parser honest the other way.

use super::conversation::Direction;

/// The seed of this run: `WEFT_SEED`, or one that is the same everywhere.
pub(super) fn seed() -> u64 {
    let given = std::env::var("WEFT_SEED")
        .ok()
        .and_then(|text| text.parse().ok());
    given.unwrap_or(0x5eed_0001)
}

/// xorshift64*: small, fast, the same on every machine.
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        // The state must never be zero.
        Self(seed ^ 0x9e37_79b9_7f4a_7c15 | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// A number below `limit` (> 0).
    pub(super) fn below(&mut self, limit: u64) -> u64 {
        (self.next() >> 11) % limit
    }

    fn one_in(&mut self, times: u64) -> bool {
        self.below(times) == 0
    }

    fn pick<'a, T: ?Sized>(&mut self, from: &[&'a T]) -> &'a T {
        from[self.below(from.len() as u64) as usize]
    }

    fn place(&mut self, len: usize) -> usize {
        self.below(len as u64) as usize
    }
}

/// Some bytes for one direction.
pub(super) struct Mutant {
    pub(super) direction: Direction,
    pub(super) input: Vec<u8>,
    /// Whether no harm was done: then it must be accepted.
    pub(super) untouched: bool,
}

/// Harms done to one message.
const HARMS_MAX: u64 = 3;

/// The next mutant.
pub(super) fn next(random: &mut Random) -> Mutant {
    let replies = random.one_in(3);
    let direction = if replies {
        Direction::Replies {
            to_head: random.one_in(8),
        }
    } else {
        Direction::Requests
    };
    let mut input = match direction {
        Direction::Requests => request(random),
        Direction::Replies { to_head } => reply(random, to_head),
    };
    let untouched = random.one_in(10);
    if !untouched {
        for _ in 0..=random.below(HARMS_MAX) {
            harm(random, &mut input);
        }
    }
    // What follows shows where each reader thinks that the message ended.
    if !replies {
        input.extend_from_slice(b"GET /next HTTP/1.1\r\nHost: next\r\n\r\n");
    }
    Mutant {
        direction,
        input,
        untouched,
    }
}

fn request(random: &mut Random) -> Vec<u8> {
    const METHODS: [&str; 8] = [
        "GET", "POST", "PUT", "HEAD", "DELETE", "PATCH", "get", "X-y!",
    ];
    const TARGETS: [&str; 12] = [
        "/",
        "/a/b?c=d&e",
        "/%41%7f?%00",
        "/;p=1/@:",
        "/?a[]={1|2}^`",
        "//x",
        "/a?b?c",
        "http://b/x",
        "http://b:80?y",
        "HTTP://[::1]:8080/",
        "/~a_b-c.d!$&'()*+,",
        "/../x",
    ];
    const HOSTS: [&str; 7] = [
        "a",
        "a.b:80",
        "127.0.0.1:8080",
        "[::1]",
        "[::1]:443",
        "a:",
        "x-y_z",
    ];
    const EXTRA: [&str; 10] = [
        "Connection: keep-alive",
        "Connection: X-A, close",
        "Connection: TE",
        "TE: trailers",
        "TE: gzip;q=0.5, trailers",
        "Upgrade: h2c",
        "Keep-Alive: timeout=5",
        "Proxy-Connection: keep-alive",
        "Expect: 100-continue",
        "Trailer: X-T",
    ];
    let (method, target) = if random.one_in(12) {
        ("OPTIONS", "*")
    } else {
        (random.pick(&METHODS), random.pick(&TARGETS))
    };
    let mut lines = vec![format!("Host:{}{}", space(random), random.pick(&HOSTS)).into_bytes()];
    plain_fields(random, &mut lines);
    while random.one_in(3) {
        lines.push(random.pick(&EXTRA).as_bytes().to_vec());
    }
    let body = match random.below(3) {
        0 => Vec::new(),
        1 => with_length(random, &mut lines),
        _ => with_chunks(random, &mut lines),
    };
    let start = format!("{method} {target} HTTP/1.1");
    let empty: &[u8] = if random.one_in(12) { b"\r\n" } else { b"" };
    [empty, &head(random, start.as_bytes(), lines), &body].concat()
}

fn reply(random: &mut Random, to_head: bool) -> Vec<u8> {
    const STATUSES: [&str; 12] = [
        "200 OK",
        "200 ",
        "201 Created",
        "204 No Content",
        "304 Not Modified",
        "404 Not  Found",
        "500 x\ty",
        "299 z",
        "999 ?",
        "205 Reset",
        "400 Bad",
        "302 Found",
    ];
    const EXTRA: [&str; 6] = [
        "Connection: close",
        "Connection: keep-alive",
        "Connection: X-A",
        "Upgrade: h2c",
        "Keep-Alive: timeout=5",
        "Proxy-Authenticate: Basic",
    ];
    let mut interim = Vec::new();
    while random.one_in(6) {
        let line = random.pick(&["100 Continue", "103 Early Hints", "102 "]);
        let mut lines = Vec::new();
        plain_fields(random, &mut lines);
        interim.extend(head(random, format!("HTTP/1.1 {line}").as_bytes(), lines));
    }
    let old = interim.is_empty() && random.one_in(6);
    let status = random.pick(&STATUSES);
    let mut lines = Vec::new();
    plain_fields(random, &mut lines);
    while random.one_in(3) {
        lines.push(random.pick(&EXTRA).as_bytes().to_vec());
    }
    let body = match random.below(3) {
        _ if status.starts_with("204") => Vec::new(),
        0 => b"to the end".to_vec(),
        1 if !old => with_chunks(random, &mut lines),
        _ => with_length(random, &mut lines),
    };
    let no_body = to_head || status.starts_with("304");
    let start = format!("HTTP/1.{} {status}", u8::from(!old));
    let head = head(random, start.as_bytes(), lines);
    [interim, head, if no_body { Vec::new() } else { body }].concat()
}

fn space(random: &mut Random) -> &'static str {
    random.pick(&["", " ", " ", " ", "\t", "  ", " \t "])
}

fn plain_fields(random: &mut Random, lines: &mut Vec<Vec<u8>>) {
    const NAMES: [&str; 8] = [
        "X-A",
        "x-a",
        "Accept",
        "Cookie",
        "User-Agent",
        "!#$%&'*+-.^_`|~",
        "Range",
        "X",
    ];
    const VALUES: [&[u8]; 8] = [
        b"",
        b"1",
        b"a, b;c=\"d\"",
        b"\xc3\xa9",
        b"x\ty",
        b"chunked",
        b"GET / HTTP/1.1",
        b"a: b",
    ];
    while !random.one_in(3) {
        let name = random.pick(&NAMES);
        let (before, after) = (space(random), space(random));
        let value = random.pick(&VALUES);
        lines.push(
            [
                name.as_bytes(),
                b":",
                before.as_bytes(),
                value,
                after.as_bytes(),
            ]
            .concat(),
        );
    }
}

fn payload(random: &mut Random) -> Vec<u8> {
    let len = random.below(40);
    (0..len)
        .map(|_| {
            *random
                .pick(&[b"a", b"0", b"\r", b"\n", b" ", b":", b"\xff"])
                .first()
                .unwrap_or(&0)
        })
        .collect()
}

fn with_length(random: &mut Random, lines: &mut Vec<Vec<u8>>) -> Vec<u8> {
    let body = payload(random);
    let name = random.pick(&["Content-Length", "content-length", "CONTENT-LENGTH"]);
    let zeros = random.pick(&["", "", "", "0", "000"]);
    lines.push(
        format!(
            "{name}:{}{zeros}{}{}",
            space(random),
            body.len(),
            space(random)
        )
        .into_bytes(),
    );
    body
}

fn with_chunks(random: &mut Random, lines: &mut Vec<Vec<u8>>) -> Vec<u8> {
    const EXTENSIONS: [&str; 8] = [
        "",
        "",
        "",
        "",
        ";a",
        ";a=b",
        " ; a = \"b\\\"\t;\"",
        ";a;b=\"\";c=d",
    ];
    const TRAILERS: [&str; 4] = ["", "X-T: 1\r\n", "X-T:\t\r\nX-U: a b \r\n", "x: \u{e9}\r\n"];
    let name = random.pick(&["Transfer-Encoding", "transfer-encoding"]);
    let coding = random.pick(&["chunked", "chunked", "Chunked", "CHUNKED"]);
    lines.push(format!("{name}:{}{coding}{}", space(random), space(random)).into_bytes());
    let mut body = Vec::new();
    while !random.one_in(3) {
        let bytes = payload(random);
        if bytes.is_empty() {
            continue;
        }
        let zeros = random.pick(&["", "", "", "0", "00000"]);
        let size = if random.one_in(2) {
            format!("{zeros}{:x}", bytes.len())
        } else {
            format!("{zeros}{:X}", bytes.len())
        };
        body.extend(format!("{size}{}\r\n", random.pick(&EXTENSIONS)).into_bytes());
        body.extend(bytes);
        body.extend(b"\r\n");
    }
    let zeros = random.pick(&["0", "0", "00"]);
    body.extend(format!("{zeros}{}\r\n", random.pick(&EXTENSIONS)).into_bytes());
    body.extend(random.pick(&TRAILERS).as_bytes());
    body.extend(b"\r\n");
    body
}

/// A head with its lines in any order.
fn head(random: &mut Random, start: &[u8], mut lines: Vec<Vec<u8>>) -> Vec<u8> {
    for at in (1..lines.len()).rev() {
        let other = random.place(at + 1);
        lines.swap(at, other);
    }
    let mut head = [start, b"\r\n"].concat();
    for line in lines {
        head.extend(line);
        head.extend(b"\r\n");
    }
    head.extend(b"\r\n");
    head
}

/// Does one harm.
fn harm(random: &mut Random, input: &mut Vec<u8>) {
    const EDGES: &[u8] = b"\r\n\0 \t:;,=\"%#[]/\\0159afgF+-_xX\x7f\x80\xff\x0b\x0c\x1f(@{";
    const PIECES: [&[u8]; 26] = [
        b"Transfer-Encoding: chunked\r\n",
        b"Content-Length: 3\r\n",
        b"Content-Length: 0\r\n",
        b"\r\n ",
        b"\r\n\t",
        b"\r\n",
        b"\n",
        b"\r",
        b"0\r\n\r\n",
        b"chunked, ",
        b", chunked",
        b"+",
        b"0x",
        b" ",
        b"\t",
        b"Host: b\r\n",
        b"Connection: Host\r\n",
        b"Connection: content-length\r\n",
        b"HTTP/1.1",
        b"HTTP/1.0",
        b"Transfer-Encoding:",
        b"X: y\r\n",
        b"GET / HTTP/1.1\r\nHost: c\r\n\r\n",
        b"\x00",
        b"http://c/",
        b"ffffffffffffffff",
    ];
    if input.is_empty() {
        return;
    }
    let at = random.place(input.len());
    match random.below(12) {
        0 => input[at] = random.next() as u8,
        1 => input[at] = EDGES[random.place(EDGES.len())],
        2 => input.insert(at, EDGES[random.place(EDGES.len())]),
        3 => drop(input.remove(at)),
        4 => drop(input.drain(at..(at + 1 + random.place(6)).min(input.len()))),
        5 => insert(input, at, random.pick(&PIECES)),
        6 => insert(input, line_start(input, at), random.pick(&PIECES)),
        7 => {
            let start = line_start(input, at);
            let line = input[start..line_end(input, at)].to_vec();
            let to = line_start(input, random.place(input.len()));
            insert(input, to, &line);
        }
        8 => {
            let (start, end) = (line_start(input, at), line_end(input, at));
            let line: Vec<u8> = input.drain(start..end).collect();
            let to = if input.is_empty() {
                0
            } else {
                line_start(input, random.place(input.len()))
            };
            insert(input, to, &line);
        }
        9 => line_ending(random, input, at),
        10 => input[at] ^= 0x20,
        _ => digit(random, input, at),
    }
}

fn insert(input: &mut Vec<u8>, at: usize, piece: &[u8]) {
    input.splice(at..at, piece.iter().copied());
}

fn line_start(input: &[u8], at: usize) -> usize {
    input[..at]
        .iter()
        .rposition(|byte| *byte == b'\n')
        .map_or(0, |end| end + 1)
}

fn line_end(input: &[u8], at: usize) -> usize {
    input[at..]
        .iter()
        .position(|byte| *byte == b'\n')
        .map_or(input.len(), |end| at + end + 1)
}

/// Changes a CRLF behind `at`.
fn line_ending(random: &mut Random, input: &mut Vec<u8>, at: usize) {
    let Some(start) = input[at..].windows(2).position(|pair| pair == b"\r\n") else {
        return;
    };
    let ends: [&[u8]; 7] = [b"\n", b"\r", b"\n\r", b"\r\r\n", b"\r\n\r\n", b" \r\n", b""];
    let end = random.pick(&ends).to_vec();
    input.splice(at + start..at + start + 2, end);
}

/// Changes the next digit behind `at`.
fn digit(random: &mut Random, input: &mut [u8], at: usize) {
    if let Some(byte) = input[at..].iter_mut().find(|byte| byte.is_ascii_digit()) {
        *byte = b"0123456789abcdef"[random.place(16)];
    }
}
