//! Heads, bodies and what is written, each input in one piece and at every split.

use super::*;
use crate::sniff::Prefix;

const GET: &str = "GET / HTTP/1.1\r\nHost: a\r\n";

/// Reads a request in one piece and growing byte by byte; both must agree.
fn request(input: &[u8]) -> Result<(RequestHead, usize), Refusal> {
    let limits = Limits::default();
    let mut head = RequestHead::default();
    let whole = parse_request(input, &limits, &mut head);
    for end in 0..input.len() {
        match parse_request(&input[..end], &limits, &mut RequestHead::default()) {
            Ok(Parsed::Need) => {}
            Ok(Parsed::Complete(len)) => assert_eq!(whole, Ok(Parsed::Complete(len))),
            Err(refusal) => assert_eq!(whole.map_err(|other| other.status), Err(refusal.status)),
        }
    }
    match whole? {
        Parsed::Complete(len) => Ok((head, len)),
        Parsed::Need => panic!("not complete: {:?}", String::from_utf8_lossy(input)),
    }
}

fn reply(input: &[u8], to_head: bool) -> Result<(ReplyHead, usize), Refusal> {
    let limits = Limits::default();
    let mut head = ReplyHead::default();
    let whole = parse_reply(input, to_head, &limits, &mut head);
    for end in 0..input.len() {
        match parse_reply(&input[..end], to_head, &limits, &mut ReplyHead::default()) {
            Ok(Parsed::Need) => {}
            Ok(Parsed::Complete(len)) => assert_eq!(whole, Ok(Parsed::Complete(len))),
            Err(refusal) => assert_eq!(whole.map_err(|other| other.status), Err(refusal.status)),
        }
    }
    match whole? {
        Parsed::Complete(len) => Ok((head, len)),
        Parsed::Need => panic!("not complete: {:?}", String::from_utf8_lossy(input)),
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// `name=value` of every field, with spaces between.
fn listed(fields: &Fields) -> String {
    let pairs = fields
        .iter()
        .map(|(name, value)| format!("{}={}", text(name), text(value)));
    pairs.collect::<Vec<_>>().join(" ")
}

/// Method, target, authority, framing, flags and fields, as one line.
fn told(head: &RequestHead) -> String {
    let part = |span| text(head.fields.bytes(span));
    format!(
        "{} {} at {} {:?}{}{}{} [{}]",
        part(head.method),
        part(head.target),
        part(head.authority),
        head.framing,
        if head.absolute { " absolute" } else { "" },
        if head.keep_alive { "" } else { " close" },
        if head.expect_continue { " expect" } else { "" },
        listed(&head.fields),
    )
}

fn check_request(input: &str, expect: &str) {
    let found = match request(input.as_bytes()) {
        Ok((head, len)) => {
            assert_eq!(len, input.len(), "{input:?}");
            told(&head)
        }
        Err(refusal) => format!("{}", refusal.status),
    };
    assert_eq!(found, expect, "{input:?}");
}

#[test]
fn requests_are_read_with_their_meaning() {
    for (input, expect) in [
        ("GET / HTTP/1.1\r\nHost: a\r\n\r\n", "GET / at a None []"),
        (
            "\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / at a None []",
        ),
        (
            "GET /p?q=1 HTTP/1.1\r\nhOsT:a:80\r\nX: 1\r\nx: 2\r\n\r\n",
            "GET /p?q=1 at a:80 None [X=1 x=2]",
        ),
        ("GET / HTTP/1.1\r\nHost:\r\n\r\n", "GET / at  None []"),
        (
            "GET / HTTP/1.1\r\nHost: [::1]:8080\r\n\r\n",
            "GET / at [::1]:8080 None []",
        ),
        (
            "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * at a None []",
        ),
        (
            "GET http://b:1/x?y HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /x?y at b:1 None absolute []",
        ),
        (
            "GET HTTP://b HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET / at b None absolute []",
        ),
        (
            "GET http://b?y HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /?y at b None absolute []",
        ),
        (
            "OPTIONS http://b HTTP/1.1\r\nHost: a\r\n\r\n",
            "OPTIONS * at b None absolute []",
        ),
        (
            "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n",
            "POST / at a Length(0) []",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\ncontent-length: \t5 \r\n\r\n",
            "GET / at a Length(5) []",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: Chunked\r\n\r\n",
            "PUT / at a Chunked []",
        ),
        (
            "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\
             Expect: 100-Continue\r\n\r\n",
            "PUT / at a Length(18446744073709551615) expect []",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n\r\n",
            "GET / at a None []",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
            "GET / at a None close []",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nConnection: Keep-Alive, ,X\r\nx: 1\r\nY: 2\r\n\r\n",
            "GET / at a None [Y=2]",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: h2c\r\nHTTP2-Settings: AA\r\n\
             Connection: Upgrade, HTTP2-Settings\r\n\r\n",
            "GET / at a None []",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nKeep-Alive: 5\r\nProxy-Connection: x\r\n\
             TE: gzip, trailers\r\nConnection: TE\r\n\r\n",
            "GET / at a None [te=trailers]",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nTE: gzip\r\nTrailer: x\r\n\r\n",
            "GET / at a None [Trailer=x]",
        ),
        (
            "GET /%20?a[]={1|2} HTTP/1.1\r\nHost: a\r\n\r\n",
            "GET /%20?a[]={1|2} at a None []",
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nX: \u{e9}\t!\r\n\r\n",
            "GET / at a None [X=\u{e9}\t!]",
        ),
    ] {
        check_request(input, expect);
    }
}

#[test]
fn a_second_request_behind_the_first_is_left_alone() {
    let input = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nGET /2 HTTP/1.1\r\nHost: a\r\n\r\n";
    let (head, len) = request(input).unwrap();
    assert_eq!(
        (head.fields.bytes(head.target), len),
        (&b"/1"[..], input.len() / 2)
    );
}

#[test]
fn requests_outside_of_the_grammar_are_refused() {
    for (lines, status) in [
        ("GET / HTTP/1.0\r\nHost: a\r\n", 505),
        ("GET / HTTP/1.0\r\n bad", 505),
        ("GET / HTTP/2.0\r\nHost: a\r\n", 505),
        ("GET / HTTP/1.2\r\nHost: a\r\n", 505),
        ("GET / HTTP/1.10\r\nHost: a\r\n", 400),
        ("GET / http/1.1\r\nHost: a\r\n", 400),
        ("GET /\r\nHost: a\r\n", 400),
        ("GET  / HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET /  HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET / HTTP/1.1 \r\nHost: a\r\n", 400),
        ("GET / HTTP/1.1\nHost: a\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\n", 400),
        ("G(T / HTTP/1.1\r\nHost: a\r\n", 400),
        (" GET / HTTP/1.1\r\nHost: a\r\n", 400),
        ("\nGET / HTTP/1.1\r\nHost: a\r\n", 400),
        ("\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET x HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET * HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET /#f HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET /%2 HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET /\\ HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET /\u{e9} HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET http:///x HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET http://u@b/ HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET ftp://b/ HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET https://b/ HTTP/1.1\r\nHost: a\r\n", 501),
        ("GET / HTTP/1.1\r\n", 400),
        ("GET http://b/ HTTP/1.1\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a b\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:8b\r\n", 400),
        ("GET http://a:b/ HTTP/1.1\r\nHost: a\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a:65536\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: a/b\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: u@a\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: [::1\r\n", 400),
        ("GET / HTTP/1.1\r\nHost: [a]\r\n", 400),
    ] {
        check_request(&format!("{lines}\r\n"), &status.to_string());
    }
    for (line, status) in [
        ("X : 1", 400),
        ("X", 400),
        (": 1", 400),
        ("X\u{e9}: 1", 400),
        (" X: 1", 400),
        ("X: 1\r\n 2", 400),
        ("X: 1\r\n\t2", 400),
        ("X: \0", 400),
        ("X: 1\r2", 400),
        ("X: 1\x7f", 400),
        ("Content-Length: +1", 400),
        ("Content-Length: -1", 400),
        ("Content-Length: 1, 1", 400),
        ("Content-Length: 1\r\nContent-Length: 1", 400),
        ("Content-Length: 0x1", 400),
        ("Content-Length:", 400),
        ("Content-Length: 1 1", 400),
        ("Content-Length: 18446744073709551616", 400),
        ("Content-Length: 1\r\nTransfer-Encoding: chunked", 400),
        ("Transfer-Encoding: chunked\r\nContent-Length: 1", 400),
        (
            "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked",
            400,
        ),
        ("Transfer-Encoding: chunked, chunked", 400),
        ("Transfer-Encoding: gzip, chunked", 400),
        ("Transfer-Encoding: identity", 400),
        ("Transfer-Encoding: chunked;a=b", 400),
        ("Transfer-Encoding: \"chunked\"", 400),
        ("Transfer-Encoding:", 400),
        ("Transfer-Encoding: \x0bchunked", 400),
        ("Connection: Host", 400),
        ("Connection: close, content-length", 400),
        ("Connection: Transfer-Encoding", 400),
        ("Connection: a b", 400),
        ("Expect: 200-ok", 417),
    ] {
        check_request(&format!("{GET}{line}\r\n\r\n"), &status.to_string());
    }
}

#[test]
fn limits_of_a_head_hold_whether_or_not_it_ends() {
    let limits = Limits {
        head_bytes_max: 64,
        fields_max: 3,
        target_bytes_max: 16,
        ..Limits::default()
    };
    let status = |input: &str| {
        let outcome = parse_request(input.as_bytes(), &limits, &mut RequestHead::default());
        outcome.err().map(|refusal| refusal.status)
    };
    assert_eq!(status(&format!("{GET}X: {}\r\n\r\n", "1".repeat(32))), None);
    assert_eq!(
        status(&format!("{GET}X: {}\r\n\r\n", "1".repeat(33))),
        Some(431)
    );
    assert_eq!(status(&format!("{GET}X: {}", "1".repeat(35))), None);
    assert_eq!(status(&format!("{GET}X: {}", "1".repeat(36))), Some(431));
    assert_eq!(status(&format!("{GET}A:\r\nB:\r\n\r\n")), None);
    assert_eq!(status(&format!("{GET}A:\r\nB:\r\nC:\r\n\r\n")), Some(431));
    assert_eq!(
        status("GET /123456789012345 HTTP/1.1\r\nHost: a\r\n\r\n"),
        None
    );
    assert_eq!(
        status("GET /1234567890123456 HTTP/1.1\r\nHost: a\r\n\r\n"),
        Some(414)
    );
    assert_eq!(status("GET /1234567890123456"), Some(414));
}

#[test]
fn the_end_of_a_long_head_is_found_wherever_it_stands() {
    let limits = Limits::default();
    for len in 4000..4200 {
        let head = format!("{GET}A: b\r\nX: {}\r\n\r\n", "x".repeat(len));
        let input = format!("{head}GET / HTTP/1.1\r\n");
        let parse = |end: usize| {
            parse_request(
                &input.as_bytes()[..end],
                &limits,
                &mut RequestHead::default(),
            )
        };
        for end in head.len() - 8..head.len() {
            assert_eq!(parse(end), Ok(Parsed::Need), "{len}");
        }
        for end in [head.len(), head.len() + 1, input.len()] {
            assert_eq!(parse(end), Ok(Parsed::Complete(head.len())), "{len}");
        }
    }
}

fn check_reply(input: &str, to_head: bool, expect: &str) {
    let found = match reply(input.as_bytes(), to_head) {
        Ok((head, len)) => {
            assert_eq!(len, input.len(), "{input:?}");
            format!(
                "{} {:?} {:?} {:?} {:?}{} [{}]",
                head.status,
                text(head.fields.bytes(head.reason)),
                head.version,
                head.framing,
                head.declared_length,
                if head.keep_alive { "" } else { " close" },
                listed(&head.fields),
            )
        }
        Err(refusal) => format!("{}", refusal.status),
    };
    assert_eq!(found, expect, "{input:?}");
}

#[test]
fn replies_are_read_with_their_meaning() {
    for (input, expect) in [
        (
            "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nA: b\r\n\r\n",
            "200 \"OK\" Http11 Length(5) None [A=b]",
        ),
        (
            "HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n",
            "200 \"\" Http11 Length(0) None []",
        ),
        (
            "HTTP/1.1 404 N\u{e9} F\r\nTransfer-Encoding: chunked\r\n\r\n",
            "404 \"N\u{e9} F\" Http11 Chunked None []",
        ),
        (
            "HTTP/1.1 200 OK\r\n\r\n",
            "200 \"OK\" Http11 Close None close []",
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n",
            "200 \"OK\" Http10 Length(1) None close []",
        ),
        (
            "HTTP/1.0 200 OK\r\nContent-Length: 1\r\nConnection: keep-alive\r\n\r\n",
            "200 \"OK\" Http10 Length(1) None []",
        ),
        (
            "HTTP/1.1 100 Continue\r\n\r\n",
            "100 \"Continue\" Http11 None None []",
        ),
        (
            "HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n",
            "204 \"No\" Http11 None None []",
        ),
        (
            "HTTP/1.1 304 No\r\nContent-Length: 7\r\n\r\n",
            "304 \"No\" Http11 None Some(7) []",
        ),
        (
            "HTTP/1.1 999 x\r\nConnection: close\r\nContent-Length: 1\r\n\r\n",
            "999 \"x\" Http11 Length(1) None close []",
        ),
    ] {
        check_reply(input, false, expect);
    }
    let input = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n";
    check_reply(input, true, "200 \"OK\" Http11 None Some(5) []");
}

#[test]
fn replies_outside_of_the_grammar_are_refused() {
    for lines in [
        "HTTP/1.1 200\r\n",
        "HTTP/1.1 20 OK\r\n",
        "HTTP/1.1 2000 OK\r\n",
        "HTTP/1.1 099 OK\r\n",
        "HTTP/1.1 101 Up\r\nUpgrade: x\r\n",
        "HTTP/1.1  200 OK\r\n",
        "HTTP/2.0 200 OK\r\n",
        "http/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\n",
        "HTTP/1.1 200 O\x01K\r\n",
        "\r\nHTTP/1.1 200 OK\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n",
        "HTTP/1.1 204 OK\r\nContent-Length: 1\r\n",
        "HTTP/1.1 103 OK\r\nTransfer-Encoding: chunked\r\n",
        "HTTP/1.1 200 OK\r\nA: b\r\n c\r\n",
        "HTTP/1.1 200 OK\r\nA : b\r\n",
    ] {
        check_reply(&format!("{lines}\r\n"), false, "502");
    }
}

/// Payload, trailers, bytes left.
type ReadBody = (Vec<u8>, String, usize);

/// Reads a body whose bytes come in pieces of `piece`; answers payload, trailers and what was left.
fn body(input: &[u8], framing: Framing, piece: usize) -> Result<ReadBody, Refusal> {
    let mut decoder = BodyDecoder::new(framing, &Limits::default());
    let (mut payload, mut buffer, mut come) = (Vec::new(), Vec::new(), input.chunks(piece));
    loop {
        match decoder.decode(&buffer)? {
            BodyStep::Data { skip, len } => {
                assert!(len > 0);
                payload.extend_from_slice(&buffer[skip..skip + len]);
                buffer.drain(..skip + len);
            }
            BodyStep::Need { skip } => {
                buffer.drain(..skip);
                let Some(more) = come.next() else { break };
                buffer.extend_from_slice(more);
            }
            BodyStep::End { skip } => {
                buffer.drain(..skip);
                break;
            }
        }
    }
    let left = buffer.len() + come.map(<[u8]>::len).sum::<usize>();
    if !decoder.finish() {
        return Err(Refusal {
            status: 0,
            reason: "not complete",
        });
    }
    assert_eq!(decoder.decode(b"x"), Ok(BodyStep::End { skip: 0 }));
    let trailers = decoder
        .take_trailers()
        .map(|fields| listed(&fields))
        .unwrap_or_default();
    Ok((payload, trailers, left))
}

fn check_body(input: &str, framing: Framing, expect: Result<(&str, &str, usize), u16>) {
    for piece in 1..=input.len() {
        let found = body(input.as_bytes(), framing, piece);
        let found = found.map(|(payload, trailers, left)| (text(&payload), trailers, left));
        let expect =
            expect.map(|(payload, trailers, left)| (payload.into(), trailers.into(), left));
        assert_eq!(
            found.map_err(|refusal| refusal.status),
            expect,
            "{input:?} in pieces of {piece}"
        );
    }
}

#[test]
fn bodies_are_read_in_any_split() {
    check_body("hello", Framing::Length(5), Ok(("hello", "", 0)));
    check_body("hello!", Framing::Length(5), Ok(("hello", "", 1)));
    check_body("hell", Framing::Length(5), Err(0));
    check_body("hello", Framing::Close, Ok(("hello", "", 0)));
    check_body("x", Framing::None, Ok(("", "", 1)));
    for (input, payload, trailers, left) in [
        ("0\r\n\r\n", "", "", 0),
        ("5\r\nhello\r\n0\r\n\r\nGET", "hello", "", 3),
        (
            "000a\r\n0123456789\r\n1;a\r\nx\r\n00;b=c\r\n\r\n",
            "0123456789x",
            "",
            0,
        ),
        ("1 ; a = \"b\\\"; c\" ;d;e=f\r\nx\r\n0\r\n\r\n", "x", "", 0),
        ("1\r\nx\r\n0\r\nA: b\r\nc:d \r\n\r\n", "x", "A=b c=d", 0),
        ("A\r\n0123456789\r\n0\r\n\r\n", "0123456789", "", 0),
    ] {
        check_body(input, Framing::Chunked, Ok((payload, trailers, left)));
    }
}

#[test]
fn chunks_outside_of_the_grammar_are_refused() {
    for input in [
        "\r\n",
        ";a\r\n",
        "g\r\n",
        "0x1\r\n",
        "+1\r\n",
        " 1\r\n",
        "1 \r\nx",
        "1\nx",
        "1\rx",
        "1\r\nxy\r\n",
        "1\r\nx\n0\r\n",
        "1\r\nx\r0\r\n",
        "1\r\nx0\r\n",
        "10000000000000000\r\n",
        "00000000000000001\r\n",
        "1;\r\n",
        "1;a=\r\n",
        "1;=b\r\n",
        "1;a \r\n",
        "1;a b\r\n",
        "1;a=\"b\r\n",
        "1;a=\"\x01\"\r\n",
        "1;a=b\x00\r\n",
        "1;a\nx",
        "0\r\nA: b\n\r\n",
        "0\r\nA: b\r\n c\r\n\r\n",
        "0\r\nA : b\r\n\r\n",
        "0\r\nA\r\n\r\n",
        "0\r\n\n",
        "0\r\n\rx",
        "0\r\nContent-Length: 1\r\n\r\n",
        "0\r\nTransfer-Encoding: chunked\r\n\r\n",
        "0\r\nhost: a\r\n\r\n",
        "0\r\nConnection: a\r\n\r\n",
        "0\r\nTrailer: a\r\n\r\n",
        "0\r\nA: \x00\r\n\r\n",
    ] {
        check_body(input, Framing::Chunked, Err(400));
    }
}

/// Bytes that a flood gets rid of before it is refused.
fn refused_after(unit: &[u8]) -> usize {
    let mut decoder = BodyDecoder::new(Framing::Chunked, &Limits::default());
    let mut buffer = Vec::new();
    let mut sent = 0;
    while sent < 1 << 20 {
        buffer.extend_from_slice(unit);
        sent += unit.len();
        loop {
            match decoder.decode(&buffer) {
                Ok(BodyStep::Data { skip, len }) => drop(buffer.drain(..skip + len)),
                Ok(BodyStep::Need { skip }) => {
                    buffer.drain(..skip);
                    break;
                }
                Ok(BodyStep::End { .. }) => panic!("a flood does not end"),
                Err(_) => return sent,
            }
        }
    }
    sent
}

#[test]
fn floods_of_framing_end_within_64_kib_and_small_chunks_do_not() {
    let extension = [b"1;".as_slice(), &[b'a'; 1000], b"\r\nx\r\n"].concat();
    assert!(refused_after(&extension) < 64 * 1024);
    assert!(refused_after(&[b"1;".as_slice(), &[b'a'; 100]].concat()) < 2 * 1024);
    assert_eq!(refused_after(b"1\r\nx\r\n"), (1 << 20) / 6 * 6 + 6);
    let mut decoder = BodyDecoder::new(Framing::Chunked, &Limits::default());
    assert_eq!(decoder.decode(b"0\r\n"), Ok(BodyStep::Need { skip: 3 }));
    let lines = b"a: b\r\n".repeat(2048);
    assert_eq!(
        decoder.decode(&lines).map_err(|refusal| refusal.status),
        Err(431)
    );
}

#[test]
fn payload_buys_extensions() {
    // Signed chunks of 64 KiB with an extension of 85 bytes each, for ever.
    let unit = [
        b"400;s=".as_slice(),
        &[b'a'; 85],
        b"\r\n",
        &[b'x'; 1024],
        b"\r\n",
    ]
    .concat();
    assert!(refused_after(&unit) >= 1 << 20);
}

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in pairs {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

#[test]
fn a_request_is_written_anew() {
    let line = RequestLine {
        method: b"PUT",
        target: b"/x",
        authority: b"a:1",
        framing: Framing::Length(1_234_567_890),
        close: false,
        expect_continue: false,
        upgrade: b"",
    };
    let written = |line: RequestLine<'_>, pairs: &[(&str, &str)]| {
        let mut out = Vec::new();
        write_request(line, &fields(pairs), &mut out);
        text(&out)
    };
    assert_eq!(
        written(line, &[("A", "b"), ("a", "")]),
        "PUT /x HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1234567890\r\nA: b\r\na: \r\n\r\n"
    );
    let chunked = RequestLine {
        framing: Framing::Chunked,
        close: true,
        expect_continue: true,
        ..line
    };
    assert_eq!(
        written(chunked, &[("te", "trailers")]),
        "PUT /x HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\nExpect: 100-continue\r\n\
         TE: trailers\r\nConnection: close, TE\r\n\r\n"
    );
    let hostile = [
        ("A", "b\r\nC: d"),
        ("E: f", "g"),
        ("h\r\n", "i"),
        ("content-length", "1"),
        ("Host", "x"),
    ];
    let none = RequestLine {
        framing: Framing::None,
        ..line
    };
    assert_eq!(
        written(none, &hostile),
        "PUT /x HTTP/1.1\r\nHost: a:1\r\n\r\n"
    );
}

fn check_status_line(line: StatusLine<'_>, expect: &str) {
    let mut out = Vec::new();
    write_reply(
        line,
        &fields(&[("A", "b"), ("transfer-encoding", "chunked")]),
        &mut out,
    );
    assert_eq!(text(&out), format!("HTTP/1.1 {expect}"));
}

#[test]
fn a_reply_is_written_anew() {
    let line = StatusLine {
        status: 200,
        reason: b"",
        framing: Framing::None,
        declared_length: None,
        close: false,
        upgrade: b"",
    };
    check_status_line(line, "200 OK\r\nContent-Length: 0\r\nA: b\r\n\r\n");
    check_status_line(
        StatusLine {
            reason: b"Fine",
            close: true,
            ..line
        },
        "200 Fine\r\nContent-Length: 0\r\nA: b\r\nConnection: close\r\n\r\n",
    );
    check_status_line(
        StatusLine {
            reason: b"a\r\nb: c",
            ..line
        },
        "200 OK\r\nContent-Length: 0\r\nA: b\r\n\r\n",
    );
    let status = |status| StatusLine { status, ..line };
    check_status_line(status(100), "100 Continue\r\nA: b\r\n\r\n");
    check_status_line(status(204), "204 No Content\r\nA: b\r\n\r\n");
    check_status_line(status(304), "304 Not Modified\r\nA: b\r\n\r\n");
    check_status_line(status(799), "799 \r\nContent-Length: 0\r\nA: b\r\n\r\n");
}

#[test]
fn a_reply_says_how_its_body_ends() {
    let line = StatusLine {
        status: 200,
        reason: b"",
        framing: Framing::None,
        declared_length: Some(9),
        close: false,
        upgrade: b"",
    };
    let framed = |framing| StatusLine {
        framing,
        declared_length: None,
        ..line
    };
    check_status_line(line, "200 OK\r\nContent-Length: 9\r\nA: b\r\n\r\n");
    check_status_line(
        framed(Framing::Length(7)),
        "200 OK\r\nContent-Length: 7\r\nA: b\r\n\r\n",
    );
    check_status_line(
        framed(Framing::Chunked),
        "200 OK\r\nTransfer-Encoding: chunked\r\nA: b\r\n\r\n",
    );
    check_status_line(
        framed(Framing::Close),
        "200 OK\r\nA: b\r\nConnection: close\r\n\r\n",
    );
    check_status_line(
        StatusLine {
            status: 204,
            ..line
        },
        "204 No Content\r\nA: b\r\n\r\n",
    );
    check_status_line(
        StatusLine {
            status: 304,
            ..line
        },
        "304 Not Modified\r\nContent-Length: 9\r\nA: b\r\n\r\n",
    );
}

#[test]
fn what_is_written_is_read_back_alike() {
    let mut out = Vec::new();
    for size in [1, 9, 10, 15, 16, 255, 4096, usize::MAX] {
        out.clear();
        write_chunk_line(size, &mut out);
        assert_eq!(text(&out), format!("{size:x}\r\n"));
    }
    out.clear();
    write_chunk_line(3, &mut out);
    out.extend_from_slice(b"abc");
    write_chunk_end(&mut out);
    write_last_chunk(
        Some(&fields(&[("x", "y"), ("Host", "b"), ("z", "1\n2")])),
        &mut out,
    );
    check_body(&text(&out), Framing::Chunked, Ok(("abc", "x=y", 0)));
}

#[test]
fn fields_of_other_protocols_are_judged() {
    for (name, value, valid) in [
        ("a", "b", true),
        ("a", "", true),
        ("a", "b c\td\u{e9}", true),
        ("a", " b", false),
        ("a", "b\t", false),
        ("", "b", false),
        ("a b", "c", false),
        ("a:", "c", false),
        ("\u{e9}", "c", false),
        ("a", "b\r\nc", false),
    ] {
        assert_eq!(
            is_valid_field(name.as_bytes(), value.as_bytes()),
            valid,
            "{name:?} {value:?}"
        );
    }
    for byte in 0..=u8::MAX {
        let valid = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
        for at in 0..20 {
            let mut value = [b'x'; 21];
            value[at] = byte;
            let inside = valid && !(at == 0 && matches!(byte, b' ' | b'\t'));
            assert_eq!(is_valid_field(b"n", &value), inside, "{byte} at {at}");
        }
    }
}

#[test]
fn every_byte_has_its_place_at_every_distance() {
    // `httparse` reads names, values and targets in blocks; a byte must be judged alike in each place.
    const LONG: usize = 40;
    const METHOD: usize = 24;
    for byte in 0..=u8::MAX {
        for at in 0..LONG {
            let accepted = |before: &str, len: usize, after: &str| {
                let mut filled = vec![b'x'; len];
                filled[at.min(len - 1)] = byte;
                let input = [before.as_bytes(), &filled, after.as_bytes()].concat();
                let outcome =
                    parse_request(&input, &Limits::default(), &mut RequestHead::default());
                outcome == Ok(Parsed::Complete(input.len()))
            };
            let alphanumeric = byte.is_ascii_alphanumeric();
            let token = alphanumeric || b"!#$%&'*+-.^_`|~".contains(&byte);
            let rest = " / HTTP/1.1\r\nHost: a\r\n\r\n";
            assert_eq!(accepted("", METHOD, rest), token, "{byte} in a method");

            let name = token || (byte == b':' && at > 0);
            assert_eq!(accepted(GET, LONG, ": b\r\n\r\n"), name, "{byte} in a name");

            let value = byte == b'\t' || (byte >= b' ' && byte != 0x7f);
            let before = format!("{GET}A: ");
            assert_eq!(
                accepted(&before, LONG, "\r\n\r\n"),
                value,
                "{byte} in a value"
            );

            let path = alphanumeric || b"-._~!$&'()*+,;=:@/?".contains(&byte);
            let rest = " HTTP/1.1\r\nHost: a\r\n\r\n";
            assert_eq!(accepted("GET /", LONG, rest), path, "{byte} in a path");

            let edge = match byte {
                // The `x` behind a colon are a port's name; before it there must be a host.
                b':' => at > 0,
                b' ' | b'\t' => at == 0 || at == LONG - 1,
                _ => false,
            };
            let host = edge || alphanumeric || b"-._~!$&'()*+,;=".contains(&byte);
            let before = "GET / HTTP/1.1\r\nHost: ";
            assert_eq!(
                accepted(before, LONG, "\r\n\r\n"),
                host,
                "{byte} in Host at {at}"
            );
        }
    }
}

#[test]
fn first_bytes_tell_http1_in_any_split() {
    for (input, expect) in [
        ("GET / HTTP/1.1\r\n", Prefix::Match),
        ("GET / HTTP/1.0\r\n", Prefix::Match),
        ("M-SEARCH * HTTP/1.1\r\n", Prefix::Match),
        ("GET http://a/?b HTTP/1.", Prefix::Match),
        ("GET / HTTP/1", Prefix::NeedMore),
        ("", Prefix::NeedMore),
        ("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", Prefix::Mismatch),
        (" GET / HTTP/1.1", Prefix::Mismatch),
        ("GET  / HTTP/1.1", Prefix::Mismatch),
        ("GET /\r\n", Prefix::Mismatch),
        ("\u{16}\u{3}\u{1}", Prefix::Mismatch),
        ("ABCDEFGHIJKLMNOPQRSTUVWXY", Prefix::Mismatch),
        ("ABCDEFGHIJKLMNOPQRSTUVWX / HTTP/1.1", Prefix::Match),
        ("status\r\n", Prefix::Mismatch),
    ] {
        let bytes = input.as_bytes();
        assert_eq!(http1_prefix(bytes), expect, "{input:?}");
        // Once decided, more bytes change nothing; before that, everything is open.
        let mut decided = None;
        for end in 0..=bytes.len() {
            match (http1_prefix(&bytes[..end]), decided) {
                (Prefix::NeedMore, None) => {}
                (found, None) => decided = Some(found),
                (found, Some(before)) => assert_eq!(found, before, "{input:?} at {end}"),
            }
        }
    }
}

/// What a request asks to become.
fn asked(lines: &str) -> String {
    let input = format!("{lines}\r\n");
    let (head, _) = request(input.as_bytes()).expect("the request is within the grammar");
    text(head.fields.bytes(head.upgrade))
}

#[test]
fn a_request_asks_for_an_upgrade_when_connection_says_so_too() {
    for (fields, expect) in [
        ("Upgrade: websocket\r\nConnection: Upgrade\r\n", "websocket"),
        (
            "Connection: keep-alive, UPGRADE\r\nUpgrade: a/1, b\r\n",
            "a/1, b",
        ),
        (
            "Connection: x\r\nConnection: upgrade\r\nUpgrade: a, h2c\r\n",
            "a",
        ),
        ("Upgrade: H2C\r\nConnection: Upgrade\r\n", ""),
        ("Upgrade: websocket\r\n", ""),
        ("Upgrade: a\r\nUpgrade: b\r\nConnection: Upgrade\r\n", ""),
        ("Connection: Upgrade\r\n", ""),
        (
            "Upgrade: a\r\nConnection: Upgrade\r\nContent-Length: 0\r\n",
            "a",
        ),
        (
            "Upgrade: a\r\nConnection: Upgrade\r\nTransfer-Encoding: chunked\r\n",
            "",
        ),
        (
            "Upgrade: a\r\nConnection: Upgrade\r\nContent-Length: 1\r\n",
            "",
        ),
    ] {
        assert_eq!(asked(&format!("{GET}{fields}")), expect, "{fields}");
    }
}

#[test]
fn connect_names_its_authority() {
    for (line, authority) in [
        ("CONNECT a:1 HTTP/1.1\r\nHost: b:2\r\n", "a:1"),
        ("CONNECT a:tcp HTTP/1.1\r\nHost: a\r\n", "a:tcp"),
        (
            "CONNECT [::1]:443 HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n",
            "[::1]:443",
        ),
        ("CONNECT a:1 HTTP/1.0\r\n", "a:1"),
    ] {
        let input = format!("{line}\r\n");
        let (head, _) = request(input.as_bytes()).expect("the request is within the grammar");
        assert_eq!(text(head.fields.bytes(head.authority)), authority, "{line}");
        assert_eq!(text(head.fields.bytes(head.method)), "CONNECT");
        assert_eq!(head.keep_alive, line.contains("1.1"), "{line}");
    }
}

#[test]
fn a_101_grants_what_it_names_and_only_to_an_upgrade() {
    let limits = Limits::default();
    let read = |input: &str| {
        let mut head = ReplyHead::default();
        parse_reply_to_upgrade(input.as_bytes(), &limits, &mut head)
            .map(|_| {
                (
                    head.status,
                    text(head.fields.bytes(head.upgrade)),
                    head.framing,
                )
            })
            .map_err(|refusal| refusal.status)
    };
    let granted = "HTTP/1.1 101 Up\r\nUpgrade: a/1\r\nConnection: upgrade\r\n\r\n";
    assert_eq!(read(granted), Ok((101, "a/1".to_owned(), Framing::None)));
    assert!(
        reply(granted.as_bytes(), false).is_err(),
        "nobody asked for it"
    );
    for refused in [
        "HTTP/1.1 101 Up\r\n\r\n",
        "HTTP/1.1 101 Up\r\nUpgrade: a\r\n\r\n",
        "HTTP/1.1 101 Up\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.0 101 Up\r\nUpgrade: a\r\nConnection: upgrade\r\n\r\n",
        "HTTP/1.1 101 Up\r\nUpgrade: a\r\nConnection: upgrade\r\nContent-Length: 1\r\n\r\n",
    ] {
        assert_eq!(read(refused), Err(502), "{refused}");
    }
    let plain = "HTTP/1.1 200 OK\r\nUpgrade: a\r\nConnection: upgrade\r\nContent-Length: 0\r\n\r\n";
    assert_eq!(read(plain), Ok((200, String::new(), Framing::Length(0))));
}

#[test]
fn an_upgrade_is_asked_for_and_granted_in_words_of_our_own() {
    let mut out = Vec::new();
    let ask = RequestLine {
        method: b"GET",
        target: b"/",
        authority: b"a",
        framing: Framing::None,
        close: false,
        expect_continue: false,
        upgrade: b"b, c",
    };
    write_request(
        ask,
        &fields(&[("upgrade", "x"), ("te", "trailers")]),
        &mut out,
    );
    assert_eq!(
        text(&out),
        "GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nUpgrade: b, c\r\nConnection: Upgrade, TE\r\n\r\n"
    );
    out.clear();
    let grant = StatusLine {
        status: 101,
        reason: b"",
        framing: Framing::None,
        declared_length: None,
        close: false,
        upgrade: b"b",
    };
    write_reply(grant, &fields(&[("upgrade", "x"), ("A", "1")]), &mut out);
    assert_eq!(
        text(&out),
        "HTTP/1.1 101 Switching Protocols\r\nA: 1\r\nUpgrade: b\r\nConnection: Upgrade\r\n\r\n"
    );
}

#[test]
fn tunnels_that_are_asked_for_outside_of_the_grammar_are_refused() {
    for (lines, status) in [
        ("CONNECT a HTTP/1.1\r\nHost: a\r\n", 400),
        ("CONNECT a: HTTP/1.1\r\nHost: a\r\n", 400),
        ("CONNECT a:0 HTTP/1.1\r\nHost: a\r\n", 400),
        ("CONNECT /x HTTP/1.1\r\nHost: a\r\n", 400),
        ("CONNECT http://a:1/ HTTP/1.1\r\nHost: a\r\n", 400),
        ("CONNECT a:1 HTTP/1.1\r\n", 400),
        (
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nContent-Length: 1\r\n",
            400,
        ),
        (
            "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\nTransfer-Encoding: chunked\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: a b\r\nConnection: upgrade\r\n",
            400,
        ),
        (
            "GET / HTTP/1.1\r\nHost: a\r\nUpgrade: a/b/c\r\nConnection: upgrade\r\n",
            400,
        ),
    ] {
        check_request(&format!("{lines}\r\n"), &status.to_string());
    }
}
