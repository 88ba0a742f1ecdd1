//! The verbs. Each has a file of its own: its arguments, and what they start.

use crate::failure::Failure;
use clap::Subcommand;
use std::process::ExitCode;

mod apply;
mod center;
mod delete;
mod demo;
mod describe;
mod diff;
mod drain;
mod get;
mod history;
mod launch;
mod offline;
mod proxy;
mod restart;
mod rollback;
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
    Get(get::Arguments),
    Describe(describe::Arguments),
    Apply(apply::Arguments),
    Diff(diff::Arguments),
    Delete(delete::Arguments),
    History(history::Arguments),
    Rollback(rollback::Arguments),
    Drain(drain::Arguments),
    Offline(offline::OfflineArguments),
    Online(offline::OnlineArguments),
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
            Self::Get(arguments) => get::run(&arguments),
            Self::Describe(arguments) => describe::run(&arguments),
            Self::Apply(arguments) => apply::run(&arguments),
            Self::Diff(arguments) => diff::run(&arguments),
            Self::Delete(arguments) => delete::run(&arguments),
            Self::History(arguments) => history::run(&arguments),
            Self::Rollback(arguments) => rollback::run(&arguments),
            Self::Drain(arguments) => drain::run(&arguments),
            Self::Offline(arguments) => offline::run_offline(&arguments),
            Self::Online(arguments) => offline::run_online(&arguments),
            Self::Restart(arguments) => restart::run(&arguments),
            Self::Demo(arguments) => demo::run(arguments),
            Self::Proxy(arguments) => proxy::run(arguments),
            Self::Launch(arguments) => launch::run(&arguments),
        }
    }
}
