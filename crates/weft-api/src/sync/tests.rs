//! Instances survive the wire; a field at fault is named.

use super::*;

fn model() -> weft_model::Instance {
    weft_model::Instance {
        service: ServiceName::new("shop", "orders"),
        id: InstanceId::new("orders-7f3a"),
        incarnation: 3,
        address: "fd00::7".parse().unwrap(),
        inbound_port: 9982,
        ports: vec![
            weft_model::Port {
                name: "http".into(),
                protocol: Protocol::Http,
                number: 8080,
                interface: "".into(),
                group: "".into(),
                version: "".into(),
            },
            weft_model::Port {
                name: "rpc".into(),
                protocol: Protocol::Motan,
                number: 8001,
                interface: "a.b.Stock".into(),
                group: "g1".into(),
                version: "1.0".into(),
            },
        ],
        labels: vec![("lane".into(), "".into()), ("version".into(), "v2".into())],
        zone: "a".into(),
        weight: 50,
        idempotent: vec!["get*".into()],
        state: weft_model::InstanceState::Draining,
    }
}

/// The wire form of `model` after a change is refused with this field and this reason.
fn check(change: impl FnOnce(&mut Instance), field: &str, reason: &str) {
    let mut wire = instance_to_wire(&model());
    change(&mut wire);
    let error = instances_from_wire(&[instance_to_wire(&model()), wire]).unwrap_err();
    assert_eq!(
        (error.field.as_str(), error.reason.as_str()),
        (field, reason)
    );
}

#[test]
fn an_instance_comes_back_as_it_was() {
    let wire = instance_to_wire(&model());
    assert_eq!(instance_from_wire(&wire, "instance"), Ok(model()));
    for state in [
        weft_model::InstanceState::Ready,
        weft_model::InstanceState::Unconfirmed,
    ] {
        let model = weft_model::Instance { state, ..model() };
        assert_eq!(
            instance_from_wire(&instance_to_wire(&model), "instance"),
            Ok(model)
        );
    }
}

#[test]
fn a_field_at_fault_is_named_by_its_path() {
    let text = |text: &str| text.to_owned();
    check(
        |wire| wire.address = text("orders.local"),
        "instances[1].address",
        "\"orders.local\" is not an IP address",
    );
    check(
        |wire| wire.address.clear(),
        "instances[1].address",
        "\"\" is not an IP address",
    );
    check(
        |wire| wire.service.clear(),
        "instances[1].service",
        "it is empty",
    );
    check(|wire| wire.id.clear(), "instances[1].id", "it is empty");
    check(
        |wire| wire.inbound_port = 0,
        "instances[1].inbound_port",
        "0 is not a port number from 1 to 65535",
    );
    check(
        |wire| wire.ports[1].number = 65_536,
        "instances[1].ports[1].number",
        "65536 is not a port number from 1 to 65535",
    );
    check(
        |wire| wire.ports[0].protocol = text("gopher"),
        "instances[1].ports[0].protocol",
        "\"gopher\" is not one of detect, http, h2, grpc, tcp, motan",
    );
    check(
        |wire| wire.labels = [(String::new(), text("x"))].into(),
        "instances[1].labels[\"\"]",
        "it is empty",
    );
    check(
        |wire| wire.idempotent.push(String::new()),
        "instances[1].idempotent[1]",
        "it is empty",
    );
}

#[test]
fn an_instance_beyond_a_limit_is_refused() {
    check(
        |wire| wire.ports.resize(65, Port::default()),
        "instances[1].ports",
        "65 are more than 64",
    );
    check(
        |wire| wire.zone = "z".repeat(TEXT_BYTES_MAX + 1),
        "instances[1].zone",
        "1025 bytes are more than 1024",
    );
}

#[test]
fn what_an_older_sender_leaves_out_gets_its_default() {
    let mut wire = instance_to_wire(&model());
    wire.namespace.clear();
    wire.ports[1].name.clear();
    wire.ports[1].protocol = "motan2".to_owned();
    wire.state = 77;
    let found = instance_from_wire(&wire, "instance").unwrap();
    assert_eq!(found.service, ServiceName::new("default", "orders"));
    assert_eq!(&*found.ports[1].name, "motan");
    assert_eq!(found.state, weft_model::InstanceState::Unconfirmed);
}
