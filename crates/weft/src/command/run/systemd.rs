//! The systemd unit that `weft run --systemd-unit` prints: the same command line, run by systemd. Pure text;
//! nothing is written or installed.

use std::fmt::Write;
use std::time::Duration;

/// The option that asks for a unit, and is left out in it.
pub(super) const OPTION: &str = "--systemd-unit";
/// What systemd waits for on top of the grace, before it kills.
const STOP_MARGIN: Duration = Duration::from_secs(5);

/// The unit of this service for this command line, the program first.
pub(super) fn unit(service: &str, command_line: &[String], grace: Duration) -> String {
    let options = command_line
        .iter()
        .take_while(|word| *word != "--")
        .filter(|word| *word != OPTION);
    let app = command_line.iter().skip_while(|word| *word != "--");
    let words: Vec<String> = options.chain(app).map(|word| quoted(word)).collect();
    let stop = (grace + STOP_MARGIN).as_secs();
    let mut text = format!(
        "[Unit]\n\
         Description={} in the weft mesh\n\
         Wants=network-online.target\n\
         After=network-online.target\n\
         \n\
         [Service]\n\
         Type=exec\n\
         ExecStart={}\n",
        service.replace('%', "%%"),
        words.join(" ")
    );
    let _ = write!(
        text,
        "Restart=on-failure\n\
         # SIGTERM to weft alone: it drains first and tells the app then.\n\
         KillMode=mixed\n\
         TimeoutStopSec={stop}\n\
         RuntimeDirectory=weft\n\
         RuntimeDirectoryMode=0700\n\
         # Several units share the folder.\n\
         RuntimeDirectoryPreserve=yes\n\
         StateDirectory=weft\n\
         StateDirectoryMode=0700\n\
         Environment=WEFT_RUNTIME_DIR=%t/weft WEFT_STATE_DIR=%S/weft\n\
         \n\
         [Install]\n\
         WantedBy=multi-user.target\n"
    );
    text
}

/// A word as systemd reads it back (systemd.service(5), "COMMAND LINES").
fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@+".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) {
        return word.to_owned();
    }
    let mut text = String::from("\"");
    for c in word.chars() {
        match c {
            '"' | '\\' => text.extend(['\\', c]),
            '%' | '$' => text.extend([c, c]),
            '\n' => text.push_str("\\n"),
            '\t' => text.push_str("\\t"),
            _ => text.push(c),
        }
    }
    text.push('"');
    text
}

#[cfg(test)]
mod tests;
