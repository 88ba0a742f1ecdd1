//! The tools of the project: `cargo xtask <task>`. Everything that is not the product stands here.
//!
//! | file | task |
//! |---|---|
//! | `ci.rs` | `ci`: all that must hold before a change is taken, cheapest first, timed |
//! | `suites.rs` | `test`: all that this machine can run |
//! | `tidy.rs` | `tidy`: the rules of the house |
//! | `conform.rs` | `conform`: wire formats against their grammar and an oracle |
//! | `bench.rs` | `bench`: figures, against peers and against committed gates |
//! | `peers.rs` | `peers`: the real programs that suites need |
//! | `generate.rs`, `failures_page.rs` | `generate`: code and pages made from one source |
//! | `report.rs`, `command.rs` | what the tasks share: figures as rows, outside programs |
//!
//! Nothing of the product depends on this crate.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tools talk to a terminal"
)]

mod command;
mod failures_page;
mod generate;
mod report;
mod tidy;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Tasks of the project.
#[derive(Parser)]
#[command(
    name = "cargo xtask",
    bin_name = "cargo xtask",
    version,
    max_term_width = 100
)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Subcommand)]
enum Task {
    /// Check the rules of the house: layers, names, words, sizes, licences, freshness
    #[command(after_help = "Example: cargo xtask tidy")]
    Tidy,
    /// Make the committed code and pages that come from one source
    #[command(after_help = "Example: cargo xtask generate --check")]
    Generate {
        /// Compare with what is committed instead of writing
        #[arg(long)]
        check: bool,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Tidy => tidy::run(),
        Task::Generate { check } => generate_all(check).map(|()| true),
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Everything that is made from one source; with `check` compared instead of written.
fn generate_all(check: bool) -> Result<(), String> {
    generate::run(check)?;
    failures_page::run(check)
}
