//! gRPC in the words of its specification, without a connection.

use super::*;
use weft_model::Code;

fn fields(pairs: &[(&str, &str)]) -> Fields {
    let mut fields = Fields::new();
    for (name, value) in pairs {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    fields
}

#[test]
fn grpc_is_told_by_its_content_type_and_grpc_web_is_not_it() {
    for kind in [
        "application/grpc",
        "application/grpc+proto",
        "application/grpc;charset=utf-8",
    ] {
        assert!(is_grpc(&fields(&[("content-type", kind)])), "{kind}");
    }
    for kind in [
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/json",
    ] {
        assert!(!is_grpc(&fields(&[("content-type", kind)])), "{kind}");
    }
    assert!(!is_grpc(&fields(&[])));
}

#[test]
fn a_timeout_is_at_most_eight_digits_and_a_unit() {
    let cases = [
        ("1H", Duration::from_hours(1)),
        ("2M", Duration::from_mins(2)),
        ("3S", Duration::from_secs(3)),
        ("4m", Duration::from_millis(4)),
        ("5u", Duration::from_micros(5)),
        ("99999999n", Duration::from_nanos(99_999_999)),
    ];
    for (text, expected) in cases {
        assert_eq!(timeout(text.as_bytes()), Some(expected), "{text}");
    }
    for text in ["", "S", "1", "1s", "100000000S", "-1S", "+1S", "1 S"] {
        assert_eq!(timeout(text.as_bytes()), None, "{text:?}");
    }
}

#[test]
fn what_is_left_is_said_in_the_finest_unit_that_fits() {
    let said = |left| {
        let text = timeout_until(clock::now() + left);
        (timeout(text.as_bytes()).unwrap(), text)
    };
    for (left, unit) in [
        (Duration::from_millis(500), 'u'),
        (Duration::from_secs(1_000), 'm'),
        (Duration::from_hours(1_000), 'S'),
    ] {
        let (read, text) = said(left);
        assert!(text.ends_with(unit) && text.len() <= 9, "{text}");
        assert!(
            read <= left && left.saturating_sub(read) < Duration::from_secs(2),
            "{text}"
        );
    }
    assert_eq!(timeout_until(clock::now()), "0u");
}

#[test]
fn only_statuses_that_a_5xx_would_be_are_failures() {
    let failed = |status: &str| says_failed(&fields(&[("grpc-status", status)]));
    for status in ["2", "4", "12", "13", "14", "15"] {
        assert!(failed(status), "{status}");
    }
    for status in ["0", "1", "3", "5", "6", "7", "8", "9", "10", "11", "16"] {
        assert!(!failed(status), "{status}");
    }
    assert!(!says_failed(&fields(&[])));
}

#[test]
fn a_failure_is_a_status_a_message_and_whose_doing_it_was() {
    let failure = Failure::with(Code::NoInstance, "service \"größe\" at 100 %");
    let response = failure_response(&failure);
    let field = |name: &str| response.headers()[name].to_str().unwrap();
    assert_eq!(response.status(), 200);
    assert_eq!(field("content-type"), "application/grpc");
    assert_eq!(field("grpc-status"), "14");
    assert_eq!(
        field("grpc-message"),
        "the service has no instance: service \"gr%C3%B6%C3%9Fe\" at 100 %25 (WFT-1201)"
    );
    assert_eq!(
        (field("x-weft-code"), field("x-weft-blame")),
        ("no_instance", "mesh")
    );
}
