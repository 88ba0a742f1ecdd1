//! The verbs. Each has a file of its own: its arguments, and what they start.

use crate::failure::Failure;
use clap::Subcommand;
use std::process::ExitCode;

mod center;
mod demo;
mod drain;
mod launch;
mod proxy;
mod restart;
mod run;
mod sidecar_arguments;
mod stat;
mod up;

/// A verb.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    Up(up::Arguments),
    Run(run::Arguments),
    Center(center::Arguments),
    Stat(stat::Arguments),
    Drain(drain::Arguments),
    Restart(restart::Arguments),
    Demo(demo::Arguments),
    Proxy(proxy::Arguments),
    Launch(launch::Arguments),
}

impl Command {
    /// Does what was asked.
    pub(crate) fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Up(arguments) => up::run(&arguments),
            Self::Run(arguments) => run::run(arguments),
            Self::Center(arguments) => center::run(&arguments),
            Self::Stat(arguments) => stat::run(&arguments),
            Self::Drain(arguments) => drain::run(&arguments),
            Self::Restart(arguments) => restart::run(&arguments),
            Self::Demo(arguments) => demo::run(arguments),
            Self::Proxy(arguments) => proxy::run(arguments),
            Self::Launch(arguments) => launch::run(&arguments),
        }
    }
}
