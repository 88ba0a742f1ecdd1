//! Heads of requests and replies: `httparse` finds the tokens, this file says whether they are a message.
//!
//! `httparse` takes more than the grammar does (bare LF, any byte above SP in a target), so everything it
//! lets through is checked again here. Never in here: state between calls; a head that comes in pieces is
//! read again from its start, which the limits on its bytes and fields keep cheap.

use super::grammar::{self, Special, special};
use super::{Framing, Limits, Parsed, Refusal, ReplyHead, RequestHead, Version};
use crate::fields::{Fields, Span};
use httparse::{Error, Header, ParserConfig, Status};
use std::mem::MaybeUninit;

/// Places for fields on the stack; `Limits::fields_max` beyond it has no effect.
const FIELDS_MAX: usize = 128;

/// Empty lines before a request: one that an old client sends after a body, and one for good measure.
const EMPTY_LINES_MAX: usize = 2;

/// Names that one head's `Connection` fields may list.
const CONNECTION_OPTIONS_MAX: usize = 64;

/// Where a reason phrase starts.
const REASON_START: usize = b"HTTP/1.1 200 ".len();

const OUTSIDE_NAME: &str =
    "a field's name has a character outside of the grammar, or no colon after it";
const OUTSIDE_VALUE: &str = "a field's value has a control character or a broken line end";
const LINE_END: &str = "a line ends with a bare line feed";
const HTTP_1_0: &str =
    "HTTP/1.0 requests are not taken here; use HTTP/1.1 (nginx: proxy_http_version 1.1)";
const NO_CONNECT: &str =
    "CONNECT is not taken here; send the request itself, with http://host/path as its target";
const NO_HTTPS: &str =
    "an https target is not taken in a plain request; use http:// towards services of the mesh";

/// Reads a request's head from the beginning of `bytes`; empty lines before it are skipped and counted in.
/// Incomplete input is `Need` until a limit is passed; a head that is already wrong may be refused early.
pub fn parse_request(
    bytes: &[u8],
    limits: &Limits,
    head: &mut RequestHead,
) -> Result<Parsed, Refusal> {
    head.fields.clear();
    let Some(skipped) = empty_lines(bytes)? else {
        return Ok(Parsed::Need);
    };
    let message = bytes.get(skipped..).unwrap_or_default();

    let mut places = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let places = places
        .get_mut(..limits.fields_max.min(FIELDS_MAX))
        .unwrap_or_default();
    let mut request = httparse::Request::new(&mut []);
    let outcome =
        ParserConfig::default().parse_request_with_uninit_headers(&mut request, message, places);
    match request.version {
        Some(0) => {
            return Err(Refusal {
                status: 505,
                reason: HTTP_1_0,
            });
        }
        Some(_) if request.method == Some("CONNECT") => {
            return Err(Refusal {
                status: 501,
                reason: NO_CONNECT,
            });
        }
        _ => {}
    }
    let (method, target) = (
        request.method.unwrap_or_default(),
        request.path.unwrap_or_default(),
    );
    let target_len = match request.path {
        Some(path) => path.len(),
        None => request
            .method
            .map_or(0, |method| message.len().saturating_sub(method.len() + 1)),
    };
    if target_len > limits.target_bytes_max {
        return Err(Refusal {
            status: 414,
            reason: "the target is longer than the limit",
        });
    }
    let end = match outcome {
        Ok(Status::Complete(end)) => end,
        Ok(Status::Partial) => return need(bytes, limits),
        Err(Error::Version) => return version(message, method, target, bytes, limits),
        Err(error) => return Err(syntax(error)),
    };
    within(skipped + end, limits)?;
    let kept = Kept::new(message, end, &mut head.fields)?;
    read_request(
        method.as_bytes(),
        target.as_bytes(),
        request.headers,
        kept,
        head,
    )?;
    Ok(Parsed::Complete(skipped + end))
}

/// How many bytes of empty lines stand before the message; `None` when more bytes tell.
fn empty_lines(bytes: &[u8]) -> Result<Option<usize>, Refusal> {
    let mut rest = bytes;
    for _ in 0..=EMPTY_LINES_MAX {
        match rest {
            [b'\r', b'\n', after @ ..] => rest = after,
            [] | [b'\r'] => return Ok(None),
            [b'\r' | b'\n', ..] => return Err(Refusal::bad(LINE_END)),
            _ => return Ok(Some(bytes.len() - rest.len())),
        }
    }
    Err(Refusal::bad("too many empty lines before a request"))
}

fn need(bytes: &[u8], limits: &Limits) -> Result<Parsed, Refusal> {
    // A head of exactly the limit would be complete with these bytes.
    within(bytes.len() + 1, limits)?;
    Ok(Parsed::Need)
}

fn within(len: usize, limits: &Limits) -> Result<(), Refusal> {
    if len > limits.head_bytes_max {
        return Err(Refusal::large("the head is longer than the limit"));
    }
    Ok(())
}

fn syntax(error: Error) -> Refusal {
    match error {
        Error::HeaderName => Refusal::bad(OUTSIDE_NAME),
        Error::HeaderValue => Refusal::bad(OUTSIDE_VALUE),
        Error::TooManyHeaders => Refusal::large("the head has more fields than the limit"),
        Error::NewLine => Refusal::bad("a line ends with a bare carriage return"),
        Error::Token => {
            Refusal::bad("the request line is not: method, space, target, space, version")
        }
        Error::Status => {
            Refusal::bad("the status line is not: version, space, three digits, space, reason")
        }
        Error::Version => Refusal::bad("the version is not HTTP and two digits"),
    }
}

/// What follows from a version that is neither 1.0 nor 1.1: a well-formed one is told apart from garbage.
fn version(
    message: &[u8],
    method: &str,
    target: &str,
    bytes: &[u8],
    limits: &Limits,
) -> Result<Parsed, Refusal> {
    const SHAPE: &[u8] = b"HTTP/0.0\r\n";
    let found = message
        .get(method.len() + target.len() + 2..)
        .unwrap_or_default();
    let fits = found.iter().zip(SHAPE).all(|(byte, shape)| match shape {
        b'0' => byte.is_ascii_digit(),
        shape => byte == shape,
    });
    match fits {
        false => Err(syntax(Error::Version)),
        true if found.len() < SHAPE.len() => need(bytes, limits),
        true => Err(Refusal {
            status: 505,
            reason: "only HTTP/1.1 is taken here",
        }),
    }
}

/// A head whose bytes are kept in its fields as a whole, so that each part of it is a span.
#[derive(Clone, Copy)]
struct Kept<'a> {
    head: &'a [u8],
    span: Span,
}

impl<'a> Kept<'a> {
    /// `httparse` takes lines that end with a bare LF. As it lets no LF into a name or value, the bytes
    /// before each name ([`Kept::name`]) and the last four of the head tell.
    fn new(message: &'a [u8], end: usize, fields: &mut Fields) -> Result<Self, Refusal> {
        let head = message.get(..end).unwrap_or_default();
        if !head.ends_with(b"\r\n\r\n") {
            return Err(Refusal::bad(LINE_END));
        }
        Ok(Self {
            head,
            span: fields.store(head),
        })
    }

    /// Where a part of the head lies.
    fn part(self, part: &[u8]) -> Span {
        self.span.part(self.offset(part), part.len())
    }

    fn offset(self, part: &[u8]) -> usize {
        part.as_ptr().addr().wrapping_sub(self.head.as_ptr().addr())
    }

    /// A field's name, once the line before it is known to end with CRLF.
    fn name<'b>(self, header: &Header<'b>) -> Result<&'b [u8], Refusal> {
        let name = header.name.as_bytes();
        let start = self.offset(name);
        match self.head.get(start.wrapping_sub(2)..start) {
            Some(b"\r\n") => Ok(name),
            _ => Err(Refusal::bad(LINE_END)),
        }
    }

    /// Appends a field.
    fn push(self, name: &[u8], value: &[u8], fields: &mut Fields) {
        fields.push_spans(self.part(name), self.part(value));
    }
}

fn read_request(
    method: &[u8],
    target: &[u8],
    headers: &[Header<'_>],
    kept: Kept<'_>,
    head: &mut RequestHead,
) -> Result<(), Refusal> {
    let fields = &mut head.fields;
    head.method = kept.part(method);
    let target = read_target(method, target)?;
    head.target = match target.form {
        Form::Part(target) => kept.part(target),
        Form::Asterisk => fields.store(b"*"),
        Form::Root => fields.store(b"/"),
        Form::Query(query) => fields.store(&[b"/", query].concat()),
    };
    let mut seen = Seen::default();
    for header in headers {
        let (name, value) = (kept.name(header)?, header.value);
        match special(name) {
            Special::None => kept.push(name, value, fields),
            Special::Host if seen.host.is_some() => {
                return Err(Refusal::bad("Host is there more than once"));
            }
            Special::Host => seen.host = Some(value),
            Special::Expect if value.eq_ignore_ascii_case(b"100-continue") => seen.expect = true,
            Special::Expect => {
                return Err(Refusal {
                    status: 417,
                    reason: "only 100-continue can be expected",
                });
            }
            Special::Te => {
                seen.te |=
                    grammar::list(value).any(|coding| coding.eq_ignore_ascii_case(b"trailers"));
            }
            kind => seen.take(kind, value)?,
        }
    }
    if seen.te {
        // gRPC needs it from end to end; every other coding is between two hops.
        fields.push(b"te", b"trailers");
    }
    let Some(host) = seen.host else {
        return Err(Refusal::bad("Host is missing"));
    };
    if !(host.is_empty() || grammar::is_authority(host)) {
        return Err(Refusal::bad(
            "Host is not a name or address with an optional port",
        ));
    }
    head.authority = kept.part(target.authority.unwrap_or(host));
    head.absolute = target.authority.is_some();
    head.framing = seen.framing().unwrap_or(Framing::None);
    head.keep_alive = !seen.close;
    head.expect_continue =
        seen.expect && !matches!(head.framing, Framing::None | Framing::Length(0));
    seen.remove_options(headers, fields);
    Ok(())
}

/// A request target, read.
struct Target<'a> {
    form: Form<'a>,
    authority: Option<&'a [u8]>,
}

enum Form<'a> {
    /// As it stands in the head.
    Part(&'a [u8]),
    /// The empty path of OPTIONS: RFC 9112 3.2.4 has the last proxy write it as `*`.
    Asterisk,
    /// Any other empty path.
    Root,
    /// A query behind an authority, which gets a `/` before it.
    Query(&'a [u8]),
}

fn read_target<'a>(method: &[u8], target: &'a [u8]) -> Result<Target<'a>, Refusal> {
    if grammar::is_origin_form(target) {
        return Ok(Target {
            form: Form::Part(target),
            authority: None,
        });
    }
    if target == b"*" {
        return match method {
            b"OPTIONS" => Ok(Target {
                form: Form::Part(target),
                authority: None,
            }),
            _ => Err(Refusal::bad("the target * belongs to OPTIONS alone")),
        };
    }
    if has_scheme(target, b"https://") {
        return Err(Refusal {
            status: 501,
            reason: NO_HTTPS,
        });
    }
    if !has_scheme(target, b"http://") {
        return Err(Refusal::bad(
            "the target is not a path, nor http:// and a path",
        ));
    }
    let rest = target.get(b"http://".len()..).unwrap_or_default();
    let end = rest
        .iter()
        .position(|byte| matches!(byte, b'/' | b'?'))
        .unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    if !grammar::is_authority(authority) || !grammar::is_path_and_query(path) {
        return Err(Refusal::bad(
            "the absolute target is not http://, host, optional port, path",
        ));
    }
    let form = match path {
        [] if method == b"OPTIONS" => Form::Asterisk,
        [] => Form::Root,
        [b'?', ..] => Form::Query(path),
        _ => Form::Part(path),
    };
    Ok(Target {
        form,
        authority: Some(authority),
    })
}

fn has_scheme(target: &[u8], scheme: &[u8]) -> bool {
    target
        .get(..scheme.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(scheme))
}

/// What the fields of a head said that is not end to end.
#[derive(Default)]
struct Seen<'a> {
    host: Option<&'a [u8]>,
    length: Option<u64>,
    chunked: bool,
    close: bool,
    keep_alive: bool,
    expect: bool,
    /// Whether `TE` lists `trailers`.
    te: bool,
    /// Names that `Connection` lists beside the usual ones.
    options: usize,
}

impl Seen<'_> {
    /// Takes a field that both directions know.
    fn take(&mut self, kind: Special, value: &[u8]) -> Result<(), Refusal> {
        match kind {
            Special::ContentLength => {
                if self.chunked {
                    return Err(Refusal::bad(
                        "Content-Length and Transfer-Encoding are both there",
                    ));
                }
                if self.length.is_some() {
                    return Err(Refusal::bad("Content-Length is there more than once"));
                }
                let length = grammar::decimal(value);
                self.length = Some(length.ok_or(Refusal::bad("Content-Length is not a number"))?);
            }
            Special::TransferEncoding => {
                if self.length.is_some() {
                    return Err(Refusal::bad(
                        "Content-Length and Transfer-Encoding are both there",
                    ));
                }
                if self.chunked || !value.eq_ignore_ascii_case(b"chunked") {
                    return Err(Refusal::bad("Transfer-Encoding is not chunked, once"));
                }
                self.chunked = true;
            }
            Special::Connection => self.take_connection(value)?,
            Special::Te | Special::Hop | Special::None | Special::Host | Special::Expect => {}
        }
        Ok(())
    }

    fn take_connection(&mut self, value: &[u8]) -> Result<(), Refusal> {
        for option in grammar::list(value) {
            if option.eq_ignore_ascii_case(b"keep-alive") {
                self.keep_alive = true;
            } else if option.eq_ignore_ascii_case(b"close") {
                self.close = true;
            } else if !grammar::is_token(option) {
                return Err(Refusal::bad("Connection is not a list of names"));
            } else if is_kept_from_connection(option) {
                return Err(Refusal::bad(
                    "Connection names a field that frames the message",
                ));
            } else {
                self.options += 1;
            }
            if self.options > CONNECTION_OPTIONS_MAX {
                return Err(Refusal::large(
                    "Connection names more fields than the limit",
                ));
            }
        }
        Ok(())
    }

    fn framing(&self) -> Option<Framing> {
        match (self.chunked, self.length) {
            (true, _) => Some(Framing::Chunked),
            (false, Some(length)) => Some(Framing::Length(length)),
            (false, None) => None,
        }
    }

    /// Removes the fields that `Connection` names. `te` was judged by itself.
    fn remove_options(&self, headers: &[Header<'_>], fields: &mut Fields) {
        if self.options == 0 {
            return;
        }
        let lists = headers
            .iter()
            .filter(|header| special(header.name.as_bytes()) == Special::Connection);
        for option in lists.flat_map(|header| grammar::list(header.value)) {
            if special(option) == Special::None {
                fields.remove(|name, _| name.eq_ignore_ascii_case(option));
            }
        }
    }
}

/// Names whose removal would change where a message ends or goes (robustness: a framing header named as
/// hop-by-hop).
fn is_kept_from_connection(option: &[u8]) -> bool {
    matches!(
        special(option),
        Special::Host | Special::ContentLength | Special::TransferEncoding | Special::Expect
    ) || option.eq_ignore_ascii_case(b"trailer")
}

/// Reads a reply's head from the beginning of `bytes`. `to_head` says that the request was HEAD.
/// 1xx replies are returned like others, with [`Framing::None`].
pub fn parse_reply(
    bytes: &[u8],
    to_head: bool,
    limits: &Limits,
    head: &mut ReplyHead,
) -> Result<Parsed, Refusal> {
    // Whatever is wrong with a reply, its caller is told 502.
    reply(bytes, to_head, limits, head).map_err(|refusal| Refusal {
        status: 502,
        ..refusal
    })
}

fn reply(
    bytes: &[u8],
    to_head: bool,
    limits: &Limits,
    head: &mut ReplyHead,
) -> Result<Parsed, Refusal> {
    head.fields.clear();
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return Err(Refusal::bad("an empty line stands before the reply"));
    }
    let mut places = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let places = places
        .get_mut(..limits.fields_max.min(FIELDS_MAX))
        .unwrap_or_default();
    let mut response = httparse::Response::new(&mut []);
    let outcome =
        ParserConfig::default().parse_response_with_uninit_headers(&mut response, bytes, places);
    let end = match outcome {
        Ok(Status::Complete(end)) => end,
        Ok(Status::Partial) => return need(bytes, limits),
        Err(error) => return Err(syntax(error)),
    };
    within(end, limits)?;
    let kept = Kept::new(bytes, end, &mut head.fields)?;
    // `httparse` takes a status line without its second space; then no reason can be cut out here.
    let line_end = match response.headers.first() {
        Some(first) => kept.offset(first.name.as_bytes()),
        None => end - b"\r\n".len(),
    };
    let reason = REASON_START..line_end.saturating_sub(b"\r\n".len());
    let reason = bytes.get(reason).ok_or_else(|| syntax(Error::Status))?;
    head.reason = kept.part(reason);
    head.status = response.code.unwrap_or_default();
    head.version = if response.version == Some(0) {
        Version::Http10
    } else {
        Version::Http11
    };
    read_reply(to_head, response.headers, kept, head)?;
    Ok(Parsed::Complete(end))
}

fn read_reply(
    to_head: bool,
    headers: &[Header<'_>],
    kept: Kept<'_>,
    head: &mut ReplyHead,
) -> Result<(), Refusal> {
    let (status, fields) = (head.status, &mut head.fields);
    match status {
        100 | 102..=999 => {}
        101 => {
            return Err(Refusal::bad(
                "the reply is 101, but no upgrade was asked for",
            ));
        }
        _ => return Err(Refusal::bad("the status is below 100")),
    }
    let mut seen = Seen::default();
    for header in headers {
        let (name, value) = (kept.name(header)?, header.value);
        match special(name) {
            // Host and Expect mean nothing in a reply, so they are fields like others.
            Special::None | Special::Host | Special::Expect => kept.push(name, value, fields),
            kind => seen.take(kind, value)?,
        }
    }
    if head.version == Version::Http10 && seen.chunked {
        return Err(Refusal::bad(
            "Transfer-Encoding is there in an HTTP/1.0 reply",
        ));
    }
    let never_body = status < 200 || status == 204;
    if never_body && !matches!(seen.framing(), None | Some(Framing::Length(0))) {
        return Err(Refusal::bad("a 1xx or 204 reply declares a body"));
    }
    let no_body = never_body || to_head || status == 304;
    head.framing = match seen.framing() {
        _ if no_body => Framing::None,
        framing => framing.unwrap_or(Framing::Close),
    };
    head.declared_length = if no_body && !never_body {
        seen.length
    } else {
        None
    };
    let persists = head.version == Version::Http11 || seen.keep_alive;
    head.keep_alive = persists && !seen.close && head.framing != Framing::Close;
    seen.remove_options(headers, fields);
    Ok(())
}

/// Reads complete trailers: field lines, each ended by CRLF (the caller has made sure), and an empty line.
pub(super) fn parse_trailers(section: &[u8], fields_max: usize) -> Result<Fields, Refusal> {
    let mut places = [httparse::EMPTY_HEADER; FIELDS_MAX];
    let places = places
        .get_mut(..fields_max.min(FIELDS_MAX))
        .unwrap_or_default();
    let headers = match httparse::parse_headers(section, places) {
        Ok(Status::Complete((_, headers))) => headers,
        Ok(Status::Partial) => return Err(Refusal::bad(LINE_END)),
        Err(error) => return Err(syntax(error)),
    };
    let mut fields = Fields::new();
    for header in headers {
        let name = header.name.as_bytes();
        if !grammar::is_trailer_name(name) {
            return Err(Refusal::bad(
                "a trailer has a name that belongs into the head",
            ));
        }
        fields.push(name, header.value);
    }
    Ok(fields)
}
