//! The grammar's small parts (RFC 9110 5, RFC 9112 2-3, RFC 3986): byte classes, targets, hosts, numbers.
//!
//! One table of classes, because a lookup per byte is what the hot path can afford. Never in here: state,
//! or a judgement about a whole message.

use std::net::Ipv6Addr;

/// tchar of RFC 9110 5.6.2.
const TOKEN: u8 = 1;
/// field-vchar, SP and HTAB.
const VALUE: u8 = 2;
/// pchar (without `%`) and `/`.
const PATH: u8 = 4;
/// [`PATH`], `?` and the few more that browsers and HTTP libraries leave as they are in a query.
const QUERY: u8 = 8;
/// unreserved and sub-delims: a reg-name without percent-encoding.
const HOST: u8 = 16;
/// Hex digits.
const HEX: u8 = 32;
/// qdtext of RFC 9110 5.6.4.
const QUOTED: u8 = 64;

const CLASSES: [u8; 256] = classes();

#[allow(
    clippy::indexing_slicing,
    reason = "runs at compile time, where a wrong index stops the build"
)]
const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut at = 0;
    while at < 256 {
        table[at] = class_of(at as u8);
        at += 1;
    }
    table
}

const fn class_of(byte: u8) -> u8 {
    let unreserved = byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_' | b'~');
    let sub_delim = matches!(
        byte,
        b'!' | b'$' | b'&' | b'\'' | b'(' | b')' | b'*' | b'+' | b',' | b';' | b'='
    );
    let mut class = 0;
    if byte.is_ascii_alphanumeric()
        || matches!(
            byte,
            b'!' | b'#' | b'$' | b'%' | b'&' | b'\'' | b'*' | b'+' | b'-' | b'.'
        )
        || matches!(byte, b'^' | b'_' | b'`' | b'|' | b'~')
    {
        class |= TOKEN;
    }
    if byte == b'\t' || (byte >= b' ' && byte != 0x7f) {
        class |= VALUE;
        if !matches!(byte, b'"' | b'\\') {
            class |= QUOTED;
        }
    }
    if unreserved || sub_delim {
        class |= HOST;
    }
    if unreserved || sub_delim || matches!(byte, b':' | b'@' | b'/') {
        class |= PATH | QUERY;
    }
    // `?filter[a]=b` and `?q={x|y}` come like this from every browser (the URL standard's query set), and
    // both ends read them alike; RFC 3986 alone would have them encoded.
    if matches!(byte, b'?' | b'[' | b']' | b'{' | b'}' | b'|' | b'^' | b'`') {
        class |= QUERY;
    }
    if byte.is_ascii_hexdigit() {
        class |= HEX;
    }
    class
}

fn classes_of(byte: u8) -> u8 {
    CLASSES.get(usize::from(byte)).copied().unwrap_or_default()
}

fn is(byte: u8, class: u8) -> bool {
    classes_of(byte) & class != 0
}

/// Without a branch per byte: what it is asked about is nearly always right.
fn all(bytes: &[u8], class: u8) -> bool {
    bytes
        .iter()
        .fold(class, |common, byte| common & classes_of(*byte))
        != 0
}

/// Whether a byte may stand in a token.
pub(super) fn is_token_byte(byte: u8) -> bool {
    is(byte, TOKEN)
}

/// Whether a byte may stand in a quoted string as it is.
pub(super) fn is_quoted_byte(byte: u8) -> bool {
    is(byte, QUOTED)
}

/// Whether a byte may stand in a field's value.
pub(super) fn is_value_byte(byte: u8) -> bool {
    is(byte, VALUE)
}

/// Whether a byte may stand in a request target of any form.
pub(super) fn is_target_byte(byte: u8) -> bool {
    is(byte, QUERY) || byte == b'%'
}

/// A token of RFC 9110.
pub(super) fn is_token(bytes: &[u8]) -> bool {
    !bytes.is_empty() && all(bytes, TOKEN)
}

/// Whether name and value are within the grammar (token; no control characters, no leading or trailing
/// space), so that fields of another protocol may be written as HTTP fields.
pub fn is_valid_field(name: &[u8], value: &[u8]) -> bool {
    is_token(name) && is_plain_value(value) && !starts_or_ends_with_space(value)
}

/// Whether a host of another protocol may be written as Host: a name or address with an optional port or port name.
pub fn is_host(host: &[u8]) -> bool {
    is_authority(host) || names_a_port(host)
}

/// Whether a target of another protocol may be written as the target of a request with this method.
pub fn is_target(method: &[u8], target: &[u8]) -> bool {
    is_origin_form(target) || (target == b"*" && method == b"OPTIONS")
}

fn starts_or_ends_with_space(value: &[u8]) -> bool {
    let is_space = |byte: Option<&u8>| matches!(byte, Some(b' ' | b'\t'));
    is_space(value.first()) || is_space(value.last())
}

/// Whether a value has no control character but HTAB. Eight bytes at a time, the last eight perhaps twice:
/// it runs over every value that is written.
pub(super) fn is_plain_value(value: &[u8]) -> bool {
    let Some(last) = value.last_chunk::<8>() else {
        return all(value, VALUE);
    };
    let (blocks, _) = value.as_chunks::<8>();
    let found = blocks
        .iter()
        .fold(suspects(*last), |found, block| found | suspects(*block));
    found == 0 || all(value, VALUE)
}

/// Not zero when one of the eight bytes is below SP or DEL.
const fn suspects(block: [u8; 8]) -> u64 {
    const ONES: u64 = u64::from_le_bytes([1; 8]);
    const HIGH: u64 = u64::from_le_bytes([0x80; 8]);
    let block = u64::from_le_bytes(block);
    let below_space = block.wrapping_sub(ONES * 0x20) & !block;
    let not_delete = block ^ (ONES * 0x7f);
    let delete = not_delete.wrapping_sub(ONES) & !not_delete;
    (below_space | delete) & HIGH
}

/// How many bytes at the beginning are of a class.
fn run(bytes: &[u8], class: u8) -> usize {
    bytes
        .iter()
        .position(|byte| !is(*byte, class))
        .unwrap_or(bytes.len())
}

/// absolute-path [ "?" query ], percent-encoding checked.
pub(super) fn is_origin_form(target: &[u8]) -> bool {
    target.first() == Some(&b'/') && is_path_and_query(target)
}

/// What may follow an authority: a path and a query, both possibly empty.
pub(super) fn is_path_and_query(target: &[u8]) -> bool {
    let (mut allowed, mut rest) = (PATH, target);
    loop {
        rest = match rest.get(run(rest, allowed)..).unwrap_or_default() {
            [] => return true,
            [b'?', query @ ..] => {
                allowed = QUERY;
                query
            }
            [b'%', high, low, after @ ..] if is(*high, HEX) && is(*low, HEX) => after,
            _ => return false,
        };
    }
}

/// uri-host [ ":" port ]: a reg-name (IPv4 among them) or an IPv6 address in brackets. A port is digits up
/// to 65535, or nothing. IPvFuture, zone ids and percent-encoding are not taken: nobody is called by them,
/// and readers disagree on whether `order%73` is `orders`.
pub(super) fn is_authority(authority: &[u8]) -> bool {
    let (host_ok, port) = if let Some(literal) = authority.strip_prefix(b"[") {
        let Some(end) = literal.iter().position(|byte| *byte == b']') else {
            return false;
        };
        let (address, after) = literal.split_at(end);
        (is_ipv6(address), after.get(1..).unwrap_or_default())
    } else {
        let end = run(authority, HOST);
        (end > 0, authority.get(end..).unwrap_or_default())
    };
    host_ok && is_port(port)
}

/// reg-name ":" port name. Not RFC 3986's: it is how a caller asks for one of a service's named ports. Only in
/// Host, where no reader takes the place of a port for anything else; a name begins with a letter.
pub(super) fn names_a_port(host: &[u8]) -> bool {
    /// Bytes of a port's name.
    const PORT_NAME_BYTES_MAX: usize = 63;
    let Some(colon) = host.iter().position(|byte| *byte == b':') else {
        return false;
    };
    let (name, port) = host.split_at(colon);
    let port = port.get(1..).unwrap_or_default();
    is_authority(name)
        && port.len() <= PORT_NAME_BYTES_MAX
        && port.first().is_some_and(u8::is_ascii_alphabetic)
        && port
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
}

/// Whether an authority ends with a port that is a number.
pub(super) fn has_port(authority: &[u8]) -> bool {
    let after = authority
        .rsplit(|byte| *byte == b':')
        .next()
        .unwrap_or_default();
    after.len() < authority.len() && decimal(after).is_some_and(|port| port > 0)
}

fn is_ipv6(address: &[u8]) -> bool {
    std::str::from_utf8(address).is_ok_and(|text| text.parse::<Ipv6Addr>().is_ok())
}

fn is_port(port: &[u8]) -> bool {
    match port.strip_prefix(b":") {
        Some([]) => true,
        Some(digits) => decimal(digits).is_some_and(|port| u16::try_from(port).is_ok()),
        None => port.is_empty(),
    }
}

/// 1*DIGIT that fits.
pub(super) fn decimal(digits: &[u8]) -> Option<u64> {
    if digits.is_empty() {
        return None;
    }
    let mut number: u64 = 0;
    for byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(number)
}

/// The members of a comma-separated list, without the space around them; empty ones are skipped.
pub(super) fn list(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value
        .split(|byte| *byte == b',')
        .map(trim)
        .filter(|member| !member.is_empty())
}

fn trim(member: &[u8]) -> &[u8] {
    let is_text = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = member.iter().position(is_text).unwrap_or(member.len());
    let end = member
        .iter()
        .rposition(is_text)
        .map_or(start, |last| last + 1);
    member.get(start..end).unwrap_or_default()
}

/// One protocol of an `Upgrade` list: a name, and perhaps a version behind a slash (RFC 9110 7.8).
pub fn is_protocol(member: &[u8]) -> bool {
    let mut parts = member.split(|byte| *byte == b'/');
    let (name, version, more) = (parts.next(), parts.next(), parts.next());
    name.is_some_and(is_token) && version.is_none_or(is_token) && more.is_none()
}

/// The fields that the codec itself reads and writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Special {
    /// Any other: end to end.
    None,
    Host,
    ContentLength,
    TransferEncoding,
    Connection,
    Te,
    Expect,
    /// Asks for another protocol, or grants it.
    Upgrade,
    /// Keep-Alive, Proxy-Connection: removed by name.
    Hop,
}

/// What a field's name means to the codec. Length and first letter alone clear nearly every other field.
#[inline]
pub(super) fn special(name: &[u8]) -> Special {
    let first = name.first().map_or(0, |byte| byte | 0x20);
    match (name.len(), first) {
        (2, b't') if is_name(name, b"te") => Special::Te,
        (4, b'h') if is_name(name, b"host") => Special::Host,
        (6, b'e') if is_name(name, b"expect") => Special::Expect,
        (7, b'u') if is_name(name, b"upgrade") => Special::Upgrade,
        (10, b'c') if is_name(name, b"connection") => Special::Connection,
        (10, b'k') if is_name(name, b"keep-alive") => Special::Hop,
        (14, b'c') if is_name(name, b"content-length") => Special::ContentLength,
        (16, b'p') if is_name(name, b"proxy-connection") => Special::Hop,
        (17, b't') if is_name(name, b"transfer-encoding") => Special::TransferEncoding,
        _ => Special::None,
    }
}

/// Compares a token with letters and hyphens, in any case. Setting one bit lowers a letter; the only other
/// byte that it could mistake is a carriage return for a hyphen, and no token has one. As arrays the two are
/// compared in a few instructions, which every field pays.
fn is_name<const N: usize>(name: &[u8], lower: &[u8; N]) -> bool {
    <&[u8; N]>::try_from(name).is_ok_and(|name| name.map(|byte| byte | 0x20) == *lower)
}

/// Whether a field may stand among trailers (RFC 9110 6.5.1: none that frames, routes or belongs to a hop).
pub(super) fn is_trailer_name(name: &[u8]) -> bool {
    special(name) == Special::None && !name.eq_ignore_ascii_case(b"trailer")
}
