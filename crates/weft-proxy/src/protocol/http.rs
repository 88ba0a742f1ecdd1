//! HTTP whatever its version: what HTTP/1.1 and HTTP/2 share. The parts of a head that are not fields travel in
//! `opaque`, between callers and apps and over links; only this file writes and reads them. A call that came in by
//! one version can leave by the other. Never in here: bytes of either version.

pub(crate) mod versions;

use crate::buffer::Buffer;
use crate::call::{CallHead, write_address};
use crate::context::Context;
use crate::protocol::ProtocolId;
use crate::upstream::Upstream;
use weft_model::{Failure, Protocol};

/// The chain of addresses through which a call came.
const FORWARDED_FOR: &str = "x-forwarded-for";

/// What a WebSocket's handshake in HTTP/1.1 asks to be answered, and in HTTP/2 has not.
pub(crate) const WEBSOCKET_KEY: &str = "sec-websocket-key";

/// The longest call id taken from a caller.
const CALL_ID_BYTES_MAX: usize = 64;

/// The digits of a call id that is made here.
const HEX: &[u8; 16] = b"0123456789abcdef";

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

/// The version in which an upstream is called: what its port declares; where that leaves it open, or nothing is
/// declared at all (an external host), the one in which the call came in, which is what would have reached it
/// without a sidecar. A port that leaves it open and was lately found to speak one of them alone is called in that.
pub(crate) fn version(ctx: &Context, upstream: &Upstream<'_>, came: ProtocolId) -> ProtocolId {
    match declared(ctx, upstream) {
        Some(Protocol::Http) => ProtocolId::Http1,
        Some(Protocol::H2 | Protocol::Grpc) => ProtocolId::H2,
        Some(Protocol::Detect) => ctx.http_versions.found(ctx, upstream).unwrap_or(came),
        _ => came,
    }
}

/// What the port of an upstream declares that it speaks.
pub(crate) fn declared(ctx: &Context, upstream: &Upstream<'_>) -> Option<Protocol> {
    match upstream {
        Upstream::App { number } => {
            let mut ports = ctx.settings.ports.iter();
            ports
                .find(|port| port.number == *number)
                .map(|port| port.protocol)
        }
        Upstream::Plain { declared, .. } => Some(*declared),
        Upstream::External { .. } => None,
    }
}

/// Takes the call's id from `x-request-id` when that is sane, else makes one.
pub(crate) fn identify(ctx: &Context, head: &mut CallHead) {
    let mut id = [0_u8; CALL_ID_BYTES_MAX];
    let given = head.fields.first("x-request-id").filter(|given| {
        (1..=CALL_ID_BYTES_MAX).contains(&given.len()) && given.iter().all(u8::is_ascii_graphic)
    });
    if let Some(given) = given {
        let len = given.len();
        if let Some(place) = id.get_mut(..len) {
            place.copy_from_slice(given);
        }
        head.trace = head.fields.store(id.get(..len).unwrap_or_default());
        return;
    }
    let mut random = ctx.random();
    for place in id.iter_mut().take(16) {
        *place = HEX.get((random & 15) as usize).copied().unwrap_or(b'0');
        random >>= 4;
    }
    let id = id.get(..16).unwrap_or_default();
    head.trace = head.fields.store(id);
    head.fields.set("x-request-id", id);
}

/// Tells the called app what it may know of its caller.
pub(crate) fn introduce(ctx: &Context, upstream: &Upstream<'_>, head: &mut CallHead) {
    match upstream {
        Upstream::App { .. } => introduce_caller(head),
        // It sees the caller's own address, for nobody stands between; which service that is it does not.
        Upstream::Plain { .. } => {
            let own = ctx.own_service.as_bytes();
            head.fields.set("x-weft-caller", own);
        }
        Upstream::External { .. } => {}
    }
}

/// Who forwarded, and which service it is.
fn introduce_caller(head: &mut CallHead) {
    if std::mem::replace(&mut head.introduced, true) {
        return;
    }
    if let Some(address) = head.caller_address {
        let mut chain = Buffer::take();
        if let Some(before) = head.fields.first(FORWARDED_FOR) {
            chain.extend_from_slice(before);
            chain.extend_from_slice(b", ");
        }
        write_address(address, &mut chain);
        head.fields.set(FORWARDED_FOR, &chain);
    }
    if !head.caller.is_empty() {
        let mut caller = Buffer::take();
        caller.extend_from_slice(head.bytes(head.caller));
        head.fields.set("x-weft-caller", &caller);
    }
}

/// Whether the request accepts JSON and no text.
pub(crate) fn wants_json(head: &CallHead) -> bool {
    let Some(accept) = head.fields.first("accept") else {
        return false;
    };
    let accept = String::from_utf8_lossy(accept).to_ascii_lowercase();
    accept.contains("json") && !accept.contains("text/") && !accept.contains("*/*")
}

/// How a failure of the mesh is said in a reply's body: its media type and the text.
pub(crate) fn failure_body(failure: &Failure, json: bool) -> (&'static str, String) {
    if !json {
        return ("text/plain; charset=utf-8", format!("{failure}\n"));
    }
    let code = failure.code;
    let body = serde_json::json!({
        "code": code.text(),
        "number": format!("WFT-{}", code.number()),
        "blame": code.blame().text(),
        "message": failure.to_string(),
    });
    ("application/json", format!("{body}\n"))
}

#[cfg(test)]
mod tests;
