//! Tests of the one GET against answers in every framing.

use super::*;
use tokio::net::TcpListener;

async fn answered(answer: &'static str) -> Result<(Answer, String), ClientError> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = Vec::new();
        while !request.ends_with(b"\r\n\r\n") {
            stream.read_buf(&mut request).await.unwrap();
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    let got = get(&address, "/a?b", Some("secret")).await?;
    Ok((got, server.await.unwrap()))
}

#[tokio::test]
async fn answers_are_read_in_every_framing() {
    for answer in [
        "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\no\r\n1\r\nk\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nok",
    ] {
        let (got, request) = answered(answer).await.unwrap();
        assert_eq!(
            (got.status, got.body.as_slice()),
            (200, &b"ok"[..]),
            "{answer}"
        );
        assert!(request.starts_with("GET /a?b HTTP/1.1\r\n"), "{request}");
        assert!(
            request.contains("authorization: Bearer secret\r\n"),
            "{request}"
        );
    }
}

#[tokio::test]
async fn half_an_answer_is_an_error() {
    for answer in [
        "",
        "HTTP/1.1 200 OK\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nok",
    ] {
        assert!(
            matches!(answered(answer).await, Err(ClientError::Refused(_))),
            "{answer}"
        );
    }
    assert!(matches!(
        answered("SSH-2.0-x\r\n\r\n").await,
        Err(ClientError::Refused(_))
    ));
}
