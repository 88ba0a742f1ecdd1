//! `cargo xtask fuzz`: every function that eats bytes, under libFuzzer, from a saved corpus.
//!
//! `fuzz/` is a package of its own, built with coverage flags that stable Rust takes; `cargo-fuzz` adds nothing to
//! that but its own build. Each target runs for some seconds from the committed corpus and what earlier runs on this
//! machine found. An input that breaks a target is kept in `target/fuzz/found` until the next run, and named. Never sanitizers: safe Rust
//! panics, and memory that grows is caught by a limit.

use crate::command::{self, cargo_command, run as run_command};
use crate::conform::rows::Report;
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Seconds for each target in the short form: all together, with the build, stay below three minutes.
const SECONDS: u64 = 4;

/// Bytes of an input at the most: larger ones only repeat.
const INPUT_BYTES_MAX: &str = "-max_len=4096";

/// Mebibytes that a target may take.
const MEMORY_MIB_MAX: &str = "-rss_limit_mb=1024";

/// Seconds that one input may take.
const INPUT_SECONDS_MAX: &str = "-timeout=5";

/// Executions below which a target did not really run: the slowest one does a thousand in a second.
const EXECUTIONS_MIN: u64 = 300;

/// What makes the compiler count edges and comparisons.
const COVERAGE: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// How to run.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// Only this target
    target: Option<String>,
    /// For each target
    #[arg(long, default_value_t = SECONDS)]
    seconds: u64,
    /// Where the run begins; another number, another run
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Write the smallest set of inputs that covers the same into the committed corpus
    #[arg(long)]
    save: bool,
    /// One JSON object as last line
    #[arg(long)]
    json: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            target: None,
            seconds: SECONDS,
            seed: 1,
            save: false,
            json: false,
        }
    }
}

/// Fuzzes, prints, and says whether nothing was found.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let sources = command::root().join("fuzz");
    let names = target_names(&sources)?;
    let chosen: Vec<&String> = names
        .iter()
        .filter(|name| options.target.as_ref().is_none_or(|only| only == *name))
        .collect();
    if chosen.is_empty() {
        return Err(format!("no such target; there are {}", names.join(", ")));
    }
    let program = build(&sources)?;
    let mut report = Report::default();
    for name in chosen {
        let folders = Folders::make(&sources, name)?;
        let executions = folders.fuzz(&program, name, options)?;
        report.at_least(&format!("{name}: executions"), executions, EXECUTIONS_MIN);
        let found = folders.found()?;
        report.at_most(
            &format!("{name}: inputs that break it"),
            found.len() as u64,
            0,
        );
        for input in found {
            let path = input.display();
            report.faults.push(format!(
                "{name}: \"{path}\"; again with WEFT_FUZZ={name} {} {path}",
                program.display()
            ));
        }
        if options.save {
            folders.save(&program, name)?;
        }
    }
    Ok(report.print("fuzz", options.json))
}

/// The names in the table of `fuzz/src/main.rs`.
fn target_names(sources: &Path) -> Result<Vec<String>, String> {
    let path = sources.join("src/main.rs");
    let text = fs::read_to_string(&path)
        .map_err(|error| format!("read \"{}\": {error}", path.display()))?;
    let names: Vec<String> = text
        .lines()
        .skip_while(|line| !line.starts_with("const TARGETS"))
        .take_while(|line| !line.starts_with("];"))
        .filter_map(|line| line.trim().strip_prefix("(\"")?.split('"').next())
        .map(str::to_owned)
        .collect();
    if names.is_empty() {
        return Err(format!("\"{}\" has no table of targets", path.display()));
    }
    Ok(names)
}

/// Builds for the target that the compiler is for: with `--target` build scripts have no coverage flags.
fn build(sources: &Path) -> Result<PathBuf, String> {
    let told = command::output(command::command("rustc", &["--version", "--verbose"]))?;
    let host = told
        .lines()
        .find_map(|line| line.strip_prefix("host: "))
        .ok_or("rustc does not say for which host it is")?;
    let folder = command::target().join("fuzz");
    let folder_word = folder.to_string_lossy().into_owned();
    let words = [
        "build",
        "--release",
        "--locked",
        "--target",
        host,
        "--target-dir",
        &folder_word,
    ];
    let mut command = cargo_command(&words);
    command
        .current_dir(sources)
        .env("RUSTFLAGS", COVERAGE.join(" "))
        .env_remove("CARGO_ENCODED_RUSTFLAGS");
    run_command(command)?;
    Ok(folder.join(host).join("release/weft-fuzz"))
}

/// Where the inputs of a target are.
struct Folders {
    /// The committed ones.
    saved: PathBuf,
    /// Those of this machine.
    own: PathBuf,
    /// Those that break it.
    found: PathBuf,
}

impl Folders {
    fn make(sources: &Path, name: &str) -> Result<Self, String> {
        let target = command::target().join("fuzz");
        let folders = Self {
            saved: sources.join("corpus").join(name),
            own: target.join("corpus").join(name),
            found: target.join("found").join(name),
        };
        // What an earlier run found is told by that run; it goes into the committed corpus with the fix.
        let _ = fs::remove_dir_all(&folders.found);
        for folder in [&folders.saved, &folders.own, &folders.found] {
            fs::create_dir_all(folder)
                .map_err(|error| format!("make folder \"{}\": {error}", folder.display()))?;
        }
        Ok(folders)
    }

    /// How often the target was executed.
    fn fuzz(&self, program: &Path, name: &str, options: &Options) -> Result<u64, String> {
        let mut command = Self::command(program, name);
        command.args([
            &format!("-max_total_time={}", options.seconds),
            &format!("-seed={}", options.seed),
            &format!("-artifact_prefix={}/", self.found.display()),
            "-print_final_stats=1",
            INPUT_BYTES_MAX,
            MEMORY_MIB_MAX,
            INPUT_SECONDS_MAX,
        ]);
        command.args([&self.own, &self.saved]);
        let said = command
            .output()
            .map_err(|error| format!("fuzz {name}: {error}"))?;
        let said = String::from_utf8_lossy(&said.stderr).into_owned();
        let executions = said
            .lines()
            .find_map(|line| line.strip_prefix("stat::number_of_executed_units:"))
            .and_then(|count| count.trim().parse().ok());
        if let Some(panic) = said.lines().find(|line| line.contains("panicked at")) {
            println!("{name}: {panic}");
        }
        executions.ok_or_else(|| {
            let last: Vec<&str> = said.lines().rev().take(5).collect();
            format!("fuzz {name}: no count; it ended with {last:?}")
        })
    }

    /// libFuzzer's own smallest set, from both folders.
    fn save(&self, program: &Path, name: &str) -> Result<(), String> {
        let mut command = Self::command(program, name);
        command.args(["-merge=1", INPUT_BYTES_MAX]);
        command.args([&self.saved, &self.own]);
        run_command(command)
    }

    fn command(program: &Path, name: &str) -> Command {
        let mut command = Command::new(program);
        command.env("WEFT_FUZZ", name).stdin(Stdio::null());
        command
    }

    fn found(&self) -> Result<Vec<PathBuf>, String> {
        let entries = fs::read_dir(&self.found)
            .map_err(|error| format!("read \"{}\": {error}", self.found.display()))?;
        Ok(entries.flatten().map(|entry| entry.path()).collect())
    }
}
