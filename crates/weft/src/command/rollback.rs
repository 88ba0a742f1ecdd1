//! `weft rollback`: an object becomes what it was.

use crate::center_client::{CenterArguments, Client, author, kind, object_path};
use crate::failure::Failure;
use crate::output::{self, cell};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;
use weft_api::kinds::{API_VERSION, Kind};

/// Make an object what it was: before its last change, or at a generation. Also brings back a deleted one.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The kind.
    #[arg(value_parser = kind)]
    kind: Kind,

    /// Its name.
    name: String,

    /// The generation, as "weft history" lists them [default: the one before the last change].
    #[arg(long, value_name = "GENERATION")]
    to: Option<u64>,

    /// Check it, but change nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    center: CenterArguments,
}

const EXAMPLES: &str = "\
Examples:
  weft rollback meshservice orders
  weft rollback meshservice orders --to 3

Exit codes: 0 fine, 1 refused or not there, 2 usage, 3 center not reached.";

/// Reads the history, writes the old spec as a new generation.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.center)?;
    let namespace = &arguments.center.namespace;
    let path = object_path(arguments.kind, namespace, Some(&arguments.name));
    let present = match client.json("GET", &path, None)? {
        Ok(object) => Some(object),
        Err(refusal) if refusal.status == 404 => None,
        Err(refusal) => return Err(refusal.failure()),
    };
    let history = client.get(&format!("{path}/history"))?;
    let items = history["items"].as_array().map_or(&[][..], Vec::as_slice);
    let state = wanted(items, arguments.to, present.is_some()).ok_or_else(|| {
        let wanted = arguments.to.map_or("a former state".to_owned(), |to| format!("generation {to}"));
        Failure::refused(format!(
            "cannot roll back {} \"{}\": its history has not {wanted}; \"weft history\" lists what it has",
            arguments.kind.name(),
            arguments.name
        ))
    })?;
    let mut metadata = json!({
        "name": arguments.name,
        "namespace": namespace,
        "labels": state["metadata"]["labels"],
    });
    if let Some(present) = &present {
        metadata["resourceVersion"] = present["metadata"]["resourceVersion"].clone();
    }
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": arguments.kind.name(),
        "metadata": metadata,
        "spec": state["spec"],
    });
    let dry = if arguments.dry_run { "&dryRun=All" } else { "" };
    let answer = client.json(
        "PUT",
        &format!("{path}?fieldManager={}{dry}", author()),
        Some(&object),
    )?;
    let now = answer.map_err(|refusal| refusal.failure())?;
    output::print(&format!(
        "{} \"{}\" is as in generation {} (now generation {}){}\n",
        arguments.kind.name(),
        arguments.name,
        cell(&state["metadata"]["generation"]),
        cell(&now["metadata"]["generation"]),
        if arguments.dry_run {
            "; nothing was changed"
        } else {
            ""
        }
    ));
    Ok(ExitCode::SUCCESS)
}

/// The state to go back to: the named one, else the last one that is not the present one.
fn wanted(items: &[Value], to: Option<u64>, exists: bool) -> Option<&Value> {
    let mut states = items
        .iter()
        .rev()
        .filter(|item| item["change"] != "deleted");
    match to {
        Some(to) => states.find(|item| item["metadata"]["generation"] == to),
        None => states.nth(usize::from(exists)),
    }
}
