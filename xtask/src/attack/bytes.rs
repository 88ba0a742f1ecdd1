//! Frames and header blocks of HTTP/2, written by hand: an attacker does what no library does.

use weft_codec::h2::frames::{
    CONTINUATION, DATA, HEADERS, PING, PRIORITY, RST_STREAM, SETTINGS, WINDOW_UPDATE,
};
use weft_codec::sniff::HTTP2_PREFACE;

/// END_STREAM, and ACK.
pub(super) const END_STREAM: u8 = 1;
/// END_HEADERS.
pub(super) const END_HEADERS: u8 = 4;
/// SETTINGS_HEADER_TABLE_SIZE.
pub(super) const HEADER_TABLE_SIZE: u16 = 1;
/// SETTINGS_INITIAL_WINDOW_SIZE.
pub(super) const INITIAL_WINDOW_SIZE: u16 = 4;

/// A reference to the entry that was added last (RFC 7541 6.1).
pub(super) const NEWEST_ENTRY: u8 = 0x80 + 62;

/// A frame.
pub(super) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    let length = (payload.len() as u32).to_be_bytes();
    out.extend_from_slice(&length[1..]);
    out.extend_from_slice(&[kind, flags]);
    out.extend_from_slice(&stream.to_be_bytes());
    out.extend_from_slice(payload);
}

/// The preface with these settings.
pub(super) fn preface(settings: &[(u16, u32)]) -> Vec<u8> {
    let mut out = HTTP2_PREFACE.to_vec();
    settings_frame(settings, &mut out);
    out
}

/// SETTINGS.
pub(super) fn settings_frame(settings: &[(u16, u32)], out: &mut Vec<u8>) {
    let mut payload = Vec::new();
    for (id, value) in settings {
        payload.extend_from_slice(&id.to_be_bytes());
        payload.extend_from_slice(&value.to_be_bytes());
    }
    frame(SETTINGS, 0, 0, &payload, out);
}

/// The block of a request: GET or POST, `http`, this path, an authority.
pub(super) fn block(method: &str, path: &str) -> Vec<u8> {
    block_to("shop", method, path)
}

fn block_to(authority: &str, method: &str, path: &str) -> Vec<u8> {
    // Indexed :method and :scheme; :path and :authority as literals that no table keeps (RFC 7541 6.2.2).
    let mut out = vec![if method == "GET" { 0x82 } else { 0x83 }, 0x86];
    literal(4, path, &mut out);
    literal(1, authority, &mut out);
    out
}

fn literal(name: u8, value: &str, out: &mut Vec<u8>) {
    out.push(name);
    out.push(value.len() as u8);
    out.extend_from_slice(value.as_bytes());
}

/// A field with its name, kept by no table.
pub(super) fn field(name: &str, value: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0, name.len() as u8]);
    out.extend_from_slice(name.as_bytes());
    out.push(value.len() as u8);
    out.extend_from_slice(value.as_bytes());
}

/// Adds an entry with this name to the table; `value_bytes` of value.
pub(super) fn entry(name: &str, value_bytes: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&[0x40, name.len() as u8]);
    out.extend_from_slice(name.as_bytes());
    // An integer with a prefix of seven bits (RFC 7541 5.1).
    if value_bytes < 127 {
        out.push(value_bytes as u8);
    } else {
        out.push(127);
        let mut rest = value_bytes - 127;
        while rest >= 128 {
            out.push((rest % 128) as u8 | 0x80);
            rest /= 128;
        }
        out.push(rest as u8);
    }
    out.extend(std::iter::repeat_n(b'v', value_bytes));
}

/// A whole request without a body.
pub(super) fn get(stream: u32, path: &str, out: &mut Vec<u8>) {
    let block = block("GET", path);
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block, out);
}

/// The same of another host.
pub(super) fn get_from(stream: u32, authority: &str, path: &str, out: &mut Vec<u8>) {
    let block = block_to(authority, "GET", path);
    frame(HEADERS, END_STREAM | END_HEADERS, stream, &block, out);
}

/// The head of a request whose body follows.
pub(super) fn post(stream: u32, path: &str, out: &mut Vec<u8>) {
    frame(HEADERS, END_HEADERS, stream, &block("POST", path), out);
}

/// RST_STREAM with CANCEL.
pub(super) fn cancel(stream: u32, out: &mut Vec<u8>) {
    frame(RST_STREAM, 0, stream, &8_u32.to_be_bytes(), out);
}

/// WINDOW_UPDATE.
pub(super) fn window(stream: u32, by: u32, out: &mut Vec<u8>) {
    frame(WINDOW_UPDATE, 0, stream, &by.to_be_bytes(), out);
}

/// DATA that does not end its stream.
pub(super) fn data(stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    frame(DATA, 0, stream, payload, out);
}

/// PING.
pub(super) fn ping(out: &mut Vec<u8>) {
    frame(PING, 0, 0, &[7; 8], out);
}

/// PRIORITY with this payload.
pub(super) fn priority(stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    frame(PRIORITY, 0, stream, payload, out);
}

/// CONTINUATION without end.
pub(super) fn continuation(stream: u32, payload: &[u8], out: &mut Vec<u8>) {
    frame(CONTINUATION, 0, stream, payload, out);
}
