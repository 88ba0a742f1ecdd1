//! A caller in HTTP/1.1: one call on a connection of its own, and what it got, whole or cut.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;
use weft_codec::http1::{BodyDecoder, BodyStep, Limits, Parsed, ReplyHead, parse_reply};

/// How long a caller waits for its reply.
const CALLER_WITHIN: Duration = Duration::from_secs(10);

/// What a caller got.
#[derive(Debug, Default)]
pub(super) struct Got {
    /// 0: no reply at all.
    pub(super) status: u16,
    pub(super) body: Vec<u8>,
    /// Of a failure of the mesh.
    pub(super) code: Option<String>,
    /// The connection ended before the reply did.
    pub(super) cut: bool,
}

/// Calls a service and reads until the connection ends.
pub(super) fn call(outbound: SocketAddr, host: &str, method: &str) -> Result<Got, String> {
    let told = |error: std::io::Error| format!("{method} to {host}: {error}");
    let mut stream = TcpStream::connect(outbound).map_err(told)?;
    stream.set_read_timeout(Some(CALLER_WITHIN)).map_err(told)?;
    let body = if method == "GET" { "" } else { "x" };
    let length = body.len();
    let request = format!(
        "{method} / HTTP/1.1\r\nHost: {host}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    );
    stream.write_all(request.as_bytes()).map_err(told)?;
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => {}
        Err(error) if error.kind() == ErrorKind::ConnectionReset => {}
        Err(error) => return Err(told(error)),
    }
    read(&bytes).map_err(|reason| format!("{method} to {host}: {reason}"))
}

/// The final reply in these bytes.
fn read(mut bytes: &[u8]) -> Result<Got, &'static str> {
    let limits = Limits::default();
    let mut head = ReplyHead::default();
    loop {
        let parsed =
            parse_reply(bytes, false, &limits, &mut head).map_err(|refusal| refusal.reason)?;
        let Parsed::Complete(length) = parsed else {
            return Ok(Got {
                cut: true,
                ..Got::default()
            });
        };
        bytes = bytes.get(length..).unwrap_or_default();
        if head.status >= 200 {
            break;
        }
    }
    let mut got = Got {
        status: head.status,
        code: head
            .fields
            .first("x-weft-code")
            .map(|code| String::from_utf8_lossy(code).into_owned()),
        ..Got::default()
    };
    let mut decoder = BodyDecoder::new(head.framing, &limits);
    loop {
        match decoder.decode(bytes).map_err(|refusal| refusal.reason)? {
            BodyStep::Data { skip, len } => {
                let data = bytes.get(skip..skip + len).unwrap_or_default();
                got.body.extend_from_slice(data);
                bytes = bytes.get(skip + len..).unwrap_or_default();
            }
            BodyStep::Need { .. } => {
                got.cut = !decoder.finish();
                return Ok(got);
            }
            BodyStep::End { .. } => return Ok(got),
        }
    }
}
