//! The verbs. Each has a file of its own: its arguments, and what they start.

use crate::failure::Failure;
use clap::Subcommand;
use std::process::ExitCode;

mod launch;
mod proxy;
mod run;
mod sidecar_arguments;

/// A verb.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Run(run::Arguments),
    Proxy(proxy::Arguments),
    Launch(launch::Arguments),
}

impl Command {
    /// Does what was asked.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Run(arguments) => run::run(arguments),
            Self::Proxy(arguments) => proxy::run(arguments),
            Self::Launch(arguments) => launch::run(&arguments),
        }
    }
}
