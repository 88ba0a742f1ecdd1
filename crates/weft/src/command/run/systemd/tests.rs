//! The units say what was typed, as systemd reads it.

use super::*;

fn unit_of(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    units("orders", &words, Duration::from_secs(30), &Plan::default())
}

/// The files of the output, as the line in its preface splits them.
fn files(units: &str) -> Vec<(String, String)> {
    let (_, files) = units.split_once("\n# file: ").unwrap();
    let files = files.split("\n# file: ").map(|file| {
        let (name, text) = file.split_once('\n').unwrap();
        (name.to_owned(), text.to_owned())
    });
    files.collect()
}

#[test]
fn each_socket_has_a_unit_of_its_own_with_the_name_that_the_agent_knows() {
    let plan = Plan {
        outbound: Some(9991),
        inbound: Some("0.0.0.0:9992".parse().unwrap()),
        ..Plan::default()
    };
    let units = units("orders", &["weft".into()], Duration::ZERO, &plan);
    let files = files(&units);
    assert_eq!(files.len(), 5);
    assert_eq!(files[0].0, "weft-orders.service");
    let named = files[1..].iter().map(|(name, _)| name.as_str());
    let named: Vec<&str> = named.collect();
    assert!(
        files[0]
            .1
            .contains(&format!("\nSockets={}\n", named.join(" "))),
        "{units}"
    );
    for (role, (name, text)) in Role::ALL.into_iter().zip(&files[1..]) {
        assert!(name.ends_with(".socket"), "{name}");
        let line = format!("\nFileDescriptorName={}\n", role.name());
        assert!(text.contains(&line), "{text}");
        assert!(text.contains("\nService=weft-orders.service\n"), "{text}");
    }
    let listens = |text: &str| -> Vec<String> {
        let lines = text.lines().filter(|line| line.starts_with("ListenStream"));
        lines.map(str::to_owned).collect()
    };
    assert_eq!(
        listens(&files[1].1),
        ["ListenStream=127.0.0.1:9991", "ListenStream=[::1]:9991"]
    );
    assert_eq!(listens(&files[2].1), ["ListenStream=0.0.0.0:9992"]);
    assert_eq!(files[3].0, "weft-orders-http-proxy.socket");
    assert!(files[3].1.contains("--http-proxy-port chooses another"));
}

#[test]
fn the_unit_runs_the_same_command_line_without_the_option() {
    let unit = unit_of(&[
        "/usr/bin/weft",
        "run",
        "--systemd-unit",
        "--service",
        "orders",
        "--",
        "./orders",
        "--systemd-unit",
    ]);
    let line = "\nExecStart=/usr/bin/weft run --service orders -- ./orders --systemd-unit\n";
    assert!(unit.contains(line), "{unit}");
}

#[test]
fn only_weft_gets_sigterm_and_it_has_its_whole_grace() {
    let unit = unit_of(&["weft"]);
    assert!(unit.contains("\nKillMode=mixed\n"), "{unit}");
    assert!(unit.contains("\nTimeoutStopSec=35\n"), "{unit}");
}

#[test]
fn words_that_systemd_would_read_otherwise_are_quoted() {
    let quotes = [
        ("", "\"\""),
        ("a b", "\"a b\""),
        ("echo $HOME 100%", "\"echo $$HOME 100%%\""),
        ("say \"x\\y\"", "\"say \\\"x\\\\y\\\"\""),
        ("http=8080,interface=a.b.C", "http=8080,interface=a.b.C"),
    ];
    for (word, expected) in quotes {
        assert_eq!(quoted(word), expected);
    }
}
