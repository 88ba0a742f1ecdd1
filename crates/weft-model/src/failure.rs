//! What can go wrong with a call: one closed table.
//!
//! Each code has one stable text (`no_instance`), one number (`WFT-1201`), one blame, and its answer in
//! each protocol. Logs, metrics, replies, CLI and docs take all of these from here and nowhere else.

use std::borrow::Cow;
use std::fmt;

/// Whose doing a failure is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Blame {
    /// The caller sent something that cannot be served, or left.
    Caller,
    /// A rule that somebody declared refused the call.
    Policy,
    /// The called app (or an external host) failed.
    Upstream,
    /// The mesh itself could not carry the call.
    Mesh,
    /// A defect of weft.
    Bug,
}

impl Blame {
    /// The stable text, as in `x-weft-blame`.
    pub const fn text(self) -> &'static str {
        match self {
            Self::Caller => "caller",
            Self::Policy => "policy",
            Self::Upstream => "upstream",
            Self::Mesh => "mesh",
            Self::Bug => "bug",
        }
    }
}

/// One row of the table of codes.
struct Row {
    text: &'static str,
    number: u16,
    blame: Blame,
    http: u16,
    sentence: &'static str,
}

macro_rules! codes {
    ($( $(#[$doc:meta])* $name:ident = $text:literal, $number:literal, $blame:ident, $http:literal, $sentence:literal; )*) => {
        /// Why a call (or a connection) failed. Closed: a new reason is a new row here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Code { $( $(#[$doc])* $name, )* }

        impl Code {
            /// Every code, in the order of the table.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            const fn row(self) -> Row {
                match self {
                    $( Self::$name => Row { text: $text, number: $number, blame: Blame::$blame, http: $http, sentence: $sentence }, )*
                }
            }
        }
    };
}

codes! {
    /// The bytes break the protocol's grammar.
    Malformed = "malformed", 1001, Caller, 400, "the request breaks the protocol's grammar";
    /// The head did not arrive in time.
    HeadTimeout = "head_timeout", 1002, Caller, 408, "the request did not arrive in time";
    /// The body is larger than the protocol's limit.
    BodyTooLarge = "body_too_large", 1003, Caller, 413, "the body is larger than the limit";
    /// The request target is longer than the limit.
    TargetTooLong = "target_too_long", 1004, Caller, 414, "the request target is longer than the limit";
    /// The head has more bytes or fields than the limit.
    HeadTooLarge = "head_too_large", 1005, Caller, 431, "the head is larger than the limit";
    /// A version of the protocol that weft does not carry.
    VersionNotSupported = "version_not_supported", 1006, Caller, 505, "this version of the protocol is not carried";
    /// A method or feature that weft does not carry.
    NotImplemented = "not_implemented", 1007, Caller, 501, "this is not carried by the mesh";
    /// The first bytes belong to no protocol that weft knows.
    UnknownProtocol = "unknown_protocol", 1008, Caller, 400, "the first bytes belong to no known protocol";
    /// The caller went away before its reply was complete.
    Cancelled = "cancelled", 1009, Caller, 499, "the caller went away";
    /// The caller's body broke off.
    BodyBroken = "body_broken", 1010, Caller, 400, "the body of the request broke off";
    /// The peer does more without getting anywhere than it may.
    Flood = "flood", 1011, Caller, 429, "the connection does more without progress than it may";
    /// The caller's body comes too slowly.
    BodyTimeout = "body_timeout", 1012, Caller, 408, "the body of the request came too slowly";
    /// One source has too many connections open.
    TooManyConnections = "too_many_connections", 1013, Caller, 503, "one source has more connections open than it may";
    /// An RPC names no group and several services have this interface.
    Ambiguous = "ambiguous", 1101, Caller, 400, "several services have this name";
    /// The mesh knows no such service.
    NoService = "no_service", 1102, Caller, 404, "the mesh knows no such service";
    /// The service has no port for this protocol or name.
    NoPort = "no_port", 1103, Caller, 404, "the service has no such port";
    /// The sidecar has not yet heard from any center, or not of this service.
    NotSynced = "not_synced", 1104, Mesh, 503, "no center has told this sidecar of it yet";
    /// The call would return to a listener of this sidecar.
    Loop = "loop", 1105, Caller, 508, "the call would return to this sidecar";
    /// The name of an external host does not resolve.
    NameUnresolved = "name_unresolved", 1106, Upstream, 502, "the name of the external host does not resolve";
    /// The service has no instance to send to.
    NoInstance = "no_instance", 1201, Mesh, 503, "the service has no instance";
    /// A limit of this sidecar or peer was reached.
    Overloaded = "overloaded", 1202, Mesh, 503, "a limit of the mesh was reached";
    /// The app (or external host) refused the connection.
    ConnectRefused = "connect_refused", 1301, Upstream, 503, "the connection was refused";
    /// The connection was not made in time.
    ConnectTimeout = "connect_timeout", 1302, Upstream, 504, "the connection was not made in time";
    /// The app closed the connection before the end of its reply.
    UpstreamClosed = "upstream_closed", 1303, Upstream, 502, "the app closed the connection before the end of its reply";
    /// The app's reply breaks the protocol's grammar.
    UpstreamMalformed = "upstream_malformed", 1304, Upstream, 502, "the app's reply breaks the protocol's grammar";
    /// No byte of the reply came within the limit.
    UpstreamTimeout = "upstream_timeout", 1305, Upstream, 504, "the reply did not come in time";
    /// The app, or an external host, does more without getting anywhere than it may.
    UpstreamFlood = "upstream_flood", 1306, Upstream, 502, "the app sent more without progress than it may";
    /// The app said that it did not take the call.
    AppRefused = "app_refused", 1308, Upstream, 503, "the app did not take the call";
    /// The app reset a tunnel's connection.
    UpstreamReset = "upstream_reset", 1307, Upstream, 502, "the app reset the connection";
    /// Nothing moved in a tunnel for its limit.
    TunnelIdle = "tunnel_idle", 1309, Mesh, 504, "nothing moved in the tunnel for its limit";
    /// The link to the peer broke while the call was under way.
    LinkLost = "link_lost", 1401, Mesh, 502, "the link to the other sidecar broke";
    /// No link to the peer could be made.
    LinkRefused = "link_refused", 1402, Mesh, 503, "the other sidecar cannot be reached";
    /// The peer did not hand the call to its app.
    NotDispatched = "not_dispatched", 1403, Mesh, 503, "the other sidecar did not take the call";
    /// The peer is another instance than the one meant.
    WrongInstance = "wrong_instance", 1404, Mesh, 503, "the address now belongs to another instance";
    /// The peer breaks the link's protocol.
    LinkMalformed = "link_malformed", 1405, Mesh, 502, "the other sidecar broke the link's protocol";
    /// Two of the configured centers have different stores.
    OtherStore = "other_store", 1406, Mesh, 503, "the center has another store than the one this sidecar follows";
    /// The deadline of the caller had passed.
    DeadlinePassed = "deadline_passed", 1501, Caller, 504, "the caller's deadline had passed";
    /// The sidecar is leaving.
    Draining = "draining", 1502, Mesh, 503, "the instance is leaving";
    /// A defect of weft.
    Internal = "internal", 1901, Bug, 500, "a defect of weft";
}

impl Code {
    /// The stable text used in logs, metrics, headers and docs: `no_instance`.
    pub const fn text(self) -> &'static str {
        self.row().text
    }

    /// The number behind `WFT-`.
    pub const fn number(self) -> u16 {
        self.row().number
    }

    /// Whose doing it is.
    pub const fn blame(self) -> Blame {
        self.row().blame
    }

    /// The status of the answer in HTTP.
    pub const fn http_status(self) -> u16 {
        self.row().http
    }

    /// One sentence without a full stop.
    pub const fn sentence(self) -> &'static str {
        self.row().sentence
    }

    /// The `errcode` of the answer in Motan (motan.md 3.5): 404 keeps the meaning clients test for.
    pub const fn motan_errcode(self) -> u16 {
        match self.row().http {
            404 => 404,
            504 => 10003,
            503 => 1001,
            _ => 400,
        }
    }

    /// The status of the answer in gRPC: what a client library would do with it. UNAVAILABLE may be tried again.
    pub const fn grpc_status(self) -> u16 {
        match self {
            Self::Cancelled => 1,
            Self::DeadlinePassed => 4,
            Self::BodyTooLarge | Self::HeadTooLarge | Self::TargetTooLong => 8,
            _ => match self.row().http {
                400 | 408 | 500 | 505 | 508 => 13,
                404 | 501 => 12,
                _ => 14,
            },
        }
    }

    /// Whether this code proves that the app never saw the call, so that any method may move on.
    pub const fn proves_not_dispatched(self) -> bool {
        matches!(
            self,
            Self::ConnectRefused
                | Self::ConnectTimeout
                | Self::LinkRefused
                | Self::NotDispatched
                | Self::WrongInstance
                | Self::Draining
                | Self::Overloaded
                | Self::AppRefused
        )
    }

    /// The code with this stable text.
    pub fn from_text(text: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.text() == text)
    }
}

/// A failed call: the code, and what was attempted and found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// The row of the table.
    pub code: Code,
    /// What was attempted and found; lower case, no full stop; may be empty.
    pub detail: Cow<'static, str>,
}

impl Failure {
    /// A failure whose sentence says it all.
    pub const fn new(code: Code) -> Self {
        Self {
            code,
            detail: Cow::Borrowed(""),
        }
    }

    /// A failure with what was attempted and found.
    pub fn with(code: Code, detail: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code,
            detail: detail.into(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.detail.is_empty() {
            write!(f, "{} (WFT-{})", self.code.sentence(), self.code.number())
        } else {
            write!(
                f,
                "{}: {} (WFT-{})",
                self.code.sentence(),
                self.detail,
                self.code.number()
            )
        }
    }
}

impl std::error::Error for Failure {}

#[cfg(test)]
mod tests;
