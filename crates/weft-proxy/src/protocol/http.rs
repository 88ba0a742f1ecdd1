//! HTTP whatever its version: what HTTP/1.1 and HTTP/2 share. The parts of a head that are not fields travel in
//! `opaque`, between callers and apps and over links; only this file writes and reads them. A call that came in by
//! one version can leave by the other. Never in here: bytes of either version.

/// The parts of an HTTP head that the common shape of a call has no place for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Extra<'a> {
    /// The length of the body, when it is known beforehand.
    pub(crate) length: Option<u64>,
    /// A reply without body whose Content-Length is passed on (HEAD, 304).
    pub(crate) declared_length: bool,
    /// The caller waits for a 100.
    pub(crate) expect_continue: bool,
    /// A request that asks for a tunnel: the protocol it names, HTTP/1.1's `Upgrade` token or HTTP/2's `:protocol`;
    /// empty for every other call.
    pub(crate) upgrade: &'a [u8],
    /// A reply's reason phrase.
    pub(crate) reason: &'a [u8],
}

const HAS_LENGTH: u8 = 1;
const DECLARED_LENGTH: u8 = 2;
const EXPECT_CONTINUE: u8 = 4;
const UPGRADE: u8 = 8;

impl<'a> Extra<'a> {
    /// One byte of flags, eight of length, the reason phrase or the upgrade (a request has no reason). Nothing at all for an ordinary head.
    pub(crate) fn write(self, out: &mut Vec<u8>) {
        if self == Extra::default() {
            return;
        }
        let flag = |set: bool, bit: u8| if set { bit } else { 0 };
        out.push(
            flag(self.length.is_some(), HAS_LENGTH)
                | flag(self.declared_length, DECLARED_LENGTH)
                | flag(self.expect_continue, EXPECT_CONTINUE)
                | flag(!self.upgrade.is_empty(), UPGRADE),
        );
        out.extend_from_slice(&self.length.unwrap_or_default().to_be_bytes());
        out.extend_from_slice(if self.upgrade.is_empty() {
            self.reason
        } else {
            self.upgrade
        });
    }

    /// Reads what [`Extra::write`] wrote; anything shorter says nothing.
    pub(crate) fn read(bytes: &'a [u8]) -> Self {
        let Some((flags, rest)) = bytes.split_first() else {
            return Self::default();
        };
        let Some((length, rest)) = rest.split_first_chunk() else {
            return Self::default();
        };
        let (upgrade, reason): (&[u8], &[u8]) = if flags & UPGRADE == 0 {
            (b"", rest)
        } else {
            (rest, b"")
        };
        Self {
            length: (flags & HAS_LENGTH != 0).then(|| u64::from_be_bytes(*length)),
            declared_length: flags & DECLARED_LENGTH != 0,
            expect_continue: flags & EXPECT_CONTINUE != 0,
            upgrade,
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
