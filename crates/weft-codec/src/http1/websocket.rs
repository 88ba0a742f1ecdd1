//! The one thing of WebSocket that its handshake in HTTP/1.1 asks of whoever answers it (RFC 6455 4): a word made of
//! the caller's. HTTP/2 has no such words (RFC 8441 5), so who carries a handshake from one to the other makes them.
//!
//! Never in here: frames, masks, extensions. SHA-1 and base64 are for this word alone; it keeps no secret.

/// What every answer is made with (RFC 6455 1.3).
const GUID: &[u8] = b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/// A longer key is none: 16 bytes are 24 in base64.
const KEY_BYTES: usize = 24;

/// Bytes of a block of SHA-1.
const BLOCK_BYTES: usize = 64;

/// The letters of base64.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

/// The `Sec-WebSocket-Accept` that answers this `Sec-WebSocket-Key`; `None` when it is no key.
pub fn websocket_accept(key: &[u8]) -> Option<Vec<u8>> {
    if key.len() != KEY_BYTES || !key.is_ascii() {
        return None;
    }
    Some(base64(&sha1(&[key, GUID].concat())))
}

/// A `Sec-WebSocket-Key` of these bytes.
pub fn websocket_key(random: u128) -> Vec<u8> {
    base64(&random.to_be_bytes())
}

fn base64(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::with_capacity(bytes.len().div_ceil(3) * 4);
    for chunk in bytes.chunks(3) {
        let bits = chunk
            .iter()
            .chain(&[0, 0])
            .take(3)
            .fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte));
        for (position, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            let letter = LETTERS.get((bits >> shift & 63) as usize);
            let letter = letter.filter(|_| position <= chunk.len());
            out.push(letter.copied().unwrap_or(b'='));
        }
    }
    out
}

/// SHA-1 (RFC 3174).
fn sha1(message: &[u8]) -> [u8; 20] {
    let mut padded = message.to_vec();
    padded.push(0x80);
    while padded.len() % BLOCK_BYTES != BLOCK_BYTES - 8 {
        padded.push(0);
    }
    padded.extend_from_slice(&(message.len() as u64 * 8).to_be_bytes());
    let mut state = [
        0x6745_2301,
        0xefcd_ab89,
        0x98ba_dcfe,
        0x1032_5476,
        0xc3d2_e1f0,
    ];
    for block in padded.chunks_exact(BLOCK_BYTES) {
        state = mixed(state, block);
    }
    let mut out = [0; 20];
    for (place, byte) in out
        .iter_mut()
        .zip(state.iter().flat_map(|word| word.to_be_bytes()))
    {
        *place = byte;
    }
    out
}

fn mixed(state: [u32; 5], block: &[u8]) -> [u32; 5] {
    let mut words = [0_u32; 16];
    for (word, bytes) in words.iter_mut().zip(block.chunks_exact(4)) {
        *word = bytes
            .iter()
            .fold(0, |word, byte| word << 8 | u32::from(*byte));
    }
    let mut mix = state;
    for round in 0..80 {
        let [first, second, third, fourth, fifth] = mix;
        let (choice, constant) = match round {
            0..20 => (second & third | !second & fourth, 0x5a82_7999_u32),
            20..40 => (second ^ third ^ fourth, 0x6ed9_eba1),
            40..60 => (
                second & third | second & fourth | third & fourth,
                0x8f1b_bcdc,
            ),
            _ => (second ^ third ^ fourth, 0xca62_c1d6),
        };
        // The sixteenth, fourteenth, eighth and third word before the next one.
        let [
            oldest,
            _,
            then,
            _,
            _,
            _,
            _,
            _,
            later,
            _,
            _,
            _,
            _,
            newest,
            _,
            _,
        ] = words;
        let next = (oldest ^ then ^ later ^ newest).rotate_left(1);
        let sum = first
            .rotate_left(5)
            .wrapping_add(choice)
            .wrapping_add(fifth)
            .wrapping_add(constant)
            .wrapping_add(oldest);
        mix = [sum, first, second.rotate_left(30), third, fourth];
        words.rotate_left(1);
        if let Some(last) = words.last_mut() {
            *last = next;
        }
    }
    let mut out = state;
    for (word, more) in out.iter_mut().zip(mix) {
        *word = word.wrapping_add(more);
    }
    out
}

#[cfg(test)]
mod tests;
