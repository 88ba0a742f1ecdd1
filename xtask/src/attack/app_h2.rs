//! The same app in HTTP/2. It is no attacker, so a library speaks for it.

use super::app::{BIG_BYTES, Counts, SLOW, UnderWay};
use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::{Request, Response};
use std::future::poll_fn;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// Bytes of a large reply that are handed over at once.
const PIECE_BYTES: usize = 16 * 1024;

/// Serves a connection until it ends.
pub(super) async fn serve(stream: TcpStream, counts: Arc<Counts>) {
    let Ok(mut connection) = h2::server::handshake(stream).await else {
        return;
    };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::spawn(answer(request, respond, Arc::clone(&counts)));
    }
}

/// Answers one call; one that is given up ends at once.
async fn answer(
    request: Request<RecvStream>,
    mut respond: SendResponse<Bytes>,
    counts: Arc<Counts>,
) {
    let path = request.uri().path().to_owned();
    // Who stands by is not counted.
    let _under_way = (path != "/").then(|| UnderWay::begin(&counts));
    match path.as_str() {
        "/slow" => {
            let _ = timeout(SLOW, poll_fn(|cx| respond.poll_reset(cx))).await;
        }
        "/big" => {
            let _ = big(&mut respond).await;
        }
        "/body" => {
            let mut body = request.into_body();
            while let Some(Ok(piece)) = body.data().await {
                let _ = body.flow_control().release_capacity(piece.len());
            }
            let _ = respond.send_response(Response::new(()), true);
        }
        "/echo" => {
            let _ = echo(request.into_body(), &mut respond).await;
        }
        _ => {
            let _ = respond.send_response(Response::new(()), true);
        }
    }
}

/// A large reply, as its reader takes it.
async fn big(respond: &mut SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut body = respond.send_response(Response::new(()), false)?;
    let piece = Bytes::from(vec![b'x'; PIECE_BYTES]);
    let mut left = BIG_BYTES;
    while left > 0 {
        body.reserve_capacity(left.min(PIECE_BYTES));
        let Some(room) = poll_fn(|cx| body.poll_capacity(cx)).await else {
            return Ok(());
        };
        let count = room?.min(left).min(PIECE_BYTES);
        left -= count;
        body.send_data(piece.slice(..count), left == 0)?;
    }
    Ok(())
}

/// What comes, as it comes.
async fn echo(mut body: RecvStream, respond: &mut SendResponse<Bytes>) -> Result<(), h2::Error> {
    let mut out = respond.send_response(Response::new(()), false)?;
    while let Some(bytes) = body.data().await {
        let bytes = bytes?;
        body.flow_control().release_capacity(bytes.len())?;
        out.send_data(bytes, false)?;
    }
    out.send_data(Bytes::new(), true)
}
