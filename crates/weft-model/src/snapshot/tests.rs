//! A snapshot finds what is in it, keeps the loads of those who stay, and shares what did not change.

use super::*;
use crate::instance::{InstanceId, InstanceState, PortSpec, Shape};

fn instance(service: &str, id: &str, port: &str, state: InstanceState) -> Arc<Instance> {
    let spec: PortSpec = port.parse().expect("a port");
    Arc::new(Instance {
        id: InstanceId::new(id),
        incarnation: 1,
        address: [10, 0, 0, 1].into(),
        inbound_port: 9982,
        state,
        weight: 100,
        shape: Arc::new(Shape {
            service: ServiceName::new("default", service),
            ports: vec![spec.0],
            labels: Vec::new(),
            zone: "".into(),
            idempotent: Vec::new(),
            check: None,
        }),
    })
}

fn put(draft: &mut Draft, instance: Arc<Instance>) {
    let service = instance.service.clone();
    draft.edit(&service).put(instance);
}

fn publish(draft: &mut Draft) -> Snapshot {
    draft.publish(Version::default(), true)
}

#[test]
fn what_is_put_is_found_by_name_interface_and_address() {
    let mut draft = Draft::default();
    for (service, id, port) in [
        ("orders", "b", "http=8081"),
        ("orders", "a", "http=8080"),
        ("stock", "c", "motan=8001,interface=a.Stock,group=g"),
    ] {
        put(
            &mut draft,
            instance(service, id, port, InstanceState::Ready),
        );
    }
    let snapshot = publish(&mut draft);
    let orders = snapshot.service("default", "orders").expect("orders");
    assert_eq!(orders.members.len(), 2);
    let [entry] = snapshot.rpc("a.Stock") else {
        panic!("one entry");
    };
    assert_eq!(
        snapshot.service_of(entry).unwrap().name.to_string(),
        "stock"
    );
    let at = snapshot
        .address("10.0.0.1:8081".parse().unwrap())
        .expect("an instance");
    assert_eq!(at.service.members[at.member].instance.id.as_str(), "b");
    assert_eq!(at.port, "http");
    assert!(snapshot.service("default", "stok").is_none());
    assert_eq!(snapshot.services().count(), 2);
}

#[test]
fn a_draining_instance_gets_no_calls_and_its_load_is_kept_for_its_return() {
    let mut draft = Draft::default();
    put(
        &mut draft,
        instance("orders", "a", "http=1", InstanceState::Ready),
    );
    let first = publish(&mut draft);
    let load = &first.service("default", "orders").unwrap().members[0].load;
    load.outstanding.store(7, Ordering::Relaxed);
    put(
        &mut draft,
        instance("orders", "a", "http=1", InstanceState::Draining),
    );
    let away = publish(&mut draft);
    let orders = away.service("default", "orders").expect("orders");
    assert!(orders.members.is_empty());
    assert_eq!(orders.ports.len(), 1);
    assert!(away.address("10.0.0.1:1".parse().unwrap()).is_none());
    put(
        &mut draft,
        instance("orders", "a", "http=1", InstanceState::Ready),
    );
    let back = publish(&mut draft);
    let again = &back.service("default", "orders").unwrap().members[0].load;
    assert!(Arc::ptr_eq(load, again));
    assert_eq!(back.generation, first.generation + 2);
}

#[test]
fn a_new_start_of_an_app_has_a_new_load() {
    let mut draft = Draft::default();
    put(
        &mut draft,
        instance("orders", "a", "http=1", InstanceState::Ready),
    );
    let first = publish(&mut draft);
    let mut anew = Instance::clone(&instance("orders", "a", "http=1", InstanceState::Ready));
    anew.incarnation = 2;
    put(&mut draft, Arc::new(anew));
    let second = publish(&mut draft);
    let load = |snapshot: &Snapshot| {
        Arc::clone(&snapshot.service("default", "orders").unwrap().members[0].load)
    };
    assert!(!Arc::ptr_eq(&load(&first), &load(&second)));
}

#[test]
fn a_service_keeps_the_ports_of_its_last_instance_until_another_comes() {
    let mut draft = Draft::default();
    let rpc = |id, port| instance("stock", id, port, InstanceState::Ready);
    put(&mut draft, rpc("a", "motan=1,interface=a.Stock"));
    let name = ServiceName::new("default", "stock");
    draft.edit(&name).remove(&InstanceId::new("a"));
    let snapshot = publish(&mut draft);
    assert_eq!(snapshot.rpc("a.Stock").len(), 1);
    assert!(
        snapshot
            .service("default", "stock")
            .unwrap()
            .members
            .is_empty()
    );
    put(&mut draft, rpc("b", "motan=1,interface=b.Stock"));
    let snapshot = publish(&mut draft);
    assert_eq!(
        (snapshot.rpc("a.Stock").len(), snapshot.rpc("b.Stock").len()),
        (0, 1)
    );
    draft.forget(&name);
    let snapshot = publish(&mut draft);
    assert!(snapshot.service("default", "stock").is_none());
    assert!(snapshot.rpc("b.Stock").is_empty());
    assert!(snapshot.address("10.0.0.1:1".parse().unwrap()).is_none());
    assert_eq!(snapshot.services().count(), 0);
}

#[test]
fn a_change_of_one_instance_leaves_every_other_service_and_chunk_the_very_same() {
    let mut draft = Draft::default();
    let name = |service: usize| format!("s{service:03}");
    for service in 0..100 {
        for at in 0..100 {
            let port = format!("motan={},interface=a.S{service}", 1 + service * 100 + at);
            let id = format!("{service}-{at}");
            put(
                &mut draft,
                instance(&name(service), &id, &port, InstanceState::Ready),
            );
        }
    }
    let first = publish(&mut draft);
    put(
        &mut draft,
        instance(
            "s042",
            "new",
            "motan=60000,interface=a.S42",
            InstanceState::Ready,
        ),
    );
    let second = publish(&mut draft);
    for service in 0..100 {
        let [old, new] =
            [&first, &second].map(|snapshot| snapshot.service("default", &name(service)).unwrap());
        assert_eq!(Arc::ptr_eq(old, new), service != 42, "{}", name(service));
    }
    assert!(Arc::ptr_eq(&first.directory, &second.directory));
    // Another port number is another port of the same interface: nothing to index anew.
    assert!(Arc::ptr_eq(&first.rpc, &second.rpc));
    assert_eq!(first.service("default", "s042").unwrap().members.len(), 100);
    assert_eq!(
        second.service("default", "s042").unwrap().members.len(),
        101
    );
}

#[test]
fn a_call_is_noted_once_in_a_while() {
    let usage = Usage::default();
    assert_eq!(usage.called_ms(), None);
    assert!(usage.call(5));
    assert!(!usage.call(5 + USAGE_STEP_MS - 1));
    assert_eq!(usage.called_ms(), Some(5));
    assert!(usage.call(5 + USAGE_STEP_MS));
    assert_eq!(usage.called_ms(), Some(5 + USAGE_STEP_MS));
}
