//! The files of the repository, read once, with the code of each line apart from its comments and texts.
//!
//! Knows Rust only as far as telling code from comments, strings and characters; never judges.

use std::fs;
use std::path::{Path, PathBuf};

/// What holds no source; `.git` is a folder, or a file where the checkout is a worktree. Of `corpus`, the saved inputs
/// of the fuzz targets, any bytes are right.
const SKIPPED: &[&str] = &[".git", "target", "corpus"];

/// One line of a file.
#[derive(Clone, Debug, Default)]
pub(super) struct Line {
    /// As it stands.
    pub(super) raw: String,
    /// Without comments; the content of strings and characters is blank. Empty for other files than Rust.
    pub(super) code: String,
}

/// One file.
#[derive(Clone, Debug)]
pub(super) struct File {
    /// From the root, with `/`.
    pub(super) path: String,
    /// Bytes.
    pub(super) bytes: u64,
    /// Lines; none when the file is no text.
    pub(super) lines: Vec<Line>,
}

impl File {
    /// A file of Rust.
    pub(super) fn is_rust(&self) -> bool {
        has_extension(&self.path, "rs")
    }

    /// A page of prose.
    pub(super) fn is_page(&self) -> bool {
        has_extension(&self.path, "md")
    }

    /// Only built for tests.
    pub(super) fn is_test(&self) -> bool {
        self.path.ends_with("/tests.rs")
            || self.path.contains("/tests/")
            || self.path.starts_with("crates/weft-test/")
    }

    /// Made by a program.
    pub(super) fn is_generated(&self) -> bool {
        self.path.contains("/gen/")
    }

    /// `path:line`, counted from 1.
    pub(super) fn at(&self, index: usize) -> String {
        format!("{}:{}", self.path, index + 1)
    }
}

/// All files.
#[derive(Clone, Debug)]
pub(super) struct Tree {
    /// Sorted by path.
    pub(super) files: Vec<File>,
}

impl Tree {
    /// Reads the repository that this program was built from.
    pub(super) fn read() -> Result<Self, String> {
        let root = crate::command::root();
        let mut paths = Vec::new();
        walk(&root, &mut paths)?;
        paths.sort();
        let mut files = Vec::with_capacity(paths.len());
        for path in paths {
            files.push(read(&root, &path)?);
        }
        Ok(Self { files })
    }

    /// The file with this path.
    pub(super) fn file(&self, path: &str) -> Option<&File> {
        self.files.iter().find(|file| file.path == path)
    }

    /// Files of Rust that a person wrote.
    pub(super) fn written(&self) -> impl Iterator<Item = &File> {
        self.files
            .iter()
            .filter(|file| file.is_rust() && !file.is_generated())
    }

    /// Source files above a number of lines, largest first.
    pub(super) fn largest(&self, lines: usize) -> Vec<(usize, &str)> {
        let mut found: Vec<(usize, &str)> = self
            .written()
            .filter(|file| !file.is_test() && file.lines.len() > lines)
            .map(|file| (file.lines.len(), file.path.as_str()))
            .collect();
        found.sort_unstable();
        found.reverse();
        found
    }
}

fn has_extension(path: &str, extension: &str) -> bool {
    Path::new(path)
        .extension()
        .is_some_and(|found| found == extension)
}

fn walk(folder: &Path, paths: &mut Vec<PathBuf>) -> Result<(), String> {
    let told = |error| format!("read folder \"{}\": {error}", folder.display());
    for entry in fs::read_dir(folder).map_err(told)? {
        let entry = entry.map_err(told)?;
        let kind = entry.file_type().map_err(told)?;
        let name = entry.file_name();
        if SKIPPED.iter().any(|skipped| name == *skipped) {
            continue;
        }
        if kind.is_dir() {
            walk(&entry.path(), paths)?;
        } else if kind.is_file() {
            paths.push(entry.path());
        }
    }
    Ok(())
}

fn read(root: &Path, path: &Path) -> Result<File, String> {
    let bytes = fs::read(path).map_err(|error| format!("read \"{}\": {error}", path.display()))?;
    let name = path
        .strip_prefix(root)
        .map_or_else(|_| path.to_path_buf(), Path::to_path_buf)
        .to_string_lossy()
        .replace('\\', "/");
    let size = bytes.len() as u64;
    let lines = match String::from_utf8(bytes) {
        Ok(text) if has_extension(&name, "rs") => rust_lines(&text),
        Ok(text) => text
            .lines()
            .map(|line| Line {
                raw: line.to_owned(),
                code: String::new(),
            })
            .collect(),
        Err(_) => Vec::new(),
    };
    Ok(File {
        path: name,
        bytes: size,
        lines,
    })
}

/// What the reader of a line stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Inside {
    Code,
    Comment(usize),
    Text,
    RawText(usize),
}

/// The lines of a Rust file with the code apart.
pub(super) fn rust_lines(text: &str) -> Vec<Line> {
    let mut inside = Inside::Code;
    text.lines()
        .map(|raw| {
            let code = code_of(raw, &mut inside);
            Line {
                raw: raw.to_owned(),
                code,
            }
        })
        .collect()
}

fn code_of(raw: &str, inside: &mut Inside) -> String {
    let chars: Vec<char> = raw.chars().collect();
    let mut code = String::with_capacity(raw.len());
    let mut at = 0;
    while at < chars.len() {
        let rest = &chars[at..];
        let step = match *inside {
            Inside::Code => match step_code(rest, code.chars().last(), inside) {
                // A line comment: nothing of code follows.
                None => break,
                Some((step, kept)) => {
                    code.push_str(&kept);
                    step
                }
            },
            Inside::Comment(depth) => step_comment(rest, depth, inside),
            Inside::Text => step_text(rest, inside, &mut code),
            Inside::RawText(hashes) => {
                if rest[0] == '"' && rest[1..].iter().take_while(|c| **c == '#').count() >= hashes {
                    *inside = Inside::Code;
                    code.push('"');
                    1 + hashes
                } else {
                    1
                }
            }
        };
        at += step;
    }
    code
}

/// One step in code: characters consumed, and what stays as code. `None` at a line comment.
fn step_code(rest: &[char], before: Option<char>, inside: &mut Inside) -> Option<(usize, String)> {
    let next = rest.get(1).copied();
    match rest[0] {
        '/' if next == Some('/') => return None,
        '/' if next == Some('*') => {
            *inside = Inside::Comment(1);
            return Some((2, String::new()));
        }
        '"' => {
            *inside = Inside::Text;
            return Some((1, "\"".to_owned()));
        }
        'r' if !before.is_some_and(|c| c.is_alphanumeric() && c != 'b' || c == '_') => {
            let hashes = rest[1..].iter().take_while(|c| **c == '#').count();
            if rest.get(1 + hashes) == Some(&'"') {
                *inside = Inside::RawText(hashes);
                return Some((2 + hashes, "\"".to_owned()));
            }
        }
        '\'' => {
            // A character ends with a quote close by; a lifetime does not.
            let end = if next == Some('\\') {
                rest.iter()
                    .skip(3)
                    .position(|c| *c == '\'')
                    .map(|found| found + 3)
            } else {
                (rest.get(2) == Some(&'\'')).then_some(2)
            };
            if let Some(end) = end {
                return Some((end + 1, "' '".to_owned()));
            }
        }
        _ => {}
    }
    Some((1, rest[0].to_string()))
}

fn step_comment(rest: &[char], depth: usize, inside: &mut Inside) -> usize {
    match (rest[0], rest.get(1)) {
        ('*', Some('/')) => {
            *inside = if depth == 1 {
                Inside::Code
            } else {
                Inside::Comment(depth - 1)
            };
            2
        }
        ('/', Some('*')) => {
            *inside = Inside::Comment(depth + 1);
            2
        }
        _ => 1,
    }
}

fn step_text(rest: &[char], inside: &mut Inside, code: &mut String) -> usize {
    match rest[0] {
        '\\' => 2,
        '"' => {
            *inside = Inside::Code;
            code.push('"');
            1
        }
        _ => 1,
    }
}
