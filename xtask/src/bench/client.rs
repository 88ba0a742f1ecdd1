//! Requests of a known number on one connection, and many connections that stay open.
//!
//! Blocking and simple: what is counted here is calls, never time.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// How long one reply may take; valgrind slows a sidecar down fifty times.
const REPLY_WITHIN: Duration = Duration::from_secs(20);

/// Bytes of a reply at the most.
const REPLY_BYTES_MAX: usize = 1 << 20;

/// A keep-alive connection.
pub(super) struct Client {
    stream: TcpStream,
    received: Vec<u8>,
}

impl Client {
    /// Connects.
    pub(super) fn connect(address: SocketAddr) -> Result<Self, String> {
        let told = |error| format!("connect to {address}: {error}");
        let stream = TcpStream::connect_timeout(&address, REPLY_WITHIN).map_err(told)?;
        stream.set_nodelay(true).map_err(told)?;
        stream.set_read_timeout(Some(REPLY_WITHIN)).map_err(told)?;
        Ok(Self {
            stream,
            received: Vec::with_capacity(4096),
        })
    }

    /// One GET as the last one, of whose reply only the head is read; the status.
    pub(super) fn ask(&mut self, host: &str) -> Result<u16, String> {
        self.head(host).map(|(status, _)| status)
    }

    /// One GET: the status of its reply, and the bytes of its head.
    fn head(&mut self, host: &str) -> Result<(u16, usize), String> {
        let request = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        self.send(request.as_bytes())?;
        let head = self.wait_for(|received| {
            received
                .windows(4)
                .position(|four| four == b"\r\n\r\n")
                .map(|at| at + 4)
        })?;
        let text = String::from_utf8_lossy(&self.received[..head]);
        let status = text
            .split(' ')
            .nth(1)
            .and_then(|status| status.parse().ok());
        let status = status.ok_or_else(|| format!("no status in the reply \"{text}\""))?;
        Ok((status, head))
    }

    /// One GET, its reply read to the end; the status.
    pub(super) fn get(&mut self, host: &str) -> Result<u16, String> {
        let (status, head) = self.head(host)?;
        let text = String::from_utf8_lossy(&self.received[..head]).to_lowercase();
        let body: usize = text
            .lines()
            .find_map(|line| line.strip_prefix("content-length:"))
            .and_then(|length| length.trim().parse().ok())
            .ok_or_else(|| format!("no content-length in the reply \"{text}\""))?;
        let end =
            self.wait_for(|received| (received.len() >= head + body).then_some(head + body))?;
        self.received.drain(..end);
        Ok(status)
    }

    /// So many GETs one after another, each answered with 200.
    pub(super) fn get_times(&mut self, host: &str, times: u64) -> Result<(), String> {
        for _ in 0..times {
            let status = self.get(host)?;
            if status != 200 {
                return Err(format!("GET / of \"{host}\" was answered with {status}"));
            }
        }
        Ok(())
    }

    /// Writes bytes as they are.
    pub(super) fn send(&mut self, bytes: &[u8]) -> Result<(), String> {
        self.stream
            .write_all(bytes)
            .map_err(|error| format!("send a request: {error}"))
    }

    /// Reads until a whole thing is there, and takes it.
    pub(super) fn take(
        &mut self,
        end_of: impl Fn(&[u8]) -> Option<usize>,
    ) -> Result<Vec<u8>, String> {
        let end = self.wait_for(end_of)?;
        Ok(self.received.drain(..end).collect())
    }

    fn wait_for(&mut self, end_of: impl Fn(&[u8]) -> Option<usize>) -> Result<usize, String> {
        let mut chunk = [0; 16 * 1024];
        loop {
            if let Some(end) = end_of(&self.received) {
                return Ok(end);
            }
            if self.received.len() > REPLY_BYTES_MAX {
                return Err(format!("the reply is larger than {REPLY_BYTES_MAX} bytes"));
            }
            match self.stream.read(&mut chunk) {
                Ok(0) => return Err("the connection was closed before the reply's end".to_owned()),
                Ok(count) => self.received.extend_from_slice(&chunk[..count]),
                Err(error) => return Err(format!("read a reply: {error}")),
            }
        }
    }
}
