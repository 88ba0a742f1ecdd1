//! Requests' heads: the request line, Host, and what the fields say.
//!
//! Never in here: a guess about what a client meant; a request of another version or form is refused with
//! the sentence that helps its sender.

use super::grammar::{self, Special, special};
use super::head::{FIELDS_MAX, Kept, LINE_END, Seen, is_far_from_done, need, syntax, within};
use super::prefix::METHOD_BYTES_MAX;
use super::{Framing, Limits, Parsed, Refusal, RequestHead};
use crate::fields::{Fields, Span};
use httparse::{Error, Header, ParserConfig, Status};
use std::mem::MaybeUninit;

/// Empty lines before a request: one that an old client sends after a body, and one for good measure.
const EMPTY_LINES_MAX: usize = 2;

/// Bytes of a request line beside its target: a method, spaces, a version.
const LINE_BYTES_BESIDE_TARGET: usize = 64;

const HTTP_1_0: &str =
    "HTTP/1.0 requests are not taken here; use HTTP/1.1 (nginx: proxy_http_version 1.1)";
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
    if is_far_from_done(message, limits.target_bytes_max + LINE_BYTES_BESIDE_TARGET) {
        return need(bytes, limits);
    }
    let mut places = [const { MaybeUninit::uninit() }; FIELDS_MAX];
    let places = places
        .get_mut(..limits.fields_max.min(FIELDS_MAX))
        .unwrap_or_default();
    let mut request = httparse::Request::new(&mut []);
    let outcome =
        ParserConfig::default().parse_request_with_uninit_headers(&mut request, message, places);
    match request.version {
        // Clients that tunnel have long said so in HTTP/1.0 (Python's, up to 3.11); what follows is no HTTP of ours.
        Some(0) if request.method != Some("CONNECT") => {
            return Err(Refusal {
                status: 505,
                reason: HTTP_1_0,
            });
        }
        _ => {}
    }
    let is_old = request.version == Some(0);
    let (method, target) = (
        request.method.unwrap_or_default(),
        request.path.unwrap_or_default(),
    );
    // RFC 9112 3. Detection does not take such a connection for HTTP/1 either.
    if method.len() > METHOD_BYTES_MAX {
        return Err(Refusal {
            status: 501,
            reason: "the method is longer than any that exists",
        });
    }
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
        is_old,
        head,
    )?;
    head.keep_alive &= !is_old;
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

fn read_request(
    method: &[u8],
    target: &[u8],
    headers: &[Header<'_>],
    kept: Kept<'_>,
    is_old: bool,
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
        Form::Authority => kept.part(target.authority.unwrap_or_default()),
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
    // CONNECT in HTTP/1.0 may come without, and says the same in its target.
    let named = target.authority.filter(|_| is_old);
    let Some(host) = seen.host.or(named) else {
        return Err(Refusal::bad("Host is missing"));
    };
    if !(host.is_empty() || grammar::is_authority(host) || grammar::names_a_port(host)) {
        return Err(Refusal::bad(
            "Host is not a name or address with an optional port or port name",
        ));
    }
    head.authority = kept.part(target.authority.unwrap_or(host));
    head.absolute = target.authority.is_some() && !matches!(target.form, Form::Authority);
    head.framing = seen.framing().unwrap_or(Framing::None);
    if matches!(target.form, Form::Authority)
        && !matches!(head.framing, Framing::None | Framing::Length(0))
    {
        return Err(Refusal::bad("CONNECT has a body"));
    }
    head.keep_alive = !seen.close;
    head.upgrade = upgrade(&seen, head.framing, kept, fields);
    head.expect_continue =
        seen.expect && !matches!(head.framing, Framing::None | Framing::Length(0));
    seen.remove_options(headers, fields);
    Ok(())
}

/// The protocols that a request asks for. `h2c` is never granted, so it is none of them; a request with a body is
/// answered as the ordinary one that it also is, for no app could tell that body from the tunnel's first bytes.
fn upgrade(seen: &Seen<'_>, framing: Framing, kept: Kept<'_>, fields: &mut Fields) -> Span {
    let is_h2c = |member: &[u8]| member.eq_ignore_ascii_case(b"h2c");
    let Some(asked) = seen
        .upgrade()
        .filter(|_| matches!(framing, Framing::None | Framing::Length(0)))
    else {
        return Span::default();
    };
    if !grammar::list(asked).any(is_h2c) {
        return kept.part(asked);
    }
    let others: Vec<&[u8]> = grammar::list(asked)
        .filter(|member| !is_h2c(member))
        .collect();
    fields.store(&others.join(&b", "[..]))
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
    /// The authority alone, as CONNECT names it.
    Authority,
}

fn read_target<'a>(method: &[u8], target: &'a [u8]) -> Result<Target<'a>, Refusal> {
    if method == b"CONNECT" {
        // RFC 9110 9.3.6: the port is always there.
        let has_port = grammar::is_authority(target) && grammar::has_port(target);
        if !has_port && !grammar::names_a_port(target) {
            return Err(Refusal::bad("the target of CONNECT is not host:port"));
        }
        return Ok(Target {
            form: Form::Authority,
            authority: Some(target),
        });
    }
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
