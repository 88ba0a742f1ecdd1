//! Which crate of weft may use which: the layer table, as data, against `cargo metadata`.
//!
//! Dependencies of tests are exempt: a test may use everything.

use super::Violation;
use serde_json::Value;
use std::process::Command;

/// A crate, its layer, and what it may use of ours.
struct Crate {
    name: &'static str,
    layer: u8,
    /// Only these of ours, whatever the layers say; `None`: anything below.
    only: Option<&'static [&'static str]>,
    why: &'static str,
}

const fn below(name: &'static str, layer: u8, why: &'static str) -> Crate {
    Crate {
        name,
        layer,
        only: None,
        why,
    }
}

const fn only(
    name: &'static str,
    layer: u8,
    only: &'static [&'static str],
    why: &'static str,
) -> Crate {
    Crate {
        name,
        layer,
        only: Some(only),
        why,
    }
}

/// The table. A crate uses crates of lower layers only, and where `only` is given, only those.
const CRATES: &[Crate] = &[
    only("weft-model", 0, &[], "the vocabulary knows nobody"),
    only(
        "weft-codec",
        0,
        &[],
        "wire formats are bytes in, frames out, and know nothing of a mesh",
    ),
    only(
        "weft-policy",
        1,
        &["weft-model"],
        "decisions are pure functions over the model",
    ),
    only(
        "weft-telemetry",
        1,
        &["weft-model"],
        "what is measured names no protocol",
    ),
    only(
        "weft-api",
        1,
        &["weft-model"],
        "the contract translates specs to the model, nothing else",
    ),
    below(
        "weft-registry",
        1,
        "clients of registries know the model, not the mesh",
    ),
    below(
        "weft-proxy",
        2,
        "proxy, center, host and demo meet only in weft-api",
    ),
    only(
        "weft-center",
        2,
        &[
            "weft-model",
            "weft-policy",
            "weft-telemetry",
            "weft-api",
            "weft-registry",
        ],
        "the center carries no traffic, so it needs no codec",
    ),
    only(
        "weft-host",
        2,
        &["weft-model", "weft-api"],
        "the host agent parses no traffic",
    ),
    only(
        "weft-demo",
        2,
        &["weft-codec"],
        "demo apps are apps: they know protocols, not the mesh",
    ),
    below("weft", 3, "the binary wires everything and decides nothing"),
    below(
        "weft-test",
        3,
        "the harness may use everything; nobody depends on it",
    ),
    below("xtask", 4, "tools stand outside of the product"),
];

/// What `cargo metadata` says.
pub(super) fn metadata() -> Result<Value, String> {
    let output = Command::new(crate::command::cargo())
        .args(["metadata", "--format-version", "1"])
        .current_dir(crate::command::root())
        .output()
        .map_err(|error| format!("run cargo metadata: {error}"))?;
    if !output.status.success() {
        return Err(format!(
            "cargo metadata: {}",
            String::from_utf8_lossy(&output.stderr)
        ));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("read cargo metadata: {error}"))
}

/// The packages of the workspace.
pub(super) fn members(metadata: &Value) -> impl Iterator<Item = &Value> {
    list(metadata, "packages")
        .iter()
        .filter(|package| package["source"].is_null())
}

/// A list in the metadata; empty when absent.
pub(super) fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value[name].as_array().map_or(&[], Vec::as_slice)
}

/// A text in the metadata; empty when absent.
pub(super) fn text<'a>(value: &'a Value, name: &str) -> &'a str {
    value[name].as_str().unwrap_or("")
}

/// Names of a package's ordinary dependencies.
pub(super) fn dependencies(package: &Value) -> impl Iterator<Item = &str> {
    list(package, "dependencies")
        .iter()
        .filter(|dependency| text(dependency, "kind") != "dev")
        .map(|dependency| text(dependency, "name"))
}

/// Every edge between our crates must be in the table.
pub(super) fn check(metadata: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in members(metadata) {
        let name = text(package, "name");
        let Some(row) = row(name) else {
            found.push(Violation::new(
                format!("{name}/Cargo.toml"),
                "layers",
                "the crate is not in the layer table",
                "add it to CRATES in xtask/src/tidy/layers.rs and to ARCHITECTURE.md, with its reason",
            ));
            continue;
        };
        found.extend(dependencies(package).filter_map(|used| edge(row, used)));
    }
    found
}

fn row(name: &str) -> Option<&'static Crate> {
    CRATES.iter().find(|row| row.name == name)
}

/// What is wrong with `user` using `used`.
fn edge(user: &Crate, used: &str) -> Option<Violation> {
    let used = row(used)?;
    let allowed = match user.only {
        Some(names) => names.contains(&used.name),
        None => used.layer < user.layer && used.name != "weft-test",
    };
    (!allowed).then(|| {
        Violation::new(
            format!("{}/Cargo.toml", user.name),
            "layers",
            format!("{} may not use {}: {}", user.name, used.name, user.why),
            "move the shared part down a layer, or pass a value instead of a type",
        )
    })
}

/// Whether the table allows an edge; for tests.
#[cfg(test)]
pub(super) fn allows(user: &str, used: &str) -> bool {
    row(user).is_some_and(|user| edge(user, used).is_none())
}
