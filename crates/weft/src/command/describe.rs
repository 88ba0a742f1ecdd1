//! `weft describe`: all that is known of one thing.

use super::get::{self, What};
use crate::center_client::{CenterArguments, Client, object_path};
use crate::failure::Failure;
use crate::output::{self, Output, cell};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;
use weft_api::kinds::document;

/// Changes shown of an object.
const CHANGES_SHOWN: usize = 5;

/// Show all that is known of a service, an instance or an object: spec, status and its last changes.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// service, instance, or a kind.
    #[arg(value_name = "WHAT", value_parser = get::what)]
    what: What,

    /// Its name.
    name: String,

    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,

    #[command(flatten)]
    center: CenterArguments,
}

const EXAMPLES: &str = "\
Examples:
  weft describe meshservice orders
  weft describe instance orders-1f2e3d4c
  weft describe lifecyclepolicy orders-life -o json

Exit codes: 0 fine, 1 refused or not there, 2 usage, 3 center not reached.";

/// Asks the center, shows the answer.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.center)?;
    let namespace = &arguments.center.namespace;
    let mut changes = Value::Null;
    let object = if let What::Kind(kind) = arguments.what {
        let path = object_path(kind, namespace, Some(&arguments.name));
        changes = client.get(&format!("{path}/history"))?["items"].take();
        client.get(&path)?
    } else {
        let mut list = get::fetch(&client, arguments.what, namespace)?;
        let items = list["items"]
            .as_array_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        let mut own = items
            .into_iter()
            .filter(|item| item["metadata"]["name"] == *arguments.name);
        own.next().ok_or_else(|| {
            Failure::refused(format!(
                "there is no \"{}\" among them in namespace \"{namespace}\"; \"weft get\" lists what is there",
                arguments.name
            ))
        })?
    };
    let whole = json!({ "object": object, "changes": changes });
    let text = arguments.output.raw(&whole).unwrap_or_else(|| {
        let mut text = document::write(&object);
        let items = changes.as_array().map_or(&[][..], Vec::as_slice);
        if !items.is_empty() {
            text.push_str("changes:\n");
        }
        for item in items.iter().rev().take(CHANGES_SHOWN) {
            let line = format!(
                "  {}  generation {}  {} by {}\n",
                cell(&item["at"]),
                cell(&item["metadata"]["generation"]),
                cell(&item["change"]),
                cell(&item["author"])
            );
            text.push_str(&line);
        }
        text
    });
    output::print(&text);
    Ok(ExitCode::SUCCESS)
}
