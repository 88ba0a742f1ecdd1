//! What heads of both directions, and trailers, have in common: limits, line ends, the fields that frame.
//!
//! `httparse` finds the tokens; `request.rs` and `reply.rs` say whether they are a message. It takes more
//! than the grammar does (bare LF, any byte above SP in a target), so what it lets through is checked again.
//! Never in here: state between calls; a head that comes in pieces is read again from its start.

use super::grammar::{self, Special, special};
use super::{Framing, Limits, Parsed, Refusal};
use crate::fields::{Fields, Span};
use httparse::{Error, Header, Status};

/// Places for fields on the stack; `Limits::fields_max` beyond it has no effect.
pub(super) const FIELDS_MAX: usize = 128;

/// A head up to this size is read whenever bytes come; a longer one once its end is there.
const READ_AT_ONCE_BYTES: usize = 4096;

/// Names that one head's `Connection` fields may list.
const CONNECTION_OPTIONS_MAX: usize = 64;

const OUTSIDE_NAME: &str =
    "a field's name has a character outside of the grammar, or no colon after it";
const OUTSIDE_VALUE: &str = "a field's value has a control character or a broken line end";
pub(super) const LINE_END: &str = "a line ends with a bare line feed";

/// A head whose bytes are kept in its fields as a whole, so that each part of it is a span.
#[derive(Clone, Copy)]
pub(super) struct Kept<'a> {
    head: &'a [u8],
    span: Span,
}

impl<'a> Kept<'a> {
    /// `httparse` takes lines that end with a bare LF. As it lets no LF into a name or value, the bytes
    /// before each name ([`Kept::name`]) and the last four of the head tell.
    pub(super) fn new(message: &'a [u8], end: usize, fields: &mut Fields) -> Result<Self, Refusal> {
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
    pub(super) fn part(self, part: &[u8]) -> Span {
        self.span.part(self.offset(part), part.len())
    }

    pub(super) fn offset(self, part: &[u8]) -> usize {
        part.as_ptr().addr().wrapping_sub(self.head.as_ptr().addr())
    }

    /// A field's name, once the line before it is known to end with CRLF.
    pub(super) fn name<'b>(self, header: &Header<'b>) -> Result<&'b [u8], Refusal> {
        let name = header.name.as_bytes();
        let start = self.offset(name);
        match self.head.get(start.wrapping_sub(2)..start) {
            Some(b"\r\n") => Ok(name),
            _ => Err(Refusal::bad(LINE_END)),
        }
    }

    /// Appends a field.
    pub(super) fn push(self, name: &[u8], value: &[u8], fields: &mut Fields) {
        fields.push_spans(self.part(name), self.part(value));
    }
}

/// What the fields of a head said that is not end to end.
#[derive(Default)]
pub(super) struct Seen<'a> {
    pub(super) host: Option<&'a [u8]>,
    pub(super) length: Option<u64>,
    pub(super) chunked: bool,
    pub(super) close: bool,
    pub(super) keep_alive: bool,
    pub(super) expect: bool,
    /// Whether `TE` lists `trailers`.
    pub(super) te: bool,
    /// What `Upgrade` says.
    pub(super) upgrade: Option<&'a [u8]>,
    /// Whether `Upgrade` is there more than once.
    upgraded_twice: bool,
    /// Whether `Connection` names `Upgrade`, without which that field is none of ours.
    pub(super) upgrades: bool,
    /// Names that `Connection` lists beside the usual ones.
    options: usize,
}

impl<'a> Seen<'a> {
    /// Takes a field that both directions know.
    pub(super) fn take(&mut self, kind: Special, value: &'a [u8]) -> Result<(), Refusal> {
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
            Special::Upgrade => {
                if !grammar::list(value).all(grammar::is_protocol) {
                    return Err(Refusal::bad("Upgrade is not a list of protocols"));
                }
                self.upgraded_twice |= self.upgrade.is_some();
                self.upgrade = Some(value);
            }
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
                self.upgrades |= option.eq_ignore_ascii_case(b"upgrade");
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

    /// The protocols that are asked for, or the one that is granted, when `Connection` says so too. None when the field
    /// is there more than once: that is a list as any other, but nobody who wants an upgrade writes it so, and whoever
    /// reads one line of it alone would read another list.
    pub(super) fn upgrade(&self) -> Option<&'a [u8]> {
        self.upgrade
            .filter(|_| self.upgrades && !self.upgraded_twice)
    }

    pub(super) fn framing(&self) -> Option<Framing> {
        match (self.chunked, self.length) {
            (true, _) => Some(Framing::Chunked),
            (false, Some(length)) => Some(Framing::Length(length)),
            (false, None) => None,
        }
    }

    /// Removes the fields that `Connection` names. `te` was judged by itself.
    pub(super) fn remove_options(&self, headers: &[Header<'_>], fields: &mut Fields) {
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

/// Whether a long head can do without being read yet, because its end is not there. A caller that sends it
/// byte by byte would have it read from its start each time. A request line beyond `line_bytes_max` is read
/// at once, so that it is refused for what it is.
pub(super) fn is_far_from_done(message: &[u8], line_bytes_max: usize) -> bool {
    message.len() > READ_AT_ONCE_BYTES
        && message
            .iter()
            .take(line_bytes_max)
            .any(|byte| *byte == b'\n')
        && !has_empty_line(message)
}

/// Whether CR LF CR LF is somewhere. Blocks without LF, nearly all of a long head, take a few instructions.
fn has_empty_line(message: &[u8]) -> bool {
    const BLOCK: usize = 32;
    let (blocks, rest) = message.as_chunks::<BLOCK>();
    let feeds = |block: &[u8]| {
        block
            .iter()
            .fold(0, |feeds, byte| feeds | u8::from(*byte == b'\n'))
    };
    let ends_in = |start: usize, block: &[u8]| {
        feeds(block) != 0
            && message
                .get(start.saturating_sub(3)..start + block.len())
                .is_some_and(|part| part.windows(4).any(|window| window == b"\r\n\r\n"))
    };
    let mut blocks = blocks.iter().enumerate();
    blocks.any(|(at, block)| ends_in(at * BLOCK, block))
        || ends_in(message.len() - rest.len(), rest)
}

/// More bytes are needed, unless they are beyond a limit.
pub(super) fn need(bytes: &[u8], limits: &Limits) -> Result<Parsed, Refusal> {
    // A head of exactly the limit would be complete with these bytes.
    within(bytes.len() + 1, limits)?;
    Ok(Parsed::Need)
}

/// Whether a head of this length is within its limit.
pub(super) fn within(len: usize, limits: &Limits) -> Result<(), Refusal> {
    if len > limits.head_bytes_max {
        return Err(Refusal::large("the head is longer than the limit"));
    }
    Ok(())
}

/// What `httparse` found wrong.
pub(super) fn syntax(error: Error) -> Refusal {
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
