//! HTTP/2 for a bench: an app on the `h2` crate, and requests of a known number on one connection.
//!
//! The client is by hand and has one stream at a time: calls are counted here, never time. The app answers gRPC in
//! gRPC and everything else with a kibibyte.

use super::backend::{BODY_BYTES, announce};
use super::client::Client;
use bytes::Bytes;
use h2::server::{self, SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response, header};
use std::io;
use std::net::SocketAddr;
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

/// What a client says first: the preface and empty SETTINGS.
const BEGIN: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

const SETTINGS_ACK: &[u8] = b"\0\0\0\x04\x01\0\0\0\0";

const DATA: u8 = 0;
const HEADERS: u8 = 1;
const SETTINGS: u8 = 4;
const PING: u8 = 6;
const GOAWAY: u8 = 7;
const END_STREAM: u8 = 1;

/// Bytes read after which the connection's window is opened again by as many.
const WINDOW_BYTES: u32 = 16 * 1024;

/// So many GETs one after another, each answered with 200.
pub(super) fn get_times(address: SocketAddr, host: &str, times: u64) -> Result<(), String> {
    let mut client = Client::connect(address)?;
    client.send(BEGIN)?;
    let mut unreturned = 0;
    for call in 0..times as u32 {
        let stream = call * 2 + 1;
        client.send(&get(stream, host))?;
        let mut ok = false;
        loop {
            let frame = next(&mut client)?;
            let (kind, flags, payload) = (frame[3], frame[4], frame.get(9..).unwrap_or_default());
            match kind {
                SETTINGS if flags & 1 == 0 => client.send(SETTINGS_ACK)?,
                PING if flags & 1 == 0 => {
                    let answer = [b"\0\0\x08\x06\x01\0\0\0\0", payload].concat();
                    client.send(&answer)?;
                }
                GOAWAY => return Err(format!("GOAWAY: {}", payload.escape_ascii())),
                // `:status: 200` of the static table, behind updates of the table's size.
                HEADERS => ok = payload.contains(&0x88),
                DATA => unreturned += payload.len() as u32,
                _ => {}
            }
            if matches!(kind, DATA | HEADERS) && flags & END_STREAM != 0 {
                break;
            }
        }
        if !ok {
            return Err(format!("GET / of \"{host}\" was not answered with 200"));
        }
        if unreturned >= WINDOW_BYTES {
            let update = [&b"\0\0\x04\x08\0\0\0\0\0"[..], &unreturned.to_be_bytes()].concat();
            client.send(&update)?;
            unreturned = 0;
        }
    }
    Ok(())
}

/// GET / without a body.
fn get(stream: u32, host: &str) -> Vec<u8> {
    // GET, http and / of the static table, then :authority (name 1) literally.
    let mut section = vec![0x82, 0x86, 0x84, 0x01, host.len() as u8];
    section.extend(host.as_bytes());
    let mut frame = vec![0, 0, section.len() as u8, HEADERS, 5];
    frame.extend(stream.to_be_bytes());
    frame.extend(section);
    frame
}

fn next(client: &mut Client) -> Result<Vec<u8>, String> {
    client.take(|received| {
        let [a, b, c, ..] = *received.first_chunk::<9>()?;
        let end = 9 + u32::from_be_bytes([0, a, b, c]) as usize;
        (received.len() >= end).then_some(end)
    })
}
