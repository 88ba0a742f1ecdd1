//! The app's end of HTTP/1.1: one exchange after the other on a kept connection, bodies streamed both ways.

use crate::wire::Wire;
use bytes::{Buf, Bytes};
use std::io;
use tokio::net::TcpStream;
use weft_codec::Fields;
use weft_codec::http1::{
    self, BodyDecoder, BodyStep, Framing, Limits, Parsed, RequestHead, StatusLine,
};

/// One connection of a caller, at one of its exchanges.
#[derive(Debug)]
pub(crate) struct Exchange {
    wire: Wire,
    limits: Limits,
    head: RequestHead,
    body: BodyDecoder,
    /// A 100 is still owed to the caller.
    owes_continue: bool,
    reply_framing: Framing,
    out: Vec<u8>,
}

/// A reply's head.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reply<'a> {
    pub(crate) status: u16,
    pub(crate) content_type: &'a str,
    pub(crate) framing: Framing,
    /// Whether the connection closes afterwards although the caller would keep it.
    pub(crate) close: bool,
}

/// The kind of replies that are text.
pub(crate) const TEXT: &str = "text/plain; charset=utf-8";
/// The kind of replies that are JSON.
pub(crate) const JSON: &str = "application/json";
/// The kind of replies that are bytes.
pub(crate) const BYTES: &str = "application/octet-stream";

impl Exchange {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let limits = Limits::default();
        Self {
            wire: Wire::new(stream),
            head: RequestHead::default(),
            body: BodyDecoder::new(Framing::None, &limits),
            owes_continue: false,
            reply_framing: Framing::None,
            out: Vec::new(),
            limits,
        }
    }

    /// Waits for the next request; false when the caller is done, or was refused.
    pub(crate) async fn next(&mut self) -> io::Result<bool> {
        loop {
            match http1::parse_request(&self.wire.bytes, &self.limits, &mut self.head) {
                Ok(Parsed::Complete(len)) => {
                    self.wire.bytes.advance(len);
                    self.body = BodyDecoder::new(self.head.framing, &self.limits);
                    self.owes_continue = self.head.expect_continue;
                    return Ok(true);
                }
                Ok(Parsed::Need) => {
                    if !self.wire.fill().await? {
                        return Ok(false);
                    }
                }
                Err(refusal) => {
                    let reply = Reply {
                        status: refusal.status,
                        content_type: TEXT,
                        framing: Framing::None,
                        close: true,
                    };
                    self.whole(reply, refusal.reason.as_bytes()).await?;
                    return Ok(false);
                }
            }
        }
    }

    pub(crate) fn method(&self) -> &[u8] {
        self.head.fields.bytes(self.head.method)
    }

    /// The target up to the query.
    pub(crate) fn path(&self) -> &[u8] {
        let target = self.target();
        target.split(|byte| *byte == b'?').next().unwrap_or(target)
    }

    pub(crate) fn target(&self) -> &[u8] {
        self.head.fields.bytes(self.head.target)
    }

    pub(crate) fn authority(&self) -> &[u8] {
        self.head.fields.bytes(self.head.authority)
    }

    pub(crate) fn fields(&self) -> &Fields {
        &self.head.fields
    }

    pub(crate) fn request_framing(&self) -> Framing {
        self.head.framing
    }

    /// The value of a query parameter.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let (_, query) = std::str::from_utf8(self.target()).ok()?.split_once('?')?;
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(name)?.strip_prefix('='))
    }

    /// The next bytes of the request's body; none at its end.
    pub(crate) async fn next_body(&mut self) -> io::Result<Option<Bytes>> {
        if std::mem::take(&mut self.owes_continue) {
            self.wire.write(b"HTTP/1.1 100 Continue\r\n\r\n").await?;
        }
        next_body(&mut self.wire, &mut self.body).await
    }

    /// The trailers of the request's body, after its end.
    pub(crate) fn take_trailers(&mut self) -> Option<Fields> {
        self.body.take_trailers()
    }

    /// Starts a reply; its bytes follow by [`Exchange::write_body`] and [`Exchange::end`].
    pub(crate) async fn start(&mut self, reply: Reply<'_>) -> io::Result<()> {
        let mut fields = Fields::new();
        let has_body = self.method() != b"HEAD" && !matches!(reply.status, 204 | 304);
        if !matches!(reply.status, 204 | 304) {
            fields.push(b"content-type", reply.content_type.as_bytes());
        }
        fields.push(b"server", b"weft-demo");
        let declared_length = match reply.framing {
            Framing::Length(len) if !has_body => Some(len),
            _ => None,
        };
        self.reply_framing = if has_body {
            reply.framing
        } else {
            Framing::None
        };
        let line = StatusLine {
            status: reply.status,
            reason: b"",
            framing: self.reply_framing,
            declared_length,
            close: reply.close || !self.head.keep_alive,
            upgrade: b"",
        };
        self.out.clear();
        http1::write_reply(line, &fields, &mut self.out);
        self.wire.write(&self.out).await
    }

    /// Writes a piece of the reply's body.
    pub(crate) async fn write_body(&mut self, bytes: &[u8]) -> io::Result<()> {
        match self.reply_framing {
            Framing::None => Ok(()),
            Framing::Length(_) | Framing::Close => self.wire.write(bytes).await,
            Framing::Chunked if bytes.is_empty() => Ok(()),
            Framing::Chunked => {
                self.out.clear();
                http1::write_chunk_line(bytes.len(), &mut self.out);
                self.out.extend_from_slice(bytes);
                http1::write_chunk_end(&mut self.out);
                self.wire.write(&self.out).await
            }
        }
    }

    /// Ends the reply.
    pub(crate) async fn end(&mut self, trailers: Option<&Fields>) -> io::Result<()> {
        if self.reply_framing == Framing::Chunked {
            self.out.clear();
            http1::write_last_chunk(trailers, &mut self.out);
            self.wire.write(&self.out).await?;
        }
        Ok(())
    }

    /// A reply in one piece, in one write; its framing follows from the body.
    pub(crate) async fn whole(&mut self, reply: Reply<'_>, body: &[u8]) -> io::Result<()> {
        let has_body = self.method() != b"HEAD" && !matches!(reply.status, 204 | 304);
        let mut fields = Fields::new();
        if !matches!(reply.status, 204 | 304) {
            fields.push(b"content-type", reply.content_type.as_bytes());
        }
        let len = body.len() as u64;
        let line = StatusLine {
            status: reply.status,
            reason: b"",
            framing: if has_body {
                Framing::Length(len)
            } else {
                Framing::None
            },
            declared_length: (!has_body).then_some(len),
            close: reply.close || !self.head.keep_alive,
            upgrade: b"",
        };
        self.out.clear();
        http1::write_reply(line, &fields, &mut self.out);
        if has_body {
            self.out.extend_from_slice(body);
        }
        self.wire.write(&self.out).await
    }

    /// Reads what is left of the request's body; whether the connection serves another request.
    pub(crate) async fn finish(&mut self, close: bool) -> io::Result<bool> {
        // A caller that waits for a 100 which never came sends no body: only a close is clear then.
        if close || !self.head.keep_alive || self.owes_continue {
            return Ok(false);
        }
        while next_body(&mut self.wire, &mut self.body).await?.is_some() {}
        Ok(true)
    }
}

/// The next bytes of a body; none at its end.
pub(crate) async fn next_body(
    wire: &mut Wire,
    body: &mut BodyDecoder,
) -> io::Result<Option<Bytes>> {
    loop {
        let step = body
            .decode(&wire.bytes)
            .map_err(|refusal| io::Error::new(io::ErrorKind::InvalidData, refusal.reason))?;
        match step {
            BodyStep::Data { skip, len } => {
                wire.bytes.advance(skip);
                return Ok(Some(wire.bytes.split_to(len).freeze()));
            }
            BodyStep::End { skip } => {
                wire.bytes.advance(skip);
                return Ok(None);
            }
            BodyStep::Need { skip } => {
                wire.bytes.advance(skip);
                if !wire.fill().await? {
                    if body.finish() {
                        return Ok(None);
                    }
                    let text = "the connection ended within a body";
                    return Err(io::Error::new(io::ErrorKind::UnexpectedEof, text));
                }
            }
        }
    }
}

#[cfg(test)]
pub(crate) mod tests;
