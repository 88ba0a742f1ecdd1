//! What a person is told when a command did not do what it was asked to, and the exit code that goes with it.

use std::error::Error;
use std::fmt::{self, Write as _};
use std::io::{self, Write};
use std::process::ExitCode;

/// What a failed command ends with: a sentence that says what was attempted, what was found and what to do
/// next.
#[derive(Debug)]
pub(crate) struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// Refused, or something was found: exit code 1.
    pub(crate) fn refused(text: impl fmt::Display) -> Self {
        Self {
            code: 1,
            text: text.to_string(),
        }
    }

    /// Asked in a way that cannot be done: exit code 2.
    pub(crate) fn usage(text: impl fmt::Display) -> Self {
        Self {
            code: 2,
            text: text.to_string(),
        }
    }

    /// The center was not reached: exit code 3.
    pub(crate) fn center(text: impl fmt::Display) -> Self {
        Self {
            code: 3,
            text: text.to_string(),
        }
    }

    /// A failure with the exit code of another program.
    pub(crate) fn with_code(code: u8, text: impl fmt::Display) -> Self {
        Self {
            code,
            text: text.to_string(),
        }
    }

    /// Refused: what was attempted, and an error with all that is behind it.
    pub(crate) fn chain(attempted: &str, error: &dyn Error) -> Self {
        let mut text = format!("{attempted}: {error}");
        let mut behind = error.source();
        while let Some(error) = behind {
            let _ = write!(text, ": {error}");
            behind = error.source();
        }
        Self::refused(text)
    }

    /// The same, after what was found before it.
    pub(crate) fn after(self, found: &str) -> Self {
        Self {
            code: self.code,
            text: format!("{found}; {}", self.text),
        }
    }

    /// Tells the person, and the exit code.
    pub(crate) fn report(&self) -> ExitCode {
        let _ = writeln!(io::stderr(), "weft: {}", self.text);
        ExitCode::from(self.code)
    }
}
