//! Tests of the choice of ports.

use super::*;

/// A port that is free on every loopback address right now.
fn free_port() -> u16 {
    listen(&loopback_addresses(), 0).map_or(0, |_| {
        let probe = TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().port()
    })
}

#[test]
fn candidates_keep_the_last_digit_and_leave_the_apps_ports_alone() {
    let first: Vec<u16> = candidates(9981, &[9991]).take(3).collect();
    assert_eq!(first, [9981, 10001, 10011]);
    assert_eq!(candidates(65_530, &[]).collect::<Vec<_>>(), [65_530]);
}

#[test]
fn a_taken_default_port_gives_way_to_the_next() {
    // Whatever else runs on this machine: two plans open at once never share a port.
    let first = Plan::default().open(Handed::default()).unwrap();
    let second = Plan::default().open(Handed::default()).unwrap();
    let ports = |listeners: &Listeners| {
        let ports = listeners.ports();
        [
            ports.outbound,
            ports.inbound,
            ports.http_proxy,
            ports.management,
        ]
    };
    for port in ports(&second) {
        assert!(
            !ports(&first).contains(&port),
            "port {port} was given twice"
        );
    }
    assert_eq!(second.outbound.port % 10, 1);
}

#[test]
fn every_loopback_address_gets_the_same_number() {
    let listeners = Plan::default().open(Handed::default()).unwrap();
    for (_, socket) in listeners.in_order() {
        assert!(socket.local_addr().unwrap().ip().is_loopback());
    }
    let numbers: Vec<u16> = listeners
        .outbound
        .sockets
        .iter()
        .map(|s| s.local_addr().unwrap().port())
        .collect();
    assert!(
        numbers
            .iter()
            .all(|number| *number == listeners.outbound.port)
    );
    assert_eq!(numbers.len(), loopback_addresses().len());
}

#[test]
fn a_taken_port_that_was_asked_for_is_an_error_that_names_its_owner() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = holder.local_addr().unwrap().port();
    let plan = Plan {
        outbound: Some(port),
        ..Plan::default()
    };
    let error = plan.open(Handed::default()).unwrap_err().to_string();
    assert!(error.contains(&format!("outbound port {port}")), "{error}");
    assert!(
        error.contains(&format!("(pid {})", std::process::id())),
        "{error}"
    );
    assert!(error.contains("--outbound-port"), "{error}");
}

#[test]
fn a_free_port_that_was_asked_for_is_taken() {
    let port = free_port();
    let plan = Plan {
        management: Some(port),
        ..Plan::default()
    };
    assert_eq!(
        plan.open(Handed::default()).unwrap().ports().management,
        port
    );
}

#[test]
fn inbound_addresses_are_read_with_and_without_port() {
    let check = |text: &str, address: &str, port: Option<u16>| {
        let expected = InboundAddress {
            address: address.parse().unwrap(),
            port,
        };
        assert_eq!(text.parse::<InboundAddress>(), Ok(expected), "{text}");
    };
    check("0.0.0.0:9982", "0.0.0.0", Some(9982));
    check("10.1.2.3", "10.1.2.3", None);
    check("[::]:9982", "::", Some(9982));
    check("127.0.0.1:0", "127.0.0.1", None);
    assert!("orders:9982".parse::<InboundAddress>().is_err());
}

#[test]
fn only_an_address_beyond_loopback_opens_the_app_to_others() {
    let plan = |text: &str| Plan {
        inbound: Some(text.parse().unwrap()),
        ..Plan::default()
    };
    assert!(plan("0.0.0.0:9982").is_inbound_open());
    assert!(!plan("127.0.0.1:9982").is_inbound_open());
    assert!(!Plan::default().is_inbound_open());
}
