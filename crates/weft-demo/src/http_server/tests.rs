//! Tests of the server and the client with each other are in `echo_http/tests.rs`; here is what only the
//! server does.

use super::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// What the server answers to these bytes, up to the end of the connection.
pub(crate) async fn answer_of<F>(serve: impl FnOnce(TcpStream) -> F, request: &[u8]) -> String
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut caller = TcpStream::connect(listener.local_addr().unwrap())
        .await
        .unwrap();
    let (stream, _) = listener.accept().await.unwrap();
    let serving = tokio::spawn(serve(stream));
    caller.write_all(request).await.unwrap();
    caller.shutdown().await.unwrap();
    let mut answer = Vec::new();
    caller.read_to_end(&mut answer).await.unwrap();
    serving.await.unwrap();
    String::from_utf8_lossy(&answer).into_owned()
}

#[tokio::test]
async fn a_request_outside_of_the_grammar_is_answered_and_ends_the_connection() {
    let serve = |stream| async move {
        let mut exchange = Exchange::new(stream);
        assert!(!exchange.next().await.unwrap());
    };
    let answer = answer_of(serve, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n").await;
    assert!(answer.starts_with("HTTP/1.1 400 "), "{answer}");
    assert!(
        answer.to_ascii_lowercase().contains("connection: close"),
        "{answer}"
    );
}
