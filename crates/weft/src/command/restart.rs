//! `weft restart`: parts of a running instance are replaced without a failed call.

use crate::failure::Failure;
use clap::{Args, Subcommand};
use std::io::{self, Write};
use std::process::ExitCode;
use weft_api::agent::AgentRequest;
use weft_host::Folders;

/// Restart the sidecar of an instance of this machine without a failed call.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    part: Part,
}

const EXAMPLES: &str = "\
Examples:
  weft restart proxy orders-0badcafe";

#[derive(Debug, Subcommand)]
enum Part {
    /// The next sidecar starts on the same sockets, then the one before finishes its calls, 25 s at the most.
    Proxy {
        /// The instance's id, or its service when it is the only instance of it on this machine.
        #[arg(value_name = "INSTANCE")]
        instance: String,
    },
}

/// Asks, and waits until the next sidecar serves.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let Part::Proxy { instance } = &arguments.part;
    let folders = Folders::of_this_user();
    let text = weft_host::ask(&folders, instance, &AgentRequest::RestartProxy)
        .map_err(Failure::refused)?;
    let _ = writeln!(io::stdout(), "{text}");
    Ok(ExitCode::SUCCESS)
}
