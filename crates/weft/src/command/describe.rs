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
    /// service, instance, sidecar, or a kind; or both as in instance/orders-1f2e3d4c.
    #[arg(value_name = "WHAT", value_parser = subject)]
    what: Subject,

    /// Its name.
    name: Option<String>,

    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,

    #[command(flatten)]
    center: CenterArguments,
}

const EXAMPLES: &str = "\
Examples:
  weft describe meshservice orders
  weft describe instance/orders-1f2e3d4c
  weft describe lifecyclepolicy orders-life -o json

Exit codes: 0 fine, 1 refused or not there, 2 usage, 3 center not reached.";

/// What is described, and its name when that stands behind a slash.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Subject {
    what: What,
    name: Option<String>,
}

fn subject(text: &str) -> Result<Subject, String> {
    let (what, name) = match text.split_once('/') {
        None => (text, None),
        Some((_, "")) => return Err("write its name behind the slash".to_owned()),
        Some((what, name)) => (what, Some(name.to_owned())),
    };
    Ok(Subject {
        what: get::what(what)?,
        name,
    })
}

/// Asks the center, shows the answer.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.center)?;
    let namespace = &arguments.center.namespace;
    let Subject { what, name } = &arguments.what;
    let name = match (name, &arguments.name) {
        (Some(name), None) | (None, Some(name)) => name,
        (Some(_), Some(other)) => {
            let message = format!("\"{other}\" is one name too many: one stands behind the slash");
            return Err(Failure::usage(message));
        }
        (None, None) => return Err(Failure::usage("write the name of what is to be described")),
    };
    let mut changes = Value::Null;
    let object = if let What::Kind(kind) = *what {
        let path = object_path(kind, namespace, Some(name));
        changes = client.get(&format!("{path}/history"))?["items"].take();
        client.get(&path)?
    } else if *what == What::Instances {
        client.get(&format!("/namespaces/{namespace}/instances/{name}"))?
    } else {
        let mut list = get::fetch(&client, *what, namespace)?;
        let items = list["items"]
            .as_array_mut()
            .map(std::mem::take)
            .unwrap_or_default();
        let mut own = items
            .into_iter()
            .filter(|item| item["metadata"]["name"] == **name);
        own.next().ok_or_else(|| {
            Failure::refused(format!(
                "there is no \"{name}\" among them in namespace \"{namespace}\"; \"weft get\" lists what is there"
            ))
        })?
    };
    let whole = json!({ "object": object, "changes": changes });
    let text = arguments.output.raw(&whole).unwrap_or_else(|| {
        let (object, peers) = without_peers(object);
        let mut text = document::write(&object);
        text.push_str(&peers);
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

/// An object without how its peers find it, and that, one peer a line.
fn without_peers(mut object: Value) -> (Value, String) {
    let peers = object["status"]
        .as_object_mut()
        .and_then(|status| status.remove("peers"));
    let mut text = String::new();
    let peers = peers.as_ref().and_then(Value::as_array);
    let peers = peers.map_or(&[][..], Vec::as_slice);
    if !peers.is_empty() {
        text.push_str("as its peers find it:\n");
    }
    for peer in peers {
        let line = format!(
            "  {}  {}  heard {} ms ago\n",
            cell(&peer["reporter"]),
            cell(&peer["state"]),
            cell(&peer["silentMs"])
        );
        text.push_str(&line);
    }
    (object, text)
}

#[cfg(test)]
mod tests;
