//! What the center tells its operator: one JSON object a line on standard error.

use crate::clock;
use serde_json::{Map, Value};
use std::io::Write as _;

/// Writes one line. A standard error that is gone is no reason to stop.
pub(crate) fn line(level: &str, message: &str, fields: &[(&str, &str)]) {
    let unix_ms = clock::unix_millis();
    let mut object = Map::new();
    object.insert("unix_ms".into(), unix_ms.into());
    object.insert("kind".into(), "event".into());
    object.insert("level".into(), level.into());
    object.insert("message".into(), message.into());
    for (name, value) in fields {
        object.insert((*name).to_owned(), Value::from(*value));
    }
    let mut text = Value::Object(object).to_string();
    text.push('\n');
    let _ = std::io::stderr().lock().write_all(text.as_bytes());
}
