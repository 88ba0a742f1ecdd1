//! HTTP/2 requests as raw frames, and an app that speaks HTTP/1.1 behind: what the one says and the other cannot.
//!
//! Each vector is refused, or the app sees one whole, well-formed request that says the same. Judged by the bytes
//! that the app was sent: what a refusal looks like is not this suite's affair.

mod app;
mod vectors;

use crate::conform_h2::wire::{
    ACK, CONTINUATION, END_HEADERS, END_STREAM, GOAWAY, HEADERS, NO_FLAGS, PREFACE, RST_STREAM,
    SETTINGS, STATUS_200, data, frame, headers, take,
};
use crate::drill::mesh::{Instance, Mesh, ends_at_once};
use app::{App, Request, request};
use std::io::{Read, Write};
use std::net::SocketAddr;
use vectors::{AUTHORITY, NUMBER, Vector, Verdict, all};

/// The one stream of a vector's connection.
const STREAM: u32 = 1;

/// Bytes of a field's length in one byte (RFC 7541 5.1); a longer one takes more.
const SHORT_MAX: usize = 126;

/// Vectors at the least.
pub(super) const VECTORS_MIN: u64 = 200;

/// What came of them.
#[derive(Default)]
pub(super) struct Found {
    pub(super) vectors: u64,
    /// Requests that the app saw otherwise than they were sent, or that should have been refused.
    pub(super) through: u64,
    /// Requests that are fine and were refused.
    pub(super) refused: u64,
    pub(super) faults: Vec<String>,
}

/// Sends all vectors, through one sidecar and through two.
pub(super) fn run(mesh: &Mesh, caller: &Instance) -> Result<Found, String> {
    let app = App::start()?;
    let port = ["--port".to_owned(), format!("http={}", app.port)];
    let called = mesh.start_instance(AUTHORITY, &[&port[..], &ends_at_once()].concat(), &[])?;
    let link = caller.address("outbound");
    mesh.wait_for("a first answer over the link", || {
        super::is_answered_by(link, AUTHORITY).then_some(())
    })?;
    let mut found = Found::default();
    for (way, address) in [("one sidecar", called.address("inbound")), ("link", link)] {
        let mut before: Option<Vector> = None;
        app.take()?;
        for (number, vector) in all().into_iter().enumerate() {
            let vector = vector.numbered(number);
            found.vectors += 1;
            let answered = send(address, &vector)
                .map_err(|error| format!("{way}, {}: {error}", vector.name))?;
            let tag = format!("\r\n{NUMBER}: {number}\r\n");
            let is_own = |bytes: &Vec<u8>| contains(bytes, tag.as_bytes());
            let (seen, late): (Vec<_>, Vec<_>) = app.take()?.into_iter().partition(is_own);
            // What came of the one before behind the end of its call, which nobody took for answered.
            if let (Some(before), false) = (&before, late.is_empty()) {
                found.note(way, before, judge(before, false, &late));
            }
            found.note(way, &vector, judge(&vector, answered, &seen));
            before = Some(vector);
        }
    }
    Ok(found)
}

impl Found {
    fn note(&mut self, way: &str, vector: &Vector, judged: Result<(), String>) {
        let Err(fault) = judged else {
            return;
        };
        match vector.verdict {
            Verdict::Passes => self.refused += 1,
            Verdict::Refused | Verdict::Either => self.through += 1,
        }
        self.faults.push(format!("{way}, {}: {fault}", vector.name));
    }
}

fn contains(bytes: &[u8], wanted: &[u8]) -> bool {
    bytes.windows(wanted.len()).any(|window| window == wanted)
}

/// Whether the answer was a 200.
fn send(address: SocketAddr, vector: &Vector) -> std::io::Result<bool> {
    let mut stream = super::open(address)?;
    let mut out = PREFACE.to_vec();
    out.extend(frame(SETTINGS, 0, 0, &[]));
    let ends_with_head = vector.data.is_empty() && vector.trailers.is_empty();
    out.extend(head(&vector.fields, flags(ends_with_head)));
    for (at, bytes) in vector.data.iter().enumerate() {
        let is_last = at + 1 == vector.data.len() && vector.trailers.is_empty();
        out.extend(data(STREAM, flags(is_last), bytes));
    }
    if !vector.trailers.is_empty() {
        out.extend(head(&vector.trailers, flags(true)));
    }
    stream.write_all(&out)?;
    let mut received = Vec::new();
    let mut buffer = [0; 16 * 1024];
    loop {
        while let Some(frame) = take(&mut received) {
            match (frame.kind, frame.stream) {
                (SETTINGS, _) if frame.flags & ACK == 0 => {
                    // A connection that is ended meanwhile refuses; its last words are still to be read.
                    let _ = stream.write_all(&self::frame(SETTINGS, ACK, 0, &[]));
                }
                (HEADERS, STREAM) => return Ok(frame.payload.starts_with(STATUS_200)),
                (RST_STREAM, STREAM) | (GOAWAY, _) => return Ok(false),
                _ => {}
            }
        }
        match stream.read(&mut buffer) {
            Ok(0) => return Ok(false),
            Ok(count) => received.extend_from_slice(&buffer[..count]),
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => return Ok(false),
            Err(error) => return Err(error),
        }
    }
}

/// The flags of a frame that is, or is not, the last one.
fn flags(is_last: bool) -> u8 {
    if is_last { END_STREAM } else { NO_FLAGS }
}

/// A head, in frames of what one may hold.
fn head(fields: &[(Vec<u8>, Vec<u8>)], flags: u8) -> Vec<u8> {
    const FRAME_BYTES: usize = 16 * 1024;
    let mut block = Vec::new();
    for (name, value) in fields {
        block.push(0);
        text(name, &mut block);
        text(value, &mut block);
    }
    let (first, rest) = block.split_at(block.len().min(FRAME_BYTES));
    if rest.is_empty() {
        return headers(STREAM, flags, first);
    }
    let mut out = frame(HEADERS, flags, STREAM, first);
    out.extend(frame(CONTINUATION, END_HEADERS, STREAM, rest));
    out
}

/// A string as it is (RFC 7541 5.2).
fn text(bytes: &[u8], out: &mut Vec<u8>) {
    if bytes.len() <= SHORT_MAX {
        out.push(bytes.len() as u8);
    } else {
        out.push(0x7f);
        let mut rest = bytes.len() - 0x7f;
        while rest >= 0x80 {
            out.push(rest as u8 | 0x80);
            rest >>= 7;
        }
        out.push(rest as u8);
    }
    out.extend_from_slice(bytes);
}

/// Whether what the app saw is right for this vector and its answer.
fn judge(vector: &Vector, answered: bool, seen: &[Vec<u8>]) -> Result<(), String> {
    let show = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let sent = seen.concat();
    if seen.len() > 1 {
        return Err(format!(
            "the app was called on {} connections: {:?}",
            seen.len(),
            show(&sent)
        ));
    }
    if sent.is_empty() {
        return match (vector.verdict, answered) {
            (_, true) => Err("answered, and the app saw nothing".to_owned()),
            (Verdict::Passes, false) => Err("refused".to_owned()),
            (Verdict::Refused | Verdict::Either, false) => Ok(()),
        };
    }
    let Some(request) = request(&sent) else {
        // It broke off: nobody may have called it answered.
        if answered || vector.verdict == Verdict::Passes {
            return Err(format!(
                "answered, and what the app saw is no request: {:?}",
                show(&sent)
            ));
        }
        return unread(&sent).map_err(|why| format!("{why}: {:?}", show(&sent)));
    };
    if request.length != sent.len() {
        return Err(format!("more than one request: {:?}", show(&sent)));
    }
    same(vector, &request, answered).map_err(|why| format!("{why}: {:?}", show(&sent)))?;
    match (vector.verdict, answered) {
        (Verdict::Passes, false) => Err("refused after the app saw it".to_owned()),
        (Verdict::Refused, true) => Err(format!("answered; the app saw {:?}", show(&sent))),
        _ => Ok(()),
    }
}

/// A request that was broken off is one that a server never has whole: in its body.
fn unread(sent: &[u8]) -> Result<(), &'static str> {
    let whole_head = sent.windows(4).any(|window| window == b"\r\n\r\n");
    if !whole_head {
        return Err("a head that breaks off");
    }
    let smuggled = sent
        .windows(9)
        .filter(|window| *window == b" HTTP/1.1")
        .count();
    if smuggled > 1 && !sent.starts_with(b"POST ") {
        return Err("two request lines");
    }
    Ok(())
}

/// Whether the app's request says what the vector says. The body of one that was refused in the end may be a part.
fn same(vector: &Vector, seen: &Request, answered: bool) -> Result<(), String> {
    let value = |name: &str| {
        let mut fields = vector.fields.iter();
        fields
            .find(|(known, _)| known == name.as_bytes())
            .map(|(_, value)| value.as_slice())
    };
    let host = value(":authority")
        .or_else(|| value("host"))
        .unwrap_or_default();
    for (what, sent, seen) in [
        (
            "method",
            value(":method").unwrap_or_default(),
            &*seen.method,
        ),
        (
            "target",
            without_fragment(value(":path").unwrap_or_default()),
            &*seen.target,
        ),
        ("host", host, &*seen.values(b"host").concat()),
    ] {
        if sent != seen {
            return Err(format!("another {what}"));
        }
    }
    if seen.values(b"host").len() != 1 {
        return Err("not one Host".to_owned());
    }
    let body = vector.data.concat();
    if (answered && body != seen.body) || !body.starts_with(&seen.body) {
        return Err("another body".to_owned());
    }
    for (name, _) in &seen.fields {
        if !is_own(name) && !vector.fields.iter().any(|(known, _)| known == name) {
            return Err(format!(
                "a field \"{}\" that was not sent",
                String::from_utf8_lossy(name)
            ));
        }
    }
    for (name, _) in vector
        .fields
        .iter()
        .filter(|(name, _)| !name.starts_with(b":") && !is_own(name))
    {
        let sent: Vec<&[u8]> = vector
            .fields
            .iter()
            .filter(|(known, _)| known == name)
            .map(|(_, value)| value.as_slice())
            .collect();
        let joined = sent.join(&b"; "[..]);
        let is_same = seen.values(name) == sent
            || (name == b"cookie" && seen.values(name) == [joined.as_slice()]);
        if !is_same {
            return Err(format!("another \"{}\"", String::from_utf8_lossy(name)));
        }
    }
    let is_framing = |name: &[u8]| {
        matches!(
            name,
            b"content-length" | b"transfer-encoding" | b"host" | b"connection"
        )
    };
    if seen.trailers.iter().any(|(name, _)| {
        is_framing(name) || !vector.trailers.iter().any(|(known, _)| known == name)
    }) {
        return Err("another trailer".to_owned());
    }
    Ok(())
}

/// A target has no fragment. The `http` crate cuts one off before anybody sees it, so that what is called is what the
/// rest names; an app never reads a `#`.
fn without_fragment(path: &[u8]) -> &[u8] {
    match path.split(|byte| *byte == b'#').next() {
        Some(b"") | None => b"/",
        Some(path) => path,
    }
}

/// Fields that a sidecar sets, or says in words of its own; what they say is judged by the grammar.
fn is_own(name: &[u8]) -> bool {
    matches!(
        name,
        b"host"
            | b"content-length"
            | b"transfer-encoding"
            | b"te"
            | b"connection"
            | b"expect"
            | b"x-request-id"
            | b"x-forwarded-for"
            | b"x-weft-caller"
    )
}
