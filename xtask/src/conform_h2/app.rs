//! The app behind `conform h2`: an HTTP/2 server on the `h2` crate that reads each request to its end and answers
//! with a kibibyte.

use bytes::Bytes;
use h2::server::{self, SendResponse};
use http::{Request, Response};
use std::net::Ipv4Addr;
use std::sync::mpsc::{Sender, channel};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{LocalSet, spawn_local};

/// Bytes of a reply's body: h2spec opens windows smaller than it.
const REPLY_BYTES: usize = 1024;

/// Serves on a thread until this process ends; the port.
pub(super) fn start() -> Result<u16, String> {
    let (tell, port) = channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        if let Ok(runtime) = runtime {
            LocalSet::new().block_on(&runtime, accept(tell));
        }
    });
    port.recv()
        .map_err(|_| "start the app of conform h2: it could not listen".to_owned())
}

async fn accept(tell: Sender<u16>) {
    let Ok(listener) = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await else {
        return;
    };
    if let Ok(address) = listener.local_addr() {
        // Without a receiver the suite has ended.
        let _ = tell.send(address.port());
    }
    while let Ok((stream, _)) = listener.accept().await {
        spawn_local(serve(stream));
    }
}

async fn serve(stream: TcpStream) {
    let Ok(mut connection) = server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        spawn_local(answer(request, respond));
    }
}

async fn answer(request: Request<h2::RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut body = request.into_body();
    while let Some(Ok(bytes)) = body.data().await {
        // Fails only when more is given back than came.
        let _ = body.flow_control().release_capacity(bytes.len());
    }
    let Ok(mut reply) = respond.send_response(Response::new(()), false) else {
        return;
    };
    // Whoever reset the stream meanwhile wants no body.
    let _ = reply.send_data(Bytes::from_static(&[b'x'; REPLY_BYTES]), true);
}
