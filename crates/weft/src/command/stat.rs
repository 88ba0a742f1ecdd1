//! `weft stat`: what the services do.

use crate::center_address;
use crate::failure::Failure;
use crate::stats;
use crate::values;
use clap::{Args, ValueEnum};
use serde_json::Value;
use std::io::{self, Write};
use std::process::ExitCode;
use weft_host::{CenterFile, Folders};
use weft_model::instance::NAMESPACE_DEFAULT;

/// Show calls per second, success and times of services over the last minute.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// Only this service.
    service: Option<String>,

    /// The namespace.
    #[arg(long, short, value_name = "NAME", default_value = NAMESPACE_DEFAULT, value_parser = values::name)]
    namespace: String,

    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,

    /// The center, host:port [default: WEFT_CENTER, else the center of this machine].
    #[arg(long, value_name = "ADDRESS", value_parser = values::center)]
    center: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Output {
    /// For people.
    Table,
    /// For programs: the center's own list.
    Json,
}

const EXAMPLES: &str = "\
Examples:
  weft stat
  weft stat orders -o json
  weft stat --center 10.0.0.5:9700

Exit codes: 0 fine, 1 refused or no such service, 2 usage, 3 center not reached.";

/// Asks the center, shows the answer.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let folders = Folders::of_this_user();
    let named: Vec<String> = arguments.center.iter().cloned().collect();
    let centers = center_address::centers(&named, &folders)?;
    let Some(center) = centers.first() else {
        return Err(Failure::center(
            "cannot find the center: neither --center nor WEFT_CENTER names one, and none runs on this machine \
             (no center.json in the runtime folder); start one with \"weft center\"",
        ));
    };
    let token = token_of(center, &folders);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::refused(format!("cannot start the runtime: {error}")))?;
    let list = runtime.block_on(stats::fetch(center, &arguments.namespace, token.as_deref()))?;
    let list = match &arguments.service {
        None => list,
        Some(service) => only(list, service).ok_or_else(|| {
            Failure::refused(format!(
                "the center at {center} knows no service \"{service}\" in namespace \"{}\"; \"weft stat\" \
                 lists those that it knows",
                arguments.namespace
            ))
        })?,
    };
    let text = match arguments.output {
        Output::Json => format!("{list:#}\n"),
        Output::Table => {
            let services = stats::services(&list);
            if services.is_empty() {
                let namespace = &arguments.namespace;
                format!(
                    "no services in namespace \"{namespace}\" yet; start one with \"weft run\"\n"
                )
            } else {
                stats::table(&services).join("\n") + "\n"
            }
        }
    };
    // A reader that has seen enough (head, less) is no failure.
    let _ = io::stdout().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// The list with one service in it; none when it has no such service.
fn only(mut list: Value, service: &str) -> Option<Value> {
    let items = list.get_mut("items")?.as_array_mut()?;
    items.retain(|item| stats::name_of(item) == Some(service));
    (!items.is_empty()).then_some(list)
}

/// The token of the center of this machine, when that is the one we ask and it has one.
fn token_of(center: &str, folders: &Folders) -> Option<String> {
    let file = CenterFile::read(folders)?;
    if values::center(&file.url).ok()? != center {
        return None;
    }
    let token = std::fs::read_to_string(file.token_file?).ok()?;
    Some(token.trim().to_owned())
}
