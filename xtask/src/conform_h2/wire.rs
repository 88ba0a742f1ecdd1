//! HTTP/2 frames and field sections by hand, so that wrong ones can be made. Never judges what it reads.

pub(super) const DATA: u8 = 0;
pub(super) const HEADERS: u8 = 1;
pub(super) const PRIORITY: u8 = 2;
pub(super) const RST_STREAM: u8 = 3;
pub(super) const SETTINGS: u8 = 4;
pub(super) const PUSH_PROMISE: u8 = 5;
pub(super) const PING: u8 = 6;
pub(super) const GOAWAY: u8 = 7;
pub(super) const WINDOW_UPDATE: u8 = 8;
pub(super) const CONTINUATION: u8 = 9;
/// A type that no document defines.
pub(super) const UNKNOWN: u8 = 0xbb;

pub(super) const NO_FLAGS: u8 = 0;
pub(super) const ACK: u8 = 1;
pub(super) const END_STREAM: u8 = 1;
pub(super) const END_HEADERS: u8 = 4;
pub(super) const PADDED: u8 = 8;
pub(super) const WITH_PRIORITY: u8 = 0x20;

pub(super) const NO_ERROR: u32 = 0;
pub(super) const PROTOCOL_ERROR: u32 = 1;
pub(super) const INTERNAL_ERROR: u32 = 2;
pub(super) const FLOW_CONTROL_ERROR: u32 = 3;
pub(super) const FRAME_SIZE_ERROR: u32 = 6;
pub(super) const REFUSED_STREAM: u32 = 7;
pub(super) const CANCEL: u32 = 8;
pub(super) const COMPRESSION_ERROR: u32 = 9;
pub(super) const ENHANCE_YOUR_CALM: u32 = 11;

/// What a client begins with.
pub(super) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, type, flags and stream.
const HEAD_BYTES: usize = 9;

/// `:status: 200` of the static table.
pub(super) const STATUS_200: &[u8] = &[0x88];

/// One frame.
#[derive(Clone, Debug)]
pub(super) struct Frame {
    pub(super) kind: u8,
    pub(super) flags: u8,
    pub(super) stream: u32,
    pub(super) payload: Vec<u8>,
}

impl Frame {
    /// The four bytes at a place of the payload, as a number.
    pub(super) fn number_at(&self, place: usize) -> u32 {
        let bytes = self.payload.get(place..).unwrap_or_default();
        bytes
            .first_chunk()
            .map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

/// The bytes of a frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame_saying(payload.len() as u32, kind, flags, stream, payload)
}

/// The bytes of a frame whose head says a length of its own.
pub(super) fn frame_saying(
    length: u32,
    kind: u8,
    flags: u8,
    stream: u32,
    payload: &[u8],
) -> Vec<u8> {
    let [_, length @ ..] = length.to_be_bytes();
    let mut bytes = length.to_vec();
    bytes.extend([kind, flags]);
    bytes.extend(stream.to_be_bytes());
    bytes.extend(payload);
    bytes
}

/// Takes the first whole frame out of what came.
pub(super) fn take(received: &mut Vec<u8>) -> Option<Frame> {
    let head: [u8; HEAD_BYTES] = *received.first_chunk()?;
    let [a, b, c, kind, flags, stream @ ..] = head;
    let end = HEAD_BYTES + u32::from_be_bytes([0, a, b, c]) as usize;
    let payload = received.get(HEAD_BYTES..end)?.to_vec();
    received.drain(..end);
    Some(Frame {
        kind,
        flags,
        stream: u32::from_be_bytes(stream) & 0x7fff_ffff,
        payload,
    })
}

/// A field with a name of its own, in no table (RFC 7541 6.2.2), without Huffman. Up to 126 bytes each.
pub(super) fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, name.len() as u8];
    bytes.extend(name);
    bytes.push(value.len() as u8);
    bytes.extend(value);
    bytes
}

/// One setting.
pub(super) fn setting(id: u16, value: u32) -> Vec<u8> {
    [id.to_be_bytes().as_slice(), &value.to_be_bytes()].concat()
}

/// A SETTINGS frame with these.
pub(super) fn settings(all: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = all
        .iter()
        .flat_map(|(id, value)| setting(*id, *value))
        .collect();
    frame(SETTINGS, NO_FLAGS, 0, &payload)
}

/// HEADERS of a stream, whole.
pub(super) fn headers(stream: u32, flags: u8, section: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, section)
}

/// DATA of a stream.
pub(super) fn data(stream: u32, flags: u8, body: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, body)
}

/// RST_STREAM.
pub(super) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, NO_FLAGS, stream, &code.to_be_bytes())
}

/// GOAWAY with nothing more to say.
pub(super) fn goaway(last: u32, code: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    frame(GOAWAY, NO_FLAGS, 0, &payload)
}

/// WINDOW_UPDATE.
pub(super) fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, NO_FLAGS, stream, &more.to_be_bytes())
}
