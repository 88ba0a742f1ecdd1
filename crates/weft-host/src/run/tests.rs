//! Tests of what is said at the beginning.

use super::*;

#[test]
fn ports_other_than_the_default_ones_are_told_unless_they_were_asked_for() {
    let ports = Ports {
        outbound: 9991,
        inbound: 9982,
        http_proxy: 9983,
        management: 8012,
    };
    let text = moved_ports(&Plan::default(), ports).unwrap();
    assert!(
        text.contains("outbound 9991 (not 9981), management 8012 (not 8002)"),
        "{text}"
    );
    let asked = Plan {
        outbound: Some(9991),
        management: Some(8012),
        ..Plan::default()
    };
    assert_eq!(moved_ports(&asked, ports), None);
}
