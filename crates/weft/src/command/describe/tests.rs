//! One instance as people see it.

use super::*;

#[test]
fn each_peer_has_its_line() {
    let object = json!({ "status": {
        "state": "Ready",
        "peers": [
            { "reporter": "web-1", "state": "suspect", "silentMs": 900 },
            { "reporter": "web-2", "state": "ready", "silentMs": 4 },
        ],
    } });
    let (object, text) = without_peers(object);
    assert_eq!(object, json!({ "status": { "state": "Ready" } }));
    assert_eq!(
        text,
        "as its peers find it:\n  web-1  suspect  heard 900 ms ago\n  web-2  ready  heard 4 ms ago\n"
    );
    let (_, text) = without_peers(json!({ "status": {} }));
    assert_eq!(text, "");
}

#[test]
fn a_name_may_stand_behind_a_slash() {
    let named = |name: &str| Subject {
        what: What::Instances,
        name: Some(name.to_owned()),
    };
    assert_eq!(subject("instance/orders-1"), Ok(named("orders-1")));
    assert_eq!(subject("instance").unwrap().name, None);
    for wrong in ["instance/", "thing/orders-1", "/orders-1"] {
        assert!(subject(wrong).is_err(), "{wrong}");
    }
}
