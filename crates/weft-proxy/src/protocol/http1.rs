//! HTTP/1.1: `server.rs` serves callers, `upstream.rs` calls apps and external hosts, `answer.rs` tells a
//! caller of a failure. Between them, and over links, the parts of a head that are not fields travel in
//! `opaque`, which only this file writes and reads.

pub(crate) mod answer;
pub(crate) mod server;
pub(crate) mod upstream;

/// The parts of an HTTP head that the common shape of a call has no place for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extra<'a> {
    /// The length of the body, when it is known beforehand.
    pub(crate) length: Option<u64>,
    /// A reply without body whose Content-Length is passed on (HEAD, 304).
    pub(crate) declared_length: bool,
    /// The caller waits for a 100.
    pub(crate) expect_continue: bool,
    /// A reply's reason phrase.
    pub(crate) reason: &'a [u8],
}

const HAS_LENGTH: u8 = 1;
const DECLARED_LENGTH: u8 = 2;
const EXPECT_CONTINUE: u8 = 4;

impl<'a> Extra<'a> {
    /// One byte of flags, eight of length, the reason phrase. Nothing at all for an ordinary head.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        if self == Extra::default() {
            return;
        }
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            flag(self.length.is_some(), HAS_LENGTH)
                | flag(self.declared_length, DECLARED_LENGTH)
                | flag(self.expect_continue, EXPECT_CONTINUE),
        );
        out.extend_from_slice(&self.length.unwrap_or_default().to_be_bytes());
        out.extend_from_slice(self.reason);
    }

    /// Reads what [`Extra::write`] wrote; anything shorter says nothing.
    pub(crate) fn read(bytes: &'a [u8]) -> Self {
        let Some((flags, rest)) = bytes.split_first() else {
            return Self::default();
        };
        let Some((length, reason)) = rest.split_first_chunk() else {
            return Self::default();
        };
        Self {
            length: (flags & HAS_LENGTH != 0).then(|| u64::from_be_bytes(*length)),
            declared_length: flags & DECLARED_LENGTH != 0,
            expect_continue: flags & EXPECT_CONTINUE != 0,
            reason,
        }
    }
}

/// Fields that only the mesh may set: from apps and plain callers they are removed.
pub(crate) fn is_weft_field(name: &[u8]) -> bool {
    name.get(..7)
        .is_some_and(|start| start.eq_ignore_ascii_case(b"x-weft-"))
}

#[cfg(test)]
mod tests;
