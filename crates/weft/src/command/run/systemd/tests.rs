//! The unit says what was typed, as systemd reads it.

use super::*;

fn unit_of(words: &[&str]) -> String {
    let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
    unit("orders", &words, Duration::from_secs(30))
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
