//! The tools of the project: `cargo xtask <task>`. Everything that is not the product stands here.
//!
//! | file | task |
//! |---|---|
//! | `ci.rs` | `ci`: all that must hold before a change is taken, cheapest first, timed |
//! | `suites.rs` | `test`: all that this machine can run |
//! | `tidy.rs` | `tidy`: the rules of the house |
//! | `conform.rs` | `conform`: wire formats against their grammar and an oracle |
//! | `bench.rs` | `bench`: figures, against peers and against committed gates |
//! | `drill.rs` | `drill`: failures made on purpose, and what callers saw of them |
//! | `soak.rs` | `soak`: gRPC for a long time, with memory looked at |
//! | `sim.rs` | `sim`: simulated worlds by seed |
//! | `fuzz.rs` | `fuzz`: functions that eat bytes, under libFuzzer |
//! | `peers.rs` | `peers`: the real programs that suites need |
//! | `generate.rs`, `failures_page.rs`, `kinds_page.rs` | `generate`: code and pages made from one source |
//! | `report.rs`, `command.rs` | what the tasks share: figures as rows, outside programs |
//!
//! Nothing of the product depends on this crate.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "tools talk to a terminal"
)]

mod attack;
mod bench;
mod ci;
mod command;
mod conform;
mod conform_h1;
mod conform_h2;
mod conform_tunnel;
mod drill;
mod failures_page;
mod fuzz;
mod generate;
mod kinds_page;
mod limits_page;
mod peers;
mod report;
mod sim;
mod soak;
mod suites;
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
    /// Everything that must hold before a change is taken, cheapest first, timed
    #[command(after_help = "Example: cargo xtask ci")]
    Ci,
    /// All tests that this machine can run; the last line is `N passed, N failed`
    #[command(after_help = "Example: cargo xtask test")]
    Test,
    /// Check the rules of the house: layers, names, words, sizes, licences, freshness
    #[command(after_help = "Example: cargo xtask tidy")]
    Tidy,
    /// Wire formats against their grammar and an oracle
    #[command(after_help = "Example: cargo xtask conform h1 --full --json")]
    Conform {
        #[command(subcommand)]
        suite: Conformance,
        /// The long form
        #[arg(long, global = true)]
        full: bool,
        /// One JSON object as last line
        #[arg(long, global = true)]
        json: bool,
    },
    /// Figures, against peers and against committed gates
    #[command(
        after_help = "Examples:\n  cargo xtask bench http1 --against envoy --json\n  cargo xtask bench gates"
    )]
    Bench {
        #[command(subcommand)]
        suite: Benchmark,
    },
    /// Failures made on purpose, under load, and what callers saw of them
    #[command(
        after_help = "Examples:\n  cargo xtask drill crash\n  cargo xtask drill crash --full --json"
    )]
    Drill(drill::Options),
    /// Hostile and clumsy peers against a real sidecar, and what they cost
    #[command(
        after_help = "Examples:\n  cargo xtask attack a1\n  cargo xtask attack all --full --json"
    )]
    Attack(attack::Options),
    /// gRPC of all kinds through two sidecars for a long time, with their memory looked at
    #[command(after_help = "Examples:\n  cargo xtask soak\n  cargo xtask soak --full --json")]
    Soak(soak::Options),
    /// The app behind a drill, as a process of its own
    #[command(hide = true)]
    DrillApp(drill::app::Options),
    /// Simulated worlds by seed, with what must hold looked at after every step
    #[command(
        after_help = "Examples:\n  cargo xtask sim\n  cargo xtask sim store --seeds 10000\n  cargo xtask sim store --seed 7"
    )]
    Sim(sim::Options),
    /// Functions that eat bytes, under libFuzzer
    #[command(after_help = "Examples:\n  cargo xtask fuzz\n  cargo xtask fuzz link --seconds 600")]
    Fuzz(fuzz::Options),
    /// Install the real programs that suites run against
    #[command(after_help = "Examples:\n  cargo xtask peers\n  cargo xtask peers --list")]
    Peers {
        /// Only show what is there, with versions
        #[arg(long)]
        list: bool,
    },
    /// Make the committed code and pages that come from one source
    #[command(after_help = "Example: cargo xtask generate --check")]
    Generate {
        /// Compare with what is committed instead of writing
        #[arg(long)]
        check: bool,
    },
}

#[derive(Clone, Subcommand)]
enum Conformance {
    /// HTTP/1.1: own cases at every split, and mutants compared with hyper
    H1,
    /// HTTP/2 of real sidecars: h2spec, and hostile servers by section of RFC 9113
    H2(conform_h2::Options),
    /// Tunnels: no byte before they are granted, none after they are refused, over one hop and over the link
    Tunnel,
}

#[derive(Subcommand)]
enum Benchmark {
    /// An HTTP/1.1 hop and a pair of sidecars: CPU per request, memory, start
    #[command(
        after_help = "Examples:\n  cargo xtask bench http1\n  cargo xtask bench http1 --against envoy --full --json"
    )]
    Http1(bench::http1::Options),
    /// An HTTP/2 hop, and one from HTTP/2 to HTTP/1.1: CPU per request
    #[command(after_help = "Example: cargo xtask bench h2 --against envoy")]
    H2(bench::streams::Options),
    /// A gRPC hop: CPU per unary call
    #[command(after_help = "Example: cargo xtask bench grpc --against envoy")]
    Grpc(bench::streams::Options),
    /// A relay of bytes that are not read: CPU per request within them
    #[command(after_help = "Example: cargo xtask bench tcp --against envoy")]
    Tcp(bench::streams::Options),
    /// Instructions and allocations per call, held to xtask/gates.json
    #[command(after_help = "Example: cargo xtask bench gates --json")]
    Gates(bench::gates::Options),
    /// The app behind a bench, as a process of its own
    #[command(hide = true)]
    Backend {
        /// What it speaks
        kind: bench::backend::Kind,
    },
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Ci => Ok(ci::run_all()),
        Task::Test => suites::run_all(),
        Task::Conform { suite, full, json } => match suite {
            Conformance::H1 => Ok(conform::h1(full, json)),
            Conformance::H2(options) => conform_h2::run(&options, json),
            Conformance::Tunnel => conform::tunnel(json),
        },
        Task::Bench { suite } => match suite {
            Benchmark::Http1(options) => bench::http1::run(&options),
            Benchmark::H2(options) => bench::streams::run(bench::streams::Suite::H2, &options),
            Benchmark::Grpc(options) => bench::streams::run(bench::streams::Suite::Grpc, &options),
            Benchmark::Tcp(options) => bench::streams::run(bench::streams::Suite::Tcp, &options),
            Benchmark::Gates(options) => bench::gates::run(&options),
            Benchmark::Backend { kind } => bench::backend::run(kind),
        },
        Task::Drill(options) => drill::run(&options),
        Task::Attack(options) => attack::run(&options),
        Task::Soak(options) => soak::run(&options),
        Task::DrillApp(options) => drill::app::run(&options),
        Task::Sim(options) => Ok(sim::run(&options)),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Peers { list: true } => {
            peers::list();
            Ok(true)
        }
        Task::Peers { list: false } => peers::install().map(|()| true),
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
    failures_page::run(check)?;
    limits_page::run(check)?;
    kinds_page::run(check)
}
