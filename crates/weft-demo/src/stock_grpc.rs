//! The app `stock-grpc`: gRPC. `Count` says how many of an item are there, `Watch` says it again and again.

use crate::app::{self, StartError};
use crate::grpc::{self, CONTENT_TYPE, Method, STATUS};
use crate::stock;
use bytes::{Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{RecvStream, SendStream};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::sleep;

/// A unary call.
pub(crate) const COUNT: Method = Method {
    authority: "stock-grpc",
    path: "/weft.demo.Stock/Count",
};

/// A stream of the server.
pub(crate) const WATCH: Method = Method {
    authority: "stock-grpc",
    path: "/weft.demo.Stock/Watch",
};

/// Between two messages of a stream.
const WATCH_EVERY: Duration = Duration::from_millis(500);

/// Statuses of gRPC.
const OK: u8 = 0;
const INVALID_ARGUMENT: u8 = 3;
const UNIMPLEMENTED: u8 = 12;

/// Serves on this port of loopback until the process ends.
pub fn run(port: u16) -> Result<(), StartError> {
    app::block_on(app::serve(port, serve))
}

async fn serve(stream: TcpStream) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(async move {
            // A stream that breaks is its caller's to notice.
            let _ = answer(request, respond).await;
        });
    }
}

async fn answer(
    mut request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
) -> Result<(), h2::Error> {
    let asked = read(request.body_mut()).await?;
    let item = asked.as_deref().and_then(grpc::read_text);
    let mut response = Response::new(());
    response
        .headers_mut()
        .insert(header::CONTENT_TYPE, CONTENT_TYPE);
    let mut body = respond.send_response(response, false)?;
    let path = request.uri().path();
    let status = match item {
        Some(item) if path == COUNT.path => {
            body.send_data(count(item), false)?;
            OK
        }
        Some(item) if path == WATCH.path => return watch(item, &mut body).await,
        Some(_) => UNIMPLEMENTED,
        None => INVALID_ARGUMENT,
    };
    let mut trailers = HeaderMap::new();
    trailers.insert(STATUS, HeaderValue::from(u16::from(status)));
    body.send_trailers(trailers)
}

/// A message every now and then, until nobody hears it.
async fn watch(item: &str, body: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    loop {
        body.send_data(count(item), false)?;
        sleep(WATCH_EVERY).await;
    }
}

fn count(item: &str) -> Bytes {
    let count = u8::try_from(stock::count(item)).unwrap_or(u8::MAX);
    grpc::framed(&grpc::write_number(count))
}

/// The one message of a request; none when it is no such thing.
async fn read(body: &mut RecvStream) -> Result<Option<Bytes>, h2::Error> {
    let mut received = BytesMut::new();
    let mut message = None;
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        body.flow_control().release_capacity(bytes.len())?;
        received.extend_from_slice(&bytes);
        if message.is_none() {
            match grpc::take(&mut received) {
                Ok(taken) => message = taken,
                Err(_refused) => return Ok(None),
            }
        }
    }
    Ok(message)
}
