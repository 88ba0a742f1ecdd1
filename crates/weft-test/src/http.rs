//! An HTTP/1.1 caller that writes what a test says, byte by byte, and reads replies with a small reader of its own.

use crate::wait::within;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Bytes that are asked of the socket at once.
const READ_BYTES: usize = 64 * 1024;

/// The fields of a head, in their order.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The first line.
    pub line: String,
    /// Names and values as they came.
    pub fields: Vec<(String, String)>,
}

impl Head {
    /// The values of a field, ignoring the case of its name.
    pub fn all(&self, name: &str) -> Vec<&str> {
        self.fields
            .iter()
            .filter(|(known, _)| known.eq_ignore_ascii_case(name))
            .map(|(_, value)| value.as_str())
            .collect()
    }

    /// The value of a field that is there once; panics when it is there twice.
    pub fn field(&self, name: &str) -> Option<&str> {
        let all = self.all(name);
        assert!(
            all.len() < 2,
            "field {name} is there {} times: {:?}",
            all.len(),
            self.fields
        );
        all.first().copied()
    }

    /// The n-th word of the first line.
    pub fn word(&self, at: usize) -> &str {
        self.line.split(' ').nth(at).unwrap_or_default()
    }

    /// How the body of a message with this head is framed. A request without framing has none.
    fn framing(&self, without: Framing) -> Framing {
        if self
            .all("transfer-encoding")
            .iter()
            .any(|value| value.eq_ignore_ascii_case("chunked"))
        {
            return Framing::Chunked;
        }
        match self.field("content-length") {
            Some(length) => Framing::Length(length.parse().expect("a content-length is a number")),
            None => without,
        }
    }
}

/// How a body ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Framing {
    /// After so many bytes.
    Length(usize),
    /// With a last chunk.
    Chunked,
    /// With the connection.
    Close,
}

/// A message.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Message {
    /// Its head.
    pub head: Head,
    /// Its body.
    pub body: Vec<u8>,
    /// The fields behind the last chunk.
    pub trailers: Head,
}

/// A reply.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reply {
    /// Its status.
    pub status: u16,
    /// Head, body, trailers.
    pub message: Message,
    /// Interim replies (1xx) that came before.
    pub interim: Vec<Head>,
    /// Whether the body came in chunks.
    pub chunked: bool,
}

impl Reply {
    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.message.head.field(name)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.message.body).expect("the body of the reply is text")
    }

    /// Panics unless this is the mesh's own failure with this status, code and blame.
    pub fn expect_failure(&self, status: u16, code: &str, blame: &str) {
        let found = (
            self.status,
            self.field("x-weft-code"),
            self.field("x-weft-blame"),
        );
        assert_eq!(found, (status, Some(code), Some(blame)), "{self:?}");
        let text = self.text();
        assert!(
            text.contains("WFT-"),
            "the sentence has no number: {text:?}"
        );
    }
}

/// A connection of which messages are read.
#[derive(Debug)]
pub struct Wire {
    /// The socket.
    pub stream: TcpStream,
    /// What was read and not yet taken.
    pub bytes: Vec<u8>,
}

impl Wire {
    /// Reads from this socket.
    pub fn new(stream: TcpStream) -> Self {
        // A socket that is already closed refuses; the first read will say so.
        let _ = stream.set_nodelay(true);
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    /// Reads once more; `false` at the end of the stream.
    pub async fn fill(&mut self) -> io::Result<bool> {
        let before = self.bytes.len();
        self.bytes.reserve(READ_BYTES);
        self.stream.read_buf(&mut self.bytes).await?;
        Ok(self.bytes.len() > before)
    }

    /// The next so many bytes.
    pub async fn take(&mut self, count: usize) -> io::Result<Vec<u8>> {
        while self.bytes.len() < count {
            if !self.fill().await? {
                return Err(broken("the stream ended within a body"));
            }
        }
        let rest = self.bytes.split_off(count);
        Ok(std::mem::replace(&mut self.bytes, rest))
    }

    /// The next line, without its CRLF.
    async fn line(&mut self) -> io::Result<String> {
        loop {
            if let Some(end) = find(&self.bytes, b"\r\n") {
                let mut line = self.take(end + 2).await?;
                line.truncate(end);
                return Ok(String::from_utf8_lossy(&line).into_owned());
            }
            if !self.fill().await? {
                return Err(broken("the stream ended within a line"));
            }
        }
    }

    /// The next head; `None` when the stream ends before its first byte.
    pub async fn head(&mut self) -> io::Result<Option<Head>> {
        while self.bytes.is_empty() {
            if !self.fill().await? {
                return Ok(None);
            }
        }
        let line = self.line().await?;
        let fields = self.fields().await?;
        Ok(Some(Head { line, fields }))
    }

    async fn fields(&mut self) -> io::Result<Vec<(String, String)>> {
        let mut fields = Vec::new();
        loop {
            let line = self.line().await?;
            if line.is_empty() {
                return Ok(fields);
            }
            let (name, value) = line
                .split_once(':')
                .ok_or_else(|| broken("a field without a colon"))?;
            fields.push((name.to_owned(), value.trim().to_owned()));
        }
    }

    /// The rest of a message with this head.
    pub async fn message(&mut self, head: Head, without: Framing) -> io::Result<Message> {
        let mut message = Message {
            head,
            ..Message::default()
        };
        match message.head.framing(without) {
            Framing::Length(length) => message.body = self.take(length).await?,
            Framing::Close => {
                while self.fill().await? {}
                message.body = std::mem::take(&mut self.bytes);
            }
            Framing::Chunked => loop {
                let line = self.line().await?;
                let digits = line.split(';').next().unwrap_or_default();
                let length = usize::from_str_radix(digits, 16)
                    .map_err(|_| broken("a chunk without a length"))?;
                if length == 0 {
                    message.trailers.fields = self.fields().await?;
                    break;
                }
                message.body.append(&mut self.take(length).await?);
                self.take(2).await?;
            },
        }
        Ok(message)
    }
}

/// A caller's connection.
#[derive(Debug)]
pub struct HttpConnection {
    /// The connection.
    pub wire: Wire,
}

impl HttpConnection {
    /// Connects to a port of this machine.
    pub async fn open(port: u16) -> Self {
        Self::open_at(SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port)).await
    }

    /// Connects to an address.
    pub async fn open_at(address: SocketAddr) -> Self {
        let stream = within("a connection", TcpStream::connect(address))
            .await
            .unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
        Self {
            wire: Wire::new(stream),
        }
    }

    /// Writes bytes as they are.
    pub async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        within(
            "the socket to take a request",
            self.wire.stream.write_all(bytes.as_ref()),
        )
        .await
        .expect("a request can be written");
    }

    /// Ends the own side; replies can still come.
    pub async fn half_close(&mut self) {
        self.wire
            .stream
            .shutdown()
            .await
            .expect("a socket can be half-closed");
    }

    /// Resets the connection.
    pub fn reset(self) {
        reset(self.wire.stream);
    }

    /// Sends a request and reads its reply. The reply to a HEAD is told by the request.
    pub async fn call(&mut self, request: impl AsRef<[u8]>) -> Reply {
        self.send(&request).await;
        if request.as_ref().starts_with(b"HEAD ") {
            self.reply_to_head().await
        } else {
            self.reply().await
        }
    }

    /// A GET of a path of a host.
    pub async fn get(&mut self, host: &str, path: &str) -> Reply {
        self.call(format!("GET {path} HTTP/1.1\r\nHost: {host}\r\n\r\n"))
            .await
    }

    /// A POST with a body.
    pub async fn post(&mut self, host: &str, path: &str, body: &[u8]) -> Reply {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        self.call([head.as_bytes(), body].concat()).await
    }

    /// The next reply, which must be whole.
    pub async fn reply(&mut self) -> Reply {
        self.try_reply()
            .await
            .unwrap_or_else(|error| panic!("reading a reply: {error}"))
    }

    /// The next reply, or how it broke.
    pub async fn try_reply(&mut self) -> io::Result<Reply> {
        self.read_reply(false).await
    }

    /// The next reply, without a body whatever its head says.
    pub async fn reply_to_head(&mut self) -> Reply {
        self.read_reply(true)
            .await
            .unwrap_or_else(|error| panic!("reading a reply to HEAD: {error}"))
    }

    /// Reads until the end of the stream, which must come, and come without a byte.
    pub async fn expect_end(&mut self) {
        let more = within("the end of the connection", self.wire.fill()).await;
        // A reset is an end too.
        assert!(
            !matches!(more, Ok(true)) && self.wire.bytes.is_empty(),
            "more came: {:?}",
            String::from_utf8_lossy(&self.wire.bytes)
        );
    }

    /// The head of the next reply, interim or not.
    pub async fn head(&mut self) -> Head {
        within("the head of a reply", self.wire.head())
            .await
            .expect("a head can be read")
            .expect("a head comes before the end of the stream")
    }

    async fn read_reply(&mut self, to_head: bool) -> io::Result<Reply> {
        within("a reply", async {
            let mut interim = Vec::new();
            loop {
                let head = self
                    .wire
                    .head()
                    .await?
                    .ok_or_else(|| broken("the stream ended before a reply"))?;
                assert_eq!(head.word(0), "HTTP/1.1", "not a reply: {:?}", head.line);
                let status: u16 = head.word(1).parse().expect("a status is a number");
                if (100..200).contains(&status) && status != 101 {
                    interim.push(head);
                    continue;
                }
                let chunked = !head.all("transfer-encoding").is_empty();
                let message = if to_head || matches!(status, 204 | 304) {
                    Message {
                        head,
                        ..Message::default()
                    }
                } else {
                    self.wire.message(head, Framing::Close).await?
                };
                return Ok(Reply {
                    status,
                    message,
                    interim,
                    chunked,
                });
            }
        })
        .await
    }
}

/// Resets a connection, with whatever was not yet sent or read.
pub fn reset(stream: TcpStream) {
    let socket = socket2::SockRef::from(&stream);
    socket
        .set_linger(Some(std::time::Duration::ZERO))
        .expect("a socket can be told not to linger");
    drop(stream);
}

/// A body of so many bytes, in which a piece that is lost, doubled or moved shows.
pub fn pattern(count: usize) -> Vec<u8> {
    // 251 is prime: no power of two repeats it.
    (0..count)
        .map(|at| (at % 251) as u8 ^ (at >> 16) as u8)
        .collect()
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes
        .windows(wanted.len())
        .position(|window| window == wanted)
}

fn broken(what: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::UnexpectedEof, what)
}

#[cfg(test)]
mod tests;
