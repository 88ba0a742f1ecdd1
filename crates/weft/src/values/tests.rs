//! Tests of the values on the command line.

use super::*;

#[test]
fn names_fit_into_host_names_and_file_names() {
    for good in ["orders", "a", "com.acme.Stock", "web-2", "a_b"] {
        assert_eq!(name(good).as_deref(), Ok(good));
    }
    for bad in [
        "",
        "-a",
        "a.",
        "../etc",
        "a/b",
        "a b",
        "ä",
        &"a".repeat(254),
    ] {
        assert!(name(bad).is_err(), "{bad}");
    }
}

#[test]
fn durations_have_a_unit() {
    let check =
        |text: &str, millis: u64| assert_eq!(duration(text), Ok(Duration::from_millis(millis)));
    check("500ms", 500);
    check("20s", 20_000);
    check("2m", 120_000);
    check("1h", 3_600_000);
    for bad in [
        "",
        "20",
        "s",
        "-1s",
        "1.5s",
        "99999999999999999999s",
        "18446744073709551615h",
    ] {
        assert!(duration(bad).is_err(), "{bad}");
    }
}

#[test]
fn a_center_is_an_address_with_or_without_scheme_and_port() {
    let check =
        |text: &str, address: &str| assert_eq!(center(text).as_deref(), Ok(address), "{text}");
    check("127.0.0.1:9700", "127.0.0.1:9700");
    check("http://center.local:80/", "center.local:80");
    check("center", "center:9700");
    check("[::1]:9700", "[::1]:9700");
    check("[::1]", "[::1]:9700");
    for bad in [
        "",
        "https://x",
        "http://x/path",
        "x:0",
        "x:99999",
        "::1",
        "a@b:1",
    ] {
        assert!(center(bad).is_err(), "{bad}");
    }
}

#[test]
fn labels_have_a_name_and_a_value() {
    assert_eq!(label("version=v2=x"), Ok(("version".into(), "v2=x".into())));
    assert_eq!(label("empty="), Ok(("empty".into(), String::new())));
    assert!(label("=v").is_err());
    assert!(label("version").is_err());
}

#[test]
fn instance_ids_differ() {
    let (first, second) = (new_instance_id("orders"), new_instance_id("orders"));
    assert_ne!(first, second);
    assert_eq!(first.len(), "orders-".len() + 8);
    assert!(first.starts_with("orders-"));
}
