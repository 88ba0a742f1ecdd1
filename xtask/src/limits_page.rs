//! `docs/reference/limits.md` from the one table of limits in weft-model.
//!
//! The page is committed, so that a person who reads a metric's label finds what it means; `check` keeps it fresh.

use std::fmt::Write;
use std::fs;
use weft_model::Limit;

const PAGE: &str = "docs/reference/limits.md";

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
            "{PAGE} differs from the table of limits; run cargo xtask generate"
        ));
    }
    let folder = path.parent().unwrap_or(&path);
    fs::create_dir_all(folder)
        .and_then(|()| fs::write(&path, text))
        .map_err(|error| format!("write {PAGE}: {error}"))
}

fn page() -> String {
    let mut text = String::from(HEAD);
    for limit in Limit::ALL {
        let code = limit.code().map_or_else(
            || "-".to_owned(),
            |code| format!("`{}` (WFT-{})", code.text(), code.number()),
        );
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "| `{}` | {} {} | {code} | {} |",
            limit.name(),
            limit.default(),
            limit.unit(),
            limit.sentence(),
        );
    }
    text.push_str(TAIL);
    text
}

const HEAD: &str = "# Limits\n\n\
    Made by `cargo xtask generate` from the table in `crates/weft-model/src/limit.rs`; do not edit.\n\n\
    What a peer of a sidecar may do at the most. All of them are on, for callers and, where it applies, for the apps\n\
    and hosts that are called. A limit that ends or refuses something is counted under its name in\n\
    `weft_limits_hit_total{limit=\"...\"}`; the connection, or the call, ends with the code beside it\n\
    (`docs/failures.md`).\n\n\
    | limit | default | ends with | what it limits |\n|---|---|---|---|\n";

const TAIL: &str = "\nHTTP/2 DATA with payload adds no debt, however little it carries; nor do pings in proportion to DATA, window\n\
    updates in proportion to what was sent, one control frame a second, and resets of streams that were answered.\n\
    Each completed request and each KiB of payload pays one unit of debt.\n";
