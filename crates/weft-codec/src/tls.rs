//! The name that a TLS client asks for, in the first bytes that it sends (RFC 8446 4.1.2, RFC 6066 3).
//!
//! Only looked at: who terminates the connection reads the same bytes again and judges them. So this asks for no
//! more than it needs, and gives up where a hello is split over records. Never in here: a decision, a key, a
//! certificate.

use std::str;

/// Bytes of a record's and a handshake's head.
const RECORD_HEAD: usize = 5;
const HANDSHAKE_HEAD: usize = 4;

/// Bytes that are looked at, at the most: one record.
pub const HELLO_BYTES_MAX: usize = RECORD_HEAD + 16 * 1024;

/// The longest name of a host.
const NAME_BYTES_MAX: usize = 253;

const HANDSHAKE: u8 = 22;
const CLIENT_HELLO: u8 = 1;
const SERVER_NAME: u16 = 0;
const HOST_NAME: u8 = 0;

/// What the first bytes of a connection say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ServerName<'a> {
    /// A client that asks for this host.
    Name(&'a str),
    /// No TLS, or none that names a host that we could read.
    None,
    /// More bytes tell.
    NeedMore,
}

/// Looks for the name in the first bytes that a client sends.
pub fn server_name(bytes: &[u8]) -> ServerName<'_> {
    // A client of any version up to 1.3 writes 3 and 1 or 3 here.
    let shape = [
        Some(HANDSHAKE),
        Some(3),
        None,
        None,
        None,
        Some(CLIENT_HELLO),
    ];
    let fits = bytes
        .iter()
        .zip(shape)
        .all(|(byte, expected)| expected.is_none_or(|expected| *byte == expected));
    if !fits {
        return ServerName::None;
    }
    let mut cursor = Cursor(bytes.get(RECORD_HEAD - 2..).unwrap_or_default());
    let Some(length) = cursor.number(2) else {
        return ServerName::NeedMore;
    };
    if length + RECORD_HEAD > HELLO_BYTES_MAX {
        return ServerName::None;
    }
    let Some(record) = cursor.take(length) else {
        return ServerName::NeedMore;
    };
    let mut cursor = Cursor(record.get(1..).unwrap_or_default());
    let hello = cursor
        .number(HANDSHAKE_HEAD - 1)
        .and_then(|length| cursor.take(length));
    match hello.and_then(name_in) {
        Some(name) => ServerName::Name(name),
        None => ServerName::None,
    }
}

/// The name in a hello that is whole.
fn name_in(hello: &[u8]) -> Option<&str> {
    let mut cursor = Cursor(hello);
    // Version and random; then session, ciphers and compressions, each behind its length.
    cursor.take(2 + 32)?;
    for width in [1, 2, 1] {
        let length = cursor.number(width)?;
        cursor.take(length)?;
    }
    let length = cursor.number(2)?;
    let mut extensions = Cursor(cursor.take(length)?);
    loop {
        let kind = extensions.number(2)?;
        let length = extensions.number(2)?;
        let extension = extensions.take(length)?;
        if kind == usize::from(SERVER_NAME) {
            return host_in(extension);
        }
    }
}

/// The host in a list of names.
fn host_in(extension: &[u8]) -> Option<&str> {
    let mut cursor = Cursor(extension);
    let length = cursor.number(2)?;
    let mut names = Cursor(cursor.take(length)?);
    let kind = names.number(1)?;
    let length = names.number(2)?;
    let name = names.take(length)?;
    let is_host = kind == usize::from(HOST_NAME)
        && (1..=NAME_BYTES_MAX).contains(&name.len())
        && name
            .iter()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    // Only ASCII, as just seen.
    str::from_utf8(name).ok().filter(|_| is_host)
}

/// What is left to read.
struct Cursor<'a>(&'a [u8]);

impl<'a> Cursor<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of so many bytes, the most significant first.
    fn number(&mut self, width: usize) -> Option<usize> {
        let bytes = self.take(width)?;
        Some(
            bytes
                .iter()
                .fold(0, |number, byte| number << 8 | usize::from(*byte)),
        )
    }
}

#[cfg(test)]
mod tests;
