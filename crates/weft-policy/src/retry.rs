//! Whether a failed call may move on to another instance.

use weft_model::Code;

/// Attempts at the most, the first included.
pub const ATTEMPTS_MAX: usize = 3;

/// What is known of a call when an attempt has failed.
#[derive(Clone, Copy, Debug)]
pub struct Attempted {
    /// Attempts made, the failed one included.
    pub attempts: usize,
    /// Whether a hop before this one is already retrying (its attempt number was not 0).
    pub is_retry: bool,
    /// Whether the method is declared idempotent.
    pub idempotent: bool,
    /// Whether the body can be sent again from its beginning.
    pub replayable: bool,
    /// Whether any byte of the reply has come.
    pub reply_begun: bool,
}

/// Whether a call that failed with `code` may be tried once more.
pub fn may_move_on(code: Code, attempted: Attempted) -> bool {
    if attempted.attempts >= ATTEMPTS_MAX
        || !attempted.replayable
        || attempted.reply_begun
        || attempted.is_retry
    {
        return false;
    }
    if code.proves_not_dispatched() {
        return true;
    }
    // Possibly executed: only a declared idempotent call, once.
    attempted.idempotent
        && attempted.attempts == 1
        && matches!(code, Code::UpstreamClosed | Code::LinkLost)
}

/// Whether HTTP declares this method idempotent and free of a body's meaning (RFC 9110 9.2.2, less PUT and
/// DELETE, which apps implement otherwise too often).
pub fn http_method_is_idempotent(method: &[u8]) -> bool {
    matches!(method, b"GET" | b"HEAD" | b"OPTIONS")
}

/// Whether a method fits a declared pattern: a name, with `*` at either end or both.
pub fn method_fits(pattern: &str, method: &[u8]) -> bool {
    let (open_start, rest) = match pattern.strip_prefix('*') {
        Some(rest) => (true, rest),
        None => (false, pattern),
    };
    let (open_end, text) = match rest.strip_suffix('*') {
        Some(text) => (true, text.as_bytes()),
        None => (false, rest.as_bytes()),
    };
    match (open_start, open_end) {
        (false, false) => method == text,
        (false, true) => method.starts_with(text),
        (true, false) => method.ends_with(text),
        (true, true) => text.is_empty() || method.windows(text.len()).any(|window| window == text),
    }
}

#[cfg(test)]
mod tests;
