//! Tests of the files in the runtime folder.

use super::*;
use crate::folders::tests::Scratch;

fn example() -> RuntimeFile {
    RuntimeFile {
        service: "orders".into(),
        instance: "orders-0badcafe".into(),
        pid: 100,
        sidecar_pid: Some(101),
        ports: Ports {
            outbound: 9981,
            inbound: 9982,
            http_proxy: 9983,
            management: 8002,
        },
        socket: Some("/run/weft/default-orders-0/agent.sock".into()),
    }
}

#[test]
fn what_is_written_is_read_again() {
    let scratch = Scratch::new("runtime-file");
    let path = scratch.0.join("default-orders-0.json");
    for sidecar_pid in [Some(101), None] {
        let file = RuntimeFile {
            sidecar_pid,
            ..example()
        };
        file.write(&path).unwrap();
        assert_eq!(RuntimeFile::read(&path), Some(file));
    }
}

#[test]
fn the_file_has_the_fields_that_others_read() {
    let expected = serde_json::json!({
        "service": "orders", "instance": "orders-0badcafe", "pid": 100, "sidecar_pid": 101,
        "ports": {"outbound": 9981, "inbound": 9982, "http_proxy": 9983, "management": 8002},
        "socket": "/run/weft/default-orders-0/agent.sock",
    });
    assert_eq!(example().to_json(), expected);
}

#[test]
fn a_broken_or_missing_file_is_none() {
    let scratch = Scratch::new("runtime-broken");
    let path = scratch.0.join("default-orders-0.json");
    assert_eq!(RuntimeFile::read(&path), None);
    for text in ["", "{", "{}", "{\"service\":1}", "[1,2]"] {
        fs::write(&path, text).unwrap();
        assert_eq!(RuntimeFile::read(&path), None, "{text}");
    }
}

#[test]
fn a_center_removes_only_its_own_file() {
    let scratch = Scratch::new("center-file");
    let folders = Folders {
        runtime: scratch.0.clone(),
        state: scratch.0.clone(),
    };
    let first = CenterFile {
        url: "http://127.0.0.1:9700".into(),
        token_file: None,
    };
    let second = CenterFile {
        url: "http://127.0.0.1:9701".into(),
        token_file: None,
    };
    first.write(&folders).unwrap();
    second.write(&folders).unwrap();
    first.remove(&folders);
    assert_eq!(CenterFile::read(&folders), Some(second.clone()));
    second.remove(&folders);
    assert_eq!(CenterFile::read(&folders), None);
}
