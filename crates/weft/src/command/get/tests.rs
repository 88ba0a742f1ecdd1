//! Rows as people see them.

use super::*;
use serde_json::json;

#[test]
fn how_peers_find_an_instance_is_told_by_counts_and_trouble_by_name() {
    let peer = |reporter: &str, state: &str| json!({ "reporter": reporter, "state": state });
    let few = json!({
        "peerCounts": { "ready": 998, "suspect": 2 },
        "peers": [peer("orders-1", "suspect"), peer("orders-2", "suspect"), peer("orders-3", "ready")],
    });
    assert_eq!(peers(&few), "ready 998, suspect 2 (orders-1, orders-2)");
    let many: Vec<Value> = (0..9).map(|n| peer(&format!("w{n}"), "app dead")).collect();
    let many = json!({ "peerCounts": { "app dead": 9 }, "peers": many });
    assert_eq!(peers(&many), "app dead 9 (w0, w1, w2, ...)");
    for nobody in [json!({}), json!({ "peerCounts": {}, "peers": [] })] {
        assert_eq!(peers(&nobody), "-");
    }
}

#[test]
fn an_instance_without_a_sidecar_is_reached_at_its_app() {
    let with = json!({ "address": "10.0.0.1", "inboundPort": 9982, "ports": [{ "port": 80 }] });
    assert_eq!(address(&with), "10.0.0.1:9982");
    let without = json!({ "address": "10.0.0.1", "inboundPort": 0, "ports": [{ "port": 80 }] });
    assert_eq!(address(&without), "10.0.0.1:80");
}

#[test]
fn each_list_has_as_many_cells_as_its_head() {
    for what in [
        What::Services,
        What::Instances,
        What::Sidecars,
        What::Objects,
    ] {
        for is_wide in [false, true] {
            let cells = row(what, &Value::Null, is_wide).len();
            assert_eq!(head(what, is_wide).len(), cells, "{what:?}");
        }
    }
}
