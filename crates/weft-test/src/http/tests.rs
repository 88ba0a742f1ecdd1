//! The small reader, against bytes written by hand.

use super::*;
use tokio::net::TcpListener;

async fn read(bytes: &'static [u8]) -> io::Result<Reply> {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let writing = async {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(bytes).await.unwrap();
    };
    let reading = async { HttpConnection::open(port).await.try_reply().await };
    tokio::join!(writing, reading).1
}

#[tokio::test]
async fn a_chunked_reply_behind_an_interim_one_is_read_with_its_trailers() {
    let reply = read(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\
          3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nt: 1\r\n\r\n",
    )
    .await
    .unwrap();
    assert_eq!(
        (reply.status, reply.text(), reply.interim.len()),
        (200, "abcde", 1)
    );
    assert_eq!(reply.message.trailers.field("T"), Some("1"));
}

#[tokio::test]
async fn a_body_that_ends_early_is_broken() {
    assert!(
        read(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nabc")
            .await
            .is_err()
    );
    assert!(
        read(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
            .await
            .is_err()
    );
    assert_eq!(
        read(b"HTTP/1.1 200 OK\r\n\r\nabc").await.unwrap().text(),
        "abc"
    );
}
