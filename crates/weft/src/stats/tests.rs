//! Tests of the reading and showing of stats.

use super::*;
use serde_json::json;

fn list() -> Value {
    json!({
        "apiVersion": "stats.weft.dev/v1alpha1",
        "kind": "ServiceStatsList",
        "items": [
            {
                "metadata": {"name": "stock", "namespace": "default"},
                "stats": {"instances": 2, "calls_per_second": 200.04, "success": 0.999_99,
                          "p50_us": 480, "p95_us": 1900, "p99_us": 2_500_000},
                "edges": [{"caller": "orders", "calls_per_second": 200.0, "success": 1.0,
                           "p50_us": 480, "p95_us": 1900, "p99_us": 4000}],
            },
            {
                "metadata": {"name": "idle", "namespace": "default"},
                "stats": {"instances": 1, "calls_per_second": 0.0, "success": null},
                "edges": [],
            },
            {"metadata": {}, "stats": {}},
        ],
    })
}

#[test]
fn services_are_read_in_the_order_of_their_names() {
    let services = services(&list());
    let names: Vec<_> = services
        .iter()
        .map(|service| service.name.as_str())
        .collect();
    assert_eq!(names, ["idle", "stock"]);
    assert_eq!(services[1].edges[0].0, "orders");
    assert_eq!(services[1].calls.p99_us, Some(2_500_000));
    assert_eq!(services[0].calls.success, None);
}

#[test]
fn the_table_has_a_line_per_service_and_per_caller() {
    let expected = [
        "SERVICE        INSTANCES  CALLS/S   SUCCESS     P50     P95     P99",
        "idle                   1      0.0         -       -       -       -",
        "stock                  2    200.0   99.99 %  480 us  1.9 ms   2.5 s",
        "  from orders               200.0  100.00 %  480 us  1.9 ms  4.0 ms",
    ];
    assert_eq!(table(&services(&list())), expected);
}

#[test]
fn something_that_is_no_list_has_no_services() {
    for value in [
        json!({}),
        json!([]),
        json!({"items": 1}),
        json!({"items": [1, {}]}),
    ] {
        assert_eq!(services(&value), []);
    }
}
