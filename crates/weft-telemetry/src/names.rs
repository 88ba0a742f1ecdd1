//! Every metric that weft exposes: one table, from which the exposition takes names, kinds and help.

/// How a metric behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Only grows.
    Counter,
    /// Goes up and down.
    Gauge,
    /// Counts in buckets.
    Histogram,
}

/// One metric.
#[derive(Clone, Copy, Debug)]
pub struct Metric {
    /// Its name: prefix `weft_`, base units.
    pub name: &'static str,
    /// How it behaves.
    pub kind: Kind,
    /// One sentence.
    pub help: &'static str,
    /// Its labels, from the glossary.
    pub labels: &'static [&'static str],
}

macro_rules! metrics {
    ($( $constant:ident = $name:literal $kind:ident [$($label:literal),*] $help:literal; )*) => {
        $( #[doc = $help] pub const $constant: Metric =
            Metric { name: $name, kind: Kind::$kind, help: $help, labels: &[$($label),*] }; )*
        /// All metrics.
        pub const ALL: &[Metric] = &[ $( $constant, )* ];
    };
}

metrics! {
    CALLS = "weft_calls_total" Counter ["direction", "caller", "service", "protocol", "code"] "Calls that ended, by their code: ok, app_error or the reason of the failure";
    CALL_DURATION = "weft_call_duration_seconds" Histogram ["direction", "caller", "service", "protocol", "code"] "Time from the first byte of a call to the last byte of its reply";
    CALLS_OPENED = "weft_calls_opened_total" Counter [] "Calls whose first byte was read";
    CALLS_ACTIVE = "weft_calls_active" Gauge [] "Calls that have begun and not ended";
    CONNECTIONS = "weft_connections_total" Counter [] "Connections accepted";
    CONNECTIONS_ACTIVE = "weft_connections_active" Gauge [] "Accepted connections that are open";
    CONNECTION_ENDS = "weft_connection_ends_total" Counter ["code"] "Accepted connections that ended, by their code: ok or the reason of the failure";
    H2_STREAMS_ACTIVE = "weft_h2_streams_active" Gauge [] "Streams of HTTP/2 callers that are open";
    LINKS_ACTIVE = "weft_links_active" Gauge ["side", "hop"] "Links that are open, by the side that connected and by their transport: h2 or http1";
    LINKS_SUSPECTED = "weft_links_suspected_total" Counter [] "How often the other end of a link in use fell silent, so that calls left it";
    LIMITS_HIT = "weft_limits_hit_total" Counter ["limit"] "How often a limit of docs/reference/limits.md ended or refused something";
    H2_FRAMES = "weft_h2_frames_total" Counter ["side"] "HTTP/2 frames that were read, by who sent them: caller or upstream; each connection until it is cut off";
    STREAMS_ACTIVE = "weft_streams_active" Gauge ["direction"] "Calls whose reply streams and has not ended, tunnels among them";
    BUFFER_BYTES = "weft_buffer_bytes" Gauge [] "Bytes of buffers in use, of all workers";
    LOG_LINES_DROPPED = "weft_log_lines_dropped_total" Counter [] "Lines of the access log dropped because the reader was slow";
    SNAPSHOT_GENERATION = "weft_snapshot_generation" Gauge [] "The generation of the snapshot in use";
    SYNCED = "weft_synced" Gauge [] "1 when a center has been heard";
    PANICS = "weft_panics_total" Counter [] "Tasks that ended by a defect of weft";
    SERIES_DROPPED = "weft_series_dropped_total" Counter [] "Calls counted under the series \"other\" because there were too many series";
}
