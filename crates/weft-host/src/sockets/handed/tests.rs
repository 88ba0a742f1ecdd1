//! Tests of what is done with sockets that others opened.

use super::*;

fn bound(address: &str) -> TcpListener {
    TcpListener::bind(address).unwrap()
}

fn port(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

#[test]
fn what_was_handed_over_is_not_opened_again_and_the_rest_is() {
    let (outbound, inbound) = (bound("127.0.0.1:0"), bound("127.0.0.1:0"));
    let ports = (port(&outbound), port(&inbound));
    let taken = Taken {
        outbound: vec![outbound],
        inbound: vec![inbound],
        ..Taken::default()
    };
    let mut plan = Plan::default();
    let handed = Handed::new(taken, &mut plan).unwrap();
    assert_eq!(plan.outbound, Some(ports.0));
    assert!(!plan.is_inbound_open());
    let listeners = plan.open(handed).unwrap();
    let opened = listeners.ports();
    assert_eq!((opened.outbound, opened.inbound), ports);
    assert!(opened.management > 0 && opened.http_proxy > 0);
}

#[test]
fn an_inbound_socket_that_others_reach_is_known_as_one() {
    let everywhere = bound("0.0.0.0:0");
    let taken = Taken {
        inbound: vec![everywhere],
        ..Taken::default()
    };
    let mut plan = Plan::default();
    Handed::new(taken, &mut plan).unwrap();
    assert!(plan.is_inbound_open());
}

#[test]
fn another_port_than_the_one_asked_for_is_refused_in_words() {
    let management = bound("127.0.0.1:0");
    let port = port(&management);
    let mut plan = Plan {
        management: Some(port ^ 1),
        ..Plan::default()
    };
    let taken = Taken {
        management: vec![management],
        ..Taken::default()
    };
    let text = Handed::new(taken, &mut plan).unwrap_err().to_string();
    assert!(text.contains("--management-port"), "{text}");
    assert!(text.contains(&port.to_string()), "{text}");
}

#[test]
fn one_role_has_one_port() {
    let taken = Taken {
        outbound: vec![bound("127.0.0.1:0"), bound("127.0.0.1:0")],
        ..Taken::default()
    };
    let text = Handed::new(taken, &mut Plan::default())
        .unwrap_err()
        .to_string();
    assert!(text.contains("outbound"), "{text}");
}
