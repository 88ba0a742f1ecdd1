//! `docs/failures.md` from the one table of codes in weft-model.
//!
//! The page is committed, so that a person finds `WFT-1201` by search; `check` keeps it fresh.

use std::fmt::Write;
use std::fs;
use weft_model::{Blame, Code};

const PAGE: &str = "docs/failures.md";

/// Writes the page; with `check` compares it with the committed one.
pub(crate) fn run(check: bool) -> Result<(), String> {
    let path = crate::command::root().join(PAGE);
    let text = page();
    let committed = fs::read_to_string(&path).unwrap_or_default();
    if committed == text {
        return Ok(());
    }
    if check {
        return Err(format!(
            "{PAGE} differs from the table of codes; run cargo xtask generate"
        ));
    }
    fs::write(&path, text).map_err(|error| format!("write {PAGE}: {error}"))
}

fn page() -> String {
    let mut text = String::from(HEAD);
    for blame in [
        Blame::Caller,
        Blame::Policy,
        Blame::Upstream,
        Blame::Mesh,
        Blame::Bug,
    ] {
        let codes: Vec<Code> = Code::ALL
            .iter()
            .copied()
            .filter(|code| code.blame() == blame)
            .collect();
        if codes.is_empty() {
            continue;
        }
        // Writing to a string cannot fail.
        let _ = write!(
            text,
            "\n## Blame: {}\n\n{}\n\n{COLUMNS}",
            blame.text(),
            meaning(blame)
        );
        for code in codes {
            let _ = writeln!(
                text,
                "| WFT-{} | `{}` | {} | {} | {} | {} | {} |",
                code.number(),
                code.text(),
                code.http_status(),
                code.grpc_status(),
                code.motan_errcode(),
                if code.proves_not_dispatched() {
                    "yes"
                } else {
                    "no"
                },
                code.sentence(),
            );
        }
    }
    text
}

const HEAD: &str = "# Failures\n\n\
    Made by `cargo xtask generate` from the table in `crates/weft-model/src/failure.rs`; do not edit.\n\n\
    A call that fails in the mesh says so in the caller's own protocol, with the code's text, its blame and a\n\
    sentence. The same text stands in metrics (`code=\"no_instance\"`), in the access log and in the answer\n\
    (`x-weft-code: no_instance`); the number is for search. \"Not dispatched\" means: the app has certainly not\n\
    seen the call, so it may move to another instance whatever its method.\n";

const COLUMNS: &str = "| number | code | HTTP | gRPC | Motan | not dispatched | meaning |\n|---|---|---|---|---|---|---|\n";

fn meaning(blame: Blame) -> &'static str {
    match blame {
        Blame::Caller => {
            "The caller sent something that cannot be served, or left. Look at the caller."
        }
        Blame::Policy => "A rule that somebody declared refused the call. Look at the rule.",
        Blame::Upstream => {
            "The called app, or an external host, failed. Look at the app and its log."
        }
        Blame::Mesh => {
            "The mesh could not carry the call. Look at the sidecars, the links and the center."
        }
        Blame::Bug => "A defect of weft. Report it with the log line of the call.",
    }
}
