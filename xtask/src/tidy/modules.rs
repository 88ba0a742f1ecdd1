//! File names, sizes, and that every file of Rust belongs to a module.

use super::Violation;
use super::tree::{File, Tree};
use std::collections::BTreeSet;

/// Lines of a source file from which on it is told; the goal of STYLE.md.
pub(super) const LINES_REPORTED: usize = 500;

/// Lines of a source file from which on it is refused.
const LINES_MAX: usize = 900;

/// Bytes of any file; larger ones do not belong in a repository.
const BLOB_BYTES_MAX: u64 = 100 * 1024;

/// Files that are larger: (path, reason).
const BLOBS: &[(&str, &str)] = &[("Cargo.lock", "it grows with the dependencies")];

/// File names that say nothing.
const EMPTY_NAMES: &[&str] = &[
    "mod.rs",
    "util.rs",
    "utils.rs",
    "helper.rs",
    "helpers.rs",
    "common.rs",
    "misc.rs",
    "manager.rs",
    "base.rs",
    "types.rs",
];

/// All rules on the tree.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in &tree.files {
        found.extend(size(file));
        found.extend(name(file));
    }
    found.extend(orphans(tree));
    found
}

fn size(file: &File) -> Option<Violation> {
    let excused = BLOBS.iter().any(|(path, _)| *path == file.path);
    if file.bytes > BLOB_BYTES_MAX && !excused {
        return Some(Violation::new(
            &file.path,
            "blob",
            format!("{} bytes; {BLOB_BYTES_MAX} are the limit", file.bytes),
            "make it by a program when it is needed, or shrink it",
        ));
    }
    let source = file.is_rust() && !file.is_test() && !file.is_generated();
    (source && file.lines.len() > LINES_MAX).then(|| {
        Violation::new(
            &file.path,
            "size",
            format!(
                "{} lines; {LINES_MAX} are the limit, {LINES_REPORTED} the goal",
                file.lines.len()
            ),
            "split it along what it defines",
        )
    })
}

fn name(file: &File) -> Option<Violation> {
    let last = file.path.rsplit('/').next()?;
    EMPTY_NAMES.contains(&last).then(|| {
        Violation::new(
            &file.path,
            "file name",
            format!("\"{last}\" does not say what it defines"),
            "name a file by what it defines; foo.rs stands beside foo/",
        )
    })
}

/// Files that no `mod` reaches are dead and look alive.
fn orphans(tree: &Tree) -> Vec<Violation> {
    let mut reached = BTreeSet::new();
    for file in tree
        .files
        .iter()
        .filter(|file| file.is_rust() && is_root(&file.path))
    {
        reach(tree, file, &mut reached);
    }
    tree.files
        .iter()
        .filter(|file| file.is_rust() && !reached.contains(&file.path))
        .map(|file| {
            Violation::new(
                &file.path,
                "orphan",
                "no module names this file, so it is not compiled",
                "declare it with mod, or delete it",
            )
        })
        .collect()
}

/// Where a compilation starts.
fn is_root(path: &str) -> bool {
    let parts: Vec<&str> = path.split('/').collect();
    let outside = !parts.contains(&"src");
    match parts.as_slice() {
        [.., "src", "lib.rs" | "main.rs"] | [.., "build.rs"] | [.., "src", "bin", _] => true,
        [.., "tests" | "benches" | "examples", _] | [.., "tests", _, "main.rs"] => outside,
        _ => false,
    }
}

fn reach(tree: &Tree, file: &File, reached: &mut BTreeSet<String>) {
    if !reached.insert(file.path.clone()) {
        return;
    }
    let stem = file.path.trim_end_matches(".rs");
    let last = stem.rsplit('/').next().unwrap_or(stem);
    let folder = stem.rsplit_once('/').map_or("", |(folder, _)| folder);
    let own = if is_root(&file.path) || last == "mod" {
        folder
    } else {
        stem
    };
    for path in named(file, folder, own) {
        if let Some(next) = tree.file(&path) {
            reach(tree, next, reached);
        }
    }
}

/// Paths that a file's `mod` lines and `include!`s may mean.
fn named(file: &File, folder: &str, own: &str) -> Vec<String> {
    let mut paths = Vec::new();
    let mut elsewhere = None;
    for line in &file.lines {
        let raw = line.raw.trim();
        if let Some(path) = between(raw, "#[path = \"", "\"") {
            elsewhere = Some(normal(&format!("{folder}/{path}")));
        }
        if let Some(path) = between(raw, "include!(\"", "\"") {
            paths.push(normal(&format!("{folder}/{path}")));
        }
        let Some(module) = declared_module(&line.code) else {
            continue;
        };
        if let Some(path) = elsewhere.take() {
            paths.push(path);
        } else {
            paths.push(format!("{own}/{module}.rs"));
            paths.push(format!("{own}/{module}/mod.rs"));
        }
    }
    paths
}

/// The module that a line declares to stand in another file.
pub(super) fn declared_module(code: &str) -> Option<&str> {
    let code = code.trim().strip_suffix(';')?;
    let (before, module) = code.rsplit_once("mod ")?;
    let visible = before.trim();
    (visible.is_empty() || visible.starts_with("pub") || visible.starts_with("#["))
        .then_some(module.trim())
}

fn between<'a>(text: &'a str, open: &str, close: &str) -> Option<&'a str> {
    let (_, rest) = text.split_once(open)?;
    rest.split_once(close).map(|(found, _)| found)
}

/// A path without `..` and `.`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "." | "" => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    parts.join("/")
}
