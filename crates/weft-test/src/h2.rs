//! An HTTP/2 caller and an HTTP/2 app, by prior knowledge, on the `h2` crate. The product has the same crate below
//! it, so what is proven here is what the product does with it; that its bytes are HTTP/2 is for real peers to say.

use crate::tcp_app::TcpApp;
use crate::wait::{until, within};
use bytes::Bytes;
use h2::client::{ResponseFuture, SendRequest};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderName, HeaderValue, Request, Response};
use std::cell::{Cell, RefCell};
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::task::spawn_local;

/// A whole message, of either side.
#[derive(Clone, Debug, Default)]
pub struct H2Message {
    /// Of a request.
    pub method: String,
    /// `:authority` of a request.
    pub authority: String,
    /// `:path` of a request.
    pub path: String,
    /// Of a reply.
    pub status: u16,
    /// Fields of the head.
    pub fields: HeaderMap,
    /// The body.
    pub body: Vec<u8>,
    /// Fields of the trailers; `None` when there were none.
    pub trailers: Option<HeaderMap>,
}

impl H2Message {
    /// A field of the head.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.fields.get(name).map(text)
    }

    /// A field of the trailers.
    pub fn trailer(&self, name: &str) -> Option<&str> {
        self.trailers.as_ref()?.get(name).map(text)
    }

    /// The body as text.
    pub fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap_or("not UTF-8")
    }

    /// The same with one more field.
    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.fields.append(field_name(name), field_value(value));
        self
    }

    /// The same with one more trailer.
    pub fn with_trailer(mut self, name: &str, value: &str) -> Self {
        let trailers = self.trailers.get_or_insert_default();
        trailers.append(field_name(name), field_value(value));
        self
    }

    /// A request.
    pub fn request(method: &str, authority: &str, path: &str, body: &[u8]) -> Self {
        Self {
            method: method.to_owned(),
            authority: authority.to_owned(),
            path: path.to_owned(),
            body: body.to_vec(),
            ..Self::default()
        }
    }

    /// A reply.
    pub fn reply(status: u16, body: &[u8]) -> Self {
        Self {
            status,
            body: body.to_vec(),
            ..Self::default()
        }
    }

    /// The head of the request, as the `http` crate has it.
    pub fn request_head(&self) -> Request<()> {
        let uri = format!("http://{}{}", self.authority, self.path);
        let mut request = Request::builder()
            .method(self.method.as_str())
            .uri(uri)
            .body(())
            .expect("a request of a test is one");
        *request.headers_mut() = self.fields.clone();
        request
    }
}

fn text(value: &HeaderValue) -> &str {
    std::str::from_utf8(value.as_bytes()).unwrap_or("not UTF-8")
}

fn field_name(name: &str) -> HeaderName {
    name.parse().expect("a field name of a test is one")
}

fn field_value(value: &str) -> HeaderValue {
    HeaderValue::from_str(value).expect("a field value of a test is one")
}

/// Reads a body to its end.
pub async fn read_body(body: &mut RecvStream) -> Result<(Vec<u8>, Option<HeaderMap>), h2::Error> {
    let mut bytes = Vec::new();
    while let Some(piece) = body.data().await {
        let piece = piece?;
        body.flow_control().release_capacity(piece.len())?;
        bytes.extend_from_slice(&piece);
    }
    Ok((bytes, body.trailers().await?))
}

/// Sends a body, as the other side takes it, and its end.
pub async fn send_body(
    stream: &mut SendStream<Bytes>,
    body: &[u8],
    trailers: Option<HeaderMap>,
) -> Result<(), h2::Error> {
    let mut rest = Bytes::copy_from_slice(body);
    while !rest.is_empty() {
        stream.reserve_capacity(rest.len());
        let taken = std::future::poll_fn(|cx| stream.poll_capacity(cx)).await;
        let Some(taken) = taken.transpose()? else {
            return Ok(());
        };
        let piece = rest.split_to(taken.min(rest.len()));
        let is_last = rest.is_empty() && trailers.is_none();
        stream.send_data(piece, is_last)?;
        if is_last {
            return Ok(());
        }
    }
    match trailers {
        Some(trailers) => stream.send_trailers(trailers),
        None => stream.send_data(Bytes::new(), true),
    }
}

/// A caller's connection.
#[derive(Clone, Debug)]
pub struct H2Connection {
    requests: SendRequest<Bytes>,
    /// Whether the connection has ended.
    ended: Rc<Cell<bool>>,
}

impl H2Connection {
    /// Connects to a port of this host.
    pub async fn open(port: u16) -> Self {
        Self::open_with(port, &h2::client::Builder::new()).await
    }

    /// The same with other settings.
    pub async fn open_with(port: u16, builder: &h2::client::Builder) -> Self {
        let stream = TcpStream::connect(("127.0.0.1", port))
            .await
            .expect("a port of a sidecar accepts");
        stream.set_nodelay(true).expect("a fresh socket takes it");
        let (requests, connection) = builder
            .handshake(stream)
            .await
            .expect("a preface can be sent");
        let ended = Rc::new(Cell::new(false));
        let told = Rc::clone(&ended);
        spawn_local(async move {
            let _ = connection.await;
            told.set(true);
        });
        Self { requests, ended }
    }

    /// Whether the connection has ended.
    pub fn has_ended(&self) -> bool {
        self.ended.get()
    }

    /// Asks for a tunnel by CONNECT, which names `protocol` or else is the plain one. What came back, what goes there.
    pub async fn tunnel(
        &self,
        authority: &str,
        protocol: Option<&str>,
    ) -> Result<(Response<RecvStream>, SendStream<Bytes>), h2::Error> {
        self.tunnel_with(authority, protocol, &[]).await
    }

    /// The same with fields.
    pub async fn tunnel_with(
        &self,
        authority: &str,
        protocol: Option<&str>,
        fields: &[(&str, &str)],
    ) -> Result<(Response<RecvStream>, SendStream<Bytes>), h2::Error> {
        let mut head = Request::new(());
        *head.method_mut() = http::Method::CONNECT;
        for (name, value) in fields {
            head.headers_mut()
                .append(field_name(name), field_value(value));
        }
        let uri = match protocol {
            Some(_) => format!("http://{authority}/chat"),
            None => authority.to_owned(),
        };
        *head.uri_mut() = uri.parse().expect("an address of a test is one");
        if let Some(protocol) = protocol {
            let requests = &self.requests;
            until("SETTINGS that allow extended CONNECT", async || {
                requests
                    .is_extended_connect_protocol_enabled()
                    .then_some(())
            })
            .await;
            let protocol = h2::ext::Protocol::from(protocol);
            head.extensions_mut().insert(protocol);
        }
        let (response, stream) = self.begin(head, false).await?;
        Ok((within("the answer to CONNECT", response).await?, stream))
    }

    /// Opens a stream: the reply to come, and the request's body to be sent.
    pub async fn begin(
        &self,
        head: Request<()>,
        ends: bool,
    ) -> Result<(ResponseFuture, SendStream<Bytes>), h2::Error> {
        let mut requests = self.requests.clone().ready().await?;
        requests.send_request(head, ends)
    }

    /// Sends a whole request and reads the whole reply.
    pub async fn try_call(&self, request: &H2Message) -> Result<H2Message, h2::Error> {
        let ends = request.body.is_empty() && request.trailers.is_none();
        let (response, mut stream) = self.begin(request.request_head(), ends).await?;
        let sending = async {
            if !ends {
                // A reply that does not wait for the whole request is a reply.
                let _ = send_body(&mut stream, &request.body, request.trailers.clone()).await;
            }
        };
        let receiving = async { read_reply(response).await };
        let ((), reply) = tokio::join!(sending, receiving);
        reply
    }

    /// The same; an error is a failed test.
    pub async fn call(&self, request: &H2Message) -> H2Message {
        let what = format!("the reply to {} {}", request.method, request.path);
        within(&what, self.try_call(request))
            .await
            .unwrap_or_else(|error| panic!("{what}: {error}"))
    }

    /// A GET.
    pub async fn get(&self, authority: &str, path: &str) -> H2Message {
        self.call(&H2Message::request("GET", authority, path, b""))
            .await
    }
}

/// Reads a whole reply.
pub async fn read_reply(response: ResponseFuture) -> Result<H2Message, h2::Error> {
    let (parts, mut body) = response.await?.into_parts();
    let (body, trailers) = read_body(&mut body).await?;
    Ok(H2Message {
        status: parts.status.as_u16(),
        fields: parts.headers,
        body,
        trailers,
        ..H2Message::default()
    })
}

/// An HTTP/2 app.
#[derive(Debug)]
pub struct H2App {
    app: TcpApp,
    seen: Rc<RefCell<Vec<H2Message>>>,
}

impl H2App {
    /// One that answers whole requests.
    pub async fn start(answer: impl Fn(&H2Message) -> H2Message + 'static) -> Self {
        let seen: Rc<RefCell<Vec<H2Message>>> = Rc::default();
        let (answer, list) = (Rc::new(answer), Rc::clone(&seen));
        let app = Self::serve(h2::server::Builder::new(), move |request, respond| {
            let (answer, list) = (Rc::clone(&answer), Rc::clone(&list));
            async move {
                let Ok(request) = read_request(request).await else {
                    return;
                };
                let reply = answer(&request);
                list.borrow_mut().push(request);
                // A caller that is gone is none of the app's business.
                let _ = send_reply(respond, &reply).await;
            }
        })
        .await;
        Self { app, seen }
    }

    /// One that gives every body back, and its name in the field `app`.
    pub async fn echo(name: &'static str) -> Self {
        Self::start(move |request| H2Message::reply(200, &request.body).with("app", name)).await
    }

    /// One of which the test serves each stream.
    pub async fn streams<F>(
        serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self {
            app: Self::serve(h2::server::Builder::new(), serve).await,
            seen: Rc::default(),
        }
    }

    /// The same for one that takes extended CONNECT.
    pub async fn tunnels<F>(
        serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + 'static,
    ) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let mut builder = h2::server::Builder::new();
        builder.enable_connect_protocol();
        Self {
            app: Self::serve(builder, serve).await,
            seen: Rc::default(),
        }
    }

    async fn serve<F>(
        builder: h2::server::Builder,
        serve: impl Fn(Request<RecvStream>, SendResponse<Bytes>) -> F + 'static,
    ) -> TcpApp
    where
        F: Future<Output = ()> + 'static,
    {
        let serve = Rc::new(serve);
        TcpApp::start(move |stream, _| {
            let (serve, builder) = (Rc::clone(&serve), builder.clone());
            async move {
                // A sidecar that only looks whether the port answers says nothing.
                let Ok(mut connection) = builder.handshake(stream).await else {
                    return;
                };
                while let Some(Ok((request, respond))) = connection.accept().await {
                    spawn_local(serve(request, respond));
                }
            }
        })
        .await
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.app.port()
    }

    /// Connections accepted so far, those of sidecars that only looked whether it is there included.
    pub fn accepted(&self) -> usize {
        self.app.accepted()
    }

    /// The requests that were read whole so far.
    pub fn seen(&self) -> Vec<H2Message> {
        self.seen.borrow().clone()
    }

    /// The only request so far.
    pub fn only(&self) -> H2Message {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "requests that the app saw: {seen:?}");
        seen.into_iter().next().unwrap_or_default()
    }

    /// Breaks its connections and stops listening.
    pub async fn stop(self) {
        self.app.stop().await;
    }
}

/// Reads a whole request.
pub async fn read_request(request: Request<RecvStream>) -> Result<H2Message, h2::Error> {
    let (parts, mut body) = request.into_parts();
    let (body, trailers) = read_body(&mut body).await?;
    let authority = parts.uri.authority();
    Ok(H2Message {
        method: parts.method.to_string(),
        authority: authority.map(ToString::to_string).unwrap_or_default(),
        path: parts
            .uri
            .path_and_query()
            .map(ToString::to_string)
            .unwrap_or_default(),
        fields: parts.headers,
        body,
        trailers,
        ..H2Message::default()
    })
}

/// Sends a whole reply.
pub async fn send_reply(
    mut respond: SendResponse<Bytes>,
    reply: &H2Message,
) -> Result<(), h2::Error> {
    let mut response = Response::new(());
    *response.status_mut() = reply.status.try_into().expect("a status of a test is one");
    *response.headers_mut() = reply.fields.clone();
    let ends = reply.body.is_empty() && reply.trailers.is_none();
    let mut stream = respond.send_response(response, ends)?;
    if ends {
        return Ok(());
    }
    send_body(&mut stream, &reply.body, reply.trailers.clone()).await
}
