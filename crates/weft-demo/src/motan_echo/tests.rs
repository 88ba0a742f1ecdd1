//! Tests of the Motan2 ends with each other, over a real connection.

use super::*;
use crate::motan::{CallError, MotanClient, Request};

fn client() -> MotanClient {
    let port = {
        let probe = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        probe.local_addr().unwrap().port()
    };
    tokio::spawn(motan::serve(port, answer));
    MotanClient::new(([127, 0, 0, 1], port).into())
}

async fn call(client: &MotanClient, method: &str, body: &[u8]) -> Result<Vec<u8>, CallError> {
    let request = Request {
        interface: "a.b.Echo",
        method,
        body,
    };
    // The server's task listens before the second attempt at the latest.
    for _ in 0..100 {
        match client.call(request, true).await {
            Err(CallError::Io(error)) if error.kind() == std::io::ErrorKind::ConnectionRefused => {
                tokio::task::yield_now().await;
            }
            done => return done.map(|body| body.to_vec()),
        }
    }
    panic!("the server never listened");
}

#[tokio::test]
async fn a_body_comes_back_over_a_kept_connection() {
    let client = client();
    for body in [&b"one"[..], b"", b"three"] {
        assert_eq!(call(&client, "any", body).await.unwrap(), body);
    }
}

#[tokio::test]
async fn a_failing_method_is_an_exception_with_its_text() {
    let client = client();
    let Err(CallError::Exception(text)) = call(&client, "fail", b"").await else {
        panic!("no exception came");
    };
    assert!(
        text.contains("30001") && text.contains("asked to fail"),
        "{text}"
    );
}

#[tokio::test]
async fn the_metadata_can_be_looked_at() {
    let client = client();
    let body = call(&client, "metadata", b"").await.unwrap();
    let text = simple::read_string(&body).unwrap();
    assert!(
        text.contains("M_p=a.b.Echo\n") && text.contains("M_m=metadata\n"),
        "{text}"
    );
}
