//! `weft delete`: an object goes; its history stays.

use crate::center_client::{CenterArguments, Client, author, kind, object_path};
use crate::failure::Failure;
use crate::output;
use clap::Args;
use std::process::ExitCode;
use weft_api::kinds::Kind;

/// Delete objects. "weft rollback" brings one back.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The kind.
    #[arg(value_parser = kind)]
    kind: Kind,

    /// Their names.
    #[arg(required = true)]
    names: Vec<String>,

    /// Say what would be deleted, but delete nothing.
    #[arg(long)]
    dry_run: bool,

    #[command(flatten)]
    center: CenterArguments,
}

const EXAMPLES: &str = "\
Examples:
  weft delete meshservice orders
  weft delete lifecyclepolicies a b -n shop

Exit codes: 0 fine, 1 refused or not there, 2 usage, 3 center not reached.";

/// Deletes one after the other.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let client = Client::new(&arguments.center)?;
    for name in &arguments.names {
        let path = object_path(arguments.kind, &arguments.center.namespace, Some(name));
        let dry = if arguments.dry_run { "&dryRun=All" } else { "" };
        let path = format!("{path}?fieldManager={}{dry}", author());
        let answer = client.json("DELETE", &path, None)?;
        answer.map_err(|refusal| refusal.failure())?;
        let note = if arguments.dry_run {
            " (nothing was changed)"
        } else {
            ""
        };
        output::print(&format!(
            "{} \"{name}\" deleted{note}\n",
            arguments.kind.name()
        ));
    }
    Ok(ExitCode::SUCCESS)
}
