//! Replies' heads: the status line, and how the body ends.
//!
//! Replies come from the own app or from outside of the mesh, so they are held to the same grammar as
//! requests; 1.0 is read here and never written.

use super::grammar::{Special, special};
use super::head::{FIELDS_MAX, Kept, Seen, is_far_from_done, need, syntax, within};
use super::{Framing, Limits, Parsed, Refusal, ReplyHead, Version};
use crate::fields::Span;
use httparse::{Error, Header, ParserConfig, Status};
use std::mem::MaybeUninit;

/// Where a reason phrase starts.
const REASON_START: usize = b"HTTP/1.1 200 ".len();

/// Reads a reply's head from the beginning of `bytes`. `to_head` says that the request was HEAD.
/// 1xx replies are returned like others, with [`Framing::None`].
pub fn parse_reply(
    bytes: &[u8],
    to_head: bool,
    limits: &Limits,
    head: &mut ReplyHead,
) -> Result<Parsed, Refusal> {
    let asked = if to_head { Asked::Head } else { Asked::Body };
    refused_as_502(reply(bytes, asked, limits, head))
}

/// Reads the head of a reply to a request that asked for an upgrade. Only here is a 101 one that may be: it is the
/// final reply, has [`Framing::None`], and `upgrade` says what it granted; whether that was asked for is the
/// caller's to see.
pub fn parse_reply_to_upgrade(
    bytes: &[u8],
    limits: &Limits,
    head: &mut ReplyHead,
) -> Result<Parsed, Refusal> {
    refused_as_502(reply(bytes, Asked::Upgrade, limits, head))
}

/// What the request wanted, as far as that changes how its reply is read.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Asked {
    Body,
    Head,
    Upgrade,
}

/// Whatever is wrong with a reply, its caller is told 502.
fn refused_as_502(result: Result<Parsed, Refusal>) -> Result<Parsed, Refusal> {
    result.map_err(|refusal| Refusal {
        status: 502,
        ..refusal
    })
}

fn reply(
    bytes: &[u8],
    asked: Asked,
    limits: &Limits,
    head: &mut ReplyHead,
) -> Result<Parsed, Refusal> {
    head.fields.clear();
    if matches!(bytes.first(), Some(b'\r' | b'\n')) {
        return Err(Refusal::bad("an empty line stands before the reply"));
    }
    if is_far_from_done(bytes, limits.head_bytes_max) {
        return need(bytes, limits);
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
    read_reply(asked, response.headers, kept, head)?;
    Ok(Parsed::Complete(end))
}

fn read_reply(
    asked: Asked,
    headers: &[Header<'_>],
    kept: Kept<'_>,
    head: &mut ReplyHead,
) -> Result<(), Refusal> {
    let (status, fields) = (head.status, &mut head.fields);
    match status {
        100 | 102..=999 => {}
        101 if asked == Asked::Upgrade && head.version == Version::Http11 => {}
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
    head.upgrade = match seen.upgrade() {
        Some(granted) if status == 101 => kept.part(granted),
        None if status == 101 => {
            return Err(Refusal::bad("the reply is 101 and does not say to what"));
        }
        _ => Span::default(),
    };
    let no_body = never_body || asked == Asked::Head || status == 304;
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
