//! A Motan2 caller and a Motan2 app, both controlled frame by frame.

use crate::http::Wire;
use crate::tcp_app::TcpApp;
use crate::wait::within;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use weft_codec::Fields;
use weft_codec::motan2::{self, Header, Limits, Step};

/// A frame.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Its header.
    pub header: Header,
    /// Its metadata.
    pub metadata: Fields,
    /// Its body.
    pub body: Vec<u8>,
}

impl Frame {
    /// A call of a method of an interface. Serialization 6 (simple), as the demo apps.
    pub fn call(id: u64, interface: &str, method: &str, body: &[u8]) -> Self {
        let header = Header {
            serialize: 6 << 3,
            request_id: id,
            ..Header::default()
        };
        let frame = Self {
            header,
            metadata: Fields::new(),
            body: body.to_vec(),
        };
        frame.with("M_p", interface).with("M_m", method)
    }

    /// A heartbeat.
    pub fn heartbeat(id: u64) -> Self {
        let header = Header {
            heartbeat: true,
            request_id: id,
            ..Header::default()
        };
        Self {
            header,
            metadata: Fields::new(),
            body: Vec::new(),
        }
    }

    /// One more pair of metadata.
    pub fn with(mut self, key: &str, value: &str) -> Self {
        self.metadata.push(key.as_bytes(), value.as_bytes());
        self
    }

    /// The reply to this frame.
    pub fn reply(&self, body: &[u8]) -> Self {
        let header = Header {
            response: true,
            one_way: false,
            ..self.header
        };
        Self {
            header,
            metadata: Fields::new(),
            body: body.to_vec(),
        }
    }

    /// The exception that answers this frame.
    pub fn exception(&self, code: u16, message: &str, kind: u8) -> Self {
        let mut frame = self.reply(b"");
        frame.header.exception = true;
        frame.with("M_e", &motan2::exception_json(code, message, kind))
    }

    /// A value of its metadata.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.metadata
            .last_exact(key)
            .and_then(|value| std::str::from_utf8(value).ok())
    }

    /// The JSON of its exception.
    pub fn failure(&self) -> serde_json::Value {
        assert!(self.header.exception, "not an exception: {self:?}");
        let text = self.value("M_e").expect("an exception has M_e");
        serde_json::from_str(text).expect("M_e is JSON")
    }

    /// The bytes on the wire.
    pub fn bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let length = u32::try_from(self.body.len()).expect("the body of a test fits its frame");
        motan2::write_head(self.header, &self.metadata, length, &mut out);
        out.extend_from_slice(&self.body);
        out
    }
}

/// A connection that carries frames.
#[derive(Debug)]
pub struct MotanConnection {
    /// The connection.
    pub wire: Wire,
}

impl MotanConnection {
    /// Connects to a port of this machine.
    pub async fn open(port: u16) -> Self {
        let stream = within(
            "a connection",
            TcpStream::connect((Ipv4Addr::LOCALHOST, port)),
        )
        .await
        .unwrap_or_else(|error| panic!("connecting to port {port}: {error}"));
        Self {
            wire: Wire::new(stream),
        }
    }

    /// Writes a frame.
    pub async fn send(&mut self, frame: &Frame) {
        self.try_send(frame).await.expect("a frame can be written");
    }

    /// Writes a frame, or not.
    pub async fn try_send(&mut self, frame: &Frame) -> io::Result<()> {
        self.wire.stream.write_all(&frame.bytes()).await
    }

    /// The next frame; `None` at the end of the stream.
    pub async fn next(&mut self) -> Option<Frame> {
        let limits = Limits::default();
        loop {
            match motan2::parse(&self.wire.bytes, &limits).expect("the peer writes Motan2") {
                Step::Frame { header, meta, body } => {
                    let mut metadata = Fields::new();
                    let text = self.wire.bytes.get(meta).unwrap_or_default();
                    motan2::parse_metadata(text, &limits, &mut metadata)
                        .expect("the metadata are sound");
                    let rest = self.wire.bytes.split_off(body.end);
                    let whole = std::mem::replace(&mut self.wire.bytes, rest);
                    let body = whole.get(body).unwrap_or_default().to_vec();
                    return Some(Frame {
                        header,
                        metadata,
                        body,
                    });
                }
                Step::Need(_) => {
                    if !matches!(self.wire.fill().await, Ok(true)) {
                        return None;
                    }
                }
            }
        }
    }

    /// The next frame, which must come.
    pub async fn reply(&mut self) -> Frame {
        within("a Motan2 frame", self.next())
            .await
            .expect("a frame comes before the end of the connection")
    }

    /// Sends a frame and reads the next one, which must answer it.
    pub async fn call(&mut self, frame: &Frame) -> Frame {
        self.send(frame).await;
        let reply = self.reply().await;
        assert!(reply.header.response, "not a reply: {reply:?}");
        assert_eq!(
            reply.header.request_id, frame.header.request_id,
            "{reply:?}"
        );
        reply
    }
}

/// A Motan2 app. Heartbeats are answered; what answers a call is the test's.
#[derive(Debug)]
pub struct MotanApp(TcpApp);

impl MotanApp {
    /// Starts one that answers frames one after another; `None` answers nothing.
    pub async fn start(answer: impl Fn(&Frame) -> Option<Frame> + 'static) -> Self {
        Self::start_on(0, answer).await
    }

    /// Starts one on a port that an app had before.
    pub async fn start_on(port: u16, answer: impl Fn(&Frame) -> Option<Frame> + 'static) -> Self {
        let answer = Rc::new(answer);
        let app = TcpApp::start_on(port, move |stream, _| {
            let answer = Rc::clone(&answer);
            async move {
                let mut connection = MotanConnection {
                    wire: Wire::new(stream),
                };
                while let Some(frame) = connection.next().await {
                    let reply = if frame.header.heartbeat {
                        Some(frame.reply(b""))
                    } else {
                        answer(&frame)
                    };
                    let Some(reply) = reply else { continue };
                    if connection.try_send(&reply).await.is_err() {
                        return;
                    }
                }
            }
        })
        .await;
        Self(app)
    }

    /// Starts one of which the test serves the connections.
    pub async fn serve<F>(serve: impl Fn(MotanConnection) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self(
            TcpApp::start(move |stream, _| {
                serve(MotanConnection {
                    wire: Wire::new(stream),
                })
            })
            .await,
        )
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.0.port()
    }

    /// Connections accepted so far, those of sidecars that only looked whether it is there included.
    pub fn accepted(&self) -> usize {
        self.0.accepted()
    }

    /// Breaks its connections and stops listening.
    pub async fn stop(self) {
        self.0.stop().await;
    }
}
