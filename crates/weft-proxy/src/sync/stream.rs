//! One open stream to a center: gRPC framing on HTTP/2, each wait with its limit.
//!
//! Never in here: what the messages mean.

use super::log;
use bytes::Bytes;
use h2::client::SendRequest;
use h2::{PingPong, RecvStream, SendStream};
use http::Request;
use std::fmt;
use std::future::poll_fn;
use std::net::IpAddr;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};
use weft_api::grpc;
use weft_api::sync::arriving::{ArrivingDelta, Heard, read_message};
use weft_api::sync::{self, from_center, from_sidecar};

/// The path of the stream.
pub(super) const PATH: &str = "/weft.sync.v1.Sync/Stream";

/// A center must answer a connect, and the head of the stream, within this time.
const CONNECT_WAIT_MAX: Duration = Duration::from_secs(3);

/// A center that takes nothing this long is given up.
const WRITE_WAIT_MAX: Duration = Duration::from_secs(10);

/// The connection is asked for a sign of life this often; one that gives none as long is given up.
const KEEPALIVE: Duration = Duration::from_secs(5);

/// A goodbye gets this long to reach the center.
const GOODBYE_WAIT_MAX: Duration = Duration::from_millis(500);

/// Bytes on the way to us.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// Bytes of the heads that a center sends.
const HEAD_BYTES_MAX: u32 = 16 * 1024;

/// What a center says.
pub(super) enum Told {
    Delta(ArrivingDelta),
    Other(from_center::Kind),
}

/// One open stream to a center.
pub(super) struct Stream {
    sender: SendStream<Bytes>,
    receiver: RecvStream,
    decoder: grpc::Decoder,
    /// The own end of its connection.
    pub(super) local_address: IpAddr,
    /// Its connection, driven by a task of its own.
    _connection: AbortOnDrop,
}

impl Stream {
    pub(super) async fn open(center: &str) -> Result<Self, Away> {
        let step = "connect to the center";
        let socket = timeout(CONNECT_WAIT_MAX, TcpStream::connect(center)).await;
        let socket = socket
            .map_err(|_| Away::Late(step))?
            .map_err(failed(step))?;
        socket.set_nodelay(true).map_err(failed(step))?;
        let local_address = socket
            .local_addr()
            .map_err(failed(step))?
            .ip()
            .to_canonical();
        let step = "open a stream to the center";
        let (client, mut connection) = h2::client::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .max_header_list_size(HEAD_BYTES_MAX)
            .enable_push(false)
            .handshake(socket)
            .await
            .map_err(failed(step))?;
        let ping_pong = connection
            .ping_pong()
            .ok_or_else(|| Away::Failed(step, "no ping can be sent".to_owned()))?;
        let connection = AbortOnDrop(tokio::spawn(async move {
            // How it ended is seen at the stream; without its connection that ends, too.
            tokio::select! {
                _ = connection => {}
                () = until_silent(ping_pong) => log("warn", "the center gives no sign of life", &[]),
            }
        }));
        let opened = timeout(CONNECT_WAIT_MAX, request(client, center)).await;
        let (sender, receiver) = opened.map_err(|_| Away::Late(step))??;
        let decoder = grpc::Decoder::new(grpc::MESSAGE_BYTES_MAX);
        Ok(Self {
            sender,
            receiver,
            decoder,
            local_address,
            _connection: connection,
        })
    }

    /// The next message of a known kind. Losing the race in a `select!` loses no byte.
    pub(super) async fn next(&mut self) -> Result<Told, Away> {
        let step = "read from the center";
        loop {
            while let Some(message) = self.decoder.next_by(read_message).map_err(failed(step))? {
                match message {
                    Heard::Delta(delta) => return Ok(Told::Delta(delta)),
                    Heard::Other(Some(kind)) => return Ok(Told::Other(kind)),
                    Heard::Other(None) => {}
                }
            }
            match self.receiver.data().await {
                Some(Ok(data)) => {
                    self.decoder.push(&data);
                    let released = self.receiver.flow_control().release_capacity(data.len());
                    released.map_err(failed(step))?;
                }
                Some(Err(error)) => return Err(Away::Failed(step, error.to_string())),
                None => return Err(Away::Ended(self.last_words().await)),
            }
        }
    }

    /// What the trailers say.
    async fn last_words(&mut self) -> String {
        let trailers = timeout(GOODBYE_WAIT_MAX, self.receiver.trailers()).await;
        let Ok(Ok(Some(trailers))) = trailers else {
            return "it gave no reason".to_owned();
        };
        let text = |name| {
            trailers
                .get(name)
                .and_then(|value| value.to_str().ok())
                .unwrap_or("")
        };
        format!("status {} {}", text("grpc-status"), text("grpc-message"))
            .trim_end()
            .to_owned()
    }

    pub(super) async fn say(&mut self, kind: from_sidecar::Kind) -> Result<(), Away> {
        let step = "send to the center";
        let mut out = Vec::new();
        grpc::encode(&sync::FromSidecar { kind: Some(kind) }, &mut out);
        timeout(WRITE_WAIT_MAX, self.write(out.into()))
            .await
            .map_err(|_| Away::Late(step))?
            .map_err(failed(step))
    }

    /// Writes as the center's window allows, so that nothing piles up here.
    async fn write(&mut self, mut bytes: Bytes) -> Result<(), h2::Error> {
        while !bytes.is_empty() {
            self.sender.reserve_capacity(bytes.len());
            if self.sender.capacity() == 0 {
                match poll_fn(|cx| self.sender.poll_capacity(cx)).await {
                    Some(granted) => granted?,
                    None => return Err(h2::Reason::STREAM_CLOSED.into()),
                };
            }
            let taken = self.sender.capacity().min(bytes.len());
            if taken > 0 {
                self.sender.send_data(bytes.split_to(taken), false)?;
            }
        }
        Ok(())
    }

    pub(super) async fn refuse(
        &mut self,
        version: Option<sync::Version>,
        why: sync::FieldError,
    ) -> Result<(), Away> {
        log(
            "warn",
            "an update of the center was refused",
            &[("field", &why.field), ("why", &why.reason)],
        );
        let nack = sync::Nack {
            version,
            field: why.field,
            reason: why.reason,
        };
        self.say(from_sidecar::Kind::Nack(nack)).await
    }

    /// Tells the center that the instance leaves, and waits a little for it to have heard.
    pub(super) async fn say_goodbye(&mut self, reason: &str) {
        let goodbye = sync::Goodbye {
            reason: reason.to_owned(),
        };
        let heard = async {
            self.say(from_sidecar::Kind::Goodbye(goodbye)).await?;
            loop {
                self.next().await?;
            }
        };
        let _: Result<Result<(), Away>, _> = timeout(GOODBYE_WAIT_MAX, heard).await;
    }
}

/// Sends the stream's head and awaits its answer.
async fn request(
    mut client: SendRequest<Bytes>,
    center: &str,
) -> Result<(SendStream<Bytes>, RecvStream), Away> {
    let step = "open a stream to the center";
    let head = Request::post(format!("http://{center}{PATH}"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .map_err(failed(step))?;
    poll_fn(|cx| client.poll_ready(cx))
        .await
        .map_err(failed(step))?;
    let (reply, sender) = client.send_request(head, false).map_err(failed(step))?;
    let reply = reply.await.map_err(failed(step))?;
    if reply.status() != http::StatusCode::OK {
        let found = format!(
            "it answered {}; is this the port of a weft center?",
            reply.status()
        );
        return Err(Away::Failed(step, found));
    }
    Ok((sender, reply.into_body()))
}

/// A task that ends with its owner.
struct AbortOnDrop(JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// Asks for a sign of life again and again, and ends when none comes: a center that is cut off looks like
/// one that has nothing to say.
async fn until_silent(mut ping_pong: PingPong) {
    while let Ok(Ok(_)) = timeout(KEEPALIVE, ping_pong.ping(h2::Ping::opaque())).await {
        sleep(KEEPALIVE).await;
    }
}

/// Why a stream ended.
#[derive(Debug)]
pub(super) enum Away {
    /// A step took longer than its limit.
    Late(&'static str),
    /// A step failed.
    Failed(&'static str, String),
    /// The center ended the stream.
    Ended(String),
}

impl fmt::Display for Away {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Late(step) => write!(f, "{step}: it took too long"),
            Self::Failed(step, found) => write!(f, "{step}: {found}"),
            Self::Ended(message) => write!(f, "the center ended the stream: {message}"),
        }
    }
}

pub(super) fn failed<E: fmt::Display>(step: &'static str) -> impl FnOnce(E) -> Away {
    move |error| Away::Failed(step, error.to_string())
}
