//! The rules of the house as one check: `cargo xtask tidy`, and a test.
//!
//! | file | checks |
//! |---|---|
//! | `tidy/tree.rs` | nothing: reads the files of the repository once, for the others |
//! | `tidy/layers.rs` | which crate may use which (data), against `cargo metadata` |
//! | `tidy/outside.rs` | where outside crates may stand, their licences, duplicate versions |
//! | `tidy/source.rs` | what a line of Rust may say: purity, names, words, `expect` texts, leftovers |
//! | `tidy/modules.rs` | file names, sizes, and that every file belongs to a module |
//! | `tidy/pages.rs` | documents and generated files: present, fresh, naming files that exist |
//!
//! There is no list of grandfathered files. An exception is a row with a reason beside the rule it bends.
//! Never changes a file.

mod layers;
mod modules;
mod outside;
mod pages;
mod source;
mod tree;

use std::fmt;
use tree::Tree;

/// One broken rule: where, which, why it exists, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Violation {
    /// `file:line`, or a file, or a crate.
    pub(crate) place: String,
    /// The rule's short name.
    pub(crate) rule: &'static str,
    /// What was found and why that is wrong.
    pub(crate) why: String,
    /// What to do.
    pub(crate) fix: String,
}

impl Violation {
    fn new(
        place: impl Into<String>,
        rule: &'static str,
        why: impl Into<String>,
        fix: impl Into<String>,
    ) -> Self {
        Self {
            place: place.into(),
            rule,
            why: why.into(),
            fix: fix.into(),
        }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{}: [{}] {}\n    do: {}",
            self.place, self.rule, self.why, self.fix
        )
    }
}

/// Prints what is broken; `Ok(true)` when nothing is.
pub(crate) fn run() -> Result<bool, String> {
    let tree = Tree::read()?;
    let found = violations(&tree)?;
    for violation in &found {
        println!("{violation}");
    }
    for (lines, path) in tree.largest(modules::LINES_REPORTED) {
        println!(
            "note: {path} has {lines} lines; {} is the goal",
            modules::LINES_REPORTED
        );
    }
    println!(
        "tidy: {} files, {} broken rules",
        tree.files.len(),
        found.len()
    );
    Ok(found.is_empty())
}

fn violations(tree: &Tree) -> Result<Vec<Violation>, String> {
    let metadata = layers::metadata()?;
    let mut found = layers::check(&metadata);
    found.extend(outside::check(&metadata));
    found.extend(source::check(tree));
    found.extend(modules::check(tree));
    found.extend(pages::check(tree));
    Ok(found)
}

#[cfg(test)]
mod tests;
