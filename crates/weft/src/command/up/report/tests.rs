//! Tests of the reading of the report.

use super::*;

#[test]
fn the_last_second_and_the_sum_are_found() {
    let text = r#"{"warm":true}
{"second":1,"calls":200,"failed":0,"p50_us":900,"p95_us":1,"p99_us":2,"total_calls":200,"total_failed":0}
{"second":2,"calls":199,"failed":1,"p50_us":901,"p95_us":1,"p99_us":2,"total_calls":399,"total_failed":1}
"#;
    let report = Report::parse(text);
    assert_eq!(report.is_warm, Some(true));
    assert_eq!((report.seconds, report.second.p50_us), (2, 901));
    assert_eq!((report.total.calls, report.total.failed), (399, 1));
    let done =
        r#"{"done":true,"seconds":2.1,"calls":410,"failed":1,"p50_us":900,"p95_us":5,"p99_us":7}"#;
    let report = Report::parse(&format!("{text}{done}"));
    assert_eq!((report.total.calls, report.total.p99_us), (410, 7));
}

#[test]
fn half_a_line_is_not_read_yet() {
    assert_eq!(Report::parse("{\"warm\":tr"), Report::default());
    assert_eq!(
        Report::parse("{\"warm\":false}\n{\"sec").is_warm,
        Some(false)
    );
}
