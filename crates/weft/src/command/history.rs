//! `weft history`: who changed an object, when, and how.

use crate::center_client::{CenterArguments, Client, kind, object_path};
use crate::failure::Failure;
use crate::output::{self, Output, cell};
use clap::Args;
use std::process::ExitCode;
use weft_api::kinds::Kind;

/// Show who changed an object, and when.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The kind.
    #[arg(value_parser = kind)]
    kind: Kind,

    /// Its name.
    name: String,

    /// How it is shown; json and yaml have each spec.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,

    #[command(flatten)]
    center: CenterArguments,
}

const EXAMPLES: &str = "\
Examples:
  weft history meshservice orders
  weft history lifecyclepolicy orders-life -o yaml

Exit codes: 0 fine, 1 refused or not there, 2 usage, 3 center not reached.";

/// Asks the center, shows the answer.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.center)?;
    let path = object_path(
        arguments.kind,
        &arguments.center.namespace,
        Some(&arguments.name),
    );
    let list = client.get(&format!("{path}/history"))?;
    let text = arguments.output.raw(&list).unwrap_or_else(|| {
        let names = ["GENERATION", "CHANGE", "AT", "AUTHOR", "SPEC"];
        let columns = if arguments.output == Output::Wide {
            5
        } else {
            4
        };
        let mut rows = vec![names[..columns].iter().map(ToString::to_string).collect()];
        for item in list["items"].as_array().into_iter().flatten() {
            let mut row = vec![
                cell(&item["metadata"]["generation"]),
                cell(&item["change"]),
                cell(&item["at"]),
                cell(&item["author"]),
                item["spec"].to_string(),
            ];
            row.truncate(columns);
            rows.push(row);
        }
        output::table(&rows)
    });
    output::print(&text);
    Ok(ExitCode::SUCCESS)
}
