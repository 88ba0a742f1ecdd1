//! `docs/kinds.md` from the specs in weft-api.
//!
//! The page is committed, so that a person can read it where the code is; `check` keeps it fresh.

use std::fs;
use weft_api::kinds::reference;

const PAGE: &str = "docs/kinds.md";

/// Writes the page; with `check` compares it with the committed one.
pub(crate) fn run(check: bool) -> Result<(), String> {
    let path = crate::command::root().join(PAGE);
    let text = reference::page();
    let committed = fs::read_to_string(&path).unwrap_or_default();
    if committed == text {
        return Ok(());
    }
    if check {
        return Err(format!(
            "{PAGE} differs from the specs of the kinds; run cargo xtask generate"
        ));
    }
    fs::write(&path, text).map_err(|error| format!("write {PAGE}: {error}"))
}
