//! Names as callers write them, and where they lead.

use super::*;
use std::sync::Arc;
use weft_model::instance::Shape;
use weft_model::snapshot::{Draft, Version};
use weft_model::{Instance, InstanceId, InstanceState, PortSpec, ServiceName};

fn instance(namespace: &str, service: &str, address: [u8; 4], ports: &[&str]) -> Arc<Instance> {
    let ports = ports.iter();
    Arc::new(Instance {
        id: InstanceId::new(service),
        incarnation: 1,
        address: address.into(),
        inbound_port: 9982,
        state: InstanceState::Ready,
        weight: 100,
        shape: Arc::new(Shape {
            service: ServiceName::new(namespace, service),
            ports: ports
                .map(|text| text.parse::<PortSpec>().expect("a port").0)
                .collect(),
            labels: Vec::new(),
            zone: "".into(),
            idempotent: Vec::new(),
            check: None,
        }),
    })
}

fn draft() -> Draft {
    let all = [
        instance(
            "default",
            "orders",
            [10, 0, 0, 1],
            &["motan=8001", "web:http=8080", "admin:http=8081"],
        ),
        instance("shop", "orders", [10, 0, 0, 2], &["http=9090"]),
        instance(
            "default",
            "stock",
            [10, 0, 0, 3],
            &["motan=8002,interface=a.Stock,group=g1,version=1.0"],
        ),
        instance(
            "default",
            "stock2",
            [10, 0, 0, 4],
            &["motan=8003,interface=a.Stock,group=g2"],
        ),
    ];
    let mut draft = Draft::default();
    for instance in all {
        draft.edit(&instance.service).put(Arc::clone(&instance));
    }
    draft
}

fn mesh() -> Snapshot {
    draft().publish(Version::default(), true)
}

fn code(unmatched: Unmatched) -> &'static str {
    match unmatched {
        Unmatched::Failed(failure) => failure.code.text(),
        Unmatched::Unknown(_) => "unknown",
    }
}

fn host(authority: &str) -> String {
    let mesh = mesh();
    match host_match(&mesh, "default", authority, Protocol::is_http_family) {
        Ok(HostMatch::Service { service, port }) => format!("{} {}", service.name, port.number),
        Ok(HostMatch::Member {
            service,
            port,
            member,
        }) => {
            format!("{} {} at {member}", service.name, port.number)
        }
        Ok(HostMatch::External) => "external".into(),
        Err(unmatched) => code(unmatched).into(),
    }
}

#[test]
fn a_host_is_a_service_an_address_or_external() {
    for (authority, expect) in [
        ("orders", "orders 8080"),
        ("orders.default", "orders 8080"),
        ("orders.shop", "orders.shop 9090"),
        ("orders:admin", "orders 8081"),
        ("Orders.SHOP", "orders.shop 9090"),
        ("orders:8081", "orders 8081"),
        ("orders:80", "no_port"),
        ("10.0.0.1:8081", "orders 8081 at 0"),
        ("10.0.0.1:1", "external"),
        ("[::1]:8080", "external"),
        ("example.com", "external"),
        ("nobody", "external"),
        ("stock", "no_port"),
        ("", "external"),
        ("[", "external"),
    ] {
        assert_eq!(host(authority), expect, "{authority}");
    }
}

#[test]
fn before_any_center_a_bare_name_may_be_a_service() {
    let empty = Snapshot::default();
    assert_eq!(
        code(host_match(&empty, "default", "orders", Protocol::is_http_family).unwrap_err()),
        "not_synced"
    );
    assert!(matches!(
        host_match(&empty, "default", "example.com", Protocol::is_http_family),
        Ok(HostMatch::External)
    ));
    assert!(matches!(
        host_match(&empty, "default", "127.0.0.1:80", Protocol::is_http_family),
        Ok(HostMatch::External)
    ));
}

#[test]
fn a_name_in_the_set_is_asked_about_and_does_not_leave_the_mesh_before() {
    let away = [
        Key::of_host("away", "default"),
        Key::of_host("away", "shop"),
    ];
    let address: SocketAddr = "10.9.9.9:80".parse().unwrap();
    let mut draft = draft();
    for key in away.iter().chain([&Key::of_address(address)]) {
        draft.names_mut().insert(key.hash64());
    }
    let mesh = draft.publish(Version::default(), true);
    let asked = |authority| match host_match(&mesh, "default", authority, Protocol::is_http_family)
    {
        Err(Unmatched::Unknown(key)) => Some(*key),
        _ => None,
    };
    for authority in ["away", "away:8080", "away.default", "AWAY"] {
        assert_eq!(asked(authority).as_ref(), Some(&away[0]), "{authority}");
    }
    assert_eq!(asked("away.Shop").as_ref(), Some(&away[1]));
    for authority in ["10.9.9.9", "10.9.9.9:80"] {
        assert_eq!(
            asked(authority),
            Some(Key::of_address(address)),
            "{authority}"
        );
    }
    for authority in [
        "away.test",
        "example.com",
        "aways",
        "10.9.9.9:81",
        "10.9.9.9:http",
    ] {
        let found = host_match(&mesh, "default", authority, Protocol::is_http_family);
        assert!(matches!(found, Ok(HostMatch::External)), "{authority}");
    }

    // The center was asked, and there is none.
    draft.set_answered([away[0].hash64(), address_hash(address)].into());
    let mesh = draft.publish(Version::default(), true);
    for authority in ["away", "10.9.9.9"] {
        let found = host_match(&mesh, "default", authority, Protocol::is_http_family);
        assert!(matches!(found, Ok(HostMatch::External)), "{authority}");
    }
}

#[test]
fn a_service_that_never_had_an_instance_is_one_without_instances() {
    let mut draft = draft();
    draft
        .edit(&ServiceName::new("default", "away"))
        .set_subscribed(true);
    let mesh = draft.publish(Version::default(), true);
    for authority in ["away", "away:http"] {
        let found = host_match(&mesh, "default", authority, Protocol::is_http_family).unwrap_err();
        assert_eq!(code(found), "no_instance", "{authority}");
    }
}

#[test]
fn an_interface_is_of_a_namespace_and_asked_about_when_it_is_not_known() {
    let mut draft = draft();
    let key = Key::of_interface("a.Far", "default");
    draft.names_mut().insert(key.hash64());
    draft
        .names_mut()
        .insert(Key::of_interface("a.Stock", "default").hash64());
    let mesh = draft.publish(Version::default(), true);
    let found = rpc_match(&mesh, "default", "a.Far", "g", "1").unwrap_err();
    assert_eq!(found, Unmatched::Unknown(Box::new(key.clone())));
    // What is known already is used; what does not fit may be served by who is not known yet.
    assert!(rpc_match(&mesh, "default", "a.Stock", "g2", "").is_ok());
    let found = rpc_match(&mesh, "default", "a.Stock", "g3", "").unwrap_err();
    assert_eq!(code(found), "unknown");
    assert_eq!(
        code(rpc_match(&mesh, "shop", "a.Stock", "g2", "").unwrap_err()),
        "no_service"
    );
    draft.set_answered([key.hash64()].into());
    let mesh = draft.publish(Version::default(), true);
    assert_eq!(
        code(rpc_match(&mesh, "default", "a.Far", "", "").unwrap_err()),
        "no_service"
    );
    let none = rpc_match(&Snapshot::default(), "default", "a.Far", "", "").unwrap_err();
    assert_eq!(code(none), "not_synced");
}

#[test]
fn an_interface_is_found_by_group_and_version() {
    let mesh = mesh();
    let found =
        |interface, group, version| match rpc_match(&mesh, "default", interface, group, version) {
            Ok((service, port)) => format!("{} {}", service.name, port.number),
            Err(unmatched) => code(unmatched).into(),
        };
    for (interface, group, version, expect) in [
        ("orders", "", "", "orders 8001"),
        ("orders", "any", "2.0", "orders 8001"),
        ("a.Stock", "g1", "1.0", "stock 8002"),
        ("a.Stock", "g1", "2.0", "no_service"),
        ("a.Stock", "g2", "9", "stock2 8003"),
        ("a.Stock", "zz", "", "no_service"),
        ("a.Stock", "", "", "ambiguous"),
        ("a.Nothing", "", "", "no_service"),
    ] {
        assert_eq!(
            found(interface, group, version),
            expect,
            "{interface} {group} {version}"
        );
    }
}
