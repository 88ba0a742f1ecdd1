//! One request to the center: a connection, a request, an answer.
//!
//! Written on weft-codec, which this binary contains anyway, instead of a client library: the answers are
//! small, local and ours. Never in here: TLS, redirects, kept connections.

use std::fmt;
use std::io;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use weft_codec::Fields;
use weft_codec::http1::{
    self, BodyDecoder, BodyStep, Framing, Limits, Parsed, ReplyHead, RequestLine,
};

/// How long the whole may take.
const WAIT: Duration = Duration::from_secs(5);
/// Bytes of an answer's body, at the most.
const BODY_BYTES_MAX: usize = 64 * 1024 * 1024;
/// What a read asks for.
const READ_BYTES: usize = 16 * 1024;

/// An answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) body: Vec<u8>,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum ClientError {
    /// The connection.
    Io(io::Error),
    /// What came is no answer.
    Refused(&'static str),
    /// It took too long.
    Late,
}

impl fmt::Display for ClientError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => error.fmt(f),
            Self::Refused(reason) => write!(
                f,
                "what answered does not speak HTTP as it should: {reason}"
            ),
            Self::Late => write!(f, "no answer within {} s", WAIT.as_secs()),
        }
    }
}

impl From<io::Error> for ClientError {
    fn from(error: io::Error) -> Self {
        Self::Io(error)
    }
}

/// Asks `address` (`host:port`) for a path, with a token when there is one.
pub(crate) async fn get(
    address: &str,
    path: &str,
    token: Option<&str>,
) -> Result<Answer, ClientError> {
    send(address, "GET", path, token, &[]).await
}

/// Sends `address` (`host:port`) a request, with a token and a JSON body when there are any.
pub(crate) async fn send(
    address: &str,
    method: &str,
    path: &str,
    token: Option<&str>,
    body: &[u8],
) -> Result<Answer, ClientError> {
    let asked = async {
        let mut body_read = Vec::new();
        let request = Request {
            method,
            path,
            token,
            body,
        };
        let mut take = |_, piece: &[u8]| {
            body_read.extend_from_slice(piece);
            body_read.len() <= BODY_BYTES_MAX
        };
        let status = ask(address, request, &mut take).await?;
        if body_read.len() > BODY_BYTES_MAX {
            return Err(ClientError::Refused("its answer is too long"));
        }
        Ok(Answer {
            status,
            body: body_read,
        })
    };
    timeout(WAIT, asked).await.map_err(|_| ClientError::Late)?
}

/// Asks for a path whose answer goes on as long as both want; `take` gets its status and each piece of its body,
/// and says whether it wants more.
pub(crate) async fn follow(
    address: &str,
    path: &str,
    token: Option<&str>,
    take: &mut dyn FnMut(u16, &[u8]) -> bool,
) -> Result<u16, ClientError> {
    let request = Request {
        method: "GET",
        path,
        token,
        body: &[],
    };
    ask(address, request, take).await
}

/// What is asked.
struct Request<'a> {
    method: &'a str,
    path: &'a str,
    token: Option<&'a str>,
    body: &'a [u8],
}

/// Asks, hands over the answer's body piece by piece, and returns its status.
async fn ask(
    address: &str,
    request: Request<'_>,
    take: &mut dyn FnMut(u16, &[u8]) -> bool,
) -> Result<u16, ClientError> {
    let Request {
        method,
        path,
        token,
        body,
    } = request;
    let mut stream = TcpStream::connect(address).await?;
    let mut fields = Fields::new();
    fields.push(b"accept", b"application/json");
    if let Some(token) = token {
        fields.push(b"authorization", format!("Bearer {token}").as_bytes());
    }
    let framing = if body.is_empty() {
        Framing::None
    } else {
        fields.push(b"content-type", b"application/json");
        Framing::Length(body.len() as u64)
    };
    let line = RequestLine {
        method: method.as_bytes(),
        target: path.as_bytes(),
        authority: address.as_bytes(),
        framing,
        close: true,
        expect_continue: false,
        upgrade: b"",
    };
    let mut out = Vec::new();
    http1::write_request(line, &fields, &mut out);
    out.extend_from_slice(body);
    stream.write_all(&out).await?;

    let limits = Limits::default();
    let mut head = ReplyHead::default();
    let mut bytes = Vec::new();
    loop {
        let parsed = http1::parse_reply(&bytes, false, &limits, &mut head);
        match parsed.map_err(|refusal| ClientError::Refused(refusal.reason))? {
            Parsed::Complete(len) => {
                bytes.drain(..len);
                if head.status >= 200 {
                    break;
                }
            }
            Parsed::Need => {
                if !fill(&mut stream, &mut bytes).await? {
                    return Err(ClientError::Refused(
                        "the connection closed before the answer",
                    ));
                }
            }
        }
    }
    let mut decoder = BodyDecoder::new(head.framing, &limits);
    loop {
        match decoder
            .decode(&bytes)
            .map_err(|refusal| ClientError::Refused(refusal.reason))?
        {
            BodyStep::Data { skip, len } => {
                let wants_more = take(head.status, bytes.get(skip..skip + len).unwrap_or_default());
                bytes.drain(..skip + len);
                if !wants_more {
                    return Ok(head.status);
                }
            }
            BodyStep::End { .. } => return Ok(head.status),
            BodyStep::Need { skip } => {
                bytes.drain(..skip);
                if !fill(&mut stream, &mut bytes).await? {
                    if decoder.finish() {
                        return Ok(head.status);
                    }
                    return Err(ClientError::Refused(
                        "the connection closed within the answer",
                    ));
                }
            }
        }
    }
}

/// Reads more; false at the end of the stream.
async fn fill(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> io::Result<bool> {
    bytes.reserve(READ_BYTES);
    Ok(stream.read_buf(bytes).await? > 0)
}

#[cfg(test)]
mod tests;
