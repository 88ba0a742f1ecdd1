//! Settings say what the table of limits says.

use super::*;

#[test]
fn the_table_of_limits_says_what_the_codecs_hold() {
    let limits = Limits::default();
    let (http1, h2) = (limits.http1, limits.h2);
    for (limit, held) in [
        (Limit::Http1Head, http1.head_bytes_max as u64),
        (Limit::Http1Target, http1.target_bytes_max as u64),
        (Limit::Http1Fields, http1.fields_max as u64),
        (Limit::Http1ChunkLine, http1.chunk_line_bytes_max as u64),
        (Limit::Http1Waste, http1.waste_bytes_max as u64),
        (Limit::Http1Trailers, http1.trailer_bytes_max as u64),
        (Limit::H2Debt, u64::from(h2.debt)),
        (Limit::H2DebtPerCompleted, u64::from(h2.debt_per_completed)),
        (Limit::H2DebtMax, u64::from(h2.debt_max)),
        (Limit::H2Young, h2.young_ms),
        (Limit::H2Block, u64::from(h2.block_bytes)),
        (Limit::H2Streams, u64::from(h2.streams)),
    ] {
        assert_eq!(held, limit.default(), "{}", limit.name());
    }
}

#[test]
fn one_source_never_takes_all_connections() {
    let limits = Limits::default().within_files(1024);
    assert!(limits.connections_per_source < limits.accepted_max);
    assert_eq!(
        Limits::default()
            .within_files(1_000_000)
            .connections_per_source,
        10_000
    );
}
