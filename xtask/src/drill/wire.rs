//! Both ends of a drill's connections: one HTTP/1.1 message or one Motan2 frame at a time.
//!
//! Not the product's own client: whoever checks a mesh reads what came by himself, as far as he can.

use rustix::io::Errno;
use rustix::net::{RecvFlags, recv};
use std::io::{self, ErrorKind};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use weft_codec::Fields;
use weft_codec::motan2::{Header, Limits, Step, parse, parse_metadata, write_head};

/// Bytes of one message at the most.
const MESSAGE_BYTES_MAX: usize = 1 << 20;

/// The number of Motan's "simple" serialization, which nobody here decodes.
const SERIALIZE_SIMPLE: u8 = 1 << 3;

/// A connection and what it has brought.
#[derive(Debug)]
pub(super) struct Wire<S = TcpStream> {
    stream: S,
    bytes: Vec<u8>,
}

/// A Motan2 frame, as far as it matters here.
#[derive(Debug, Default)]
pub(super) struct Frame {
    pub(super) header: Header,
    pub(super) fields: Fields,
    pub(super) body: Vec<u8>,
}

/// A reply in HTTP/1.1.
#[derive(Debug)]
pub(super) struct Reply {
    pub(super) status: u16,
    /// Head and body as text.
    pub(super) text: String,
    /// Whether the connection stays.
    pub(super) keeps: bool,
}

impl Wire {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            bytes: Vec::new(),
        }
    }

    /// Whether a kept connection cannot serve another call: it was closed, or bytes came that nobody asked for.
    /// The kernel is asked: the runtime knows of an end only once it has looked, which a busy client does late.
    pub(super) fn is_stale(&self) -> bool {
        let look = RecvFlags::PEEK | RecvFlags::DONTWAIT;
        let quiet = recv(&self.stream, &mut [0], look) == Err(Errno::AGAIN);
        !quiet || !self.bytes.is_empty()
    }

    /// Both directions by themselves.
    pub(super) fn split(self) -> (Wire<OwnedReadHalf>, OwnedWriteHalf) {
        let (stream, writing) = self.stream.into_split();
        let bytes = self.bytes;
        (Wire { stream, bytes }, writing)
    }

    pub(super) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }
}

impl<S: AsyncRead + Unpin> Wire<S> {
    /// Reads more; false at the end of the stream.
    async fn fill(&mut self) -> io::Result<bool> {
        if self.bytes.len() > MESSAGE_BYTES_MAX {
            return Err(ErrorKind::InvalidData.into());
        }
        Ok(self.stream.read_buf(&mut self.bytes).await? > 0)
    }

    /// Reads one request to its end and takes it; none when no more comes.
    pub(super) async fn request(&mut self) -> io::Result<Option<String>> {
        self.message().await
    }

    /// Reads one reply to its end.
    pub(super) async fn reply(&mut self) -> io::Result<Reply> {
        let text = self.message().await?.ok_or(ErrorKind::UnexpectedEof)?;
        let status = text.split(' ').nth(1).and_then(|word| word.parse().ok());
        let status = status.ok_or(ErrorKind::InvalidData)?;
        let head = text.split("\r\n\r\n").next().unwrap_or_default();
        let closes = head.to_ascii_lowercase().contains("\r\nconnection: close");
        Ok(Reply {
            status,
            keeps: !closes,
            text,
        })
    }

    /// A message with a length, or in chunks.
    async fn message(&mut self) -> io::Result<Option<String>> {
        let head = loop {
            if let Some(at) = find(&self.bytes, b"\r\n\r\n") {
                break at + 4;
            }
            if !self.fill().await? {
                let empty = self.bytes.is_empty();
                return if empty {
                    Ok(None)
                } else {
                    Err(ErrorKind::UnexpectedEof.into())
                };
            }
        };
        let text = String::from_utf8_lossy(&self.bytes[..head]).to_ascii_lowercase();
        let length = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|length| length.trim().parse::<usize>().ok());
        let chunked = text.contains("transfer-encoding: chunked");
        let end = loop {
            let end = match length {
                Some(length) => (self.bytes.len() >= head + length).then_some(head + length),
                None if chunked => {
                    find(&self.bytes[head - 2..], b"\r\n0\r\n\r\n").map(|at| head - 2 + at + 7)
                }
                None => Some(head),
            };
            if let Some(end) = end {
                break end;
            }
            if !self.fill().await? {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        };
        let message: Vec<u8> = self.bytes.drain(..end).collect();
        Ok(Some(String::from_utf8_lossy(&message).into_owned()))
    }

    /// Reads one frame; none at the end of the stream.
    pub(super) async fn frame(&mut self) -> io::Result<Option<Frame>> {
        let limits = Limits::default();
        let refused = |refusal: weft_codec::motan2::Refusal| {
            io::Error::new(ErrorKind::InvalidData, refusal.reason)
        };
        loop {
            match parse(&self.bytes, &limits).map_err(refused)? {
                Step::Frame { header, meta, body } => {
                    let mut fields = Fields::default();
                    let meta = self.bytes.get(meta).unwrap_or_default();
                    parse_metadata(meta, &limits, &mut fields).map_err(refused)?;
                    let body = self.bytes.drain(..body.end).skip(body.start).collect();
                    return Ok(Some(Frame {
                        header,
                        fields,
                        body,
                    }));
                }
                Step::Need(_) => {
                    if !self.fill().await? {
                        return Ok(None);
                    }
                }
            }
        }
    }
}

/// The bytes of one frame.
pub(super) fn frame_bytes(header: Header, metadata: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut fields = Fields::default();
    for (name, value) in metadata {
        fields.push(name.as_bytes(), value.as_bytes());
    }
    let header = Header {
        serialize: SERIALIZE_SIMPLE,
        ..header
    };
    let mut out = Vec::new();
    write_head(header, &fields, body.len() as u32, &mut out);
    out.extend_from_slice(body);
    out
}

impl Frame {
    /// A field of its metadata.
    pub(super) fn value(&self, name: &str) -> Option<String> {
        let mut pairs = self.fields.iter();
        let found = pairs.find(|(key, _)| *key == name.as_bytes())?;
        Some(String::from_utf8_lossy(found.1).into_owned())
    }
}

fn find(bytes: &[u8], what: &[u8]) -> Option<usize> {
    bytes.windows(what.len()).position(|some| some == what)
}
