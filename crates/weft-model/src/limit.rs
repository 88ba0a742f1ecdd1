//! What a peer may do at the most: one closed table.
//!
//! Each limit has one stable name (the label of `weft_limits_hit_total`), a unit, a default, and the code of what
//! it ends. Settings take their defaults from here, metrics their labels, and `docs/reference/limits.md` all of it.

use crate::failure::Code;

/// One row of the table.
struct Row {
    name: &'static str,
    default: u64,
    unit: &'static str,
    code: Option<Code>,
    sentence: &'static str,
}

macro_rules! limits {
    ($( $name:ident = $text:literal, $default:expr, $unit:literal, $code:expr, $sentence:literal; )*) => {
        /// A limit that a peer can reach. Closed: a new one is a new row here.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        #[repr(u8)]
        pub enum Limit { $( #[doc = $sentence] $name, )* }

        impl Limit {
            /// Every limit, in the order of the table.
            pub const ALL: &'static [Self] = &[ $( Self::$name, )* ];

            const fn row(self) -> Row {
                match self {
                    $( Self::$name => Row { name: $text, default: $default, unit: $unit, code: $code, sentence: $sentence }, )*
                }
            }
        }
    };
}

limits! {
    ConnectionsPerSource = "connections_per_source", 10_000, "connections", Some(Code::TooManyConnections), "Open connections from one address; at most three quarters of all that may be open. Loopback is exempt: it is the own host";
    ConnectionsPerWorker = "connections_per_worker", 100_000, "connections", Some(Code::TooManyConnections), "Open connections of one worker";
    Calls = "calls_per_worker", 20_000, "calls", Some(Code::Overloaded), "Calls in flight in one worker";
    BufferBytes = "buffer_bytes", 48 * 1024 * 1024, "bytes", Some(Code::Overloaded), "Buffers of the whole process. From a third of it on links let no more be under way for a call than 16 KiB; when it is full, request bodies are not read, and a call that a peer opens with a long body is not dispatched";
    Idle = "idle_seconds", 600, "s", None, "A connection without a call, its first byte included: pools connect early";
    Head = "head_seconds", 9, "s", Some(Code::HeadTimeout), "From the first byte of a request's head to its last, so that a slow one is closed before 10 s are over";
    BodyWindow = "body_window_seconds", 9, "s", Some(Code::BodyTimeout), "Time in which a body that is awaited must make progress: bytes that were announced, by a length or a chunk's size";
    BodyProgress = "body_progress_bytes", 1024, "bytes", Some(Code::BodyTimeout), "How far it must come in that time";
    Stall = "stall_seconds", 300, "s", Some(Code::BodyBroken), "Between two chunks of a request, which may be a stream that lasts; and a reply of which the caller takes nothing";
    TunnelIdle = "tunnel_idle_seconds", 3600, "s", Some(Code::TunnelIdle), "A tunnel (upgrade, CONNECT, TCP) in which nothing moves either way";
    Http1Head = "http1_head_bytes", 32 * 1024, "bytes", Some(Code::HeadTooLarge), "Bytes of an HTTP/1.1 head";
    Http1Target = "http1_target_bytes", 8 * 1024, "bytes", Some(Code::TargetTooLong), "Bytes of an HTTP/1.1 request target";
    Http1Fields = "http1_fields", 100, "fields", Some(Code::HeadTooLarge), "Fields of an HTTP/1.1 head";
    Http1ChunkLine = "http1_chunk_line_bytes", 1024, "bytes", Some(Code::BodyBroken), "Bytes of the line before a chunk";
    Http1Waste = "http1_waste_bytes", 32 * 1024, "bytes", Some(Code::BodyBroken), "Bytes of framing that say nothing (chunk extensions) beyond the payload";
    Http1Trailers = "http1_trailer_bytes", 8 * 1024, "bytes", Some(Code::BodyBroken), "Bytes of an HTTP/1.1 message's trailers";
    H2Debt = "h2_debt", 100, "frames", Some(Code::Flood), "HTTP/2 frames without progress that a peer may owe: resets of streams younger than 1 s, its stream errors, empty DATA, control frames out of proportion, unknown frames. Above it the peer is asked to go, at twice of it it is cut off";
    H2DebtPerCompleted = "h2_debt_per_completed", 10, "requests", None, "Completed requests for which the limit of debt grows by one";
    H2DebtMax = "h2_debt_max", 1000, "frames", Some(Code::Flood), "The limit of debt, however many requests were completed";
    H2Young = "h2_young_ms", 1000, "ms", None, "A stream that is reset at a higher age adds no debt";
    H2Block = "h2_block_bytes", 64 * 1024, "bytes", Some(Code::HeadTooLarge), "Bytes of one HTTP/2 header block on the wire, HEADERS with CONTINUATION";
    H2Streams = "h2_streams", 100, "streams", None, "Streams open on one HTTP/2 connection; more are refused, and add debt";
}

impl Limit {
    /// The stable name used as label and in docs: `h2_debt`.
    pub const fn name(self) -> &'static str {
        self.row().name
    }

    /// Its value where nobody says otherwise.
    pub const fn default(self) -> u64 {
        self.row().default
    }

    /// What its value counts.
    pub const fn unit(self) -> &'static str {
        self.row().unit
    }

    /// The code of a call or connection that ends by it; `None` where nothing fails by it.
    pub const fn code(self) -> Option<Code> {
        self.row().code
    }

    /// What it limits, without a full stop.
    pub const fn sentence(self) -> &'static str {
        self.row().sentence
    }
}

#[cfg(test)]
mod tests;
