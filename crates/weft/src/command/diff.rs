//! `weft diff`: what `weft apply` would change.

use super::apply;
use crate::center_client::{CenterArguments, Client};
use crate::failure::Failure;
use crate::object_files::ObjectFiles;
use crate::output::{self, Output, cell};
use clap::Args;
use serde_json::{Value, json};
use std::process::ExitCode;
use weft_api::kinds::document;

/// Lines compared at the most; beyond, the old and the new are shown whole.
const LINES_MAX: usize = 2_000;

/// Show what "weft apply" would change.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// A file, a folder of .yaml, .yml and .json files, or - for standard input; repeatable.
    #[arg(long = "file", short = 'f', value_name = "PATH", required = true)]
    files: Vec<String>,

    /// How it is shown.
    #[arg(long, short, value_enum, default_value_t = Output::Table)]
    output: Output,

    #[command(flatten)]
    center: CenterArguments,
}

const EXAMPLES: &str = "\
Examples:
  weft diff -f orders.yaml
  weft diff -f mesh/ && echo nothing would change

Exit codes: 0 nothing would change, 1 something would, or refused, 2 usage, 3 center not reached.";

/// Asks the center, shows line by line.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let files = ObjectFiles::read(&arguments.files)?;
    let client = Client::new(&arguments.center)?;
    let list = apply::send(&client, &files, &arguments.center.namespace, true)?;
    let items = list["items"].as_array().map_or(&[][..], Vec::as_slice);
    let changed: Vec<&Value> = items
        .iter()
        .filter(|item| item["change"] != "unchanged")
        .collect();
    let text = arguments
        .output
        .raw(&list)
        .unwrap_or_else(|| changed.iter().map(|item| shown(item)).collect());
    output::print(&text);
    Ok(ExitCode::from(u8::from(!changed.is_empty())))
}

fn shown(item: &Value) -> String {
    let name = format!(
        "{} \"{}\"",
        cell(&item["kind"]),
        cell(&item["metadata"]["name"])
    );
    let before = written(&item["before"]);
    let after = written(&item["after"]);
    let mut text = format!("{name} {}\n", cell(&item["change"]));
    for (sign, line) in lines(&before, &after) {
        text.push(sign);
        text.push(' ');
        text.push_str(line);
        text.push('\n');
    }
    text
}

/// What people wrote of an object, as lines.
fn written(object: &Value) -> Vec<String> {
    if object.is_null() {
        return Vec::new();
    }
    let own =
        json!({ "metadata": { "labels": object["metadata"]["labels"] }, "spec": object["spec"] });
    document::write(&own).lines().map(str::to_owned).collect()
}

/// The lines of both with `-`, `+` or nothing before them, by their longest common subsequence.
fn lines<'a>(before: &'a [String], after: &'a [String]) -> Vec<(char, &'a str)> {
    let mut out = Vec::new();
    if before.len().max(after.len()) > LINES_MAX {
        out.extend(before.iter().map(|line| ('-', line.as_str())));
        out.extend(after.iter().map(|line| ('+', line.as_str())));
        return out;
    }
    let columns = after.len() + 1;
    let mut common = vec![0_u16; (before.len() + 1) * columns];
    for left in (0..before.len()).rev() {
        for right in (0..after.len()).rev() {
            common[left * columns + right] = if before[left] == after[right] {
                common[(left + 1) * columns + right + 1] + 1
            } else {
                common[(left + 1) * columns + right].max(common[left * columns + right + 1])
            };
        }
    }
    let (mut left, mut right) = (0, 0);
    while left < before.len() || right < after.len() {
        let both = left < before.len() && right < after.len();
        if both && before[left] == after[right] {
            out.push((' ', before[left].as_str()));
            left += 1;
            right += 1;
        } else if right == after.len()
            || both && common[(left + 1) * columns + right] >= common[left * columns + right + 1]
        {
            out.push(('-', before[left].as_str()));
            left += 1;
        } else {
            out.push(('+', after[right].as_str()));
            right += 1;
        }
    }
    out
}

#[cfg(test)]
mod tests;
