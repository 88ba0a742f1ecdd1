//! One check of an app: whether it takes a connection, answers a GET, or a Motan heartbeat.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weft_codec::Fields;
use weft_codec::motan2::{self, Header, Step};
use weft_model::declared::Check;

/// Bytes of an answer that are read at the most.
const ANSWER_BYTES_MAX: usize = 4 * 1024;

/// The bytes of a status line up to its status: `HTTP/1.1 200`.
const STATUS_BYTES: usize = 12;

/// The request id of a heartbeat, which nobody else's call has on a connection of its own.
const HEARTBEAT_ID: u64 = 1;

/// Whether the app at this address passes the check within the limit.
pub(crate) async fn passes(address: IpAddr, check: &Check, limit: Duration) -> bool {
    let asked = tokio::time::timeout(limit, ask(address, check)).await;
    matches!(asked, Ok(Ok(true)))
}

async fn ask(address: IpAddr, check: &Check) -> io::Result<bool> {
    let (Check::Tcp { port } | Check::Http { port, .. } | Check::Motan { port }) = check;
    let address = SocketAddr::new(address, *port);
    let mut stream = TcpStream::connect(address).await?;
    match check {
        Check::Tcp { .. } => Ok(true),
        Check::Http { path, .. } => {
            let head = format!(
                "GET {path} HTTP/1.1\r\nHost: {address}\r\nUser-Agent: weft-check\r\nConnection: close\r\n\r\n"
            );
            stream.write_all(head.as_bytes()).await?;
            answer(&mut stream, is_well).await
        }
        Check::Motan { .. } => {
            let header = Header {
                heartbeat: true,
                request_id: HEARTBEAT_ID,
                ..Header::default()
            };
            let mut frame = Vec::new();
            motan2::write_head(header, &Fields::new(), 0, &mut frame);
            stream.write_all(&frame).await?;
            answer(&mut stream, is_beat).await
        }
    }
}

/// Reads until `verdict` is sure.
async fn answer(
    stream: &mut TcpStream,
    verdict: impl Fn(&[u8]) -> Option<bool>,
) -> io::Result<bool> {
    let mut bytes = Vec::new();
    while bytes.len() < ANSWER_BYTES_MAX {
        if stream.read_buf(&mut bytes).await? == 0 {
            break;
        }
        if let Some(verdict) = verdict(&bytes) {
            return Ok(verdict);
        }
    }
    Ok(false)
}

/// Whether a reply of HTTP/1 says 200 to 399.
fn is_well(bytes: &[u8]) -> Option<bool> {
    let line = bytes.get(..STATUS_BYTES)?;
    let status = line
        .strip_prefix(b"HTTP/1.")
        .and_then(|rest| std::str::from_utf8(rest.get(1..)?).ok())
        .and_then(|rest| rest.strip_prefix(' ')?.parse::<u16>().ok());
    Some(status.is_some_and(|status| (200..400).contains(&status)))
}

/// Whether a frame of Motan2 answers the heartbeat.
fn is_beat(bytes: &[u8]) -> Option<bool> {
    match motan2::parse(bytes, &motan2::Limits::default()) {
        Ok(Step::Need(_)) => None,
        Ok(Step::Frame { header, .. }) => {
            Some(header.response && header.request_id == HEARTBEAT_ID)
        }
        Err(_) => Some(false),
    }
}

#[cfg(test)]
mod tests;
