//! Tests of what the app finds in its environment and of the command that starts it.

use super::*;

fn variables(set_http_proxy: bool) -> Vec<(&'static str, String)> {
    let ports = Ports {
        outbound: 9991,
        inbound: 9982,
        http_proxy: 9983,
        management: 8002,
    };
    let (service, instance) = ("orders", "orders-0badcafe");
    AppEnvironment {
        service,
        instance,
        ports,
        set_http_proxy,
    }
    .variables()
}

#[test]
fn the_app_is_told_where_its_sidecar_is_and_who_it_is() {
    let expected = [
        ("WEFT_OUTBOUND", "127.0.0.1:9991"),
        ("WEFT_SERVICE", "orders"),
        ("WEFT_INSTANCE", "orders-0badcafe"),
    ];
    assert_eq!(
        variables(false),
        expected.map(|(name, value)| (name, value.to_owned()))
    );
}

#[test]
fn the_http_proxy_is_set_only_when_asked_for() {
    assert!(variables(true).contains(&("http_proxy", "http://127.0.0.1:9983".to_owned())));
    assert!(
        variables(false)
            .iter()
            .all(|(name, _)| *name != "http_proxy")
    );
}

#[test]
fn the_launcher_names_its_parent_and_keeps_the_command_whole() {
    let command = ["sh".into(), "-c".into(), "echo --signal".into()];
    let launcher = launcher(Path::new("weft"), LaunchSignal::Term, &command);
    let arguments: Vec<String> = launcher
        .get_args()
        .map(|a| a.to_string_lossy().into_owned())
        .collect();
    let pid = std::process::id().to_string();
    let expected = [
        "launch",
        "--signal",
        "term",
        "--parent",
        &pid,
        "--",
        "sh",
        "-c",
        "echo --signal",
    ];
    assert_eq!(arguments, expected);
}
