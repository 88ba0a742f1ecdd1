//! gRPC of a demo app, on the `h2` crate: a client of one address, the sidecar's, and the app's end. Messages are one
//! field of Protocol Buffers, which stands below; reflection, compression and deadlines are not needed here.

use bytes::{BufMut, Bytes, BytesMut};
use h2::client::SendRequest;
use h2::{Reason, RecvStream};
use http::{HeaderMap, HeaderValue, Request};
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Mutex;
use tokio::time::timeout;

/// What gRPC calls itself.
pub(crate) const CONTENT_TYPE: HeaderValue = HeaderValue::from_static("application/grpc");
/// Where a result stands.
pub(crate) const STATUS: &str = "grpc-status";
/// Bytes before a message: not compressed, and how long it is.
const PREFIX_BYTES: usize = 5;
/// Bytes of a message, at the most.
const MESSAGE_BYTES_MAX: usize = 64 * 1024;
/// How long a unary call may take.
const CALL_WAIT: Duration = Duration::from_secs(5);

/// Why a call brought no reply.
#[derive(Debug)]
pub(crate) enum CallError {
    /// The connection could not be opened.
    Io(io::Error),
    /// The connection or the stream broke.
    Broken(h2::Error),
    /// It took too long.
    Late,
    /// The result, and what was said of it.
    Status(String),
}

impl fmt::Display for CallError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Io(error) => write!(f, "the connection to the sidecar failed: {error}"),
            Self::Broken(error) => write!(f, "the call broke: {error}"),
            Self::Late => write!(f, "no reply within {} s", CALL_WAIT.as_secs()),
            Self::Status(text) => f.write_str(text),
        }
    }
}

impl From<h2::Error> for CallError {
    fn from(error: h2::Error) -> Self {
        Self::Broken(error)
    }
}

/// What is called.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Method {
    /// The service of the mesh.
    pub(crate) authority: &'static str,
    /// Package, service and method.
    pub(crate) path: &'static str,
}

/// A client with one connection, opened when it is needed.
#[derive(Debug)]
pub(crate) struct GrpcClient {
    address: SocketAddr,
    connection: Mutex<Option<SendRequest<Bytes>>>,
}

impl GrpcClient {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self {
            address,
            connection: Mutex::new(None),
        }
    }

    /// One message there, one back. A call whose kept connection broke is sent once more: it may be repeated.
    pub(crate) async fn unary(&self, method: Method, message: &[u8]) -> Result<Bytes, CallError> {
        let once = async || {
            let mut messages = self.call(method, message).await?;
            let reply = messages.next().await?;
            // The result comes behind the message.
            while messages.next().await?.is_some() {}
            reply.ok_or_else(|| CallError::Status("a result without a message".into()))
        };
        let call = async {
            match once().await {
                Err(CallError::Broken(error)) if is_connections(&error) => once().await,
                done => done,
            }
        };
        timeout(CALL_WAIT, call)
            .await
            .map_err(|_| CallError::Late)?
    }

    /// One message there, many back.
    pub(crate) async fn call(&self, method: Method, message: &[u8]) -> Result<Messages, CallError> {
        let mut connection = self.ready().await?;
        let request = Request::post(format!("http://{}{}", method.authority, method.path))
            .header(http::header::CONTENT_TYPE, CONTENT_TYPE)
            .header(http::header::TE, "trailers")
            .body(())
            .map_err(|error| CallError::Status(error.to_string()))?;
        let (response, mut body) = connection.send_request(request, false)?;
        body.send_data(framed(message), true)?;
        let (head, body) = response.await?.into_parts();
        result(&head.headers)?;
        Ok(Messages {
            body,
            received: BytesMut::new(),
        })
    }

    /// The kept connection if it takes another call, else a new one.
    async fn ready(&self) -> Result<SendRequest<Bytes>, CallError> {
        let mut kept = self.connection.lock().await;
        if let Some(connection) = kept.take()
            && let Ok(connection) = connection.ready().await
        {
            *kept = Some(connection.clone());
            return Ok(connection);
        }
        let stream = TcpStream::connect(self.address)
            .await
            .map_err(CallError::Io)?;
        stream.set_nodelay(true).map_err(CallError::Io)?;
        let (connection, driver) = h2::client::handshake(stream).await?;
        tokio::spawn(async move {
            // Its calls tell of its end.
            let _ = driver.await;
        });
        let connection = connection.ready().await?;
        *kept = Some(connection.clone());
        Ok(connection)
    }
}

/// Whether it was the connection that broke, or a call that nobody has seen.
fn is_connections(error: &h2::Error) -> bool {
    error.is_io() || error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM)
}

/// The messages of a reply.
#[derive(Debug)]
pub(crate) struct Messages {
    body: RecvStream,
    received: BytesMut,
}

impl Messages {
    /// The next one; none after the last, when the result was a good one.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, CallError> {
        loop {
            if let Some(message) = take(&mut self.received)? {
                return Ok(Some(message));
            }
            let Some(bytes) = self.body.data().await else {
                let trailers = self.body.trailers().await?;
                trailers.map_or(Ok(()), |trailers| result(&trailers))?;
                return Ok(None);
            };
            let bytes = bytes?;
            self.body.flow_control().release_capacity(bytes.len())?;
            self.received.extend_from_slice(&bytes);
        }
    }
}

/// The first whole message of these bytes.
pub(crate) fn take(received: &mut BytesMut) -> Result<Option<Bytes>, CallError> {
    let Some([compressed, length @ ..]) = received.first_chunk::<PREFIX_BYTES>() else {
        return Ok(None);
    };
    let length = u32::from_be_bytes(*length) as usize;
    if *compressed != 0 || length > MESSAGE_BYTES_MAX {
        let text = "a message that is compressed or too long for a demo app";
        return Err(CallError::Status(text.into()));
    }
    if received.len() < PREFIX_BYTES + length {
        return Ok(None);
    }
    let message = received.split_to(PREFIX_BYTES + length).freeze();
    Ok(Some(message.slice(PREFIX_BYTES..)))
}

/// A message behind its prefix.
pub(crate) fn framed(message: &[u8]) -> Bytes {
    let mut framed = BytesMut::with_capacity(PREFIX_BYTES + message.len());
    framed.put_u8(0);
    framed.put_u32(message.len() as u32);
    framed.put_slice(message);
    framed.freeze()
}

fn result(fields: &HeaderMap) -> Result<(), CallError> {
    let text = |name: &str| {
        let value = fields.get(name).map(HeaderValue::as_bytes);
        value.map(|value| String::from_utf8_lossy(value).into_owned())
    };
    match text(STATUS) {
        None => Ok(()),
        Some(status) if status == "0" => Ok(()),
        Some(status) => Err(CallError::Status(format!(
            "gRPC status {status}: {}",
            text("grpc-message").unwrap_or_default()
        ))),
    }
}

/// A message whose field 1 is a text of fewer than 128 bytes: what is asked.
pub(crate) fn write_text(text: &str) -> Vec<u8> {
    let length = text.len().min(127);
    let mut message = vec![0x0a, length as u8];
    message.extend(&text.as_bytes()[..length]);
    message
}

/// Reads it.
pub(crate) fn read_text(message: &[u8]) -> Option<&str> {
    match message {
        [0x0a, length, text @ ..] if usize::from(*length) == text.len() && *length < 128 => {
            std::str::from_utf8(text).ok()
        }
        _ => None,
    }
}

/// A message whose field 1 is a number from 0 to 127: what is answered.
pub(crate) fn write_number(number: u8) -> [u8; 2] {
    [0x08, number.min(127)]
}

/// Reads it.
pub(crate) fn read_number(message: &[u8]) -> Option<u8> {
    match message {
        [0x08, number] if *number < 128 => Some(*number),
        _ => None,
    }
}

#[cfg(test)]
mod tests;
