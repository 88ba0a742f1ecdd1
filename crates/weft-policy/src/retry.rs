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

#[cfg(test)]
mod tests;
