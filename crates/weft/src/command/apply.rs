//! `weft apply`: declare what is in files.

use crate::center_client::{CenterArguments, Client, author};
use crate::failure::Failure;
use crate::object_files::ObjectFiles;
use crate::output::{self, Output, cell};
use clap::Args;
use serde_json::Value;
use std::process::ExitCode;

/// Declare what is in files: all of it is taken, or nothing.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A file, a folder of .yaml, .yml and .json files, or - for standard input; repeatable.
    #[arg(long = "file", short = 'f', value_name = "PATH", required = true)]
    files: Vec<String>,

    /// Check it and say what would change, but change nothing.
    #[arg(long)]
    dry_run: bool,

    /// How the outcome is shown.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,

    #[command(flatten)]
    center: CenterArguments,
}

const EXAMPLES: &str = "\
Examples:
  weft apply -f orders.yaml
  weft apply -f mesh/ --dry-run
  weft get meshservices -o yaml | weft apply -f -

Exit codes: 0 fine, 1 refused, 2 usage, 3 center not reached.";

/// Sends the whole set.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let files = ObjectFiles::read(&arguments.files)?;
    let client = Client::new(&arguments.center)?;
    let list = send(
        &client,
        &files,
        &arguments.center.namespace,
        arguments.dry_run,
    )?;
    let text = arguments.output.raw(&list).unwrap_or_else(|| {
        let note = if arguments.dry_run {
            " (nothing was changed)"
        } else {
            ""
        };
        let items = list["items"].as_array();
        let lines = items.into_iter().flatten().map(|item| {
            let metadata = &item["metadata"];
            let effect = arguments.output == Output::Wide;
            let effect = effect.then(|| format!(": {}", cell(&item["after"]["status"]["effect"])));
            format!(
                "{} \"{}\" {}{note}{}\n",
                cell(&item["kind"]),
                cell(&metadata["name"]),
                cell(&item["change"]),
                effect.unwrap_or_default()
            )
        });
        lines.collect()
    });
    output::print(&text);
    Ok(ExitCode::SUCCESS)
}

/// Sends a set; the changes, or a failure with the lines at fault.
pub(super) fn send(
    client: &Client,
    files: &ObjectFiles,
    namespace: &str,
    dry_run: bool,
) -> Result<Value, Failure> {
    let dry = if dry_run { "&dryRun=All" } else { "" };
    let path = format!(
        "/apply?namespace={namespace}&fieldManager={}{dry}",
        author()
    );
    let answer = client.json("POST", &path, Some(&files.set()))?;
    answer.map_err(|refusal| files.refused(&refusal))
}
