//! The vectors: requests in HTTP/2 that HTTP/1.1 would read otherwise, written naively. A table of places and one of
//! what is put there, and lists of what fits into neither.

/// What must come of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// It is refused, whatever the app speaks.
    Refused,
    /// It is answered; a control, without which a proxy that refuses all would pass.
    Passes,
    /// Either: what the app sees, if it sees it, is judged alone.
    Either,
}

/// One request.
#[derive(Clone, Debug)]
pub(crate) struct Vector {
    /// What is odd about it.
    pub(crate) name: String,
    /// Pseudo-fields and fields, in their order.
    pub(crate) fields: Vec<(Vec<u8>, Vec<u8>)>,
    /// Its body, frame by frame; none when it ends with its head.
    pub(crate) data: Vec<Vec<u8>>,
    /// Fields behind the body.
    pub(crate) trailers: Vec<(Vec<u8>, Vec<u8>)>,
    pub(crate) verdict: Verdict,
}

use Verdict::{Either, Passes, Refused};

/// The field that tells vectors apart.
pub(crate) const NUMBER: &str = "x-number";

/// Who is called.
pub(crate) const AUTHORITY: &str = "till";

/// A request that an app must never see.
const SMUGGLED: &[u8] = b"0\r\n\r\nGET /smuggled HTTP/1.1\r\nHost: till\r\n\r\n";

/// What no part of an HTTP/1.1 head may hold.
const BREAKS: &[(&str, &[u8])] = &[
    ("CR LF and a field", b"\r\nx-more: 1"),
    ("CR LF twice", b"\r\n\r\n"),
    (
        "CR LF and a request",
        b" HTTP/1.1\r\nhost: till\r\n\r\nGET /smuggled HTTP/1.1\r\nx: ",
    ),
    ("LF", b"\n"),
    ("LF and a field", b"\nx-more: 1"),
    ("CR", b"\r"),
    ("CR and a field", b"\rx-more: 1"),
    ("NUL", b"\0"),
    ("NUL and a field", b"\0x-more: 1"),
    ("0x01", b"\x01"),
    ("0x0b", b"\x0b"),
    ("0x7f", b"\x7f"),
];

/// A plain GET.
fn get() -> Vector {
    let pair = |name: &str, value: &str| (name.as_bytes().to_vec(), value.as_bytes().to_vec());
    Vector {
        name: String::new(),
        fields: vec![
            pair(":method", "GET"),
            pair(":scheme", "http"),
            pair(":path", "/a?b=c"),
            pair(":authority", AUTHORITY),
            pair(NUMBER, "0"),
        ],
        data: Vec::new(),
        trailers: Vec::new(),
        verdict: Passes,
    }
}

/// A plain POST.
fn post(data: &[&[u8]]) -> Vector {
    Vector {
        data: data.iter().map(|data| data.to_vec()).collect(),
        ..get().put(":method", b"POST")
    }
}

impl Vector {
    fn called(mut self, name: impl Into<String>, verdict: Verdict) -> Self {
        self.name = name.into();
        self.verdict = verdict;
        self
    }

    /// The same with this in place of the first field of the name.
    fn put(mut self, name: &str, value: &[u8]) -> Self {
        for (known, place) in &mut self.fields {
            if known == name.as_bytes() {
                *place = value.to_vec();
            }
        }
        self
    }

    /// The same with a number by which the app's bytes are known as its.
    pub(crate) fn numbered(self, number: usize) -> Self {
        self.put(NUMBER, number.to_string().as_bytes())
    }

    /// The same without a field.
    fn without(mut self, name: &str) -> Self {
        self.fields.retain(|(known, _)| known != name.as_bytes());
        self
    }

    /// The same with one more field.
    fn with(mut self, name: &[u8], value: &[u8]) -> Self {
        self.fields.push((name.to_vec(), value.to_vec()));
        self
    }

    /// The same with one more field behind the body.
    fn trailing(mut self, name: &[u8], value: &[u8]) -> Self {
        self.trailers.push((name.to_vec(), value.to_vec()));
        self
    }
}

/// All of them.
pub(crate) fn all() -> Vec<Vector> {
    [
        controls(),
        pseudo_breaks(),
        field_breaks(),
        pseudo_fields(),
        targets(),
        hosts(),
        of_the_connection(),
        lengths(),
        names(),
        methods(),
        trailers(),
        protocols(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn controls() -> Vec<Vector> {
    vec![
        get().called("a GET", Passes),
        post(&[b"hello", b" world"]).called("a POST in two frames", Passes),
        post(&[b"hello"])
            .with(b"content-length", b"5")
            .called("a length", Passes),
        post(&[SMUGGLED]).called("a body that looks like a request", Passes),
        get()
            .with(b"te", b"trailers")
            .called("te: trailers", Passes),
        get()
            .with(b"x-a", b"a\tb")
            .called("a tab in a value", Passes),
        get().with(b"x-a", b"").called("an empty value", Passes),
        get()
            .with(b"cookie", b"a=b")
            .with(b"cookie", b"c=d")
            .called("crumbs of a cookie", Passes),
        post(&[b"x"])
            .trailing(b"x-sum", b"1")
            .called("a trailer", Passes),
    ]
}

/// Every break in every pseudo-field, within and behind.
fn pseudo_breaks() -> Vec<Vector> {
    let mut all = Vec::new();
    for (name, before, behind) in [
        (":method", "GE", "T"),
        (":path", "/a", "b"),
        (":authority", "ti", "ll"),
        (":scheme", "ht", "tp"),
    ] {
        for (what, bytes) in BREAKS
            .iter()
            .chain([&("a space", &b" "[..]), &("a tab", b"\t")])
        {
            let within = [before.as_bytes(), bytes, behind.as_bytes()].concat();
            all.push(
                get()
                    .put(name, &within)
                    .called(format!("{what} in {name}"), Refused),
            );
            let end = [before.as_bytes(), behind.as_bytes(), bytes].concat();
            all.push(
                get()
                    .put(name, &end)
                    .called(format!("{what} behind {name}"), Refused),
            );
        }
    }
    all
}

/// Every break in a field's name and value.
fn field_breaks() -> Vec<Vector> {
    let mut all = Vec::new();
    for (what, bytes) in BREAKS {
        for (place, value) in [
            ("before", [bytes, &b"ab"[..]].concat()),
            ("in", [b"a", *bytes, b"b"].concat()),
            ("behind", [b"ab", *bytes].concat()),
        ] {
            let name = format!("{what} {place} a value");
            all.push(get().with(b"x-a", &value).called(name, Refused));
        }
        let name = [b"x-", *bytes, b"a"].concat();
        all.push(
            get()
                .with(&name, b"1")
                .called(format!("{what} in a name"), Refused),
        );
    }
    for (what, value) in [
        ("a space before", &b" ab"[..]),
        ("a space behind", b"ab "),
        ("a tab before", b"\tab"),
        ("a tab behind", b"ab\t"),
        ("spaces alone as", b"  "),
    ] {
        all.push(
            get()
                .with(b"x-a", value)
                .called(format!("{what} a value"), Refused),
        );
    }
    for (what, value) in [("0x80", &b"a\x80b"[..]), ("0xff", b"a\xffb")] {
        all.push(
            get()
                .with(b"x-a", value)
                .called(format!("{what} in a value"), Either),
        );
    }
    all
}

/// Pseudo-fields that are missing, double, unknown, or behind a field.
fn pseudo_fields() -> Vec<Vector> {
    let mut all = Vec::new();
    for name in [":method", ":scheme", ":path", ":authority"] {
        all.push(get().without(name).called(format!("no {name}"), Refused));
        // HTTP/1.1 does not say the scheme.
        let verdict = if name == ":scheme" { Either } else { Refused };
        all.push(
            get()
                .put(name, b"")
                .called(format!("an empty {name}"), verdict),
        );
        let first = get()
            .fields
            .iter()
            .find(|(known, _)| known == name.as_bytes())
            .cloned();
        let value = first.map(|(_, value)| value).unwrap_or_default();
        all.push(
            get()
                .with(name.as_bytes(), &value)
                .called(format!("{name} behind a field"), Refused),
        );
        let mut twice = get();
        twice.fields.insert(0, (name.as_bytes().to_vec(), value));
        all.push(twice.called(format!("{name} twice"), Refused));
    }
    for name in [":status", ":host", ":version", ":", ":path "] {
        let mut odd = get();
        odd.fields
            .insert(0, (name.as_bytes().to_vec(), b"200".to_vec()));
        all.push(odd.called(format!("the pseudo-field \"{name}\""), Refused));
    }
    all
}

fn targets() -> Vec<Vector> {
    let refused = [
        "a", "*", "a/b", "\\", "/a\\b", "/a\"b", "/<a>", "/%", "/%0", "/%zz", "?a",
    ];
    let either = [
        "#a",
        "/a#b",
        "/a?b#c",
        "//evil/",
        "http://evil/",
        "/../../a",
        "/a;b=c",
        "/a?b c",
        "/%0d%0ax-more:%201",
        "/a?{b}",
        "/\u{e4}",
        "/a?\u{e4}",
    ];
    let refused = refused.iter().map(|path| (path, Refused));
    let all = refused.chain(either.iter().map(|path| (path, Either)));
    all.map(|(path, verdict)| {
        let name = format!(":path {path}");
        get().put(":path", path.as_bytes()).called(name, verdict)
    })
    .collect()
}

fn hosts() -> Vec<Vector> {
    let mut all = vec![
        get()
            .with(b"host", b"till")
            .called("host as :authority", Passes),
        get()
            .with(b"host", b"TILL")
            .called("host in capitals", Passes),
        get()
            .without(":authority")
            .with(b"host", b"till")
            .called("host alone", Passes),
        get()
            .with(b"host", b"till")
            .with(b"host", b"till")
            .called("host twice", Refused),
        get()
            .with(b"host", b"till")
            .with(b"host", b"evil")
            .called("two hosts", Refused),
    ];
    for host in [
        "evil",
        "till:81",
        "till.",
        "till@evil",
        "evil@till",
        "till,evil",
        "till evil",
        "",
    ] {
        let name = format!("host \"{host}\" beside :authority");
        all.push(get().with(b"host", host.as_bytes()).called(name, Refused));
    }
    for authority in [
        "user@till",
        "till@evil",
        "till:80:81",
        "till/evil",
        "till?a",
        "till#a",
        "[::1",
        "till\\evil",
        "till%0d%0a",
    ] {
        let name = format!(":authority {authority}");
        all.push(
            get()
                .put(":authority", authority.as_bytes())
                .called(name, Refused),
        );
    }
    // A comma may stand in a name (RFC 3986 3.2.2).
    let comma = get().put(":authority", b"till,evil");
    all.push(comma.called(":authority till,evil", Either));
    all
}

/// Fields that belong to one connection of HTTP/1.1 (RFC 9113 8.2.2), each in front of a body that would be a request.
fn of_the_connection() -> Vec<Vector> {
    let refused: &[(&str, &str)] = &[
        ("connection", "close"),
        ("connection", "keep-alive"),
        ("connection", "transfer-encoding"),
        ("connection", "content-length, host"),
        ("connection", "upgrade"),
        ("keep-alive", "timeout=5"),
        ("proxy-connection", "keep-alive"),
        ("transfer-encoding", "chunked"),
        ("transfer-encoding", "identity"),
        ("transfer-encoding", "gzip, chunked"),
        ("transfer-encoding", "chunked, identity"),
        ("transfer-encoding", "xchunked"),
        ("transfer-encoding", ""),
        ("upgrade", "h2c"),
        ("upgrade", "websocket"),
        ("te", "gzip"),
        ("te", "chunked"),
        ("te", "trailers, chunked"),
    ];
    let mut all = Vec::new();
    for (name, value) in refused {
        let odd = post(&[SMUGGLED]).with(name.as_bytes(), value.as_bytes());
        all.push(odd.called(format!("{name}: {value}"), Refused));
    }
    let both = post(&[SMUGGLED])
        .with(b"transfer-encoding", b"chunked")
        .with(b"content-length", SMUGGLED.len().to_string().as_bytes());
    all.push(both.called("a coding beside a length", Refused));
    for (name, value) in [
        ("http2-settings", "AAAA"),
        ("proxy-authenticate", "Basic"),
        ("trailer", "content-length"),
        ("expect", "100-continue"),
        ("expect", "other"),
        ("x-weft-caller", "admin"),
        ("x-forwarded-for", "1.2.3.4"),
        ("transfer_encoding", "chunked"),
        ("transfer-encoding-", "chunked"),
        ("content_length", "1"),
    ] {
        let odd = post(&[SMUGGLED]).with(name.as_bytes(), value.as_bytes());
        all.push(odd.called(format!("{name}: {value}"), Either));
    }
    all
}

fn lengths() -> Vec<Vector> {
    let mut all = Vec::new();
    for value in [
        "",
        "-1",
        "+5",
        "5 ",
        " 5",
        "0x5",
        "5,5",
        "5, 6",
        "5;5",
        "1e1",
        "5.0",
        "five",
        "18446744073709551616",
        "99999999999999999999999999",
        "5\r\ntransfer-encoding: chunked",
        "5\0",
    ] {
        let odd = post(&[b"hello"]).with(b"content-length", value.as_bytes());
        all.push(odd.called(format!("content-length {value:?}"), Refused));
    }
    let with = |data: &[&[u8]], lengths: &[&[u8]]| {
        lengths.iter().fold(post(data), |post, length| {
            post.with(b"content-length", length)
        })
    };
    all.extend([
        with(&[b"hello"], &[b"6"]).called("a body shorter than its length", Refused),
        with(&[b"hello"], &[b"4"]).called("a body longer than its length", Refused),
        with(&[b"hello", SMUGGLED], &[b"5"]).called("a request behind the length", Refused),
        with(&[b"", SMUGGLED], &[b"0"]).called("a request behind a length of 0", Refused),
        with(&[SMUGGLED], &[b"0"]).called("a length of 0 before a body", Refused),
        with(&[b"hello"], &[b"5", b"6"]).called("two lengths", Refused),
        with(&[b"hello"], &[b"6", b"5"]).called("two lengths, the last one right", Refused),
        with(&[b"hello"], &[b"5", b"5"]).called("a length twice", Either),
        with(&[b"hello"], &[b"05"]).called("a length with a zero before", Either),
        with(&[], &[b"5"]).called("a length without a body", Refused),
        with(&[], &[b"0"]).called("a length of 0 without a body", Passes),
        get()
            .with(b"content-length", b"5")
            .called("a length of a GET without a body", Refused),
    ]);
    let mut body = get().called("a GET with a body", Either);
    body.data = vec![SMUGGLED.to_vec()];
    all.push(body);
    all
}

fn names() -> Vec<Vector> {
    let mut all = Vec::new();
    for name in [
        "X-A",
        "Host",
        "Content-Length",
        "Transfer-Encoding",
        "x-A",
        "",
        " x-a",
        "x-a ",
        "x a",
        "x:a",
        "x-a:",
        "x(a",
        "x,a",
        "x/a",
        "x;a",
        "x=a",
        "x@a",
        "x[a",
        "x\"a",
        "x{a",
        "x\u{e4}",
    ] {
        all.push(
            get()
                .with(name.as_bytes(), b"1")
                .called(format!("a field named \"{name}\""), Refused),
        );
    }
    let many = |count: usize| {
        (0..count).fold(get(), |get, at| {
            get.with(format!("x-{at}").as_bytes(), b"1")
        })
    };
    all.push(many(90).called("90 fields", Passes));
    all.push(many(101).called("101 fields", Refused));
    all
}

fn methods() -> Vec<Vector> {
    let mut all = Vec::new();
    for method in ["G(T", "GET,", "GET/", "G\"T", "{GET}", "\u{e4}", "CONNECT"] {
        all.push(
            get()
                .put(":method", method.as_bytes())
                .called(format!(":method {method}"), Refused),
        );
    }
    for method in ["get", "PRI", "TRACE", "PURGE", "M-SEARCH", "GET_X"] {
        all.push(
            get()
                .put(":method", method.as_bytes())
                .called(format!(":method {method}"), Either),
        );
    }
    let options = get().put(":method", b"OPTIONS").put(":path", b"*");
    all.push(options.called("OPTIONS *", Passes));
    all
}

fn trailers() -> Vec<Vector> {
    let fields: &[(&[u8], &[u8])] = &[
        (b":path", b"/evil"),
        (b":status", b"200"),
        (b"content-length", b"5"),
        (b"transfer-encoding", b"chunked"),
        (b"host", b"evil"),
        (b"connection", b"close"),
        (b"X-A", b"1"),
        (b"x-a", b"1\r\nx-more: 1"),
        (b"x-a", b"1\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n"),
        (b"x\r\na", b"1"),
        (b"x-a", b" 1"),
    ];
    let odd = |(name, value): &(&[u8], &[u8])| {
        let text = String::from_utf8_lossy(name).into_owned();
        let said = format!("the trailer {text:?}: {:?}", String::from_utf8_lossy(value));
        post(&[b"x"]).trailing(name, value).called(said, Either)
    };
    fields.iter().map(odd).collect()
}

/// Extended CONNECT: its protocol is written into `Upgrade`.
fn protocols() -> Vec<Vector> {
    let connect = |protocol: &str| {
        let mut odd = get().put(":method", b"CONNECT");
        odd.fields
            .insert(1, (b":protocol".to_vec(), protocol.as_bytes().to_vec()));
        odd.called(format!(":protocol {protocol:?}"), Refused)
    };
    let mut all: Vec<Vector> = [
        "websocket\r\nx-more: 1",
        "websocket\r\n\r\nGET /smuggled HTTP/1.1\r\n\r\n",
        "a b",
        "a,b",
        "h2c, websocket",
        "",
        "a/b/c",
        "a\0",
        "a\"b",
        " websocket",
    ]
    .into_iter()
    .map(connect)
    .collect();
    let mut odd = get();
    odd.fields
        .insert(1, (b":protocol".to_vec(), b"websocket".to_vec()));
    all.push(odd.called(":protocol of a GET", Refused));
    all
}
