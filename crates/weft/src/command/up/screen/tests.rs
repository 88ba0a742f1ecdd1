//! Tests of what is shown.

use super::super::report::Numbers;
use super::*;
use crate::stats::Summary;

fn example() -> (Vec<ServiceStats>, Report) {
    let calls = Summary {
        calls_per_second: Some(200.0),
        success: Some(1.0),
        ..Summary::default()
    };
    let edges = vec![("visitors".into(), calls)];
    let web = ServiceStats {
        name: "web".into(),
        instances: 1,
        calls,
        edges,
    };
    let second = Numbers {
        calls: 200,
        failed: 0,
        p50_us: 900,
        p95_us: 1500,
        p99_us: 4200,
    };
    let total = Numbers {
        calls: 600,
        failed: 0,
        ..Numbers::default()
    };
    (
        vec![web],
        Report {
            is_warm: Some(true),
            found: String::new(),
            seconds: 3,
            second,
            total,
        },
    )
}

#[test]
fn elsewhere_than_on_a_terminal_it_is_one_line() {
    let (services, report) = example();
    let expected = "visitors counted in 3 s: 600 calls, 0 failed; last second: 200 calls, p50 900 us, \
                    p95 1.5 ms, p99 4.2 ms; web 200/s";
    assert_eq!(plain(&services, &report), expected);
}

#[test]
fn a_block_takes_the_place_of_the_one_before() {
    let lines = ["a".to_owned(), "b".to_owned()];
    assert_eq!(redrawn(&lines, 0), "a\x1b[K\nb\x1b[K\n\x1b[J");
    assert!(redrawn(&lines, 3).starts_with("\x1b[3A\ra"));
}

#[test]
fn without_colors_there_are_none_and_failures_are_red() {
    let (services, mut report) = example();
    let block = |report: &Report, colors| block(&services, report, colors, 80);
    assert!(
        block(&report, false)
            .iter()
            .all(|line| !line.contains('\x1b'))
    );
    assert!(block(&report, true)[0].starts_with(BOLD));
    report.total.failed = 1;
    assert!(
        block(&report, true)
            .iter()
            .any(|line| line.starts_with(RED))
    );
}

#[test]
fn no_line_is_wider_than_the_terminal() {
    let (services, mut report) = example();
    report.total.failed = 1;
    report.found = "status 502: a\nlong story ".repeat(9);
    for columns in [30, 80] {
        let lines = block(&services, &report, false, columns);
        assert!(
            lines.iter().all(|line| line.chars().count() <= columns),
            "{lines:?}"
        );
        assert!(
            lines
                .iter()
                .any(|line| line.starts_with("the last failure: status"))
        );
    }
}
