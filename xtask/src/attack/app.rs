//! The app that is attacked through its sidecar: HTTP/1.1 in a thread of this process, so that what reaches it is
//! counted where the attacker is. A call that waits notices when it is given up.

use super::app_h2;
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::{sleep, timeout};

/// What a large reply has.
pub(super) const BIG_BYTES: usize = 10 * 1024 * 1024;

/// How long a slow call waits for being given up.
pub(super) const SLOW: Duration = Duration::from_mins(1);

/// Accepting pauses so long when the process is out of descriptors.
const PAUSE: Duration = Duration::from_millis(10);

/// What the kernel takes of a reply before it is read.
const SEND_BUFFER_BYTES: usize = 64 * 1024;

/// What it counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Requests of attackers whose head came.
    pub(super) reached: AtomicU64,
    /// Those of them that are under way.
    pub(super) under_way: AtomicU64,
}

/// Starts it; its ports of HTTP/1.1 and HTTP/2, and its counts.
pub(super) fn start() -> Result<([u16; 2], Arc<Counts>), String> {
    let (http1, http1_port) = listen()?;
    let (http2, http2_port) = listen()?;
    let counts = Arc::new(Counts::default());
    let shared = Arc::clone(&counts);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let listeners = (TcpListener::from_std(http1), TcpListener::from_std(http2));
            let (Ok(http1), Ok(http2)) = listeners else {
                return;
            };
            loop {
                let counts = Arc::clone(&shared);
                tokio::select! {
                    accepted = http1.accept() => match accepted {
                        Ok((stream, _)) => drop(tokio::spawn(serve(stream, counts))),
                        Err(_) => sleep(PAUSE).await,
                    },
                    accepted = http2.accept() => match accepted {
                        Ok((stream, _)) => drop(tokio::spawn(app_h2::serve(stream, counts))),
                        Err(_) => sleep(PAUSE).await,
                    },
                }
            }
        });
    });
    Ok(([http1_port, http2_port], counts))
}

fn listen() -> Result<(std::net::TcpListener, u16), String> {
    let told = |error: std::io::Error| format!("start the app: {error}");
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
    let port = listener.local_addr().map_err(told)?.port();
    listener.set_nonblocking(true).map_err(told)?;
    Ok((listener, port))
}

/// Counts one request while it is under way.
pub(super) struct UnderWay(Arc<Counts>);

impl UnderWay {
    pub(super) fn begin(counts: &Arc<Counts>) -> Self {
        counts.reached.fetch_add(1, Relaxed);
        counts.under_way.fetch_add(1, Relaxed);
        Self(Arc::clone(counts))
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Relaxed);
    }
}

/// Serves a connection until it ends.
async fn serve(mut stream: TcpStream, counts: Arc<Counts>) {
    const OK: &[u8] = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";
    // Else the kernel takes megabytes of each large reply, and who stands by waits for this app.
    let _ = rustix::net::sockopt::set_socket_send_buffer_size(&stream, SEND_BUFFER_BYTES);
    let mut bytes = Vec::new();
    loop {
        let Some(head) = head(&mut stream, &mut bytes).await else {
            return;
        };
        let path = head.split(' ').nth(1).unwrap_or_default();
        // Who stands by is not counted.
        let _under_way = (path != "/").then(|| UnderWay::begin(&counts));
        let done = match path {
            "/slow" => {
                let mut byte = [0];
                let _ = timeout(SLOW, stream.read(&mut byte)).await;
                return;
            }
            "/big" => big(&mut stream).await,
            "/body" => swallow(&mut stream).await,
            _ => stream.write_all(OK).await.is_ok(),
        };
        if !done {
            return;
        }
    }
}

/// The next head; what follows it stays in `bytes`.
async fn head(stream: &mut TcpStream, bytes: &mut Vec<u8>) -> Option<String> {
    loop {
        if let Some(at) = bytes.windows(4).position(|four| four == b"\r\n\r\n") {
            let head = bytes.drain(..at + 4).collect::<Vec<u8>>();
            return Some(String::from_utf8_lossy(&head).into_owned());
        }
        if stream.read_buf(bytes).await.ok()? == 0 {
            return None;
        }
    }
}

async fn big(stream: &mut TcpStream) -> bool {
    let piece = vec![b'x'; 16 * 1024];
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {BIG_BYTES}\r\n\r\n");
    if stream.write_all(head.as_bytes()).await.is_err() {
        return false;
    }
    for _ in 0..BIG_BYTES / piece.len() {
        if stream.write_all(&piece).await.is_err() {
            return false;
        }
    }
    true
}

/// Reads on until the connection ends: bodies of attackers have no other end.
async fn swallow(stream: &mut TcpStream) -> bool {
    let mut piece = vec![0; 16 * 1024];
    while !matches!(stream.read(&mut piece).await, Ok(0) | Err(_)) {}
    false
}
