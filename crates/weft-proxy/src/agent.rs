//! The line to the host agent: JSON lines over the inherited socket pair (messages: weft-api, `agent.rs`).
//!
//! Its end is the end of the host agent: the sidecar then leaves too, rather than hold ports as an orphan.

use std::io;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use weft_api::agent::{FromSidecar, LINE_BYTES_MAX, ToSidecar};

/// The reading half of the line.
pub(crate) struct FromAgent {
    lines: BufReader<OwnedReadHalf>,
    /// What has come of a line: kept here, so that a wait for the next message can be given up.
    begun: Vec<u8>,
}

/// The writing half of the line.
pub(crate) struct ToAgent(OwnedWriteHalf);

/// Takes the inherited socket over.
///
/// # Errors
/// When the runtime does not take the socket.
pub(crate) fn line(stream: std::os::unix::net::UnixStream) -> io::Result<(FromAgent, ToAgent)> {
    stream.set_nonblocking(true)?;
    let (read, write) = UnixStream::from_std(stream)?.into_split();
    let from = FromAgent {
        lines: BufReader::new(read),
        begun: Vec::new(),
    };
    Ok((from, ToAgent(write)))
}

impl FromAgent {
    /// The next message; `None` when the agent is gone or its line is broken.
    pub(crate) async fn next(&mut self) -> Option<ToSidecar> {
        loop {
            let room = LINE_BYTES_MAX.saturating_sub(self.begun.len());
            let mut limited = (&mut self.lines).take(room as u64);
            match limited.read_until(b'\n', &mut self.begun).await {
                Ok(1..) if self.begun.ends_with(b"\n") => {}
                _ => return None,
            }
            let message = serde_json::from_slice(&self.begun);
            self.begun.clear();
            if let Ok(message) = message {
                return Some(message);
            }
        }
    }
}

impl ToAgent {
    /// Tells the agent. An agent that is gone is noticed by the reading half.
    pub(crate) async fn tell(&mut self, message: &FromSidecar) {
        if let Ok(mut text) = serde_json::to_string(message) {
            text.push('\n');
            let _ = self.0.write_all(text.as_bytes()).await;
        }
    }
}
