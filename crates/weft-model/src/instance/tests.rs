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
fn the_newest_word_of_an_instance_wins_whichever_way_it_came() {
    let load = InstanceLoad::default();
    assert!(load.is_eligible(0));
    load.tell_share(1, 3, HealthState::Warming, 40);
    assert_eq!((load.state(), load.share()), (HealthState::Warming, 40));
    load.tell_share(1, 2, HealthState::Warming, 30);
    assert_eq!(load.share(), 40, "older");
    load.tell_share(1, 4, HealthState::Overloaded, 0);
    assert_eq!(load.share(), 1, "never nothing");
    load.tell(1, 5, HealthState::Draining);
    assert_eq!(load.share(), 100);
    load.tell(1, 4, HealthState::Ready);
    assert_eq!(load.state(), HealthState::Draining);
    assert!(!load.is_eligible(0));
    load.tell(2, 0, HealthState::Ready);
    load.tell(1, 9, HealthState::AppDead);
    assert!(load.is_eligible(0));
}

#[test]
fn an_instance_is_passed_over_while_it_is_suspect_or_avoided() {
    let load = InstanceLoad::default();
    load.suspects.store(1, Ordering::Relaxed);
    assert!(!load.is_eligible(100));
    load.suspects.store(0, Ordering::Relaxed);
    load.avoided_until_ms.store(101, Ordering::Relaxed);
    assert!(!load.is_eligible(100));
    assert!(load.is_eligible(101));
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

#[test]
fn what_an_instance_said_counts_no_more_when_another_has_taken_its_address() {
    let load = InstanceLoad::default();
    load.tell(7, 9, HealthState::Draining);
    load.taken_over();
    assert_eq!(load.state(), HealthState::Ready);
    load.tell(1, 1, HealthState::AppDead);
    assert_eq!(
        load.state(),
        HealthState::AppDead,
        "the successor's first word is heard although its incarnation is lower"
    );
}
