//! Pooled buffers, taken only while a call is in flight: an idle connection holds none. All that are in use count in
//! the process's budget.

use crate::budget;
use std::cell::RefCell;
use std::io;
use std::ops::{Deref, DerefMut};
use std::task::{Context, Poll, ready};
use tokio::net::TcpStream;

/// Bytes of a pooled buffer when new.
pub(crate) const BUFFER_BYTES: usize = 16 * 1024;

/// A buffer that has grown beyond this is freed, not pooled.
const POOLED_BYTES_MAX: usize = 64 * 1024;

/// Free buffers that a worker keeps.
const POOLED_MAX: usize = 64;

/// A large buffer (a link's batch of frames) that has grown beyond this is freed, not pooled.
const LARGE_BYTES_MAX: usize = 256 * 1024;

/// Free large buffers that a worker keeps.
const LARGE_POOLED_MAX: usize = 4;

/// Copies up to this size are not pooled.
const LITTLE_BYTES_MAX: usize = 2 * 1024;

/// Room for one read of a tunnel in which much flows.
const MUCH_BYTES: usize = 128 * 1024;

/// Room made for one read at the least.
const READ_ROOM_MIN: usize = 4 * 1024;

thread_local! {
    static POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static LARGE_POOL: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
}

/// A buffer from the worker's pool; goes back when dropped.
#[derive(Debug)]
pub(crate) struct Buffer {
    bytes: Vec<u8>,
    /// Its room, as the process's budget knows it.
    counted: usize,
}

impl Buffer {
    /// An empty buffer.
    pub(crate) fn take() -> Self {
        let pooled = POOL.with(|pool| pool.borrow_mut().pop());
        Self::counting(pooled.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES)))
    }

    /// An empty buffer that may have grown before, for a batch of many calls.
    pub(crate) fn take_large() -> Self {
        LARGE_POOL
            .with(|pool| pool.borrow_mut().pop())
            .map_or_else(Self::take, Self::counting)
    }

    fn counting(bytes: Vec<u8>) -> Self {
        let counted = bytes.capacity();
        budget::hold(counted);
        Self { bytes, counted }
    }

    /// Tells the process's budget how much it has grown.
    pub(crate) fn recount(&mut self) {
        let room = self.bytes.capacity();
        if room != self.counted {
            budget::hold(room);
            budget::release(std::mem::replace(&mut self.counted, room));
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        budget::release(self.counted);
        let (pool, count_max) = match self.bytes.capacity() {
            capacity if capacity < BUFFER_BYTES => return,
            capacity if capacity <= POOLED_BYTES_MAX => (&POOL, POOLED_MAX),
            capacity if capacity <= LARGE_BYTES_MAX => (&LARGE_POOL, LARGE_POOLED_MAX),
            _ => return,
        };
        let mut bytes = std::mem::take(&mut self.bytes);
        bytes.clear();
        // At thread end the pool may be gone; then the buffer is simply freed.
        let _ = pool.try_with(|pool| {
            let mut pool = pool.borrow_mut();
            if pool.len() < count_max {
                pool.push(bytes);
            }
        });
    }
}

impl Deref for Buffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.bytes
    }
}

impl DerefMut for Buffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.bytes
    }
}

/// A piece of a body: a buffer and the part of it that counts.
#[derive(Debug)]
pub(crate) struct Chunk {
    buffer: Buffer,
    start: usize,
    end: usize,
}

impl Chunk {
    /// A copy of these bytes.
    pub(crate) fn copy_of(bytes: &[u8]) -> Self {
        // Little bytes get a little buffer: memory follows what was received, also with thousands of calls that
        // each hold a few bytes.
        let mut buffer = if bytes.len() <= LITTLE_BYTES_MAX {
            Buffer::counting(Vec::with_capacity(bytes.len()))
        } else {
            Buffer::take()
        };
        buffer.extend_from_slice(bytes);
        Self {
            start: 0,
            end: buffer.len(),
            buffer,
        }
    }

    /// Appends bytes when the buffer can hold them without growing beyond an ordinary one.
    pub(crate) fn try_append(&mut self, bytes: &[u8]) -> bool {
        let fits = self.end == self.buffer.len() && self.end + bytes.len() <= BUFFER_BYTES;
        if fits {
            self.buffer.extend_from_slice(bytes);
            self.end = self.buffer.len();
        }
        fits
    }

    /// The bytes.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(self.start..self.end).unwrap_or_default()
    }

    /// Drops the first `count` bytes.
    pub(crate) fn advance(&mut self, count: usize) {
        self.start = (self.start + count).min(self.end);
    }
}

/// Received bytes that are not yet consumed. Holds a buffer only while there are some.
#[derive(Debug, Default)]
pub(crate) struct Inbox {
    buffer: Option<Buffer>,
    start: usize,
}

impl Inbox {
    /// The bytes received and not consumed.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer
            .as_ref()
            .and_then(|buffer| buffer.get(self.start..))
            .unwrap_or_default()
    }

    /// Whether there are none.
    pub(crate) fn is_empty(&self) -> bool {
        self.bytes().is_empty()
    }

    /// Drops the first `count` bytes; the buffer goes back when none are left.
    pub(crate) fn consume(&mut self, count: usize) {
        self.start += count;
        if self
            .buffer
            .as_ref()
            .is_none_or(|buffer| self.start >= buffer.len())
        {
            self.buffer = None;
            self.start = 0;
        }
    }

    /// Takes the first `count` bytes. Without a copy when they are all there is.
    pub(crate) fn take(&mut self, count: usize) -> Chunk {
        let available = self.bytes().len();
        let count = count.min(available);
        if count == available
            && let Some(buffer) = self.buffer.take()
        {
            let start = std::mem::take(&mut self.start);
            return Chunk {
                end: buffer.len(),
                buffer,
                start,
            };
        }
        let chunk = Chunk::copy_of(self.bytes().get(..count).unwrap_or_default());
        self.consume(count);
        chunk
    }

    /// Puts bytes at the end.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        let buffer = self.buffer.get_or_insert_with(Buffer::take);
        buffer.extend_from_slice(bytes);
        buffer.recount();
    }

    /// Reads once from the socket: how many bytes came; 0 at its end. Takes a buffer only when the socket
    /// claims to be readable, and gives it back when that was not true (a fresh socket always claims it).
    pub(crate) fn poll_fill(
        &mut self,
        stream: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(stream.poll_read_ready(cx))?;
            match self.try_fill(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// The same for a peer that may be slow: while it waits, a few bytes lie in a little buffer.
    pub(crate) fn poll_fill_patiently(
        &mut self,
        stream: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        let result = self.poll_fill(stream, cx);
        if result.is_pending() {
            self.shrink();
        }
        result
    }

    /// Moves a few bytes out of a large buffer, which goes back.
    fn shrink(&mut self) {
        let len = self.bytes().len();
        let is_large = |buffer: &Buffer| buffer.capacity() >= BUFFER_BYTES;
        if len <= LITTLE_BYTES_MAX && self.buffer.as_ref().is_some_and(is_large) {
            let mut little = Vec::with_capacity(len);
            little.extend_from_slice(self.bytes());
            self.buffer = Some(Buffer::counting(little));
            self.start = 0;
        }
    }

    /// The same into a large buffer, for an inbox that is empty.
    pub(crate) fn poll_fill_much(
        &mut self,
        stream: &TcpStream,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(stream.poll_read_ready(cx))?;
            let buffer = self.buffer.get_or_insert_with(Buffer::take_large);
            buffer.reserve(MUCH_BYTES);
            match self.try_fill(stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                result => return Poll::Ready(result),
            }
        }
    }

    /// Reads once without waiting.
    pub(crate) fn try_fill(&mut self, stream: &TcpStream) -> io::Result<usize> {
        let start = self.start;
        let buffer = self.buffer.get_or_insert_with(Buffer::take);
        if buffer.capacity() - buffer.len() < READ_ROOM_MIN && start > 0 {
            // Move what is left to the front rather than grow.
            buffer.drain(..start);
            self.start = 0;
        }
        if buffer.capacity() - buffer.len() < READ_ROOM_MIN {
            buffer.reserve(READ_ROOM_MIN);
        }
        // Reads into the room that was made above: a vector grows only when it has none.
        let result = stream.try_read_buf(&mut buffer.bytes);
        buffer.recount();
        if self.bytes().is_empty() {
            self.buffer = None;
            self.start = 0;
        }
        result
    }
}

/// Writes all of `bytes` to the socket. The caller limits the time.
pub(crate) async fn write_all(stream: &TcpStream, bytes: &[u8]) -> io::Result<()> {
    let mut written = 0;
    while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
        match stream.try_write(rest) {
            Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
            Ok(count) => written += count,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.writable().await?,
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

impl bytes::Buf for Chunk {
    fn remaining(&self) -> usize {
        self.end - self.start
    }

    fn chunk(&self) -> &[u8] {
        self.bytes()
    }

    fn advance(&mut self, count: usize) {
        Self::advance(self, count);
    }
}

impl From<Buffer> for Chunk {
    fn from(mut buffer: Buffer) -> Self {
        buffer.recount();
        Self {
            start: 0,
            end: buffer.len(),
            buffer,
        }
    }
}

#[cfg(test)]
mod tests;
