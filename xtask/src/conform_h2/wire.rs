//! HTTP/2 frames and field sections by hand, so that wrong ones can be made. Never judges what it reads.

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PUSH_PROMISE: u8 = 5;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;
/// A type that no document defines.
pub(crate) const UNKNOWN: u8 = 0xbb;

pub(crate) const NO_FLAGS: u8 = 0;
pub(crate) const ACK: u8 = 1;
pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;
pub(crate) const PADDED: u8 = 8;
pub(crate) const WITH_PRIORITY: u8 = 0x20;

pub(crate) const NO_ERROR: u32 = 0;
pub(crate) const PROTOCOL_ERROR: u32 = 1;
pub(crate) const INTERNAL_ERROR: u32 = 2;
pub(crate) const FLOW_CONTROL_ERROR: u32 = 3;
pub(crate) const FRAME_SIZE_ERROR: u32 = 6;
pub(crate) const REFUSED_STREAM: u32 = 7;
pub(crate) const CANCEL: u32 = 8;
pub(crate) const COMPRESSION_ERROR: u32 = 9;
pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

/// What a client begins with.
pub(crate) const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// Length, type, flags and stream.
const HEAD_BYTES: usize = 9;

/// `:status: 200` of the static table.
pub(crate) const STATUS_200: &[u8] = &[0x88];

/// One frame.
#[derive(Clone, Debug)]
pub(crate) struct Frame {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

impl Frame {
    /// The four bytes at a place of the payload, as a number.
    pub(crate) fn number_at(&self, place: usize) -> u32 {
        let bytes = self.payload.get(place..).unwrap_or_default();
        bytes
            .first_chunk()
            .map_or(0, |bytes| u32::from_be_bytes(*bytes))
    }
}

/// The bytes of a frame.
pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    frame_saying(payload.len() as u32, kind, flags, stream, payload)
}

/// The bytes of a frame whose head says a length of its own.
pub(crate) fn frame_saying(
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
pub(crate) fn take(received: &mut Vec<u8>) -> Option<Frame> {
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
pub(crate) fn field(name: &[u8], value: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0, name.len() as u8];
    bytes.extend(name);
    bytes.push(value.len() as u8);
    bytes.extend(value);
    bytes
}

/// One setting.
pub(crate) fn setting(id: u16, value: u32) -> Vec<u8> {
    [id.to_be_bytes().as_slice(), &value.to_be_bytes()].concat()
}

/// A SETTINGS frame with these.
pub(crate) fn settings(all: &[(u16, u32)]) -> Vec<u8> {
    let payload: Vec<u8> = all
        .iter()
        .flat_map(|(id, value)| setting(*id, *value))
        .collect();
    frame(SETTINGS, NO_FLAGS, 0, &payload)
}

/// HEADERS of a stream, whole.
pub(crate) fn headers(stream: u32, flags: u8, section: &[u8]) -> Vec<u8> {
    frame(HEADERS, flags | END_HEADERS, stream, section)
}

/// DATA of a stream.
pub(crate) fn data(stream: u32, flags: u8, body: &[u8]) -> Vec<u8> {
    frame(DATA, flags, stream, body)
}

/// RST_STREAM.
pub(crate) fn reset(stream: u32, code: u32) -> Vec<u8> {
    frame(RST_STREAM, NO_FLAGS, stream, &code.to_be_bytes())
}

/// GOAWAY with nothing more to say.
pub(crate) fn goaway(last: u32, code: u32) -> Vec<u8> {
    let payload = [last.to_be_bytes(), code.to_be_bytes()].concat();
    frame(GOAWAY, NO_FLAGS, 0, &payload)
}

/// WINDOW_UPDATE.
pub(crate) fn window(stream: u32, more: u32) -> Vec<u8> {
    frame(WINDOW_UPDATE, NO_FLAGS, stream, &more.to_be_bytes())
}
