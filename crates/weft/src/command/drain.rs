//! `weft drain`: an instance of this machine leaves in good order, as at SIGTERM to its `weft run`.

use crate::failure::Failure;
use clap::Args;
use std::io::{self, Write};
use std::process::ExitCode;
use weft_api::agent::AgentRequest;
use weft_host::Folders;

/// Let an instance of this machine leave without a failed call; returns when it has ended.
///
/// Its peers and its center hear first, calls under way end, then its app gets SIGTERM, then its sidecar ends.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// The instance's id, or its service when it is the only instance of it on this machine.
    #[arg(value_name = "INSTANCE")]
    instance: String,
}

const EXAMPLES: &str = "\
Examples:
  weft drain orders-0badcafe
  weft drain orders                 the only instance of orders on this machine

Exit codes: 0 when it has left, 1 when it was not found or could not be asked.";

/// Asks, and waits for the end.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let folders = Folders::of_this_user();
    weft_host::ask(&folders, &arguments.instance, &AgentRequest::Drain)
        .map_err(Failure::refused)?;
    let _ = writeln!(io::stdout(), "{} has left", arguments.instance);
    Ok(ExitCode::SUCCESS)
}
