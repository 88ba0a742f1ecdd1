//! A TCP connection with the bytes that came and are not yet read.

use bytes::BytesMut;
use std::io;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

/// What a read asks for at least.
const READ_BYTES: usize = 16 * 1024;

/// A TCP connection, or its reading half, with the bytes that came and are not yet read.
#[derive(Debug)]
pub(crate) struct Wire<S = TcpStream> {
    stream: S,
    pub(crate) bytes: BytesMut,
}

impl<S: AsyncRead + Unpin> Wire<S> {
    pub(crate) fn new(stream: S) -> Self {
        Self {
            stream,
            bytes: BytesMut::new(),
        }
    }

    /// Reads more; false at the end of the stream.
    pub(crate) async fn fill(&mut self) -> io::Result<bool> {
        self.bytes.reserve(READ_BYTES);
        Ok(self.stream.read_buf(&mut self.bytes).await? > 0)
    }
}

impl Wire {
    /// Whether a kept connection cannot serve another call: it was closed, or bytes came that nobody asked for.
    pub(crate) fn is_stale(&self) -> bool {
        !self.bytes.is_empty() || self.stream.try_read(&mut [0]).is_ok()
    }
}

impl<S: AsyncWrite + Unpin> Wire<S> {
    pub(crate) async fn write(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes).await
    }
}
