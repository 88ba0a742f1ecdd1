//! One shape for the calls of every protocol, and for their replies.

use crate::buffer::Chunk;
use crate::clock::Instant;
use crate::protocol::ProtocolId;
use std::net::IpAddr;
use std::rc::Rc;
use std::task::{Context, Poll};
use weft_codec::link::Kind;
use weft_codec::{Fields, Span};
use weft_model::Failure;

/// A call as a protocol file yields it.
pub(crate) struct Call {
    /// What is asked of whom.
    pub(crate) head: CallHead,
    /// The request's body.
    pub(crate) body: Body,
    /// Where interim replies (1xx) go; `None` where the protocol has none.
    pub(crate) interim: Option<Rc<dyn Interim>>,
}

/// The head of a call. All spans lie in `fields`.
#[derive(Debug)]
pub(crate) struct CallHead {
    /// The protocol it came in, and goes out in.
    pub(crate) protocol: ProtocolId,
    /// Headers or attachments.
    pub(crate) fields: Fields,
    /// HTTP: the authority. RPC: the interface.
    pub(crate) service: Span,
    /// The method.
    pub(crate) method: Span,
    /// HTTP: the target. RPC: the group.
    pub(crate) path: Span,
    /// RPC: the version.
    pub(crate) version: Span,
    /// Bytes that only the protocol file reads.
    pub(crate) opaque: Span,
    /// The call id.
    pub(crate) trace: Span,
    /// The caller's service; empty when unknown.
    pub(crate) caller: Span,
    /// The caller's address.
    pub(crate) caller_address: Option<IpAddr>,
    /// Unary, stream, one-way or tunnel.
    pub(crate) kind: Kind,
    /// 0 unless a hop before this one retries.
    pub(crate) attempt: u32,
    /// When the caller gives up.
    pub(crate) deadline: Option<Instant>,
    /// For whom a peer meant it.
    pub(crate) meant: Option<Meant>,
    /// Whether the protocol declares the method idempotent.
    pub(crate) idempotent: bool,
    /// Whether what is called is named by the path alone, and the method says nothing: gRPC.
    pub(crate) named_by_path: bool,
    /// Whether the app's view of its caller was already added.
    pub(crate) introduced: bool,
}

impl CallHead {
    /// An empty head around these fields.
    pub(crate) fn new(protocol: ProtocolId, fields: Fields) -> Self {
        Self {
            protocol,
            fields,
            service: Span::default(),
            method: Span::default(),
            path: Span::default(),
            version: Span::default(),
            opaque: Span::default(),
            trace: Span::default(),
            caller: Span::default(),
            caller_address: None,
            kind: Kind::Unary,
            attempt: 0,
            deadline: None,
            meant: None,
            idempotent: false,
            named_by_path: false,
            introduced: false,
        }
    }

    /// What is called, as a declaration of idempotent methods names it: a method, or the path of a gRPC call.
    pub(crate) fn operation(&self) -> &[u8] {
        self.bytes(if self.named_by_path {
            self.path
        } else {
            self.method
        })
    }

    /// The bytes of a span of this head.
    pub(crate) fn bytes(&self, span: Span) -> &[u8] {
        self.fields.bytes(span)
    }

    /// The text of a span of this head; empty when it is not UTF-8.
    pub(crate) fn text(&self, span: Span) -> &str {
        std::str::from_utf8(self.fields.bytes(span)).unwrap_or_default()
    }
}

/// The instance that a peer meant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Meant {
    /// The name of its port.
    pub(crate) port: Span,
    /// Its id.
    pub(crate) instance: Span,
    /// Its incarnation; 0 means any.
    pub(crate) incarnation: u64,
}

/// A body, of a request or a reply.
pub(crate) enum Body {
    /// None.
    Empty,
    /// All of it.
    Full(Chunk),
    /// It comes piece by piece.
    Stream {
        /// The pieces.
        stream: Box<dyn BodyStream>,
        /// How long it will be, when that is known.
        length: Option<u64>,
    },
    /// It was handed on; it cannot be sent again.
    Spent,
}

impl Body {
    /// Takes the stream out, leaving [`Body::Spent`]; bodies that can be sent again stay.
    pub(crate) fn take_stream(&mut self) -> Option<Box<dyn BodyStream>> {
        match self {
            Self::Empty | Self::Full(_) | Self::Spent => None,
            Self::Stream { .. } => match std::mem::replace(self, Self::Spent) {
                Self::Stream { stream, .. } => Some(stream),
                Self::Empty | Self::Full(_) | Self::Spent => None,
            },
        }
    }

    /// Its length, when known.
    pub(crate) fn length(&self) -> Option<u64> {
        match self {
            Self::Empty => Some(0),
            Self::Full(chunk) => Some(chunk.bytes().len() as u64),
            Self::Stream { length, .. } => *length,
            Self::Spent => None,
        }
    }
}

/// One piece of a streamed body.
pub(crate) enum Piece {
    /// Bytes.
    Data(Chunk),
    /// The end, with trailers when there were any.
    End(Option<Fields>),
}

/// A body that comes piece by piece. Dropped before its end, it is cancelled.
pub(crate) trait BodyStream {
    /// The next piece. Not called again after the end or a failure.
    fn poll_piece(&mut self, cx: &mut Context<'_>) -> Poll<Result<Piece, Failure>>;

    /// Moves on what the call sends the other way, where a reply's body does that too: to be called whenever
    /// nobody can take a piece, and after the last one until it is ready. Then nothing is left to move.
    fn poll_onward(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Failure>> {
        Poll::Ready(Ok(()))
    }
}

/// Takes interim replies.
pub(crate) trait Interim {
    /// Passes one on; it is lost when the caller cannot take it.
    fn interim(&self, head: &ReplyHead);
}

/// The head of a reply. All spans lie in `fields`.
#[derive(Debug, Default)]
pub(crate) struct ReplyHead {
    /// Headers or attachments.
    pub(crate) fields: Fields,
    /// HTTP status; RPC: 200, or 500 for an exception.
    pub(crate) status: u16,
    /// Bytes that only the protocol file reads.
    pub(crate) opaque: Span,
    /// Whether the app itself says that it failed (HTTP 5xx, an exception).
    pub(crate) app_error: bool,
}

/// Appends an address as text. IPv4 by hand: every call comes by here, and formatting costs ten times as much.
pub(crate) fn write_address(address: IpAddr, out: &mut Vec<u8>) {
    let IpAddr::V4(address) = address else {
        out.extend_from_slice(address.to_string().as_bytes());
        return;
    };
    for (position, octet) in address.octets().into_iter().enumerate() {
        if position > 0 {
            out.push(b'.');
        }
        if octet >= 100 {
            out.push(b'0' + octet / 100);
        }
        if octet >= 10 {
            out.push(b'0' + octet / 10 % 10);
        }
        out.push(b'0' + octet % 10);
    }
}

#[cfg(test)]
mod tests;
