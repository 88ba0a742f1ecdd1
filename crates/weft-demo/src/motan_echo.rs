//! A test app in Motan2 that gives back what it got.
//!
//! | method (`M_m`) | answer |
//! |---|---|
//! | `slow` | the body, after as many milliseconds as the metadata `sleep_ms` says (100 by default): later calls overtake it |
//! | `fail` | a business exception |
//! | `metadata` | the metadata as a string, one `key=value` a line |
//! | any other | the body, with the request's serialize byte |

use crate::app::{self, StartError};
use crate::motan::{self, Frame};
use crate::simple;
use std::fmt::Write;
use std::time::Duration;

/// The longest wait of `slow`.
const SLOW_MAX: Duration = Duration::from_mins(1);

/// Serves on this port of loopback (0: any) until the process ends.
pub fn run(port: u16) -> Result<(), StartError> {
    app::block_on(motan::serve(port, answer))
}

async fn answer(frame: Frame) -> Frame {
    match frame.value("M_m") {
        Some("slow") => {
            let millis = frame.value("sleep_ms").and_then(|text| text.parse().ok());
            tokio::time::sleep(Duration::from_millis(millis.unwrap_or(100)).min(SLOW_MAX)).await;
            echo(&frame)
        }
        Some("fail") => frame.exception(30001, "asked to fail", 2),
        Some("metadata") => {
            let mut text = String::new();
            for (key, value) in frame.metadata.iter() {
                let (key, value) = (String::from_utf8_lossy(key), String::from_utf8_lossy(value));
                let _ = writeln!(text, "{key}={value}");
            }
            let mut body = Vec::new();
            simple::write_string(&text, &mut body);
            let mut reply = frame.reply(body);
            reply.header.serialize = simple::SERIALIZE;
            reply
        }
        _ => echo(&frame),
    }
}

fn echo(frame: &Frame) -> Frame {
    let mut reply = frame.reply(Vec::new());
    reply.header.gzip = frame.header.gzip;
    reply.body = frame.body.clone();
    reply
}

#[cfg(test)]
mod tests;
