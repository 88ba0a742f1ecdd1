//! What people write, what it becomes, and what they are told about their mistakes.

use super::document::{self, Document};
use super::*;
use serde_json::json;
use weft_model::declared::{Check, Target};

fn read_one(text: &str) -> (Document, Result<Object, FieldError>) {
    let mut documents = document::read(text).unwrap();
    assert_eq!(documents.len(), 1, "{text}");
    let document = documents.remove(0);
    let object = Object::from_json(&document.value, "");
    (document, object)
}

/// What a person is told: line, field, reason.
fn told(text: &str) -> (u64, String, String) {
    let (document, object) = read_one(text);
    let error = object.expect_err(text);
    (document.line_of(&error.field), error.field, error.reason)
}

const INSTANCE: &str = "\
apiVersion: mesh.weft.dev/v1alpha1
kind: Workload
metadata:
  name: orders-7
  labels: {team: shop}
spec:
  service: orders
  address: 10.1.2.7
  ports:
  - name: web
    port: 8080
    protocol: http
  - name: rpc
    port: 8001
    protocol: motan2
    interfaces: [com.shop.Order, com.shop.Stock]
    group: g1
  labels: {version: v2}
  zone: bj-a
  check:
    http: {path: /healthz}
    interval: 2s
";

#[test]
fn an_instance_is_read_with_all_its_ports_and_its_check() {
    let (_, object) = read_one(INSTANCE);
    let object = object.unwrap();
    assert_eq!(object.metadata.namespace, "default");
    let Meaning::Instance(instance) = object.meaning else {
        panic!("{:?}", object.meaning);
    };
    assert_eq!(instance.service.to_string(), "orders");
    assert_eq!(instance.weight, 100);
    let check = Check::Http {
        port: 8080,
        path: "/healthz".into(),
    };
    assert_eq!(instance.check, check);
    let ports: Vec<_> = instance
        .ports
        .iter()
        .map(|p| (&*p.name, &*p.interface, p.number))
        .collect();
    let expected = [
        ("web", "", 8080),
        ("rpc", "com.shop.Order", 8001),
        ("rpc-2", "com.shop.Stock", 8001),
    ];
    assert_eq!(ports, expected);
}

/// What is written instead of what, and the line, field and reason that are told.
const MISTAKES: [(&str, &str, u64, &str, &str); 15] = [
    (
        "port: 8080",
        "prt: 8080",
        11,
        "spec.ports[0].prt",
        "unknown field `prt`, expected one of",
    ),
    (
        "port: 8080",
        "port: 80800",
        11,
        "spec.ports[0].port",
        "expected u16",
    ),
    (
        "port: 8080",
        "port: 0",
        11,
        "spec.ports[0].port",
        "1 to 65535",
    ),
    (
        "protocol: http\n",
        "protocol: htp\n",
        12,
        "spec.ports[0].protocol",
        "allowed are detect, http",
    ),
    (
        "name: rpc",
        "name: web",
        13,
        "spec.ports[1].name",
        "another port",
    ),
    (
        "address: 10.1.2.7",
        "address: host7",
        8,
        "spec.address",
        "an IP address belongs here",
    ),
    (
        "interval: 2s",
        "interval: 2",
        22,
        "spec.check.interval",
        "for example 5s",
    ),
    (
        "interval: 2s",
        "interval: 1ms",
        22,
        "spec.check.interval",
        "less than 500 ms",
    ),
    (
        "http: {path: /healthz}",
        "http: {path: healthz}",
        21,
        "spec.check.http.path",
        "begins with /",
    ),
    (
        "http: {path: /healthz}",
        "http: {path: /h, port: x}",
        21,
        "spec.check.http.port",
        "are web, rpc",
    ),
    (
        "name: orders-7",
        "name: -orders",
        4,
        "metadata.name",
        "letters, digits",
    ),
    (
        "name: orders-7",
        "annotations: {}",
        4,
        "metadata.annotations",
        "unknown field",
    ),
    (
        "kind: Workload",
        "kind: Workloads",
        2,
        "kind",
        "the kinds are Mesh, MeshService",
    ),
    (
        "v1alpha1",
        "v2",
        1,
        "apiVersion",
        "write mesh.weft.dev/v1alpha1",
    ),
    ("spec:", "specs:", 6, "specs", "allowed are apiVersion"),
];

#[test]
fn a_mistake_is_told_with_its_line_its_field_and_what_is_allowed() {
    for (from, to, line, field, reason) in MISTAKES {
        let text = INSTANCE.replacen(from, to, 1);
        let found = told(&text);
        assert_eq!(
            (found.0, found.1.as_str()),
            (line, field),
            "{to}: {}",
            found.2
        );
        assert!(found.2.contains(reason), "{to}: {}", found.2);
    }
}

#[test]
fn a_file_that_is_no_yaml_names_the_line() {
    let error = document::read("a: 1\nb: [1, 2\nc: 3\n").unwrap_err();
    assert!(error.line >= 2, "{error:?}");
    let nan = document::read("a: 1\nweight: .nan\n").unwrap_err();
    assert_eq!(nan.line, 2, "{nan:?}");
    let twice = document::read("a: 1\nb: 2\na: 3\n").unwrap_err();
    assert!(twice.reason.contains('a'), "{twice:?}");
}

#[test]
fn several_documents_lists_and_json_are_read_alike() {
    let json = r#"{"kind": "List", "items": [{"a": 1}, {"a": 2}]}"#;
    let documents = document::read(&format!("---\n# nothing\n---\na: 0\n---\n{json}\n")).unwrap();
    let values: Vec<_> = documents
        .iter()
        .map(|document| document.value.clone())
        .collect();
    assert_eq!(values, [json!({"a": 0}), json!({"a": 1}), json!({"a": 2})]);
    assert_eq!(documents[0].line(), 4);
    assert_eq!(documents[2].line_of("a"), 6);
    assert!(document::read("").unwrap().is_empty());
}

#[test]
fn an_alias_bomb_and_a_deep_nest_are_refused() {
    let mut bomb = String::from("a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n");
    for level in 1..12 {
        let refs = vec![format!("*a{}", level - 1); 10].join(", ");
        bomb.push_str(
            &[
                "a",
                &level.to_string(),
                ": &a",
                &level.to_string(),
                " [",
                &refs,
                "]\n",
            ]
            .concat(),
        );
    }
    assert!(document::read(&bomb).is_err());
    assert!(document::read(&"[".repeat(10_000)).is_err());
}

#[test]
fn what_is_written_as_yaml_is_read_back_the_same() {
    let (document, _) = read_one(INSTANCE);
    let written = document::write(&document.value);
    let (again, _) = read_one(&written);
    assert_eq!(again.value, document.value);
}

fn lifecycle(spec: &Value) -> Result<Object, FieldError> {
    let object = json!({
        "apiVersion": API_VERSION, "kind": "LifecyclePolicy",
        "metadata": {"name": "life", "namespace": "shop"}, "spec": spec,
    });
    Object::from_json(&object, "")
}

#[test]
fn a_lifecycle_policy_points_at_services_by_name_or_by_label() {
    let object = lifecycle(&json!({
        "targetRefs": [{"kind": "MeshService", "name": "orders"}, {"kind": "MeshService", "labels": {"tier": "a"}}],
        "online": {"waitFor": {"tcp": 20880}, "delay": "5s", "warmUp": "60s", "pauseWarmUpOver": "50%"},
        "offline": {"notifyPeers": true, "minDrain": "2s", "maxDrain": "25s"},
        "placement": {"drift": "NodeSticky", "reason": "append-only local log"},
    }));
    let Meaning::Lifecycle(lifecycle) = object.unwrap().meaning else {
        panic!("another kind");
    };
    assert_eq!(lifecycle.wait_for, Some(Check::Tcp { port: 20880 }));
    assert!(lifecycle.node_sticky && lifecycle.enabled);
    assert!(matches!(&lifecycle.targets[1], Target::Labelled { labels, .. } if labels.len() == 1));
}

#[test]
fn a_lifecycle_policy_with_a_mistake_is_refused_with_its_field() {
    let target = json!([{"kind": "MeshService", "name": "orders"}]);
    let rows = [
        (json!({"targetRefs": []}), "spec.targetRefs"),
        (
            json!({"targetRefs": [{"kind": "Service", "name": "a"}]}),
            "spec.targetRefs[0].kind",
        ),
        (
            json!({"targetRefs": [{"kind": "MeshService"}]}),
            "spec.targetRefs[0]",
        ),
        (
            json!({"targetRefs": [{"kind": "MeshService", "name": "a", "labels": {"b": "c"}}]}),
            "spec.targetRefs[0]",
        ),
        (
            json!({"targetRefs": target, "offline": {"minDrain": "9s", "maxDrain": "3s"}}),
            "spec.offline.maxDrain",
        ),
        (
            json!({"targetRefs": target, "online": {"waitFor": {}}}),
            "spec.online.waitFor",
        ),
        (
            json!({"targetRefs": target, "online": {"pauseWarmUpOver": "150%"}}),
            "spec.online.pauseWarmUpOver",
        ),
        (
            json!({"targetRefs": target, "placement": {"drift": "Sticky"}}),
            "spec.placement.drift",
        ),
    ];
    for (spec, field) in rows {
        let error = lifecycle(&spec).unwrap_err();
        assert_eq!(error.field, field, "{spec}: {error}");
    }
}

#[test]
fn a_mesh_is_named_default_and_takes_safe_defaults() {
    let mesh = |name: &str, spec: Value| {
        let object = json!({"apiVersion": API_VERSION, "kind": "Mesh", "metadata": {"name": name}, "spec": spec});
        Object::from_json(&object, "")
    };
    assert_eq!(mesh("other", json!({})).unwrap_err().field, "metadata.name");
    let Meaning::Mesh(settings) = mesh("default", Value::Null).unwrap().meaning else {
        panic!("another kind");
    };
    assert!(!settings.mtls_strict && !settings.fail_open);
    assert_eq!(settings.hops.len(), 2);
    assert_eq!(settings.on_death, None);
    let error = mesh("default", json!({"mtls": {"mode": "Off"}})).unwrap_err();
    assert_eq!(error.field, "spec.mtls.mode");
    assert!(error.reason.contains("`Permissive` or `Strict`"), "{error}");
    let error = mesh("default", json!({"meshHop": {"prefer": ["h2", "h2"]}})).unwrap_err();
    assert_eq!(error.field, "spec.meshHop.prefer");
}

#[test]
fn a_spec_that_is_too_large_is_refused() {
    let ports: Vec<_> = (1..4_000)
        .map(|n| json!({"name": format!("p{n}"), "port": n}))
        .collect();
    let object = json!({
        "apiVersion": API_VERSION, "kind": "MeshService", "metadata": {"name": "big"}, "spec": {"ports": ports},
    });
    assert_eq!(Object::from_json(&object, "").unwrap_err().field, "spec");
}

#[test]
fn the_example_of_each_kind_is_accepted() {
    for kind in Kind::ALL {
        let (_, object) = read_one(example::of(*kind));
        assert_eq!(object.unwrap().kind, *kind);
    }
}
