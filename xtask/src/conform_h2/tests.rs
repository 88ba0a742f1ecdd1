//! Tests of reading what h2spec writes, of frames by hand, and of the list itself.

use super::cases::all;
use super::suites::junit_results;
use super::wire::{self, frame, take};
use std::collections::BTreeSet;

#[test]
fn a_junit_report_is_read_by_section_and_number() {
    let text = r#"
  <testsuite name="5.1.1." package="http2/5.1.1" tests="2">
    <testcase package="http2/5.1.1" classname="Sends even" time="0.0002"></testcase>
    <testcase package="http2/5.1.1" classname="Sends smaller" time="4.0019">
      <error>GOAWAY Frame (Error Code: PROTOCOL_ERROR)
Connection closed</error>
    </testcase>
  </testsuite>
    <testcase package="hpack/2.3" classname="x" time="0.0002"></testcase>
"#;
    let results: Vec<(String, bool)> = junit_results(text).into_iter().collect();
    let expected = [
        ("hpack/2.3/1", true),
        ("http2/5.1.1/1", true),
        ("http2/5.1.1/2", false),
    ];
    assert_eq!(
        results,
        expected.map(|(case, passed)| (case.to_owned(), passed))
    );
}

#[test]
fn frames_are_read_as_they_are_written() {
    let mut bytes = [
        frame(wire::PING, 1, 0, &[7; 8]),
        frame(wire::DATA, 0, 5, b"ab"),
    ]
    .concat();
    bytes.push(0);
    let first = take(&mut bytes).unwrap();
    assert_eq!((first.kind, first.flags, first.stream), (wire::PING, 1, 0));
    let second = take(&mut bytes).unwrap();
    assert_eq!((second.stream, second.payload.as_slice()), (5, &b"ab"[..]));
    assert!(take(&mut bytes).is_none() && bytes == [0]);
}

#[test]
fn every_case_has_a_name_of_its_own() {
    let cases = all();
    let names: BTreeSet<(&str, &str)> = cases
        .iter()
        .map(|case| (case.section, case.name.as_str()))
        .collect();
    assert_eq!(names.len(), cases.len());
    assert!(cases.len() as u64 >= super::OWN_CASES_MIN);
}
