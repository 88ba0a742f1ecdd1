//! A center of which only the pushing is real: it tells one sidecar all that it uses, as often as it is asked to.
//!
//! A real center tells a sidecar everything only when it must. What that costs the sidecar is measured here, again
//! and again, and always with the same words.

use bytes::Bytes;
use h2::server::Connection;
use h2::{RecvStream, SendStream};
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use weft_api::grpc;
use weft_api::sync::{self, Version, from_center, from_sidecar};

/// How long the sidecar may take to come, and to take a push.
const WITHIN: Duration = Duration::from_secs(40);

/// Bytes that the sidecar may send before they are read: it says little.
const WINDOW_BYTES: u32 = 1024 * 1024;

/// The one stream of the one sidecar.
pub(super) struct Pusher {
    runtime: Runtime,
    stream: Stream,
}

struct Stream {
    sender: SendStream<Bytes>,
    receiver: RecvStream,
    decoder: grpc::Decoder,
    version: Version,
    /// Of the last Subscribe.
    subscribed: u64,
    /// Drives the connection while somebody waits for the stream.
    connection: JoinHandle<()>,
}

impl Pusher {
    /// Listens where the sidecar looks for its center, and waits until it comes.
    pub(super) fn start(address: SocketAddr) -> Result<Self, String> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|error| format!("start the runtime of the pusher: {error}"))?;
        let met = runtime.block_on(async { timeout(WITHIN, Stream::meet(address)).await });
        let stream = met.map_err(|_| "the sidecar does not come to the pusher".to_owned())??;
        Ok(Self { runtime, stream })
    }

    /// Tells all of these services with these instances, and waits until the sidecar uses them.
    pub(super) fn push(
        &mut self,
        services: &[(String, Vec<sync::Instance>)],
        names: &[u64],
    ) -> Result<(), String> {
        let stream = &mut self.stream;
        stream.version.revision += 1;
        let bytes = batch(services, names, stream);
        self.runtime.block_on(async {
            stream.send(bytes)?;
            let used = timeout(WITHIN, stream.acknowledged()).await;
            used.map_err(|_| "the sidecar does not take the push".to_owned())?
        })
    }
}

fn batch(services: &[(String, Vec<sync::Instance>)], names: &[u64], stream: &Stream) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut say = |kind| grpc::encode(&sync::FromCenter { kind: Some(kind) }, &mut bytes);
    for (service, instances) in services {
        say(from_center::Kind::Delta(sync::Delta {
            version: Some(stream.version),
            namespace: "default".to_owned(),
            service: service.clone(),
            full: true,
            upserted: instances.clone(),
            removed: Vec::new(),
        }));
    }
    say(from_center::Kind::Names(sync::NameSet {
        version: Some(stream.version),
        full: true,
        added: names.to_vec(),
        removed: Vec::new(),
        subscribed: stream.subscribed,
    }));
    bytes
}

impl Stream {
    async fn meet(address: SocketAddr) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("be a center at {address}: {error}");
        let listener = TcpListener::bind(address)
            .await
            .map_err(|error| told(&error))?;
        let (socket, _) = listener.accept().await.map_err(|error| told(&error))?;
        socket.set_nodelay(true).map_err(|error| told(&error))?;
        let mut connection: Connection<TcpStream, Bytes> = h2::server::Builder::new()
            .initial_window_size(WINDOW_BYTES)
            .initial_connection_window_size(WINDOW_BYTES)
            .handshake(socket)
            .await
            .map_err(|error| told(&error))?;
        let accepted = connection.accept().await;
        let (request, mut respond) = accepted
            .ok_or_else(|| told(&"the sidecar left"))?
            .map_err(|error| told(&error))?;
        let sender = respond
            .send_response(http::Response::new(()), false)
            .map_err(|error| told(&error))?;
        let connection =
            tokio::spawn(async move { while let Some(Ok(_)) = connection.accept().await {} });
        let mut stream = Self {
            sender,
            receiver: request.into_body(),
            decoder: grpc::Decoder::new(grpc::MESSAGE_BYTES_MAX),
            version: Version::default(),
            subscribed: 0,
            connection,
        };
        let from_sidecar::Kind::Hello(hello) = stream.hear().await? else {
            return Err(told(&"the sidecar says no hello"));
        };
        // The store that the sidecar knows, as it goes on.
        stream.version = hello.held.unwrap_or_default();
        let mut bytes = Vec::new();
        let hello = sync::CenterHello {
            protocol_version: sync::PROTOCOL_VERSION,
            store_id: hello.store_id,
            version: Some(stream.version),
            ..sync::CenterHello::default()
        };
        let kind = Some(from_center::Kind::Hello(hello));
        grpc::encode(&sync::FromCenter { kind }, &mut bytes);
        stream.send(bytes)?;
        while stream.subscribed == 0 {
            stream.hear().await?;
        }
        Ok(stream)
    }

    fn send(&mut self, bytes: Vec<u8>) -> Result<(), String> {
        self.sender
            .send_data(bytes.into(), false)
            .map_err(|error| format!("speak to the sidecar: {error}"))
    }

    /// The next word of the sidecar.
    async fn hear(&mut self) -> Result<from_sidecar::Kind, String> {
        loop {
            let told = |error: &dyn std::fmt::Display| format!("hear the sidecar: {error}");
            let message = self.decoder.next::<sync::FromSidecar>();
            if let Some(message) = message.map_err(|error| told(&error))? {
                let Some(kind) = message.kind else { continue };
                if let from_sidecar::Kind::Subscribe(subscribe) = &kind {
                    self.subscribed = subscribe.sequence;
                }
                return Ok(kind);
            }
            let data = self.receiver.data().await;
            let data = data.ok_or_else(|| told(&"it left"))?;
            let data = data.map_err(|error| told(&error))?;
            self.decoder.push(&data);
            let _ = self.receiver.flow_control().release_capacity(data.len());
        }
    }

    async fn acknowledged(&mut self) -> Result<(), String> {
        loop {
            match self.hear().await? {
                from_sidecar::Kind::Ack(ack) if ack.version == Some(self.version) => return Ok(()),
                from_sidecar::Kind::Nack(nack) => {
                    return Err(format!(
                        "the sidecar refuses {}: {}",
                        nack.field, nack.reason
                    ));
                }
                _ => {}
            }
        }
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.connection.abort();
    }
}
