//! Stage 2: which protocol, by the first bytes, in any split.
//!
//! The table is in `protocol.rs`: each protocol adds one prefix function. Pools connect early, so a silent
//! connection waits for its first byte up to the idle limit; from then on the head's limit runs.

use crate::accept::{Accepted, Listener};
use crate::buffer::Inbox;
use crate::context::Context;
use crate::protocol::{ALL, ProtocolId};
use crate::record::ConnectionRecord;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::Duration;
use tokio::net::TcpStream;
use weft_codec::Prefix;
use weft_model::{Code, Limit};

/// How long an ambiguous prefix may stay so before the only protocol left is taken.
const AMBIGUOUS_MAX: Duration = Duration::from_millis(50);

/// Bytes that may stay ambiguous; then the only protocol left is taken, whose own limits hold from there on.
/// Far above every prefix, and below the limit of a request target: a target without an end is the codec's to
/// refuse, with its own answer.
const AMBIGUOUS_BYTES_MAX: usize = 4 * 1024;

/// A connection of which the protocol is known.
pub(crate) struct Detected {
    /// The socket.
    pub(crate) stream: TcpStream,
    /// Its other end.
    pub(crate) peer: SocketAddr,
    /// The listener.
    pub(crate) listener: Listener,
    /// The connection's record.
    pub(crate) record: ConnectionRecord,
    /// The protocol.
    pub(crate) protocol: ProtocolId,
    /// What was read so far.
    pub(crate) inbox: Inbox,
}

/// Reads until one protocol matches. `None` when the connection ended, or belongs to none; it is then closed.
pub(crate) async fn detect(ctx: &Rc<Context>, accepted: Accepted) -> Option<Detected> {
    let Accepted {
        stream,
        peer,
        listener,
        mut record,
    } = accepted;
    // Where the protocol is declared nobody waits for a first byte: it may be the other side's to send.
    if let Some(protocol) = listener.declared_protocol() {
        return Some(Detected {
            stream,
            peer,
            listener,
            record,
            protocol,
            inbox: Inbox::default(),
        });
    }
    let limit = ctx.deadlines.limit();
    let mut inbox = Inbox::default();
    let mut begun_ms = None;
    let mut silent = Some(ctx.silent.begin(ctx.deadlines.now_ms()));
    loop {
        // One limit for all of it from the first byte on, however slowly the bytes drip.
        let time = match begun_ms {
            None => ctx.settings.limits.idle,
            Some(begun) => {
                let waited = Duration::from_millis(ctx.deadlines.now_ms().saturating_sub(begun));
                ctx.settings.limits.head.saturating_sub(waited)
            }
        };
        let read = poll_fn(|cx| inbox.poll_fill_patiently(&stream, cx));
        match ctx.deadlines.within(&limit, time, read).await {
            Ok(Ok(0) | Err(_)) => return None,
            Ok(Ok(_)) => {
                begun_ms = begun_ms.or(Some(ctx.deadlines.now_ms()));
                drop(silent.take());
            }
            Err(_) => {
                if begun_ms.is_some() {
                    record.fail(Code::HeadTimeout);
                }
                let limit = if begun_ms.is_some() {
                    Limit::Head
                } else {
                    Limit::Idle
                };
                ctx.counters.limits_hit.add(limit);
                return None;
            }
        }
        let protocol = match verdict(inbox.bytes()) {
            Verdict::Known(protocol) => protocol,
            Verdict::Unknown => {
                record.fail(Code::UnknownProtocol);
                return None;
            }
            Verdict::Only(protocol) if inbox.bytes().len() >= AMBIGUOUS_BYTES_MAX => protocol,
            Verdict::Only(protocol) => {
                let more = tokio::time::timeout(AMBIGUOUS_MAX, stream.readable()).await;
                if more.is_ok() {
                    continue;
                }
                protocol
            }
            Verdict::Several if inbox.bytes().len() >= AMBIGUOUS_BYTES_MAX => {
                record.fail(Code::UnknownProtocol);
                return None;
            }
            Verdict::Several => continue,
        };
        return Some(Detected {
            stream,
            peer,
            listener,
            record,
            protocol,
            inbox,
        });
    }
}

/// What the first bytes say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// This protocol.
    Known(ProtocolId),
    /// None of them.
    Unknown,
    /// Not yet sure, but only this one is left.
    Only(ProtocolId),
    /// Not yet sure.
    Several,
}

/// Asks every protocol's prefix function, in the order of the table.
pub(crate) fn verdict(bytes: &[u8]) -> Verdict {
    let mut verdict = Verdict::Unknown;
    for protocol in ALL {
        match protocol.prefix(bytes) {
            Prefix::Match => return Verdict::Known(*protocol),
            Prefix::Mismatch => {}
            Prefix::NeedMore if verdict == Verdict::Unknown => verdict = Verdict::Only(*protocol),
            Prefix::NeedMore => verdict = Verdict::Several,
        }
    }
    verdict
}

#[cfg(test)]
mod tests;
