//! Durations, shares, names and labels as people write them, and what is wrong with them.

use crate::sync::FieldError;
use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

/// Characters of a name at the most (DNS allows no more).
pub const NAME_CHARS_MAX: usize = 253;

/// Bytes of a label's name or value at the most.
pub const LABEL_BYTES_MAX: usize = 253;

/// A duration at the most: a day.
pub const SPAN_MAX: Duration = Duration::from_hours(24);

/// A duration: a number with `ms`, `s`, `m` or `h`, as in `500ms`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span(pub Duration);

/// A share: a number with `%`, as in `50%` or `0.1%`.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Share(pub f64);

impl Span {
    fn parse(text: &str) -> Option<Self> {
        let digits = text.bytes().take_while(u8::is_ascii_digit).count();
        let (number, unit) = text.split_at(digits);
        let per_unit = match unit {
            "ms" => 1,
            "s" => 1_000,
            "m" => 60_000,
            "h" => 3_600_000,
            _ => return None,
        };
        let millis = number.parse::<u64>().ok()?.checked_mul(per_unit)?;
        let span = Duration::from_millis(millis);
        (span <= SPAN_MAX).then_some(Self(span))
    }
}

impl Share {
    fn parse(text: &str) -> Option<Self> {
        let number: f64 = text.strip_suffix('%')?.parse().ok()?;
        (0.0..=100.0)
            .contains(&number)
            .then_some(Self(number / 100.0))
    }
}

impl fmt::Display for Span {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}ms", self.0.as_millis())
    }
}

impl fmt::Display for Share {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}%", self.0 * 100.0)
    }
}

/// A text, or what a person wrote instead of one.
fn text_of<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    Ok(match Value::deserialize(deserializer)? {
        Value::String(text) => text,
        other => other.to_string(),
    })
}

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text_of(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            let reason = format!(
                "\"{text}\" is no duration; write a number with ms, s, m or h, at most 24h, for example 5s"
            );
            de::Error::custom(reason)
        })
    }
}

impl<'de> Deserialize<'de> for Share {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = text_of(deserializer)?;
        Self::parse(&text).ok_or_else(|| {
            let reason = format!("\"{text}\" is no share; write 0% to 100%, for example 1%");
            de::Error::custom(reason)
        })
    }
}

impl Serialize for Span {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl Serialize for Share {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Span {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "duration".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "duration" })
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for Share {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "share".into()
    }

    fn inline_schema() -> bool {
        true
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "share" })
    }
}

/// What is wrong with a field, and what belongs there.
pub fn wrong(field: impl Into<String>, reason: impl Into<String>) -> FieldError {
    FieldError {
        field: field.into(),
        reason: reason.into(),
    }
}

/// A name of a service, namespace, object or port: it becomes a host name and part of file names.
pub fn name(field: &str, text: &str) -> Result<(), FieldError> {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let fits = text.len() <= NAME_CHARS_MAX && text.chars().all(inside);
    if fits && edge(text.chars().next()) && edge(text.chars().next_back()) {
        return Ok(());
    }
    let found = if text.is_empty() {
        "it is missing".to_owned()
    } else {
        format!("found \"{text}\"")
    };
    Err(wrong(
        field,
        format!("{found}; a name has letters, digits and, between them, - _ and ."),
    ))
}

/// Labels of an object or an instance.
pub fn labels(field: &str, labels: &BTreeMap<String, String>) -> Result<(), FieldError> {
    if labels.len() > super::LABELS_MAX {
        let reason = format!(
            "{} labels are more than {}",
            labels.len(),
            super::LABELS_MAX
        );
        return Err(wrong(field, reason));
    }
    for (label, value) in labels {
        if label.is_empty() || label.len().max(value.len()) > LABEL_BYTES_MAX {
            let reason =
                format!("a label has a name, and at most {LABEL_BYTES_MAX} bytes on either side");
            return Err(wrong(format!("{field}.{label}"), reason));
        }
    }
    Ok(())
}

/// A port number.
pub fn port(field: &str, number: u16) -> Result<u16, FieldError> {
    if number == 0 {
        return Err(wrong(field, "found 0; a port is a number from 1 to 65535"));
    }
    Ok(number)
}
