//! The cases: what requests and replies have each for themselves, and the shared rows put into both.

use super::conversation::Direction;
use super::shared_cases::{CHUNKS, FIELDS, FRAMING, Row};

/// Some bytes and what must be read from them.
pub(super) struct Case {
    pub(super) direction: Direction,
    pub(super) name: String,
    pub(super) input: Vec<u8>,
    /// As `conversation::told` tells it.
    pub(super) expect: String,
}

const REPLIES: Direction = Direction::Replies { to_head: false };
const REPLIES_TO_HEAD: Direction = Direction::Replies { to_head: true };

const REQUEST: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\n";
const REPLY: &[u8] = b"HTTP/1.1 200 OK\r\n";

/// What follows a message: it must be read as a message of its own, or not at all.
pub(super) const NEXT_REQUEST: &[u8] = b"GET /next HTTP/1.1\r\nHost: b\r\n\r\n";
const NEXT_REPLY: &[u8] = b"HTTP/1.1 201 OK\r\nContent-Length: 4\r\n\r\nnext";

/// Every case.
pub(super) fn all() -> Vec<Case> {
    let mut cases = Vec::new();
    for row in FRAMING {
        shared(row, b"", b"", "", 502, &mut cases);
    }
    for row in FIELDS {
        shared(
            row,
            b"Content-Length: 2\r\n",
            b"\r\nok",
            " <ok>",
            502,
            &mut cases,
        );
    }
    for row in CHUNKS {
        shared(
            row,
            b"Transfer-Encoding: chunked\r\n\r\n",
            b"",
            "",
            400,
            &mut cases,
        );
    }
    for (name, input, expect) in START_LINES {
        let input = [input, b"\r\n".as_slice(), NEXT_REQUEST].concat();
        let expect = if expect.starts_with("refused") {
            (*expect).to_owned()
        } else {
            format!("{expect} | GET /next at b")
        };
        cases.push(case(Direction::Requests, name, input, &expect));
    }
    for (name, input, expect) in REQUESTS {
        cases.push(case(Direction::Requests, name, input.to_vec(), expect));
    }
    for (name, input, expect) in REPLY_STREAMS {
        cases.push(case(REPLIES, name, input.to_vec(), expect));
    }
    for (name, input, expect) in REPLY_STREAMS_TO_HEAD {
        cases.push(case(REPLIES_TO_HEAD, name, input.to_vec(), expect));
    }
    limits(&mut cases);
    cases
}

fn case(direction: Direction, name: &str, input: Vec<u8>, expect: &str) -> Case {
    Case {
        direction,
        name: name.to_owned(),
        input,
        expect: expect.to_owned(),
    }
}

/// A shared row as a request and as a reply, each with another message behind it. A body does not know its
/// direction: what is wrong in one is refused with 400 both ways.
fn shared(
    row: &Row,
    before: &[u8],
    after: &[u8],
    body: &str,
    reply_refused: u16,
    cases: &mut Vec<Case>,
) {
    let (name, bytes, read) = row;
    let told = |start: &str, next: &str, refused: &str| match *read {
        "" => refused.to_owned(),
        read => format!("{start}{}{body} | {next}", read.trim_end()),
    };
    cases.push(Case {
        direction: Direction::Requests,
        name: format!("request: {name}"),
        input: [REQUEST, before, bytes, after, NEXT_REQUEST].concat(),
        expect: told("POST / at a", "GET /next at b", "refused 400"),
    });
    cases.push(Case {
        direction: REPLIES,
        name: format!("reply: {name}"),
        input: [REPLY, before, bytes, after, NEXT_REPLY].concat(),
        expect: told("200", "201 <next>", &format!("refused {reply_refused}")),
    });
}

/// Request lines and Host, without the empty line; another request follows.
#[rustfmt::skip]
const START_LINES: &[Row] = &[
    ("method: extension", b"X-y! / HTTP/1.1\r\nHost: a\r\n", "X-y! / at a"),
    ("method: lower case is another method", b"get / HTTP/1.1\r\nHost: a\r\n", "get / at a"),
    ("method: 24 bytes", b"ABCDEFGHIJKLMNOPQRSTUVWX / HTTP/1.1\r\nHost: a\r\n", "ABCDEFGHIJKLMNOPQRSTUVWX / at a"),
    ("method: 25 bytes", b"ABCDEFGHIJKLMNOPQRSTUVWXY / HTTP/1.1\r\nHost: a\r\n", "refused 501"),
    ("method: empty", b" / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("method: parenthesis", b"G(T / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("method: quotes", b"\"GET\" / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("method: colon", b"GET: / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("method: high byte", b"G\xc3\x89T / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("method: nul", b"GET\0 / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("method: tab behind", b"GET\t/ HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("method: alone", b"GET\r\nHost: a\r\n", "refused 400"),
    ("method: TRACE and TRACK are as good as any", b"TRACE / HTTP/1.1\r\nHost: a\r\n", "TRACE / at a"),
    ("target: path and query", b"GET /a/b?c=d&e=/? HTTP/1.1\r\nHost: a\r\n", "GET /a/b?c=d&e=/? at a"),
    ("target: every character", b"GET /-._~!$&'()*+,;=:@%2f?/?:@ HTTP/1.1\r\nHost: a\r\n", "GET /-._~!$&\\'()*+,;=:@%2f?/?:@ at a"),
    ("target: two slashes", b"GET //b/c HTTP/1.1\r\nHost: a\r\n", "GET //b/c at a"),
    ("target: dots stay", b"GET /a/../b HTTP/1.1\r\nHost: a\r\n", "GET /a/../b at a"),
    ("target: brackets in the query, as browsers send them", b"GET /?a[]={b|c}^` HTTP/1.1\r\nHost: a\r\n", "GET /?a[]={b|c}^` at a"),
    ("target: asterisk", b"OPTIONS * HTTP/1.1\r\nHost: a\r\n", "OPTIONS * at a"),
    ("target: absolute", b"GET http://b:1/c?d HTTP/1.1\r\nHost: a\r\n", "GET /c?d at b:1"),
    ("target: absolute, no path", b"GET http://b HTTP/1.1\r\nHost: a\r\n", "GET / at b"),
    ("target: absolute, query alone", b"GET http://b?d HTTP/1.1\r\nHost: a\r\n", "GET /?d at b"),
    ("target: absolute, scheme in any case", b"GET hTTp://b/ HTTP/1.1\r\nHost: b\r\n", "GET / at b"),
    ("target: absolute, IPv6", b"GET http://[::1]:80/ HTTP/1.1\r\nHost: a\r\n", "GET / at [::1]:80"),
    ("target: absolute OPTIONS", b"OPTIONS http://b HTTP/1.1\r\nHost: a\r\n", "OPTIONS * at b"),
    ("target: missing", b"GET HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: empty", b"GET  HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: two spaces before", b"GET  / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: two spaces behind", b"GET /  HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: tab behind", b"GET /\tHTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: space inside", b"GET /a b HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: fragment", b"GET /a#b HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: fragment behind a query", b"GET /a?b#c HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: nul", b"GET /\0 HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: control character", b"GET /\x01 HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: delete", b"GET /\x7f HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: high byte", b"GET /\xe9 HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: UTF-8", b"GET /\xc3\xa9 HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: backslash", b"GET /a\\b HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: quote", b"GET /\" HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: less-than", b"GET /?< HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: brackets in the path", b"GET /[a] HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: brace in the path", b"GET /{a} HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: percent alone", b"GET /% HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: percent and one digit", b"GET /%4 HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: percent and no hex", b"GET /%4g HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: percent and no hex in the query", b"GET /?%g4 HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: no slash", b"GET a HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: query alone", b"GET ?a HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: authority", b"GET a:80 HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: asterisk with GET", b"GET * HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: asterisk and more", b"OPTIONS *a HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, no host", b"GET http:///a HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, port alone", b"GET http://:80/a HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, one slash", b"GET http:/b/a HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, user", b"GET http://u@b/ HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, user and password", b"GET http://u:p@b/ HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, port of letters", b"GET http://b:x/ HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, port too large", b"GET http://b:65536/ HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, fragment", b"GET http://b/#c HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, fragment behind the host", b"GET http://b#c HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, backslash", b"GET http://b\\c/ HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, other scheme", b"GET ftp://b/ HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, percent-encoding in the host", b"GET http://b%41/ HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("target: absolute, https", b"GET https://b/ HTTP/1.1\r\nHost: a\r\n", "refused 501"),
    ("target: absolute, Host missing", b"GET http://b/ HTTP/1.1\r\n", "refused 400"),
    ("target: absolute, Host broken", b"GET http://b/ HTTP/1.1\r\nHost: a b\r\n", "refused 400"),
    ("version: 1.0", b"GET / HTTP/1.0\r\nHost: a\r\n", "refused 505"),
    ("version: 1.0 without Host", b"GET / HTTP/1.0\r\n", "refused 505"),
    ("version: 1.0 with a coding", b"GET / HTTP/1.0\r\nHost: a\r\nTransfer-Encoding: chunked\r\n", "refused 505"),
    ("version: 1.2", b"GET / HTTP/1.2\r\nHost: a\r\n", "refused 505"),
    ("version: 0.9", b"GET / HTTP/0.9\r\nHost: a\r\n", "refused 505"),
    ("version: 2.0", b"GET / HTTP/2.0\r\nHost: a\r\n", "refused 505"),
    ("version: none", b"GET /\r\nHost: a\r\n", "refused 400"),
    ("version: empty", b"GET / \r\nHost: a\r\n", "refused 400"),
    ("version: lower case", b"GET / http/1.1\r\nHost: a\r\n", "refused 400"),
    ("version: other name", b"GET / HTTQ/1.1\r\nHost: a\r\n", "refused 400"),
    ("version: HTTPS", b"GET / HTTPS/1.1\r\nHost: a\r\n", "refused 400"),
    ("version: no minor", b"GET / HTTP/1\r\nHost: a\r\n", "refused 400"),
    ("version: comma", b"GET / HTTP/1,1\r\nHost: a\r\n", "refused 400"),
    ("version: three parts", b"GET / HTTP/1.1.1\r\nHost: a\r\n", "refused 400"),
    ("version: two digits", b"GET / HTTP/1.10\r\nHost: a\r\n", "refused 400"),
    ("version: two digits before", b"GET / HTTP/01.1\r\nHost: a\r\n", "refused 400"),
    ("version: space inside", b"GET / HTTP/ 1.1\r\nHost: a\r\n", "refused 400"),
    ("version: space behind", b"GET / HTTP/1.1 \r\nHost: a\r\n", "refused 400"),
    ("version: tab behind", b"GET / HTTP/1.1\t\r\nHost: a\r\n", "refused 400"),
    ("version: text behind", b"GET / HTTP/1.1 x\r\nHost: a\r\n", "refused 400"),
    ("version: letter", b"GET / HTTP/1.x\r\nHost: a\r\n", "refused 400"),
    ("line: request line with a line feed alone", b"GET / HTTP/1.1\nHost: a\r\n", "refused 400"),
    ("line: request line with a carriage return alone", b"GET / HTTP/1.1\rHost: a\r\n", "refused 400"),
    ("line: request line with two carriage returns", b"GET / HTTP/1.1\r\r\nHost: a\r\n", "refused 400"),
    ("line: last field with a line feed alone", b"GET / HTTP/1.1\r\nHost: a\n", "refused 400"),
    ("line: first field folded", b"GET / HTTP/1.1\r\n X: 1\r\nHost: a\r\n", "refused 400"),
    ("line: first field folded with a tab", b"GET / HTTP/1.1\r\n\tHost: a\r\n", "refused 400"),
    ("line: request line folded", b"GET /\r\n HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("line: empty before", b"\r\nGET / HTTP/1.1\r\nHost: a\r\n", "GET / at a"),
    ("line: two empty before", b"\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n", "GET / at a"),
    ("line: three empty before", b"\r\n\r\n\r\nGET / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("line: empty before, line feed alone", b"\nGET / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("line: empty before, second a line feed alone", b"\r\n\nGET / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("line: carriage return before", b"\rGET / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("line: space before", b" GET / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("line: nul before", b"\0GET / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("line: byte order mark before", b"\xef\xbb\xbfGET / HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("host: port", b"GET / HTTP/1.1\r\nHost: a.b:65535\r\n", "GET / at a.b:65535"),
    ("host: any case", b"GET / HTTP/1.1\r\nhOST:a\r\n", "GET / at a"),
    ("host: behind other fields", b"GET / HTTP/1.1\r\nX: 1\r\nHost: a\r\n", "GET / at a [x=1]"),
    ("host: empty", b"GET / HTTP/1.1\r\nHost:\r\n", "GET / at "),
    ("host: empty port", b"GET / HTTP/1.1\r\nHost: a:\r\n", "GET / at a:"),
    ("host: IPv4", b"GET / HTTP/1.1\r\nHost: 127.0.0.1:80\r\n", "GET / at 127.0.0.1:80"),
    ("host: IPv6", b"GET / HTTP/1.1\r\nHost: [::ffff:1.2.3.4]:80\r\n", "GET / at [::ffff:1.2.3.4]:80"),
    ("host: every character", b"GET / HTTP/1.1\r\nHost: a-b_c.d~!$&'()*+;=\r\n", "GET / at a-b_c.d~!$&\\'()*+;="),
    ("host: missing", b"GET / HTTP/1.1\r\nX: 1\r\n", "refused 400"),
    ("host: repeated, equal", b"GET / HTTP/1.1\r\nHost: a\r\nHost: a\r\n", "refused 400"),
    ("host: repeated, different", b"GET / HTTP/1.1\r\nHost: a\r\nX: 1\r\nhost: b\r\n", "refused 400"),
    ("host: repeated, one empty", b"GET / HTTP/1.1\r\nHost:\r\nHost: a\r\n", "refused 400"),
    ("host: in the second line", b"GET / HTTP/1.1\r\nHost:\r\n a\r\n", "refused 400"),
    ("host: space before the colon", b"GET / HTTP/1.1\r\nHost : a\r\n", "refused 400"),
    ("host: space inside", b"GET / HTTP/1.1\r\nHost: a b\r\n", "refused 400"),
    ("host: list", b"GET / HTTP/1.1\r\nHost: a, b\r\n", "refused 400"),
    ("host: user", b"GET / HTTP/1.1\r\nHost: u@a\r\n", "refused 400"),
    ("host: path", b"GET / HTTP/1.1\r\nHost: a/b\r\n", "refused 400"),
    ("host: query", b"GET / HTTP/1.1\r\nHost: a?b\r\n", "refused 400"),
    ("host: fragment", b"GET / HTTP/1.1\r\nHost: a#b\r\n", "refused 400"),
    ("host: scheme", b"GET / HTTP/1.1\r\nHost: http://a\r\n", "refused 400"),
    ("host: port alone", b"GET / HTTP/1.1\r\nHost: :80\r\n", "refused 400"),
    ("host: port name, ours", b"GET / HTTP/1.1\r\nHost: a:b-2_c\r\n", "GET / at a:b-2_c"),
    ("host: port name in an absolute target", b"GET http://a:b/ HTTP/1.1\r\nHost: a\r\n", "refused 400"),
    ("host: port name that begins with a digit", b"GET / HTTP/1.1\r\nHost: a:8b\r\n", "refused 400"),
    ("host: port name with a dot", b"GET / HTTP/1.1\r\nHost: a:b.c\r\n", "refused 400"),
    ("host: port name without a host", b"GET / HTTP/1.1\r\nHost: :b\r\n", "refused 400"),
    ("host: port too large", b"GET / HTTP/1.1\r\nHost: a:65536\r\n", "refused 400"),
    ("host: port with a sign", b"GET / HTTP/1.1\r\nHost: a:+80\r\n", "refused 400"),
    ("host: two ports", b"GET / HTTP/1.1\r\nHost: a:80:90\r\n", "refused 400"),
    ("host: IPv6 without brackets", b"GET / HTTP/1.1\r\nHost: ::1\r\n", "refused 400"),
    ("host: IPv6 not closed", b"GET / HTTP/1.1\r\nHost: [::1\r\n", "refused 400"),
    ("host: IPv6 not opened", b"GET / HTTP/1.1\r\nHost: ::1]\r\n", "refused 400"),
    ("host: IPv6 of letters", b"GET / HTTP/1.1\r\nHost: [g::1]\r\n", "refused 400"),
    ("host: IPv6 empty", b"GET / HTTP/1.1\r\nHost: []\r\n", "refused 400"),
    ("host: IPv6 with text behind", b"GET / HTTP/1.1\r\nHost: [::1]a\r\n", "refused 400"),
    ("host: percent-encoding", b"GET / HTTP/1.1\r\nHost: a%41\r\n", "refused 400"),
    ("host: percent alone", b"GET / HTTP/1.1\r\nHost: a%\r\n", "refused 400"),
    ("host: percent and no hex", b"GET / HTTP/1.1\r\nHost: a%4g\r\n", "refused 400"),
    ("host: high byte", b"GET / HTTP/1.1\r\nHost: \xc3\xa9\r\n", "refused 400"),
    ("host: backslash", b"GET / HTTP/1.1\r\nHost: a\\b\r\n", "refused 400"),
    ("host: quotes", b"GET / HTTP/1.1\r\nHost: \"a\"\r\n", "refused 400"),
    ("host: nul", b"GET / HTTP/1.1\r\nHost: a\0\r\n", "refused 400"),
    ("hop: TE keeps trailers", b"GET / HTTP/1.1\r\nHost: a\r\nTE: gzip;q=0.5, Trailers\r\nConnection: TE\r\n", "GET / at a [te=trailers]"),
    ("hop: TE keeps trailers once", b"GET / HTTP/1.1\r\nHost: a\r\nTE: trailers\r\nte: trailers\r\n", "GET / at a [te=trailers]"),
    ("expect: 100-continue", b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\n", "GET / at a"),
    ("expect: any case", b"GET / HTTP/1.1\r\nHost: a\r\nexpect: 100-CONTINUE\r\n", "GET / at a"),
    ("expect: other", b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 200-ok\r\n", "refused 417"),
    ("expect: empty", b"GET / HTTP/1.1\r\nHost: a\r\nExpect:\r\n", "refused 417"),
    ("expect: and more", b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue, x\r\n", "refused 417"),
    ("expect: parameter", b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue;x\r\n", "refused 417"),
    ("expect: repeated, one unknown", b"GET / HTTP/1.1\r\nHost: a\r\nExpect: 100-continue\r\nExpect: x\r\n", "refused 417"),
];

/// Whole connections of requests.
#[rustfmt::skip]
const REQUESTS: &[Row] = &[
    ("stream: nothing", b"", ""),
    ("stream: cut in a head", b"GET / HTTP/1.1\r\nHost: a\r\n", "cut"),
    ("stream: cut in a body", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nhell", "cut"),
    ("stream: cut before the last chunk", b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n", "cut"),
    ("stream: cut in the last line", b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n", "cut"),
    ("stream: chunk size of 64 bits", b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nx", "cut"),
    ("stream: length of 64 bits", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 18446744073709551615\r\n\r\nx", "cut"),
    (
        "stream: three requests",
        b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\nPUT /2 HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok\
          PUT /3 HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n",
        "GET /1 at a | PUT /2 at a <ok> | PUT /3 at a <x>",
    ),
    (
        "stream: a GET has a body",
        b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nokGET / HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET / at a <ok> | GET / at b",
    ),
    (
        "stream: a request within a body stays there",
        b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 28\r\n\r\nGET /x HTTP/1.1\r\nHost: b\r\n\r\n",
        "PUT / at a <GET /x HTTP/1.1\\r\\nHost: b\\r\\n\\r\\n>",
    ),
    (
        "stream: nothing is read behind close",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET / at a",
    ),
    (
        "stream: close beats keep-alive",
        b"GET / HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\nConnection: Close\r\n\r\nGET / HTTP/1.1\r\nHost: b\r\n\r\n",
        "GET / at a",
    ),
    ("stream: body behind a length of zero", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\nhello\r\n\r\n", "PUT / at a | refused 400"),
    ("stream: body without framing", b"PUT / HTTP/1.1\r\nHost: a\r\n\r\n{\"a\": 1}\r\n", "PUT / at a | refused 400"),
    ("stream: body longer than its length", b"PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nok!\r\n\r\n", "PUT / at a <ok> | refused 400"),
    (
        "stream: text behind the last chunk",
        b"PUT / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n1\r\nx\r\n",
        "PUT / at a | refused 400",
    ),
    ("stream: HTTP/2 preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", "refused 505"),
    ("stream: TLS", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03", "refused 400"),
    ("stream: a reply", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "refused 400"),
];

/// Whole connections of replies.
#[rustfmt::skip]
const REPLY_STREAMS: &[Row] = &[
    ("status: no reason", b"HTTP/1.1 200 \r\nContent-Length: 0\r\n\r\n", "200"),
    ("status: any reason", b"HTTP/1.1 299 \ta \xe9! \r\nContent-Length: 0\r\n\r\n", "299"),
    ("status: 999", b"HTTP/1.1 999 x\r\nContent-Length: 0\r\n\r\n", "999"),
    ("status: second space missing", b"HTTP/1.1 200\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("status: none", b"HTTP/1.1\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("status: two digits", b"HTTP/1.1 20 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("status: four digits", b"HTTP/1.1 2000 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("status: letters", b"HTTP/1.1 2x0 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("status: sign", b"HTTP/1.1 +20 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("status: below 100", b"HTTP/1.1 099 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("status: zero", b"HTTP/1.1 000 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("status: 101 without an upgrade", b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "refused 502"),
    ("status: two spaces before", b"HTTP/1.1  200 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("status: tab before", b"HTTP/1.1\t200 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("status: tab behind", b"HTTP/1.1 200\tOK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("reason: nul", b"HTTP/1.1 200 O\0K\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("reason: control character", b"HTTP/1.1 200 O\x01K\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("reason: delete", b"HTTP/1.1 200 O\x7fK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("reason: carriage return", b"HTTP/1.1 200 O\rK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("line: status line with a line feed alone", b"HTTP/1.1 200 OK\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("line: status line with two carriage returns", b"HTTP/1.1 200 OK\r\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("line: first field folded", b"HTTP/1.1 200 OK\r\n X: 1\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("line: last line feed alone", b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\n", "refused 502"),
    ("line: empty before", b"\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("line: space before", b" HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("version: 2.0", b"HTTP/2.0 200 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("version: 1.2", b"HTTP/1.2 200 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("version: 0.9", b"<html></html>\r\n\r\n", "refused 502"),
    ("version: lower case", b"http/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("version: ICY", b"ICY 200 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("version: two digits", b"HTTP/1.10 200 OK\r\nContent-Length: 0\r\n\r\n", "refused 502"),
    ("hop: TE means nothing in a reply", b"HTTP/1.1 200 OK\r\nTE: trailers\r\nContent-Length: 0\r\n\r\n", "200"),
    ("field: Host and Expect mean nothing in a reply", b"HTTP/1.1 200 OK\r\nHost: a b\r\nHost: c\r\nExpect: x\r\nContent-Length: 0\r\n\r\n", "200 [host=a b host=c expect=x]"),
    ("body: to the end of the connection", b"HTTP/1.1 200 OK\r\n\r\nhello\r\n\r\n", "200 <hello\\r\\n\\r\\n>"),
    ("body: none to the end", b"HTTP/1.1 200 OK\r\n\r\n", "200"),
    ("body: cut", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhell", "cut"),
    ("body: chunks cut", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", "cut"),
    ("body: 1.0 with a length", b"HTTP/1.0 200 OK\r\nContent-Length: 5\r\n\r\nhello", "200 <hello>"),
    ("body: 1.0 to the end", b"HTTP/1.0 200 OK\r\n\r\nhello", "200 <hello>"),
    ("body: 1.0 ends the connection", b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nokHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "200 <ok>"),
    (
        "body: 1.0 with keep-alive goes on",
        b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nokHTTP/1.1 201 OK\r\nContent-Length: 0\r\n\r\n",
        "200 <ok> | 201",
    ),
    ("body: 1.0 with a coding", b"HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "refused 502"),
    (
        "body: nothing is read behind close",
        b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nokHTTP/1.1 200 OK\r\n\r\n",
        "200 <ok>",
    ),
    ("body: longer than its length", b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok!\r\n\r\n", "200 <ok> | refused 502"),
    ("body: 204 has none", b"HTTP/1.1 204 No\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "204 | 200"),
    ("body: 204 with a length of zero", b"HTTP/1.1 204 No\r\nContent-Length: 0\r\n\r\n", "204"),
    ("body: 204 with a length", b"HTTP/1.1 204 No\r\nContent-Length: 5\r\n\r\nhello", "refused 502"),
    ("body: 204 with a coding", b"HTTP/1.1 204 No\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "refused 502"),
    ("body: 304 has none", b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", "304 | 200"),
    ("body: 304 with one", b"HTTP/1.1 304 No\r\nContent-Length: 5\r\n\r\nhello\r\n\r\n", "304 | refused 502"),
    (
        "interim: before the final one",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "100 | 103 [link=x] | 200 <ok>",
    ),
    ("interim: with a length", b"HTTP/1.1 100 Continue\r\nContent-Length: 5\r\n\r\nhello", "refused 502"),
    ("interim: with a coding", b"HTTP/1.1 103 Hints\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", "refused 502"),
    ("stream: a request", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", "refused 502"),
];

/// Whole connections of replies to HEAD.
#[rustfmt::skip]
const REPLY_STREAMS_TO_HEAD: &[Row] = &[
    ("head: a length has no body", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 201 OK\r\nContent-Length: 5\r\n\r\n", "200 | 201"),
    ("head: a coding has no body", b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nHTTP/1.1 201 OK\r\n\r\n", "200 | 201"),
    ("head: no framing", b"HTTP/1.1 200 OK\r\n\r\nHTTP/1.1 201 OK\r\n\r\n", "200 | 201"),
    ("head: with a body", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello\r\n\r\n", "200 | refused 502"),
    ("head: both framings", b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", "refused 502"),
];

/// The limits, at and beyond them.
fn limits(cases: &mut Vec<Case>) {
    let mut add = |name: &str, parts: &[&[u8]], expect: &str| {
        cases.push(case(Direction::Requests, name, parts.concat(), expect));
    };
    let x = "x".repeat(32 * 1024);
    let filled = |len: usize| x.as_bytes().get(..len).unwrap_or_default();
    let fields = b"X:\r\n".repeat(101);
    let head: &[u8] = b"GET / HTTP/1.1\r\nHost: a\r\n";

    let large = format!("GET / at a [x={}]", &x[..32_000]);
    add(
        "limit: a large value",
        &[head, b"X: ", filled(32_000), b"\r\n\r\n"],
        &large,
    );
    add(
        "limit: a head too large",
        &[head, b"X: ", filled(32 * 1024), b"\r\n\r\n"],
        "refused 431",
    );
    let many = format!("GET / at a [{}]", " x=".repeat(99).trim_start());
    add(
        "limit: 100 fields",
        &[head, &fields[..99 * 4], b"\r\n"],
        &many,
    );
    add(
        "limit: 101 fields",
        &[head, &fields[..100 * 4], b"\r\n"],
        "refused 431",
    );
    let names = b",a".repeat(64);
    add(
        "limit: names in Connection",
        &[head, b"Connection: a", &names, b"\r\n\r\n"],
        "refused 431",
    );

    let rest: &[u8] = b" HTTP/1.1\r\nHost: a\r\n\r\n";
    let target = format!("GET /{} at a", &x[..8191]);
    add(
        "limit: target of 8 KiB",
        &[b"GET /", filled(8191), rest],
        &target,
    );
    add(
        "limit: target of 8 KiB + 1",
        &[b"GET /", filled(8192), rest],
        "refused 414",
    );

    let chunked: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";
    let end: &[u8] = b"\r\nx\r\n0\r\n\r\n";
    add(
        "limit: chunk line of 1 KiB",
        &[chunked, b"1;", filled(1020), end],
        "POST / at a <x>",
    );
    add(
        "limit: chunk line of 1 KiB + 1",
        &[chunked, b"1;", filled(1021), end],
        "refused 400",
    );
    let trailer: &[u8] = b"0\r\nX: ";
    let large = format!("POST / at a {{x={}}}", &x[..8000]);
    add(
        "limit: large trailers",
        &[chunked, trailer, filled(8000), b"\r\n\r\n"],
        &large,
    );
    add(
        "limit: trailers too large",
        &[chunked, trailer, filled(8192), b"\r\n\r\n"],
        "refused 431",
    );
    add(
        "limit: 101 trailers",
        &[chunked, b"0\r\n", &fields, b"\r\n"],
        "refused 431",
    );
}
