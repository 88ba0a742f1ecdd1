//! `-o`: tables for people, JSON and YAML for programs.
//!
//! Never in here: what is in the cells.

use clap::ValueEnum;
use serde_json::Value;
use std::io::{self, Write};
use weft_api::kinds::document;

/// How an answer is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    /// For people.
    Table,
    /// For people with room.
    Wide,
    /// For programs: as the center answered.
    Json,
    /// The same as YAML.
    Yaml,
}

impl Output {
    /// The value as JSON or YAML; none when people asked.
    pub(crate) fn raw(self, value: &Value) -> Option<String> {
        match self {
            Self::Table | Self::Wide => None,
            Self::Json => Some(format!("{value:#}\n")),
            Self::Yaml => {
                let text = document::write(value);
                Some(text.trim_end().to_owned() + "\n")
            }
        }
    }
}

/// Rows with their columns below each other; the first is the head.
pub(crate) fn table(rows: &[Vec<String>]) -> String {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |column: usize| {
        let cells = rows.iter().filter_map(|row| row.get(column));
        cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for row in rows {
        let cells = row.iter().zip(&widths);
        let line: Vec<String> = cells
            .map(|(cell, width)| format!("{cell:<width$}"))
            .collect();
        text.push_str(line.join("  ").trim_end());
        text.push('\n');
    }
    text
}

/// A field of a value as a cell: `-` when it is not there.
pub(crate) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => text.clone(),
        Value::Object(fields) => {
            let parts: Vec<String> = fields
                .iter()
                .map(|(name, value)| format!("{name}={}", cell(value)))
                .collect();
            if parts.is_empty() {
                "-".to_owned()
            } else {
                parts.join(",")
            }
        }
        other => other.to_string(),
    }
}

/// Writes to standard output. A reader that has seen enough (head, less) is no failure.
pub(crate) fn print(text: &str) {
    let _ = io::stdout().write_all(text.as_bytes());
}
