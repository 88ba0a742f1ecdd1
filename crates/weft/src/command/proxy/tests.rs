//! Tests that the host agent and the sidecar understand the same arguments.

use super::*;
use clap::Parser;
use weft_api::sidecar::AccessLog;

#[derive(Debug, Parser)]
struct Line {
    #[command(flatten)]
    arguments: Arguments,
}

fn check(spec: &SidecarSpec) {
    let line = [String::from("proxy")].into_iter().chain(spec.to_args());
    let arguments = Line::try_parse_from(line).unwrap().arguments;
    assert_eq!(&arguments.into_spec(), spec);
}

fn smallest() -> SidecarSpec {
    SidecarSpec {
        service: "orders".into(),
        instance: "orders-0badcafe".into(),
        ..SidecarSpec::default()
    }
}

#[test]
fn what_the_agent_writes_is_what_the_sidecar_reads() {
    check(&smallest());
    check(&SidecarSpec {
        namespace: "shop".into(),
        incarnation: 7,
        ports: [
            "http=8080",
            "8081",
            "rpc:motan=8001,interface=a.b.Stock,group=g1,version=1.0",
        ]
        .map(|text| text.parse().unwrap())
        .into(),
        labels: vec![
            ("version".into(), "v2".into()),
            ("empty".into(), String::new()),
        ],
        zone: "a".into(),
        weight: 50,
        idempotent: vec!["find*".into(), "*".into()],
        advertise: Some("10.0.0.7".parse().unwrap()),
        centers: vec!["127.0.0.1:9700".into(), "[::1]:9700".into()],
        workers: Some(2),
        access_log: AccessLog::All,
        state_dir: Some("/var/lib/weft/shop-orders-0".into()),
        ..smallest()
    });
}

#[test]
fn every_access_log_setting_is_read() {
    for access_log in [AccessLog::Off, AccessLog::Failed, AccessLog::All] {
        check(&SidecarSpec {
            access_log,
            ..smallest()
        });
    }
}
