//! Files of objects, folders of them and standard input; and the file and line of a fault that the center found.
//!
//! Never in here: what is valid.

use crate::center_client::Refusal;
use crate::failure::Failure;
use serde_json::{Value, json};
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use weft_api::kinds::document::{self, Document};

/// Bytes of all files together at the most; the center takes no larger set.
const BYTES_MAX: u64 = 4 * 1024 * 1024;

/// Folders within each other at the most.
const DEPTH_MAX: usize = 16;

/// Endings of files that are read in a folder.
const ENDINGS: [&str; 3] = ["yaml", "yml", "json"];

/// The objects of some files, in order.
pub(crate) struct ObjectFiles {
    objects: Vec<(String, Document)>,
}

impl ObjectFiles {
    /// Reads files, folders and, as `-`, standard input.
    pub(crate) fn read(named: &[String]) -> Result<Self, Failure> {
        let mut objects = Vec::new();
        let mut left = BYTES_MAX;
        for name in named {
            if name == "-" {
                let text = text_of(std::io::stdin().lock(), "standard input", &mut left)?;
                add(&mut objects, "standard input", &text)?;
                continue;
            }
            let mut files = Vec::new();
            find(Path::new(name), true, DEPTH_MAX, &mut files)?;
            for file in files {
                let shown = file.display().to_string();
                let open = fs::File::open(&file).map_err(|error| cannot_read(&shown, &error))?;
                let text = text_of(open, &shown, &mut left)?;
                add(&mut objects, &shown, &text)?;
            }
        }
        if objects.is_empty() {
            return Err(Failure::usage(format!(
                "there are no objects in {}; a file has apiVersion, kind, metadata and spec, a folder such files",
                named.join(", ")
            )));
        }
        Ok(Self { objects })
    }

    /// The set as the center takes it.
    pub(crate) fn set(&self) -> Value {
        let items: Vec<&Value> = self
            .objects
            .iter()
            .map(|(_, document)| &document.value)
            .collect();
        json!({ "items": items })
    }

    /// What the center refused, with file and line of each fault.
    pub(crate) fn refused(&self, refusal: &Refusal) -> Failure {
        if refusal.causes.is_empty() {
            return refusal.failure();
        }
        let lines =
            refusal
                .causes
                .iter()
                .map(|(index, field, reason)| match self.objects.get(*index) {
                    Some((file, document)) => {
                        format!("{file}:{}: {field}: {reason}", document.line_of(field))
                    }
                    None => format!("{field}: {reason}"),
                });
        let lines: Vec<String> = lines.collect();
        Failure::refused(format!(
            "nothing was changed; the center found:\n  {}",
            lines.join("\n  ")
        ))
    }
}

fn add(objects: &mut Vec<(String, Document)>, file: &str, text: &str) -> Result<(), Failure> {
    let documents = document::read(text)
        .map_err(|error| Failure::refused(format!("{file}:{}: {}", error.line, error.reason)))?;
    objects.extend(
        documents
            .into_iter()
            .map(|document| (file.to_owned(), document)),
    );
    Ok(())
}

fn find(path: &Path, named: bool, depth: usize, files: &mut Vec<PathBuf>) -> Result<(), Failure> {
    let failed = |error: &std::io::Error| cannot_read(&path.display().to_string(), error);
    if !fs::metadata(path).map_err(|error| failed(&error))?.is_dir() {
        let ending = path
            .extension()
            .and_then(|ending| ending.to_str())
            .unwrap_or("");
        if named || ENDINGS.contains(&ending) {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    if depth == 0 {
        let shown = path.display();
        return Err(Failure::refused(format!(
            "{shown} is deeper than {DEPTH_MAX} folders; name its files"
        )));
    }
    let mut entries = Vec::new();
    for entry in fs::read_dir(path).map_err(|error| failed(&error))? {
        entries.push(entry.map_err(|error| failed(&error))?.path());
    }
    entries.sort();
    entries
        .iter()
        .try_for_each(|entry| find(entry, false, depth - 1, files))
}

fn text_of(reader: impl Read, shown: &str, left: &mut u64) -> Result<String, Failure> {
    let mut text = String::new();
    let mut limited = reader.take(*left + 1);
    limited
        .read_to_string(&mut text)
        .map_err(|error| cannot_read(shown, &error))?;
    let Some(rest) = left.checked_sub(text.len() as u64) else {
        let message = format!(
            "{shown}: all files together have more than {BYTES_MAX} bytes; apply them in parts"
        );
        return Err(Failure::refused(message));
    };
    *left = rest;
    Ok(text)
}

fn cannot_read(shown: &str, error: &std::io::Error) -> Failure {
    Failure::usage(format!("cannot read {shown}: {error}"))
}
