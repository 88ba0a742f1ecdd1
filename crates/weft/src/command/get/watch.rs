//! `weft get KIND --watch`: the list, then each change as it comes.
//!
//! Follows from the version of the list, so nothing is missed between the two; when the center no longer remembers
//! what came after that, it lists anew. Never in here: how changes are remembered.

use super::{What, fetch, head, row};
use crate::center_client::{Client, object_path};
use crate::failure::Failure;
use crate::output::{self, Output};
use serde_json::{Value, json};
use std::process::ExitCode;
use weft_api::kinds::Kind;

/// The least widths of the columns: rows come one by one, and stand below each other all the same.
const WIDTHS: [usize; 4] = [9, 16, 24, 10];

/// What is shown, and how.
pub(super) struct Shown<'a> {
    pub(super) kind: Kind,
    pub(super) namespace: &'a str,
    /// Only the one with this name.
    pub(super) name: Option<&'a str>,
    pub(super) output: Output,
}

/// Shows the list and each change until the center, or whoever started it, ends it.
pub(super) fn run(client: &Client, shown: &Shown<'_>) -> Result<ExitCode, Failure> {
    let is_wide = shown.output == Output::Wide;
    let mut names = vec!["CHANGE".to_owned()];
    names.extend(head(What::Kind(shown.kind), is_wide));
    if shown.output.raw(&Value::Null).is_none() {
        output::print(&padded(&names));
    }
    loop {
        let list = fetch(client, What::Kind(shown.kind), shown.namespace)?;
        for item in list["items"].as_array().into_iter().flatten() {
            shown.tell("PRESENT", item);
        }
        let version = list["metadata"]["resourceVersion"].as_str().unwrap_or("");
        let path = object_path(shown.kind, shown.namespace, None);
        let mut forgotten = false;
        client.follow(
            &format!("{path}?watch=true&resourceVersion={version}"),
            |line| {
                let change: Value = serde_json::from_str(line).unwrap_or_default();
                forgotten = change["type"] == "ERROR";
                if let (false, Some(word)) = (forgotten, change["type"].as_str()) {
                    shown.tell(word, &change["object"]);
                }
                !forgotten
            },
        )?;
        if !forgotten {
            return Err(Failure::center(
                "the center has ended what it told; is it stopping? Run this again".to_owned(),
            ));
        }
    }
}

impl Shown<'_> {
    fn tell(&self, word: &str, item: &Value) {
        let is_wanted = |name: &str| item["metadata"]["name"] == *name;
        if word == "BOOKMARK" || !self.name.is_none_or(is_wanted) {
            return;
        }
        let change = json!({ "type": word, "object": item });
        let text = match self.output {
            Output::Json => format!("{change}\n"),
            Output::Yaml => self.output.raw(&change).unwrap_or_default() + "---\n",
            Output::Table | Output::Wide => {
                let mut cells = vec![word.to_lowercase()];
                cells.extend(row(
                    What::Kind(self.kind),
                    item,
                    self.output == Output::Wide,
                ));
                padded(&cells)
            }
        };
        output::print(&text);
    }
}

fn padded(cells: &[String]) -> String {
    let widths = WIDTHS.into_iter().chain(std::iter::repeat(0));
    let cells = cells.iter().zip(widths);
    let cells: Vec<String> = cells
        .map(|(cell, width)| format!("{cell:<width$}"))
        .collect();
    cells.join("  ").trim_end().to_owned() + "\n"
}
