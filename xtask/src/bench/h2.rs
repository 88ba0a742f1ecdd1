//! HTTP/2 for a bench: an app on the `h2` crate. It answers gRPC in gRPC and everything else with a kibibyte.

use super::backend::{BODY_BYTES, announce};
use bytes::Bytes;
use h2::server::{self, SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use std::io;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// A gRPC message of 32 bytes in its frame.
pub(super) const MESSAGE: [u8; 37] = {
    let mut message = [7; 37];
    message[0] = 0;
    message[1] = 0;
    message[2] = 0;
    message[3] = 0;
    message[4] = 32;
    message
};

/// Serves for ever on a free port, which is printed first.
pub(super) fn serve() -> io::Result<()> {
    let listener = std::net::TcpListener::bind("127.0.0.1:0")?;
    listener.set_nonblocking(true)?;
    announce(&listener)?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    LocalSet::new().block_on(&runtime, async {
        let listener = TcpListener::from_std(listener)?;
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            spawn_local(connection(stream));
        }
    })
}

async fn connection(stream: TcpStream) {
    let Ok(mut connection) = server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        if request.body().is_end_stream() {
            // Most of them: nothing to wait for.
            let _ = answer(&request, respond);
        } else {
            spawn_local(read_and_answer(request, respond));
        }
    }
}

async fn read_and_answer(mut request: Request<h2::RecvStream>, respond: SendResponse<Bytes>) {
    let body = request.body_mut();
    while let Some(Ok(bytes)) = body.data().await {
        // Fails only when more is given back than came.
        let _ = body.flow_control().release_capacity(bytes.len());
    }
    // A caller that is gone wants no reply.
    let _ = answer(&request, respond);
}

fn answer(
    request: &Request<h2::RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let grpc = HeaderValue::from_static("application/grpc");
    let mut reply = Response::new(());
    if request.headers().get(header::CONTENT_TYPE) != Some(&grpc) {
        let mut body = respond.send_response(reply, false)?;
        return body.send_data(Bytes::from_static(&[b'x'; BODY_BYTES]), true);
    }
    reply.headers_mut().insert(header::CONTENT_TYPE, grpc);
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let mut body = respond.send_response(reply, false)?;
    body.send_data(Bytes::from_static(&MESSAGE), false)?;
    body.send_trailers(trailers)
}
