//! Documents and generated files: present, fresh, and naming only files that exist.

use super::Violation;
use super::tree::{File, Tree};

/// Pages that every reader expects.
const PAGES: &[&str] = &[
    "README.md",
    "ARCHITECTURE.md",
    "STYLE.md",
    "CHANGELOG.md",
    "LICENSE",
    "deny.toml",
    "docs/life-of-a-call.md",
    "docs/failures.md",
    "docs/kinds.md",
    "docs/reference/limits.md",
];

/// Endings of paths that a page may name.
const NAMED_ENDINGS: &[&str] = &[".rs", ".md", ".proto", ".toml", ".json"];

/// First parts of paths that start at the root.
const ROOTS: &[&str] = &["crates", "xtask", "docs", ".ci", ".cargo"];

/// All rules on pages and generated files.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for page in PAGES {
        if tree.file(page).is_none() {
            found.push(Violation::new(
                *page,
                "page",
                "the page is missing",
                "write it",
            ));
        }
    }
    for file in tree.files.iter().filter(|file| file.is_page()) {
        found.extend(dead_names(tree, file));
    }
    for file in tree.files.iter().filter(|file| is_member(&file.path)) {
        let inherits = file
            .lines
            .windows(2)
            .any(|pair| pair[0].raw == "[lints]" && pair[1].raw == "workspace = true");
        if !inherits {
            found.push(Violation::new(
                &file.path,
                "lints",
                "the crate does not take the lints of the workspace",
                "add [lints] with workspace = true",
            ));
        }
    }
    if let Err(error) = crate::generate_all(true) {
        found.push(Violation::new(
            "generated files",
            "stale",
            error,
            "run cargo xtask generate",
        ));
    }
    found
}

/// `fuzz/` is a workspace of its own.
fn is_member(path: &str) -> bool {
    !matches!(path, "Cargo.toml" | "fuzz/Cargo.toml") && path.ends_with("/Cargo.toml")
}

/// A page that names a file which does not exist misleads.
fn dead_names(tree: &Tree, file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in file.lines.iter().enumerate() {
        // Odd parts stand between back quotes.
        for name in line.raw.split('`').skip(1).step_by(2) {
            if looks_like_path(name) && tree.file(name).is_none() {
                found.push(Violation::new(
                    file.at(index),
                    "dead name",
                    format!("there is no file \"{name}\""),
                    "name the file as it is called now",
                ));
            }
        }
    }
    found
}

fn looks_like_path(name: &str) -> bool {
    let plain = name
        .chars()
        .all(|c| c.is_alphanumeric() || "/._-".contains(c));
    let rooted = name
        .split_once('/')
        .is_some_and(|(first, _)| ROOTS.contains(&first));
    plain && rooted && NAMED_ENDINGS.iter().any(|ending| name.ends_with(ending))
}
