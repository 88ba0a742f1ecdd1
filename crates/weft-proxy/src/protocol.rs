//! The protocols: one table, one file each. No protocol knows another. Adding one adds a file, a row in
//! [`ALL`] and an arm in each `match` below; it changes no stage.

pub(crate) mod h2;
pub(crate) mod http;
pub(crate) mod http1;
pub(crate) mod link;
pub(crate) mod motan2;
pub(crate) mod tcp;

use crate::call::{Body, Call, ReplyHead};
use crate::context::Context;
use crate::detect::Detected;
use crate::upstream::Upstream;
use std::rc::Rc;
use weft_codec::{Fields, Prefix, http1 as http1_codec, motan2 as motan2_codec, sniff};
use weft_model::{Failure, Protocol};

/// A protocol that the data plane speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProtocolId {
    /// HTTP/1.1.
    Http1,
    /// HTTP/2, gRPC among it, and links.
    H2,
    /// Motan2.
    Motan2,
    /// Opaque bytes.
    Tcp,
}

/// Every protocol, in the order in which first bytes are asked.
pub(crate) const ALL: &[ProtocolId] = &[
    ProtocolId::H2,
    ProtocolId::Http1,
    ProtocolId::Motan2,
    ProtocolId::Tcp,
];

impl ProtocolId {
    /// What the first bytes of a connection say.
    pub(crate) fn prefix(self, bytes: &[u8]) -> Prefix {
        match self {
            Self::Http1 => http1_codec::http1_prefix(bytes),
            Self::H2 => sniff::http2_prefix(bytes),
            Self::Motan2 => motan2_codec::motan2_prefix(bytes),
            // Never guessed: it has to be declared.
            Self::Tcp => Prefix::Mismatch,
        }
    }

    /// The name on links and in labels.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Http1 => "http",
            Self::H2 => "h2",
            Self::Motan2 => "motan",
            Self::Tcp => "tcp",
        }
    }

    /// The protocol with this name on a link.
    pub(crate) fn from_name(name: &[u8]) -> Option<Self> {
        ALL.iter()
            .copied()
            .find(|protocol| protocol.name().as_bytes() == name)
    }

    /// The protocol of a listener that declares this one; none where it is to be found out.
    pub(crate) fn declared(declared: Protocol) -> Option<Self> {
        match declared {
            Protocol::Detect => None,
            Protocol::Http => Some(Self::Http1),
            Protocol::H2 | Protocol::Grpc => Some(Self::H2),
            Protocol::Tcp => Some(Self::Tcp),
            Protocol::Motan => Some(Self::Motan2),
        }
    }

    /// Whether calls name a host (else an interface).
    pub(crate) fn routes_by_host(self) -> bool {
        match self {
            Self::Http1 | Self::H2 | Self::Tcp => true,
            Self::Motan2 => false,
        }
    }

    /// Whether a port that declares `declared` is meant by a caller that names a host and no port.
    pub(crate) fn is_meant_by_host(self, declared: Protocol) -> bool {
        match self {
            Self::Http1 | Self::H2 => declared.is_http_family(),
            Self::Tcp => declared == Protocol::Tcp,
            Self::Motan2 => declared == Protocol::Motan,
        }
    }

    /// Whether a port that declares `declared` takes this protocol.
    pub(crate) fn is_spoken_by(self, declared: Protocol) -> bool {
        match self {
            Self::Http1 => matches!(declared, Protocol::Http | Protocol::Detect),
            Self::H2 => matches!(declared, Protocol::H2 | Protocol::Grpc | Protocol::Detect),
            Self::Motan2 => matches!(declared, Protocol::Motan | Protocol::Detect),
            Self::Tcp => declared == Protocol::Tcp,
        }
    }

    /// Whether fields that end a reply (trailers, or a head that is all there is) say that the app failed.
    pub(crate) fn says_failed(self, fields: &Fields) -> bool {
        match self {
            Self::H2 => h2::grpc::says_failed(fields),
            Self::Http1 | Self::Motan2 | Self::Tcp => false,
        }
    }

    /// Serves a connection until it ends.
    pub(crate) async fn serve(self, ctx: &Rc<Context>, detected: Detected) {
        match self {
            Self::Http1 => http1::server::serve(ctx, detected).await,
            Self::H2 => Box::pin(h2::serve(ctx, detected)).await,
            Self::Motan2 => motan2::server::serve(ctx, detected).await,
            Self::Tcp => tcp::serve(ctx, detected).await,
        }
    }

    /// Sends a call to the own app or an external host and brings the reply's head back.
    pub(crate) async fn exchange(
        self,
        ctx: &Rc<Context>,
        upstream: Upstream<'_>,
        call: &mut Call,
    ) -> Result<(ReplyHead, Body), Failure> {
        match self {
            Self::Http1 | Self::H2 => {
                let version = http::version(ctx, &upstream, self);
                let result = version.exchange_http(ctx, upstream, call).await;
                let is_refused =
                    matches!(&result, Err(failure) if failure.code.proves_not_dispatched());
                if is_refused && !matches!(call.body, Body::Spent) {
                    // Where it turned out to speak the other version: it made nothing of what it was sent.
                    let other = http::version(ctx, &upstream, self);
                    if other != version {
                        return other.exchange_http(ctx, upstream, call).await;
                    }
                }
                result
            }
            Self::Motan2 => motan2::upstream::exchange(ctx, upstream, call).await,
            Self::Tcp => tcp::exchange(ctx, upstream, call).await,
        }
    }

    async fn exchange_http(
        self,
        ctx: &Rc<Context>,
        upstream: Upstream<'_>,
        call: &mut Call,
    ) -> Result<(ReplyHead, Body), Failure> {
        if self == Self::H2 {
            return Box::pin(h2::upstream::exchange(ctx, upstream, call)).await;
        }
        http1::upstream::exchange(ctx, upstream, call).await
    }
}
