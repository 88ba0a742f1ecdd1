//! What a line of Rust (and of prose) may say: purity, names, words, `expect` texts, leftovers.

use super::Violation;
use super::tree::{File, Tree};

/// A text that may not occur in some crates.
struct Purity {
    token: &'static str,
    why: &'static str,
}

const fn pure(token: &'static str, why: &'static str) -> Purity {
    Purity { token, why }
}

/// Crates of the first invariant.
const PURE: &[&str] = &[
    "crates/weft-model/",
    "crates/weft-codec/",
    "crates/weft-policy/",
];

const IMPURE: &[Purity] = &[
    pure("std::net::Tcp", "it opens sockets"),
    pure("std::net::Udp", "it opens sockets"),
    pure("TcpStream", "it opens sockets"),
    pure("std::fs", "it reads files"),
    pure("fs::", "it reads files"),
    pure("std::io", "it does I/O"),
    pure("std::env", "it reads the environment"),
    pure("std::process", "it starts programs"),
    pure("std::thread", "it starts threads"),
    pure(
        "std::time::Instant",
        "it reads a clock; pass the time as a value",
    ),
    pure("Instant::now", "it reads a clock; pass the time as a value"),
    pure("SystemTime", "it reads a clock; pass the time as a value"),
    pure("tokio", "it is async"),
    pure("async ", "it is async"),
    pure(".await", "it is async"),
    pure("rand::", "it is random; pass the number as a value"),
    pure("RandomState", "its order is random"),
];

/// Outside crates that one file of a crate wraps: (path of the crate, token, where it may stand, why).
const WRAPPED: &[(&str, &str, &str, &str)] = &[
    (
        "crates/weft-api/",
        "serde_saphyr::",
        "crates/weft-api/src/kinds/document.rs",
        "the YAML crate is young: one module knows it",
    ),
    (
        "crates/weft-center/",
        "redb::",
        "crates/weft-center/src/store/redb_file.rs",
        "a cluster's store will stand beside it",
    ),
    (
        "crates/weft-codec/",
        "httparse::",
        "crates/weft-codec/src/http1",
        "heads are parsed in one place",
    ),
    (
        "crates/weft-proxy/",
        "hyper::",
        "crates/weft-proxy/src/management",
        "hyper serves the management port, never a call",
    ),
];

/// Endings of type names that say nothing.
const EMPTY_ENDINGS: &[&str] = &[
    "Manager", "Helper", "Util", "Utils", "Common", "Base", "Impl", "Info", "Data",
];

/// Types that carry such an ending for a reason: (path, name, reason).
const NAMED_BY_PROTOCOL: &[(&str, &str, &str)] = &[
    (
        "crates/weft-codec/src/link",
        "Data",
        "the frame of weft.link.v1 has this name",
    ),
    (
        "crates/weft-proxy/src/link",
        "Data",
        "the frame of weft.link.v1 has this name",
    ),
];

/// A word with a better one in the glossary.
struct Synonym {
    word: &'static str,
    say: &'static str,
}

const fn instead(word: &'static str, say: &'static str) -> Synonym {
    Synonym { word, say }
}

const SYNONYMS: &[Synonym] = &[
    instead("centre", "center"),
    instead("control plane", "center"),
    instead("control-plane", "center"),
    instead("control_plane", "center"),
    instead("controlplane", "center"),
    instead("workload", "instance"),
    instead("downstream", "caller"),
    instead("sidecar proxy", "sidecar"),
    instead("replica", "instance"),
    instead("microservice", "service"),
];

/// Where a synonym may stand: (path, word, reason). The list of words itself has to name them.
const WORDS_ALLOWED: &[(&str, &str, &str)] = &[
    ("xtask/src/tidy/", "", "the rule names the words it bans"),
    ("STYLE.md", "", "the page names the words it bans"),
    (
        "ARCHITECTURE.md",
        "workload",
        "the glossary tells it from an instance",
    ),
    (
        "crates/weft-api/src/kinds",
        "workload",
        "the kind with which a person declares an instance has this name",
    ),
    (
        "crates/weft-center/src/declared/tests.rs",
        "workload",
        "the kind with which a person declares an instance has this name",
    ),
    (
        "crates/weft-center/src/server/tests/told.rs",
        "workload",
        "the kind with which a person declares an instance has this name",
    ),
    (
        "xtask/src/drill/churn.rs",
        "workload",
        "the kind with which a person declares an instance has this name",
    ),
    (
        "docs/kinds.md",
        "workload",
        "the kind with which a person declares an instance has this name",
    ),
];

/// What a person leaves behind and means to come back to.
const LEFTOVERS: &[&str] = &["FIXME", "XXX", "TODO", "todo!(", "unimplemented!("];

/// Beginnings of paths that exist on one machine only.
const MACHINE_PATHS: &[&str] = &["/work/", "/root/", "/home/", "/Users/"];

/// Least number of words in the text of an `expect`.
const EXPECT_WORDS_MIN: usize = 3;

/// All rules on all files.
pub(super) fn check(tree: &Tree) -> Vec<Violation> {
    let mut found = Vec::new();
    for file in &tree.files {
        if file.is_generated() || file.path == "Cargo.lock" {
            continue;
        }
        if file.is_rust() || file.is_page() {
            found.extend(words(file));
        }
        found.extend(leftovers(file));
    }
    for file in tree.written() {
        found.extend(opening(file));
        found.extend(type_names(file));
        found.extend(wrapped(file));
        found.extend(tests_beside(file));
        if !file.is_test() {
            found.extend(purity(file));
            found.extend(expects(file));
        }
    }
    found
}

fn opening(file: &File) -> Option<Violation> {
    let first = file.lines.first().map_or("", |line| line.raw.as_str());
    (!first.starts_with("//!")).then(|| {
        Violation::new(
            file.at(0),
            "opening",
            "the file does not open with //!",
            "say first what the file is, why it exists and what it never does",
        )
    })
}

fn purity(file: &File) -> Vec<Violation> {
    if !PURE.iter().any(|path| file.path.starts_with(path)) {
        return Vec::new();
    }
    let mut found = Vec::new();
    for (index, line) in file.lines.iter().enumerate() {
        for rule in IMPURE {
            if has_token(&line.code, rule.token) {
                found.push(Violation::new(
                    file.at(index),
                    "purity",
                    format!("\"{}\" in a pure crate: {}", rule.token.trim(), rule.why),
                    "let the caller do it and pass the result (invariant 1)",
                ));
                break;
            }
        }
    }
    found
}

fn wrapped(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    for (within, token, home, why) in WRAPPED {
        if !file.path.starts_with(within) || file.path.starts_with(home) {
            continue;
        }
        for (index, line) in file.lines.iter().enumerate() {
            if has_token(&line.code, token) {
                found.push(Violation::new(
                    file.at(index),
                    "confined",
                    format!("\"{token}\" outside of {home}: {why}"),
                    "go through that file",
                ));
            }
        }
    }
    found
}

fn type_names(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in file.lines.iter().enumerate() {
        let Some(name) = declared_type(&line.code) else {
            continue;
        };
        let excused = NAMED_BY_PROTOCOL
            .iter()
            .any(|(path, known, _)| file.path.starts_with(path) && *known == name);
        let ending = EMPTY_ENDINGS.iter().find(|ending| name.ends_with(*ending));
        if let (Some(ending), false) = (ending, excused) {
            found.push(Violation::new(
                file.at(index),
                "name",
                format!("the type \"{name}\" ends with \"{ending}\", which says nothing and attracts everything"),
                "name the thing by what it is, in a noun that can be said aloud",
            ));
        }
    }
    found
}

/// The name that a line declares as a type.
pub(super) fn declared_type(code: &str) -> Option<&str> {
    let mut words = code
        .split_whitespace()
        .skip_while(|word| word.starts_with("pub"));
    match words.next()? {
        "struct" | "enum" | "trait" | "type" | "union" => {}
        _ => return None,
    }
    let name = words.next()?;
    let end = name
        .find(|c: char| !c.is_alphanumeric() && c != '_')
        .unwrap_or(name.len());
    Some(&name[..end])
}

fn words(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in file.lines.iter().enumerate() {
        let lower = line.raw.to_lowercase();
        for synonym in SYNONYMS {
            let excused = WORDS_ALLOWED.iter().any(|(path, word, _)| {
                file.path.starts_with(path) && (word.is_empty() || *word == synonym.word)
            });
            if !excused && lower.contains(synonym.word) {
                found.push(Violation::new(
                    file.at(index),
                    "word",
                    format!("\"{}\" has another name in the glossary", synonym.word),
                    format!("write \"{}\"", synonym.say),
                ));
            }
        }
    }
    found
}

fn leftovers(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    let names_them = file.path.starts_with("xtask/src/tidy/") || file.path == "STYLE.md";
    for (index, line) in file.lines.iter().enumerate() {
        if !names_them {
            if let Some(left) = LEFTOVERS.iter().find(|left| line.raw.contains(*left)) {
                found.push(Violation::new(
                    file.at(index),
                    "leftover",
                    format!("\"{left}\" was left behind"),
                    "finish it, or open an issue and leave the code without it",
                ));
            }
            let mut machine = MACHINE_PATHS
                .iter()
                .filter(|path| !file.is_test() || **path != "/home/");
            if let Some(path) = machine.find(|path| line.raw.contains(**path)) {
                found.push(Violation::new(
                    file.at(index),
                    "machine",
                    format!("\"{path}\" exists on one machine only"),
                    "start from the repository's root or from a variable",
                ));
            }
            if line.code.contains("#[ignore") {
                found.push(Violation::new(
                    file.at(index),
                    "ignored",
                    "an ignored test proves nothing",
                    "assert what happens today and mark it // WRONG: with the issue",
                ));
            }
        }
        let indented_by_tab = line.raw.contains('\t') && !file.path.contains(".tsv");
        if indented_by_tab || line.raw.ends_with(' ') {
            found.push(Violation::new(
                file.at(index),
                "space",
                "a tab, or a space at the end of the line",
                "use spaces, and none at the end",
            ));
        }
    }
    found
}

/// `expect` states an invariant; `unwrap` states nothing.
fn expects(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    for (index, line) in file.lines.iter().enumerate() {
        if line.code.contains(".unwrap()") {
            found.push(Violation::new(
                file.at(index),
                "unwrap",
                "an unwrap says nothing when it falls over",
                "return an error, or state the invariant in an expect",
            ));
        }
        if !line.code.contains(".expect(") {
            continue;
        }
        // The text stands on this line or, when the formatter broke it, on the next.
        let next = file
            .lines
            .get(index + 1)
            .map_or("", |line| line.raw.as_str());
        let after = line
            .raw
            .split_once(".expect(")
            .map_or("", |(_, after)| after);
        let said = quoted(after).or_else(|| quoted(next)).unwrap_or_default();
        if said.split_whitespace().count() < EXPECT_WORDS_MIN {
            found.push(Violation::new(
                file.at(index),
                "expect",
                format!("\"{said}\" states no invariant"),
                "say in a few words why this cannot fail",
            ));
        }
    }
    found
}

fn quoted(text: &str) -> Option<&str> {
    let (_, rest) = text.split_once('"')?;
    rest.split_once('"').map(|(said, _)| said)
}

fn tests_beside(file: &File) -> Vec<Violation> {
    let mut found = Vec::new();
    if file.is_test() {
        return found;
    }
    for (index, pair) in file.lines.windows(2).enumerate() {
        let inline = pair[0].code.trim() == "#[cfg(test)]"
            && pair[1].code.trim_start().starts_with("mod ")
            && pair[1].code.contains('{');
        if inline {
            found.push(Violation::new(
                file.at(index),
                "tests",
                "tests inside of the file hide its size and rebuild the library with every edit",
                "move them to tests.rs in the folder beside the file",
            ));
        }
    }
    found
}

/// Whether a token stands in code on its own: not as the tail of a longer name.
pub(super) fn has_token(code: &str, token: &str) -> bool {
    code.match_indices(token).any(|(at, _)| {
        token.starts_with('.')
            || !code[..at]
                .chars()
                .next_back()
                .is_some_and(|c| c.is_alphanumeric() || c == '_')
    })
}
