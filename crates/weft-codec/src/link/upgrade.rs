//! How a link opens over HTTP/1.1: a request with `Upgrade: weft-link`, a 101, then the frames as they are.
//!
//! Never in here: how HTTP/1.1 is read in general. The accepting side has read the request's head by the strict
//! codec before it asks here; the opening side reads one reply to one request that it wrote itself, and takes
//! nothing but a 101.

/// Where a link is opened, in both forms (`weft.link.v1.Link/Open` in gRPC's spelling).
pub const PATH: &str = "/weft.link.v1.Link/Open";

/// The protocol that `Upgrade` names.
pub const TOKEN: &str = "weft-link";

/// Bytes of a reply's head at the most.
pub const REPLY_BYTES_MAX: usize = 8 * 1024;

/// Appends the request that opens a link. `host` is the peer's address.
pub fn write_upgrade(host: &str, out: &mut Vec<u8>) {
    for part in [
        "GET ",
        PATH,
        " HTTP/1.1\r\nHost: ",
        host,
        "\r\nConnection: upgrade\r\nUpgrade: ",
        TOKEN,
        "\r\n\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Appends the reply that agrees.
pub fn write_agreement(out: &mut Vec<u8>) {
    for part in [
        "HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: ",
        TOKEN,
        "\r\n\r\n",
    ] {
        out.extend_from_slice(part.as_bytes());
    }
}

/// Whether a request's head, as it came, asks for a link.
pub fn asks_for_link(head: &[u8]) -> bool {
    has_item(head, b"upgrade", TOKEN.as_bytes()) && has_item(head, b"connection", b"upgrade")
}

/// What the peer said to the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// More bytes are needed.
    Need,
    /// It agrees; its head takes this many bytes, and frames follow.
    Agreed(usize),
    /// It answered with this status instead.
    Status(u16),
    /// It is no HTTP/1.1.
    Garbage,
}

/// Reads the reply at the beginning of `bytes`.
pub fn answer(bytes: &[u8]) -> Answer {
    const START: &[u8] = b"HTTP/1.1 ";
    let known = bytes.len().min(START.len());
    if bytes.get(..known) != START.get(..known) {
        return Answer::Garbage;
    }
    let Some(end) = bytes.windows(4).position(|four| four == b"\r\n\r\n") else {
        return match bytes.len() {
            ..REPLY_BYTES_MAX => Answer::Need,
            _ => Answer::Garbage,
        };
    };
    let head = bytes.get(..end + 4).unwrap_or_default();
    let status = match head.get(START.len()..START.len() + 4) {
        Some(
            [
                a @ b'1'..=b'9',
                b @ b'0'..=b'9',
                c @ b'0'..=b'9',
                b' ' | b'\r',
            ],
        ) => u16::from(a - b'0') * 100 + u16::from(b - b'0') * 10 + u16::from(c - b'0'),
        _ => return Answer::Garbage,
    };
    if status == 101 && has_item(head, b"upgrade", TOKEN.as_bytes()) {
        Answer::Agreed(head.len())
    } else {
        Answer::Status(status)
    }
}

/// Whether a field with this name lists this item, in any case.
fn has_item(head: &[u8], name: &[u8], item: &[u8]) -> bool {
    // The first line is no field; whatever it is, it does not begin with a name and a colon.
    head.split(|byte| *byte == b'\n').any(|line| {
        line.get(..name.len())
            .is_some_and(|start| start.eq_ignore_ascii_case(name))
            && line
                .get(name.len()..)
                .and_then(|rest| rest.strip_prefix(b":"))
                .is_some_and(|value| {
                    value
                        .split(|byte| *byte == b',')
                        .any(|known| known.trim_ascii().eq_ignore_ascii_case(item))
                })
    })
}

#[cfg(test)]
mod tests;
