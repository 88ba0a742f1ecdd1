//! Lines of JSON: events on standard error, the access log on standard output.

use std::io::Write;

/// An event as a line.
pub(crate) fn event(level: &str, message: &str) -> String {
    serde_json::json!({ "kind": "event", "level": level, "message": message }).to_string()
}

/// Writes an event to standard error. A reader that is gone is no reason to stop.
pub(crate) fn line(line: &str) {
    let _ = writeln!(std::io::stderr().lock(), "{line}");
}

/// Writes lines of the access log to standard output.
pub(crate) fn access(lines: &[String]) {
    let mut out = std::io::stdout().lock();
    for line in lines {
        if writeln!(out, "{line}").is_err() {
            return;
        }
    }
    let _ = out.flush();
}
