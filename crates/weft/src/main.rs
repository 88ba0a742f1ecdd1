//! The one binary of weft: arguments become a configuration, the configuration is run.
//!
//! | file | defines |
//! |---|---|
//! | `command.rs` | the verbs, one file each in `command/` |
//! | `center_address.rs` | where the center is: `--center`, `WEFT_CENTER`, the runtime file |
//! | `center_client.rs` | questions and changes to the center, and what its refusals become |
//! | `http_client.rs` | one request to the center |
//! | `output.rs` | `-o`: tables, JSON, YAML |
//! | `object_files.rs` | files of objects, and the line of a fault in them |
//! | `stats.rs` | what services do, as the center tells it, and its table |
//! | `failure.rs` | what a person is told, and the exit code |
//! | `values.rs` | how texts on the command line become values |
//!
//! Never in here: logic that another crate could test without a process.

mod center_address;
mod center_client;
mod clock;
mod command;
mod failure;
mod http_client;
mod object_files;
mod output;
mod stats;
mod values;

use clap::Parser;
use std::process::ExitCode;

/// Puts services of any language and protocol into one mesh.
#[derive(Debug, Parser)]
#[command(name = "weft", version, about, after_help = EXAMPLES, max_term_width = 100)]
struct Arguments {
    #[command(subcommand)]
    command: command::Command,
}

const EXAMPLES: &str = "\
Examples:
  weft up                                                  a whole mesh to look at
  weft center                                              the control center
  weft run --service orders --port http=8080 -- ./orders   an app with its sidecar
  weft stat                                                what the services do
  weft apply -f mesh.yaml                                  declare what is in a file

Exit codes: 0 fine, 1 findings or refused, 2 usage, 3 center not reached.";

fn main() -> ExitCode {
    match Arguments::parse().command.run() {
        Ok(code) => code,
        Err(failure) => failure.report(),
    }
}

#[cfg(test)]
mod tests;
