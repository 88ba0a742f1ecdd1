//! hyper's reading of the same bytes: a server for requests, a client for replies, over memory.
//!
//! The rules for fields between two hops are written a second time here, from the RFC and on hyper's own
//! types, so that a mistake in the codec's does not excuse itself.

use super::conversation::{List, Meaning};
use http::{HeaderMap, Request, Response, header};
use http_body_util::{BodyExt, Empty};
use hyper::body::Incoming;
use hyper::rt::ReadBufCursor;
use hyper::service::service_fn;
use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

/// A runtime in which hyper reads from memory.
pub(super) struct Oracle {
    runtime: tokio::runtime::Runtime,
}

impl Oracle {
    #[expect(
        clippy::expect_used,
        reason = "a runtime without any driver has nothing to fail at"
    )]
    pub(super) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().build();
        Self {
            runtime: runtime.expect("a runtime without drivers starts"),
        }
    }

    /// The requests that hyper's server reads to their end.
    pub(super) fn requests(&self, input: &[u8]) -> Vec<Meaning> {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let service = service_fn(|request: Request<Incoming>| {
            let seen = Rc::clone(&seen);
            async move {
                let (parts, body) = request.into_parts();
                let body = body.collect().await?;
                let trailers = body.trailers().map(every).unwrap_or_default();
                let meaning = Meaning {
                    start: start(&parts),
                    fields: end_to_end(&parts.headers, Side::Request),
                    body: body.to_bytes().to_vec(),
                    trailers,
                    ..Meaning::default()
                };
                seen.borrow_mut().push(meaning);
                Ok::<_, hyper::Error>(Response::new(Empty::<bytes::Bytes>::new()))
            }
        });
        let connection = hyper::server::conn::http1::Builder::new()
            .half_close(true)
            .header_read_timeout(None)
            .serve_connection(Memory::new(input, true), service);
        // How it ends says nothing about the requests before.
        let _ = self.runtime.block_on(connection);
        seen.take()
    }

    /// The final reply that hyper's client reads to its end, when it does.
    pub(super) fn reply(&self, input: &[u8], to_head: bool) -> Option<Meaning> {
        self.runtime.block_on(async {
            let (mut sender, connection) =
                hyper::client::conn::http1::handshake(Memory::new(input, false))
                    .await
                    .ok()?;
            let asked = async move {
                let method = if to_head { "HEAD" } else { "GET" };
                let request = Request::builder()
                    .method(method)
                    .uri("/")
                    .header("host", "a");
                let request = request.body(Empty::<bytes::Bytes>::new()).ok()?;
                let (parts, body) = sender.send_request(request).await.ok()?.into_parts();
                let body = body.collect().await.ok()?;
                let trailers = body.trailers().map(every).unwrap_or_default();
                Some(Meaning {
                    start: parts.status.as_str().to_owned(),
                    fields: end_to_end(&parts.headers, Side::Reply),
                    body: body.to_bytes().to_vec(),
                    trailers,
                    ..Meaning::default()
                })
            };
            tokio::join!(connection, asked).1
        })
    }
}

fn start(parts: &http::request::Parts) -> String {
    let uri = &parts.uri;
    let target = uri.path_and_query().map_or("", |target| target.as_str());
    // An absolute target without a path goes on with `/`, or as `*` with OPTIONS (RFC 9112 3.2.1, 3.2.4);
    // hyper shows the one without it and the other as `/`.
    let slash = if target.starts_with('?') { "/" } else { "" };
    let whole = parts.method == http::Method::OPTIONS && uri.authority().is_some() && target == "/";
    let target = if whole { "*" } else { target };
    let host = parts
        .headers
        .get(header::HOST)
        .map(http::HeaderValue::as_bytes)
        .unwrap_or_default();
    let authority = uri
        .authority()
        .map_or(host, |authority| authority.as_str().as_bytes());
    let [method, target, authority] = [
        parts.method.as_str().as_bytes(),
        target.as_bytes(),
        authority,
    ]
    .map(|part| part.escape_ascii());
    format!("{method} {slash}{target} at {authority}")
}

/// Whose fields they are: some mean nothing in a reply.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    Request,
    Reply,
}

fn every(fields: &HeaderMap) -> List {
    fields
        .iter()
        .map(|(name, value)| (name.as_str().into(), value.as_bytes().to_vec()))
        .collect()
}

/// RFC 9110 7.6.1, with what frames or routes a message left out too.
fn end_to_end(fields: &HeaderMap, side: Side) -> List {
    const HOP: [&str; 7] = [
        "connection",
        "keep-alive",
        "proxy-connection",
        "te",
        "transfer-encoding",
        "upgrade",
        "content-length",
    ];
    let mut named = Vec::new();
    for value in fields.get_all(header::CONNECTION) {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        named.extend(value.split(',').map(|option| option.trim().to_owned()));
    }
    let trailers = fields.get_all(header::TE).iter().any(|value| {
        let value = String::from_utf8_lossy(value.as_bytes()).to_ascii_lowercase();
        value.split(',').any(|member| member.trim() == "trailers")
    });
    let te = (trailers && side == Side::Request).then(|| (b"te".to_vec(), b"trailers".to_vec()));
    let kept = every(fields).into_iter().filter(|(name, _)| {
        let name = std::str::from_utf8(name).unwrap_or_default();
        let routed = side == Side::Request && matches!(name, "host" | "expect");
        // Names that codec and RFC reserve stay what they are, whatever Connection says.
        let is_named = named.iter().any(|option| option == name);
        !(HOP.contains(&name) || routed || is_named)
    });
    kept.chain(te).collect()
}

/// Bytes to read, then the end; what is written is counted only.
struct Memory<'a> {
    input: &'a [u8],
    /// A client must have written its request before a reply may come.
    open: bool,
    waiting: Option<Waker>,
}

impl<'a> Memory<'a> {
    fn new(input: &'a [u8], open: bool) -> Self {
        Self {
            input,
            open,
            waiting: None,
        }
    }
}

impl hyper::rt::Read for Memory<'_> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut cursor: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.open {
            self.waiting = Some(context.waker().clone());
            return Poll::Pending;
        }
        let (now, later) = self
            .input
            .split_at(self.input.len().min(cursor.remaining()));
        cursor.put_slice(now);
        self.input = later;
        Poll::Ready(Ok(()))
    }
}

impl hyper::rt::Write for Memory<'_> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.open = true;
        if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
        Poll::Ready(Ok(bytes.len()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}
