//! `weft launch`: becomes a command that does not outlive the process which asked for it.

use crate::failure::Failure;
use crate::values;
use clap::Args;
use std::ffi::OsString;
use std::process::ExitCode;
use weft_host::app::{self, LaunchSignal};

/// Become a command that gets a signal when its parent dies; used by "weft run" and "weft up".
#[derive(Debug, Args)]
#[command(hide = true)]
pub(crate) struct Arguments {
    /// The signal: term or kill.
    #[arg(long, value_parser = values::launch_signal)]
    signal: LaunchSignal,

    /// The process id of the parent.
    #[arg(long)]
    parent: u32,

    /// The command.
    #[arg(last = true, required = true)]
    command: Vec<OsString>,
}

/// Becomes the command; returns only when that failed.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let error = app::launch(arguments.parent, arguments.signal, &arguments.command);
    Err(Failure::with_code(error.exit_code(), error))
}
