//! The reader of the text format.

use super::*;

const TEXT: &str = "\
# HELP weft_calls_total Calls
# TYPE weft_calls_total counter
weft_calls_total{direction=\"inbound\",code=\"ok\"} 3
weft_calls_total{direction=\"inbound\",code=\"cancelled\"} 1
weft_calls_opened_total 4
weft_calls_active 0
weft_panics_total 0
";

#[test]
fn series_are_summed_by_their_labels() {
    let metrics = Metrics::parse(TEXT);
    assert_eq!(metrics.calls(&[]), 4);
    assert_eq!(metrics.calls(&[("code", "cancelled")]), 1);
    assert_eq!(
        metrics.calls(&[("code", "ok"), ("direction", "outbound")]),
        0
    );
}

#[test]
fn a_call_that_was_not_recorded_is_an_imbalance() {
    assert_eq!(Metrics::parse(TEXT).imbalance(), None);
    let lost = TEXT.replace("opened_total 4", "opened_total 5");
    assert!(Metrics::parse(&lost).imbalance().is_some());
    assert!(Metrics::parse("").imbalance().is_some());
}
