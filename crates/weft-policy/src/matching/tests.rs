//! Names as callers write them, and where they lead.

use super::*;
use std::sync::Arc;
use weft_model::snapshot::Version;
use weft_model::{Instance, InstanceId, InstanceState, PortSpec, ServiceName};

fn instance(namespace: &str, service: &str, address: [u8; 4], ports: &[&str]) -> Arc<Instance> {
    Arc::new(Instance {
        service: ServiceName::new(namespace, service),
        id: InstanceId::new(service),
        incarnation: 1,
        address: address.into(),
        inbound_port: 9982,
        ports: ports
            .iter()
            .map(|text| text.parse::<PortSpec>().expect("a port").0)
            .collect(),
        labels: Vec::new(),
        zone: "".into(),
        weight: 100,
        idempotent: Vec::new(),
        state: InstanceState::Ready,
        check: None,
    })
}

fn mesh() -> Snapshot {
    let all = vec![
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
    Snapshot::build(Version::default(), true, all, &Snapshot::default())
}

fn host(authority: &str) -> String {
    let mesh = mesh();
    match host_match(&mesh, "default", authority) {
        Ok(HostMatch::Service { service, port }) => format!("{} {}", service.name, port.number),
        Ok(HostMatch::Member {
            service,
            port,
            member,
        }) => {
            format!("{} {} at {member}", service.name, port.number)
        }
        Ok(HostMatch::External) => "external".into(),
        Err(failure) => failure.code.text().into(),
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
        host_match(&empty, "default", "orders").unwrap_err().code,
        Code::NotSynced
    );
    assert!(matches!(
        host_match(&empty, "default", "example.com"),
        Ok(HostMatch::External)
    ));
    assert!(matches!(
        host_match(&empty, "default", "127.0.0.1:80"),
        Ok(HostMatch::External)
    ));
}

#[test]
fn a_name_in_the_set_of_names_never_leaves_the_mesh() {
    let names = [
        key_hash(Family::Host, "away", "", "", "default"),
        key_hash(Family::Host, "away", "", "", "shop"),
    ];
    let mesh = mesh().with_names(Arc::new(names.into()));
    for authority in ["away", "away:8080", "away.default", "away.shop"] {
        let failure = host_match(&mesh, "default", authority).unwrap_err();
        assert_eq!(failure.code, Code::NoInstance, "{authority}");
    }
    for authority in ["away.test", "example.com", "aways"] {
        let found = host_match(&mesh, "default", authority);
        assert!(matches!(found, Ok(HostMatch::External)), "{authority}");
    }
}

#[test]
fn an_interface_is_found_by_group_and_version() {
    let mesh = mesh();
    let found = |interface, group, version| match rpc_match(&mesh, interface, group, version) {
        Ok((service, port)) => format!("{} {}", service.name, port.number),
        Err(failure) => failure.code.text().into(),
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
