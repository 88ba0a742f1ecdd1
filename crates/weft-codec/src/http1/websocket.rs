//! The one thing of WebSocket that its handshake in HTTP/1.1 asks of whoever answers it (RFC 6455 4): a word made of
//! the caller's. HTTP/2 has no such words (RFC 8441 5), so who carries a handshake from one to the other makes them.
//!
//! Never in here: frames, masks, extensions. SHA-1 is for this word alone; it keeps no secret.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sha1_smol::Sha1;

/// What every answer is made with (RFC 6455 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A longer key is none: 16 bytes are 24 in base64.
const KEY_BYTES: usize = 24;

/// The `Sec-WebSocket-Accept` that answers this `Sec-WebSocket-Key`; `None` when it is no key.
pub fn websocket_accept(key: &[u8]) -> Option<Vec<u8>> {
    if key.len() != KEY_BYTES || !key.is_ascii() {
        return None;
    }
    let hash = Sha1::from([key, GUID].concat()).digest().bytes();
    Some(STANDARD.encode(hash).into_bytes())
}

/// A `Sec-WebSocket-Key` of these bytes.
pub fn websocket_key(random: u128) -> Vec<u8> {
    STANDARD.encode(random.to_be_bytes()).into_bytes()
}

#[cfg(test)]
mod tests;
