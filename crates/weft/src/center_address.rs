//! Where the center is: `--center`, then `WEFT_CENTER`, then what a center on this machine wrote to the
//! runtime folder.

use crate::failure::Failure;
use crate::values;
use weft_host::{CenterFile, Folders};

/// The variable that names centers, separated by commas.
const VARIABLE: &str = "WEFT_CENTER";

/// The addresses of centers (`host:port`); none when nobody named one.
pub(crate) fn centers(options: &[String], folders: &Folders) -> Result<Vec<String>, Failure> {
    let file = || CenterFile::read(folders).map(|file| file.url);
    chosen(options, std::env::var(VARIABLE).ok(), file)
}

fn chosen(
    options: &[String],
    variable: Option<String>,
    file: impl FnOnce() -> Option<String>,
) -> Result<Vec<String>, Failure> {
    if !options.is_empty() {
        return Ok(options.to_vec());
    }
    if let Some(text) = variable.filter(|text| !text.is_empty()) {
        let addresses: Result<Vec<_>, String> = text
            .split(',')
            .map(|part| values::center(part.trim()))
            .collect();
        return addresses
            .map_err(|error| Failure::usage(format!("{VARIABLE}=\"{text}\": {error}")));
    }
    // A file that we cannot read an address from is as good as none.
    Ok(file()
        .and_then(|url| values::center(&url).ok())
        .into_iter()
        .collect())
}

#[cfg(test)]
mod tests;
