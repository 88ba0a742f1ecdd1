//! A snapshot indexes what it is built from and keeps the loads of those who stay.

use super::*;
use crate::instance::PortSpec;
use std::sync::atomic::Ordering;

fn instance(service: &str, id: &str, port: &str, state: InstanceState) -> Arc<Instance> {
    let spec: PortSpec = port.parse().expect("a port");
    Arc::new(Instance {
        service: ServiceName::new("default", service),
        id: InstanceId::new(id),
        incarnation: 1,
        address: [10, 0, 0, 1].into(),
        inbound_port: 9982,
        ports: vec![spec.0],
        labels: Vec::new(),
        zone: "".into(),
        weight: 100,
        idempotent: Vec::new(),
        state,
        check: None,
    })
}

#[test]
fn what_is_built_is_found_by_name_interface_and_address() {
    let all = vec![
        instance("orders", "b", "http=8081", InstanceState::Ready),
        instance("orders", "a", "http=8080", InstanceState::Ready),
        instance(
            "stock",
            "c",
            "motan=8001,interface=a.Stock,group=g",
            InstanceState::Ready,
        ),
    ];
    let snapshot = Snapshot::build(Version::default(), true, all, &Snapshot::default());
    let orders = snapshot.service("default", "orders").expect("orders");
    assert_eq!(orders.members[0].instance.id.as_str(), "a");
    assert_eq!(orders.members.len(), 2);
    assert_eq!(snapshot.rpc("a.Stock")[0].service.name.to_string(), "stock");
    let at = snapshot
        .address("10.0.0.1:8081".parse().unwrap())
        .expect("an instance");
    assert_eq!(at.service.members[at.member].instance.id.as_str(), "b");
    assert!(snapshot.service("default", "stok").is_none());
}

#[test]
fn a_draining_instance_gets_no_calls() {
    let all = vec![instance("orders", "a", "http=1", InstanceState::Draining)];
    let snapshot = Snapshot::build(Version::default(), true, all, &Snapshot::default());
    assert!(
        snapshot
            .service("default", "orders")
            .expect("orders")
            .members
            .is_empty()
    );
}

#[test]
fn the_load_of_an_instance_outlives_its_snapshot() {
    let all = vec![instance("orders", "a", "http=1", InstanceState::Ready)];
    let first = Snapshot::build(Version::default(), true, all.clone(), &Snapshot::default());
    first.service("default", "orders").unwrap().members[0]
        .load
        .outstanding
        .store(7, Ordering::Relaxed);
    let second = Snapshot::build(Version::default(), true, all, &first);
    assert_eq!(
        second.service("default", "orders").unwrap().members[0]
            .load
            .outstanding
            .load(Ordering::Relaxed),
        7
    );
    assert_eq!(second.generation, first.generation + 1);
}
