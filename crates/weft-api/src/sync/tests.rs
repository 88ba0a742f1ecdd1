//! Instances survive the wire; a field at fault is named.

use super::*;
use prost::Message;
use std::fmt::Write as _;

/// `name<TAB>hex` of messages without gRPC's head. A line changes only together with the protocol's version.
const GOLDEN: &str = include_str!("../../golden/sync-v1.tsv");

fn model() -> weft_model::Instance {
    weft_model::Instance {
        id: InstanceId::new("orders-7f3a"),
        incarnation: 3,
        address: "fd00::7".parse().unwrap(),
        inbound_port: 9982,
        weight: 50,
        state: weft_model::InstanceState::Draining,
        shape: Arc::new(Shape {
            service: ServiceName::new("shop", "orders"),
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
            idempotent: vec!["get*".into()],
            check: None,
        }),
    }
}

/// The same without a sidecar.
fn plain(check: weft_model::declared::Check) -> weft_model::Instance {
    let interval = Duration::from_secs(5);
    weft_model::Instance {
        inbound_port: 0,
        shape: Arc::new(Shape {
            check: Some(CallerCheck { check, interval }),
            ..Shape::clone(&model().shape)
        }),
        ..model()
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

#[test]
fn the_golden_bytes_are_written() {
    let mut written = String::new();
    let mut row = |name: &str, bytes: Vec<u8>| {
        write!(written, "{name}\t").unwrap();
        for byte in bytes {
            write!(written, "{byte:02x}").unwrap();
        }
        written.push('\n');
    };
    for (name, message) in from_sidecar_golden()
        .into_iter()
        .chain(from_sidecar_later())
    {
        row(name, message.encode_to_vec());
    }
    for (name, message) in from_center_golden().into_iter().chain(from_center_later()) {
        row(name, message.encode_to_vec());
    }
    assert_eq!(GOLDEN, written, "this build writes:\n{written}");
}

#[test]
fn an_instance_without_a_sidecar_needs_no_inbound_port_and_keeps_its_check() {
    let checks = [
        weft_model::declared::Check::Tcp { port: 20_880 },
        weft_model::declared::Check::Http {
            port: 8080,
            path: "/ready".into(),
        },
        weft_model::declared::Check::Motan { port: 8001 },
    ];
    for check in checks {
        let plain = plain(check);
        let wire = instance_to_wire(&plain);
        assert_eq!(instance_from_wire(&wire, "instance"), Ok(plain));
    }
}

#[test]
fn a_faulty_check_is_refused_by_its_field() {
    let check = |kind: &str, port: u32, path: &str| Check {
        kind: kind.to_owned(),
        port,
        path: path.to_owned(),
        interval_ms: 5_000,
    };
    let rows = [
        (check("ping", 80, ""), "instance.check.kind"),
        (check("", 80, ""), "instance.check.kind"),
        (check("tcp", 0, ""), "instance.check.port"),
        (check("tcp", 65_536, ""), "instance.check.port"),
        (check("http", 80, ""), "instance.check.path"),
        (check("http", 80, "ready"), "instance.check.path"),
        (check("http", 80, "/a b"), "instance.check.path"),
        (check("http", 80, "/a\r\nx: y"), "instance.check.path"),
    ];
    for (check, field) in rows {
        let wire = Instance {
            check: Some(check),
            ..instance_to_wire(&model())
        };
        let error = instance_from_wire(&wire, "instance").unwrap_err();
        assert_eq!(error.field, field, "{}", error.reason);
    }
}

#[test]
fn an_instance_taken_out_of_use_takes_no_calls_whatever_its_state() {
    let wire = Instance {
        offline: true,
        state: InstanceState::Ready as i32,
        ..instance_to_wire(&model())
    };
    let instance = instance_from_wire(&wire, "instance").unwrap();
    assert_eq!(instance.state, weft_model::InstanceState::Draining);
}

#[test]
fn the_golden_bytes_are_read() {
    let row = |name: &str| -> Vec<u8> {
        let line = GOLDEN
            .lines()
            .find_map(|line| line.strip_prefix(name)?.strip_prefix('\t'));
        let hex = line.expect("each message has a row");
        (0..hex.len())
            .step_by(2)
            .map(|at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap())
            .collect()
    };
    for (name, message) in from_sidecar_golden()
        .into_iter()
        .chain(from_sidecar_later())
    {
        assert_eq!(FromSidecar::decode(&row(name)[..]), Ok(message), "{name}");
    }
    for (name, message) in from_center_golden().into_iter().chain(from_center_later()) {
        assert_eq!(FromCenter::decode(&row(name)[..]), Ok(message), "{name}");
    }
}

const VERSION: Version = Version {
    epoch: 2,
    revision: 300,
};

fn from_sidecar_golden() -> Vec<(&'static str, FromSidecar)> {
    use from_sidecar::Kind;

    let hello = SidecarHello {
        protocol_version: PROTOCOL_VERSION,
        namespace: "shop".to_owned(),
        service: "orders".to_owned(),
        instance: "orders-7f3a".to_owned(),
        held: Some(VERSION),
        store_id: "store-1".to_owned(),
        weft_version: "0.1.0".to_owned(),
    };
    let instance = Instance {
        link_tls: true,
        management_port: 8002,
        ..instance_to_wire(&model())
    };
    let nack = Nack {
        version: Some(VERSION),
        field: "instances[2].address".to_owned(),
        reason: "\"x\" is not an IP address".to_owned(),
    };
    let row = StatsRow {
        direction: "outbound".to_owned(),
        caller: "web".to_owned(),
        service: "orders".to_owned(),
        protocol: "http".to_owned(),
        code: "ok".to_owned(),
        calls: 5,
        duration_us_sum: 5_000,
        bucket_index: vec![1, 400],
        bucket_count: vec![2, 3],
    };
    [
        ("sidecar-hello", Kind::Hello(hello)),
        (
            "subscribe-keys",
            Kind::Subscribe(Subscribe {
                keys: vec![1, u64::MAX],
                ..Subscribe::default()
            }),
        ),
        (
            "subscribe-all",
            Kind::Subscribe(Subscribe {
                all: true,
                ..Subscribe::default()
            }),
        ),
        (
            "register",
            Kind::Register(Register {
                instance: Some(instance),
            }),
        ),
        (
            "ack",
            Kind::Ack(Ack {
                version: Some(VERSION),
            }),
        ),
        ("nack", Kind::Nack(nack)),
        (
            "stats",
            Kind::Stats(Stats {
                interval_ms: 2_000,
                rows: vec![row],
            }),
        ),
        (
            "goodbye",
            Kind::Goodbye(Goodbye {
                reason: "app ended".to_owned(),
            }),
        ),
    ]
    .map(|(name, kind)| (name, FromSidecar { kind: Some(kind) }))
    .into()
}

/// What this build says beyond the first messages: used keys, being offline, peers.
fn from_sidecar_later() -> Vec<(&'static str, FromSidecar)> {
    use from_sidecar::Kind;

    let peers = PeerReport {
        full: true,
        peers: vec![PeerHealth {
            namespace: "shop".to_owned(),
            service: "orders".to_owned(),
            instance: "orders-7f3a".to_owned(),
            incarnation: 2,
            state: "suspect".to_owned(),
            silent_ms: 450,
        }],
    };
    [
        (
            "subscribe-fresh",
            Kind::Subscribe(Subscribe {
                keys: vec![1, u64::MAX],
                sequence: 3,
                fresh: vec![1],
                ..Subscribe::default()
            }),
        ),
        (
            "register-offline",
            Kind::Register(Register {
                instance: Some(Instance {
                    offline: true,
                    offline_changed_ms: 1_700_000_000_000,
                    ..instance_to_wire(&model())
                }),
            }),
        ),
        ("peers", Kind::Peers(peers)),
    ]
    .map(|(name, kind)| (name, FromSidecar { kind: Some(kind) }))
    .into()
}

fn from_center_golden() -> Vec<(&'static str, FromCenter)> {
    use from_center::Kind;

    let hello = CenterHello {
        protocol_version: PROTOCOL_VERSION,
        store_id: "store-1".to_owned(),
        version: Some(VERSION),
        weft_version: "0.1.0".to_owned(),
        seen_address: "10.0.0.7".to_owned(),
    };
    let names = NameSet {
        version: Some(VERSION),
        full: true,
        added: vec![7, u64::MAX],
        removed: vec![9],
        subscribed: 0,
    };
    let delta = Delta {
        version: Some(VERSION),
        namespace: "shop".to_owned(),
        service: "orders".to_owned(),
        full: false,
        upserted: vec![instance_to_wire(&model())],
        removed: vec!["orders-01".to_owned()],
    };
    [
        ("center-hello", Kind::Hello(hello)),
        ("names", Kind::Names(names)),
        ("delta", Kind::Delta(delta)),
    ]
    .map(|(name, kind)| (name, FromCenter { kind: Some(kind) }))
    .into()
}

/// What this build says beyond the first messages: answers to used keys, plain instances, orders.
fn from_center_later() -> Vec<(&'static str, FromCenter)> {
    use from_center::Kind;

    let answer = NameSet {
        version: Some(VERSION),
        subscribed: 3,
        ..NameSet::default()
    };
    let plain = Delta {
        upserted: vec![instance_to_wire(&plain(
            weft_model::declared::Check::Http {
                port: 8080,
                path: "/ready".into(),
            },
        ))],
        version: Some(VERSION),
        namespace: "shop".to_owned(),
        service: "orders".to_owned(),
        ..Delta::default()
    };
    [
        ("names-answer", Kind::Names(answer)),
        ("delta-plain", Kind::Delta(plain)),
        (
            "set-offline",
            Kind::SetOffline(SetOffline {
                offline: true,
                changed_ms: 1_700_000_000_000,
            }),
        ),
        (
            "own-policy",
            Kind::OwnPolicy(OwnPolicy {
                delay_ms: 5_000,
                warm_up_ms: 60_000,
                drain_min_ms: 2_000,
                drain_max_ms: 25_000,
                wait_for: Some(Check {
                    kind: "tcp".to_owned(),
                    port: 20_880,
                    path: String::new(),
                    interval_ms: 1_000,
                }),
                ..OwnPolicy::default()
            }),
        ),
        (
            "own-policy-hops",
            Kind::OwnPolicy(OwnPolicy {
                hops: hops_to_wire(&[Hop::Http1, Hop::H2]),
                ..OwnPolicy::default()
            }),
        ),
        (
            "own-policy-on-death",
            Kind::OwnPolicy(OwnPolicy {
                on_death: on_death_to_wire(Some(Death::GiveUp)),
                ..OwnPolicy::default()
            }),
        ),
    ]
    .map(|(name, kind)| (name, FromCenter { kind: Some(kind) }))
    .into()
}

#[test]
fn transports_of_links_come_back_and_unknown_ones_are_passed_over() {
    for hops in [vec![], vec![Hop::Http1], vec![Hop::H2, Hop::Http1]] {
        assert_eq!(hops_from_wire(&hops_to_wire(&hops)), hops);
    }
    assert_eq!(hops_from_wire(&[0, 77, 2]), [Hop::Http1]);
}

#[test]
fn what_follows_many_deaths_comes_back_and_a_word_of_a_later_version_is_none() {
    use Death::{GiveUp, RestartApp, RestartInPlace};
    for declared in [None, Some(RestartInPlace), Some(RestartApp), Some(GiveUp)] {
        assert_eq!(on_death_from_wire(on_death_to_wire(declared)), declared);
    }
    assert_eq!(on_death_from_wire(77), None);
}
