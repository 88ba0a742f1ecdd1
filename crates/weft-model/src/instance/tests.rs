//! The `--port` argument in all its shapes.

use super::*;

#[track_caller]
fn check(text: &str, expect: Result<&str, &str>) {
    let parsed = text.parse::<PortSpec>();
    match expect {
        Ok(canonical) => assert_eq!(
            parsed.map(|spec| spec.to_string()).as_deref(),
            Ok(canonical)
        ),
        Err(part) => {
            let error = parsed.expect_err(text).to_string();
            assert!(error.contains(part), "{error:?} does not say {part:?}");
        }
    }
}

#[test]
fn a_port_is_read_in_every_shape() {
    check("8080", Ok("detect:detect=8080"));
    check("http=8080", Ok("http:http=8080"));
    check("web:http=1", Ok("web:http=1"));
    check("motan2=8001", Ok("motan:motan=8001"));
    check(
        "motan=8001,interface=a.b.C,group=g,version=1.0",
        Ok("motan:motan=8001,interface=a.b.C,group=g,version=1.0"),
    );
}

#[test]
fn a_wrong_port_says_what_was_found_and_what_to_write() {
    check("http=0", Err("not a port number"));
    check("http=65536", Err("not a port number"));
    check("", Err("not a port number"));
    check("htp=80", Err("not one of detect, http"));
    check("http=80,colour=red", Err("none of interface="));
    check("http=80,group", Err("write [name:]protocol=port"));
}
