//! Tests of what is taken from a log.

use super::*;
use std::fs;
use std::io::Write;

struct Written(PathBuf);

impl Written {
    fn new(name: &str) -> (Self, Log) {
        let path = std::env::temp_dir().join(format!("weft-news-{name}-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        let log = Log {
            name: "orders-1".into(),
            path: path.clone(),
            at: 0,
            half: String::new(),
        };
        (Self(path), log)
    }

    fn add(&self, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).open(&self.0).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }
}

impl Drop for Written {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

#[test]
fn only_what_the_agent_says_is_told_and_only_once() {
    let (written, mut log) = Written::new("once");
    written.add("{\"level\":\"info\"}\nweft run: the sidecar ended\nsomething of the app\n");
    assert_eq!(log.turn(), ["orders-1: the sidecar ended"]);
    assert!(log.turn().is_empty());
}

#[test]
fn a_line_that_is_half_written_is_told_when_it_is_whole() {
    let (written, mut log) = Written::new("half");
    written.add("weft run: the side");
    assert!(log.turn().is_empty());
    written.add("car ended\n");
    assert_eq!(log.turn(), ["orders-1: the sidecar ended"]);
}

#[test]
fn many_lines_at_once_are_counted() {
    let (written, mut log) = Written::new("many");
    written.add(&"weft run: again\n".repeat(TURN_LINES_MAX + 3));
    let told = log.turn();
    assert_eq!(told.len(), TURN_LINES_MAX + 1);
    assert_eq!(
        told[TURN_LINES_MAX],
        "orders-1: and 3 lines more in its log"
    );
}
