//! Crates that are not ours: where each may stand, under which licences, and in how many versions.
//!
//! `deny.toml` says the same for cargo-deny; this check needs no tool that has to be built first.

use super::Violation;
use super::layers::{dependencies, list, members, text};
use serde_json::Value;
use std::collections::BTreeMap;

/// Where an outside crate may be named in a manifest, and why not elsewhere.
struct Confined {
    name: &'static str,
    users: &'static [&'static str],
    why: &'static str,
}

const fn confined(
    name: &'static str,
    users: &'static [&'static str],
    why: &'static str,
) -> Confined {
    Confined { name, users, why }
}

const RUNTIMES: &[&str] = &[
    "weft-proxy",
    "weft-center",
    "weft-host",
    "weft-demo",
    "weft",
    "weft-test",
    "xtask",
];

/// The table. A crate that is not in it is refused: a new dependency is a decision.
const CONFINED: &[Confined] = &[
    confined(
        "anyhow",
        &["xtask"],
        "libraries have errors that can be matched",
    ),
    confined(
        "arc-swap",
        &["weft-proxy"],
        "the one snapshot of a data plane",
    ),
    confined(
        "axum",
        &["weft-center"],
        "only the center has an API worth a router",
    ),
    confined(
        "base64",
        &["weft-codec"],
        "the words of a WebSocket's handshake",
    ),
    confined(
        "bytes",
        &[
            "weft-codec",
            "weft-api",
            "weft-proxy",
            "weft-center",
            "weft-demo",
            "weft-test",
            "weft",
            "xtask",
        ],
        "the model, policy and telemetry hold no wire bytes",
    ),
    confined(
        "clap",
        &["weft", "xtask"],
        "only what is started by a person has arguments",
    ),
    confined(
        "command-fds",
        &["weft-host", "weft"],
        "hands sockets to a child at fixed numbers, without unsafe code of ours (tests in weft)",
    ),
    confined(
        "foldhash",
        &["weft-proxy"],
        "small tables on the path of a call; their keys are ours",
    ),
    confined(
        "h2",
        &["weft-proxy", "weft-demo", "weft-test", "xtask"],
        "HTTP/2 of links, apps and the sync stream; ten thousand such streams in a drill",
    ),
    confined(
        "histogram",
        &["weft-telemetry"],
        "one histogram shape for all figures",
    ),
    confined(
        "http",
        &[
            "weft-proxy",
            "weft-center",
            "weft-demo",
            "weft-test",
            "xtask",
        ],
        "types that h2, axum and hyper take",
    ),
    confined(
        "http-body",
        &["weft-center", "weft-proxy"],
        "types that axum takes",
    ),
    confined(
        "http-body-util",
        &["weft-center", "weft-proxy", "weft", "xtask"],
        "types that hyper takes",
    ),
    confined("httparse", &["weft-codec"], "heads are parsed in one place"),
    confined(
        "hyper",
        &["weft-center", "weft-proxy", "weft", "xtask"],
        "API, management port and clients; never the path of a call (oracle in xtask)",
    ),
    confined(
        "hyper-util",
        &["weft-center", "weft-proxy", "weft", "xtask"],
        "as hyper",
    ),
    confined(
        "nix",
        &["weft"],
        "tests freeze one thread of a process with ptrace, without unsafe code of ours",
    ),
    confined(
        "prost",
        &["weft-api"],
        "messages are defined in the contract",
    ),
    confined(
        "prost-build",
        &["xtask"],
        "generated code is committed; no build needs a generator",
    ),
    confined(
        "protox",
        &["xtask"],
        "generated code is committed; no build needs a generator",
    ),
    confined(
        "redb",
        &["weft-center"],
        "the center's store stands in one file",
    ),
    confined(
        "rustix",
        &[
            "weft-host",
            "weft-proxy",
            "weft",
            "weft-demo",
            "weft-test",
            "xtask",
        ],
        "system calls stay out of pure crates",
    ),
    confined(
        "schemars",
        &["weft-api"],
        "the reference page of the kinds is made from their specs",
    ),
    confined(
        "serde",
        &["weft-api", "weft-center", "weft-host", "weft"],
        "specs are (de)serialised, models are not",
    ),
    confined(
        "serde_json",
        &[
            "weft-api",
            "weft-center",
            "weft-host",
            "weft-demo",
            "weft-proxy",
            "weft",
            "weft-test",
            "xtask",
        ],
        "JSON stands at the edges",
    ),
    confined(
        "serde-saphyr",
        &["weft-api"],
        "YAML is read and written in one module",
    ),
    confined(
        "serde_path_to_error",
        &["weft-api"],
        "names the field at fault in what people wrote",
    ),
    confined(
        "sha1_smol",
        &["weft-codec"],
        "what answers a WebSocket's handshake is made with SHA-1",
    ),
    confined(
        "socket2",
        &["weft-host", "weft-proxy", "weft-demo", "weft-test", "xtask"],
        "system calls stay out of pure crates",
    ),
    confined(
        "tokio",
        RUNTIMES,
        "model, codec, policy, telemetry and api are not async",
    ),
];

/// Licences that code of this repository may be linked with.
const LICENCES: &[&str] = &[
    "Apache-2.0",
    "Apache-2.0 WITH LLVM-exception",
    "MIT",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "ISC",
    "Unicode-3.0",
    "Zlib",
];

/// Crates that may be there twice, with the reason.
const TWICE: &[(&str, &str)] = &[
    (
        "syn",
        "build time only: derive macros moved to syn 3 at different times",
    ),
    (
        "hashbrown",
        "xtask only: petgraph below prost-build stays on 0.15",
    ),
    ("foldhash", "xtask only: comes with that hashbrown"),
    (
        "unicode-width",
        "xtask only: miette below protox stays on 0.1",
    ),
];

/// Crates whose duplicates are only built for other systems.
const FOREIGN: &[&str] = &["windows-sys", "windows-targets", "windows-link", "wasi"];

/// All three tables.
pub(super) fn check(metadata: &Value) -> Vec<Violation> {
    let mut found = Vec::new();
    for package in members(metadata) {
        let user = text(package, "name");
        found.extend(dependencies(package).filter_map(|used| misplaced(user, used)));
    }
    let mut versions: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for package in list(metadata, "packages") {
        let name = text(package, "name");
        versions
            .entry(name)
            .or_default()
            .push(text(package, "version"));
        let licence = text(package, "license");
        if !licensed(licence) {
            found.push(Violation::new(
                format!("{name} {}", text(package, "version")),
                "licence",
                format!("its licence \"{licence}\" is not on the list"),
                "use another crate, or argue the licence in docs/decisions and add it to LICENCES and deny.toml",
            ));
        }
    }
    for (name, versions) in versions {
        let excused = TWICE.iter().any(|(twice, _)| *twice == name) || FOREIGN.contains(&name);
        if versions.len() > 1 && !excused {
            found.push(Violation::new(
                "Cargo.lock",
                "duplicate",
                format!("{name} is there in versions {}: each costs build time and size", versions.join(", ")),
                "align the versions (cargo tree -d), or add it to TWICE and deny.toml with the reason",
            ));
        }
    }
    found
}

fn misplaced(user: &str, used: &str) -> Option<Violation> {
    if used.starts_with("weft") {
        return None;
    }
    let place = format!("{user}/Cargo.toml");
    let Some(row) = CONFINED.iter().find(|row| row.name == used) else {
        return Some(Violation::new(
            place,
            "confined",
            format!("the outside crate {used} is in no table"),
            "say in the commit what it replaces and pulls in, and add it to CONFINED in xtask/src/tidy/outside.rs",
        ));
    };
    (!row.users.contains(&user)).then(|| {
        Violation::new(
            place,
            "confined",
            format!("{used} may not stand in {user}: {}", row.why),
            format!("use it through {}", row.users.join(" or ")),
        )
    })
}

/// Whether a licence expression can be met: one side of each OR, all sides of each AND.
pub(super) fn licensed(expression: &str) -> bool {
    let flat = expression.replace(['(', ')'], "").replace('/', " OR ");
    // In the expressions that exist, AND binds groups of alternatives, so it is split first.
    !flat.trim().is_empty()
        && flat.split(" AND ").all(|part| {
            part.split(" OR ")
                .any(|licence| LICENCES.contains(&licence.trim()))
        })
}
