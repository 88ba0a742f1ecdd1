//! An HTTP/1.1 app: a test says for each request which bytes answer it.

use crate::http::{Framing, Message, Wire};
use crate::tcp_app::TcpApp;
use std::cell::RefCell;
use std::fmt::Write;
use std::rc::Rc;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

/// A request as the app read it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Request {
    /// Head, body, trailers.
    pub message: Message,
    /// The number of its connection.
    pub connection: usize,
}

impl Request {
    /// The method.
    pub fn method(&self) -> &str {
        self.message.head.word(0)
    }

    /// The target.
    pub fn target(&self) -> &str {
        self.message.head.word(1)
    }

    /// The value of a field.
    pub fn field(&self, name: &str) -> Option<&str> {
        self.message.head.field(name)
    }
}

/// An app that answers whole requests, in order, on kept connections.
#[derive(Debug)]
pub struct HttpApp {
    app: TcpApp,
    seen: Rc<RefCell<Vec<Request>>>,
}

impl HttpApp {
    /// Starts one. `answer` gives the bytes of a reply.
    pub async fn start(answer: impl Fn(&Request) -> Vec<u8> + 'static) -> Self {
        Self::start_on(0, answer).await
    }

    /// Starts one on a port that an app had before.
    pub async fn start_on(port: u16, answer: impl Fn(&Request) -> Vec<u8> + 'static) -> Self {
        let seen = Rc::new(RefCell::new(Vec::new()));
        let (answer, list) = (Rc::new(answer), Rc::clone(&seen));
        let app = TcpApp::start_on(port, move |stream, connection| {
            let (answer, list) = (Rc::clone(&answer), Rc::clone(&list));
            async move { serve(stream, connection, &*answer, &list).await }
        })
        .await;
        Self { app, seen }
    }

    /// Starts one that gives every body back, and its name in the field `app`.
    pub async fn echo(name: &'static str) -> Self {
        Self::start(move |request| reply(200, &[("app", name)], &request.message.body)).await
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
    pub fn seen(&self) -> Vec<Request> {
        self.seen.borrow().clone()
    }

    /// The only request so far.
    pub fn only(&self) -> Request {
        let seen = self.seen();
        assert_eq!(seen.len(), 1, "requests that the app saw: {seen:?}");
        seen.into_iter().next().unwrap_or_default()
    }

    /// Breaks its connections and stops listening.
    pub async fn stop(self) {
        self.app.stop().await;
    }
}

async fn serve(
    stream: TcpStream,
    connection: usize,
    answer: &dyn Fn(&Request) -> Vec<u8>,
    seen: &RefCell<Vec<Request>>,
) {
    let mut wire = Wire::new(stream);
    while let Ok(Some(head)) = wire.head().await {
        let Ok(message) = wire.message(head, Framing::Length(0)).await else {
            return;
        };
        let request = Request {
            message,
            connection,
        };
        let bytes = answer(&request);
        seen.borrow_mut().push(request);
        if wire.stream.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// The bytes of a reply with a length.
pub fn reply(status: u16, fields: &[(&str, &str)], body: &[u8]) -> Vec<u8> {
    let mut head = format!("HTTP/1.1 {status} Fine\r\n");
    for (name, value) in fields {
        // Writing to a String cannot fail.
        let _ = write!(head, "{name}: {value}\r\n");
    }
    let _ = write!(head, "Content-Length: {}\r\n\r\n", body.len());
    [head.as_bytes(), body].concat()
}
