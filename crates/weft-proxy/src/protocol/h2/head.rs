//! Heads between the `http` crate's types, in which the `h2` crate takes and gives them, and the one shape of every
//! call. What h2 has not refused itself is refused here: what HTTP/1.1 could not say, for the call may leave in it.

use crate::call::{CallHead, ReplyHead};
use crate::context::Context;
use crate::protocol::ProtocolId;
use crate::protocol::h2::tunnel::{self, Asked};
use crate::protocol::http::{Extra, identify, is_weft_field};
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, Response, StatusCode, Uri};
use std::net::IpAddr;
use weft_codec::Fields;
use weft_codec::http1::{is_host, is_target};
use weft_codec::link::Kind;
use weft_model::{Code, Failure};
use weft_policy::retry::http_method_is_idempotent;

/// Fields of a head or of trailers, cookie crumbs counted one by one.
const FIELDS_MAX: usize = 100;

/// The head of a call, as a caller sent it.
pub(crate) fn call_head(
    ctx: &Context,
    parts: &http::request::Parts,
    caller: IpAddr,
    has_body: bool,
) -> Result<CallHead, Failure> {
    let mut head = CallHead::new(ProtocolId::H2, ctx.fields());
    let malformed = |reason: &'static str| Failure::with(Code::Malformed, reason);
    let mut extra = Extra::default();
    let host = read_fields(&parts.headers, &mut head.fields, &mut extra, is_weft_field)?;
    extra.expect_continue &= has_body;
    let authority = match (parts.uri.authority(), host) {
        (Some(authority), Some(host))
            if !authority.as_str().as_bytes().eq_ignore_ascii_case(host) =>
        {
            return Err(malformed(":authority and host name two hosts"));
        }
        (Some(authority), _) => authority.as_str().as_bytes(),
        (None, Some(host)) => host,
        (None, None) => return Err(malformed("neither :authority nor host is there")),
    };
    if !is_host(authority) {
        return Err(malformed(
            ":authority is not a name or address with an optional port or port name",
        ));
    }
    let asked = tunnel::asked(parts)?;
    // What asks for a tunnel is in HTTP/1.1 a GET that names a protocol, and travels as one.
    let (method, target) = match asked {
        Some(Asked::Connection) => ("CONNECT", ""),
        Some(Asked::Protocol(_)) => ("GET", path(&parts.uri)),
        None => (parts.method.as_str(), path(&parts.uri)),
    };
    let (method, target) = (method.as_bytes(), target.as_bytes());
    if asked != Some(Asked::Connection) && !is_target(method, target) {
        return Err(malformed(":path has bytes that no request target may have"));
    }
    head.service = head.fields.store(authority);
    head.method = head.fields.store(method);
    head.path = head.fields.store(target);
    head.caller_address = Some(caller);
    head.idempotent = asked.is_none() && http_method_is_idempotent(method);
    if let Some(asked) = asked {
        head.kind = Kind::Tunnel;
        extra = asked.extra();
    }
    head.opaque = store(extra, &mut head.fields);
    identify(ctx, &mut head);
    Ok(head)
}

fn path(uri: &Uri) -> &str {
    uri.path_and_query().map_or("/", |path| path.as_str())
}

/// The head of a reply, as an app sent it.
pub(crate) fn reply_head(
    ctx: &Context,
    response: &http::response::Parts,
    has_body: bool,
    gone: impl Fn(&[u8]) -> bool,
) -> Result<ReplyHead, Failure> {
    let mut head = ReplyHead {
        fields: ctx.fields(),
        status: response.status.as_u16(),
        ..ReplyHead::default()
    };
    let mut extra = Extra::default();
    let read = read_fields(&response.headers, &mut head.fields, &mut extra, gone);
    read.map_err(|failure| Failure::with(Code::UpstreamMalformed, failure.detail))?;
    // RFC 9113 8.6: HTTP/2 has no 101, and a caller in HTTP/1.1 would take what follows for another protocol.
    if response.status == StatusCode::SWITCHING_PROTOCOLS {
        return Err(Failure::with(
            Code::UpstreamMalformed,
            "a reply of 101 in HTTP/2",
        ));
    }
    extra.expect_continue = false;
    extra.declared_length = !has_body && extra.length.is_some();
    head.opaque = store(extra, &mut head.fields);
    head.app_error = head.status >= 500;
    Ok(head)
}

/// The fields of trailers.
pub(crate) fn trailers(map: &HeaderMap) -> Result<Fields, Failure> {
    let mut fields = Fields::new();
    read_fields(map, &mut fields, &mut Extra::default(), is_weft_field)?;
    Ok(fields)
}

fn store(extra: Extra<'_>, fields: &mut Fields) -> weft_codec::Span {
    let mut opaque = Vec::new();
    extra.write(&mut opaque);
    fields.store(&opaque)
}

/// Copies fields; those with a meaning of their own go to `extra`. Returns what `host` says.
fn read_fields<'a>(
    map: &'a HeaderMap,
    fields: &mut Fields,
    extra: &mut Extra<'_>,
    gone: impl Fn(&[u8]) -> bool,
) -> Result<Option<&'a [u8]>, Failure> {
    if map.len() > FIELDS_MAX {
        return Err(Failure::with(
            Code::HeadTooLarge,
            format!("{} fields, at most {FIELDS_MAX} are taken", map.len()),
        ));
    }
    let mut host = None;
    let mut cookies: Vec<u8> = Vec::new();
    for (name, value) in map {
        let bytes = value.as_bytes();
        // RFC 9113 8.2.1; in HTTP/1.1 the space would be none of the value.
        let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
        if is_space(bytes.first()) || is_space(bytes.last()) {
            return Err(Failure::with(
                Code::Malformed,
                "a field's value begins or ends with a space",
            ));
        }
        // The one byte of a name that the http crate takes and no token has; HTTP/1.1's writer would leave it out.
        if name.as_str().bytes().any(|byte| byte == b'"') {
            return Err(Failure::with(
                Code::Malformed,
                "a field's name has a quotation mark",
            ));
        }
        match name.as_str() {
            "host" if host.is_some() => {
                return Err(Failure::with(
                    Code::Malformed,
                    "host is there more than once",
                ));
            }
            "host" => host = Some(bytes),
            "content-length" => extra.length = length(bytes),
            "expect" => extra.expect_continue = bytes.eq_ignore_ascii_case(b"100-continue"),
            // RFC 9113 8.2.3: crumbs are one field everywhere else.
            "cookie" => {
                if !cookies.is_empty() {
                    cookies.extend_from_slice(b"; ");
                }
                cookies.extend_from_slice(bytes);
            }
            name if gone(name.as_bytes()) => {}
            name => fields.push(name.as_bytes(), bytes),
        }
    }
    if !cookies.is_empty() {
        fields.push(b"cookie", &cookies);
    }
    Ok(host)
}

/// What h2 has checked to be a number.
fn length(value: &[u8]) -> Option<u64> {
    std::str::from_utf8(value).ok()?.parse().ok()
}

/// Whether a field belongs to one HTTP/1.1 connection, or says again what HTTP/2 says in another way: it is never
/// sent (RFC 9113 8.2.2).
fn is_unsent(name: &[u8], value: &[u8]) -> bool {
    match name.len() {
        2 => name.eq_ignore_ascii_case(b"te") && !value.eq_ignore_ascii_case(b"trailers"),
        4 => name.eq_ignore_ascii_case(b"host"),
        6 => name.eq_ignore_ascii_case(b"expect"),
        7 => name.eq_ignore_ascii_case(b"upgrade"),
        10 => name.eq_ignore_ascii_case(b"connection") || name.eq_ignore_ascii_case(b"keep-alive"),
        14 => name.eq_ignore_ascii_case(b"content-length"),
        16 => name.eq_ignore_ascii_case(b"proxy-connection"),
        17 => name.eq_ignore_ascii_case(b"transfer-encoding"),
        _ => false,
    }
}

/// Fields as h2 takes them. One that is outside of the grammar is left out, as HTTP/1.1's writer does.
pub(crate) fn header_map(fields: &Fields) -> HeaderMap {
    let mut map = HeaderMap::with_capacity(fields.len());
    for (name, value) in fields.iter() {
        if is_unsent(name, value) {
            continue;
        }
        if let (Ok(name), Ok(value)) =
            (HeaderName::from_bytes(name), HeaderValue::from_bytes(value))
        {
            map.append(name, value);
        }
    }
    map
}

/// The head of a request to an app.
pub(crate) fn request(head: &CallHead, length: Option<u64>) -> Result<Request<()>, Failure> {
    let malformed = |what: &str| {
        Failure::with(
            Code::Malformed,
            format!("the {what} of the call cannot be said in HTTP/2"),
        )
    };
    let extra = Extra::read(head.bytes(head.opaque));
    let mut request = Request::new(());
    *request.method_mut() =
        Method::from_bytes(head.bytes(head.method)).map_err(|_| malformed("method"))?;
    let authority = head.bytes(head.service);
    let path = head.bytes(head.path);
    let mut uri = Uri::builder();
    // CONNECT has none (RFC 9113 8.5).
    if !path.is_empty() {
        uri = uri.path_and_query(path);
        if !authority.is_empty() {
            uri = uri.scheme("http");
        }
    }
    if !authority.is_empty() {
        uri = uri.authority(authority);
    }
    *request.uri_mut() = uri.build().map_err(|_| malformed("target"))?;
    let mut fields = header_map(&head.fields);
    if let Some(length) = length.or(extra.length) {
        fields.insert(http::header::CONTENT_LENGTH, length.into());
    }
    if extra.expect_continue {
        let value = HeaderValue::from_static("100-continue");
        fields.insert(http::header::EXPECT, value);
    }
    *request.headers_mut() = fields;
    Ok(request)
}

/// The head of a reply to a caller.
pub(crate) fn response(head: &ReplyHead, length: Option<u64>) -> Response<()> {
    let mut response = Response::new(());
    // A status that is no status is our own mistake.
    *response.status_mut() =
        StatusCode::from_u16(head.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    *response.headers_mut() = header_map(&head.fields);
    let extra = Extra::read(head.fields.bytes(head.opaque));
    if let Some(length) = length.or(extra.length)
        && !response.status().is_informational()
        && response.status() != StatusCode::NO_CONTENT
    {
        let name = http::header::CONTENT_LENGTH;
        response.headers_mut().insert(name, length.into());
    }
    response
}
