//! The app that is attacked through its sidecar: HTTP/1.1 in a thread of this process, so that what reaches it is
//! counted where the attacker is. A call that waits notices when it is given up.

use std::net::Ipv4Addr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;

/// What a large reply has.
pub(super) const BIG_BYTES: usize = 10 * 1024 * 1024;

/// How long a slow call waits for being given up.
const SLOW: Duration = Duration::from_mins(1);

/// What it counts.
#[derive(Debug, Default)]
pub(super) struct Counts {
    /// Requests of attackers whose head came.
    pub(super) reached: AtomicU64,
    /// Those of them that are under way.
    pub(super) under_way: AtomicU64,
}

/// Starts it; the port and its counts.
pub(super) fn start() -> Result<(u16, Arc<Counts>), String> {
    let told = |error: std::io::Error| format!("start the app: {error}");
    let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
    let port = listener.local_addr().map_err(told)?.port();
    listener.set_nonblocking(true).map_err(told)?;
    let counts = Arc::new(Counts::default());
    let shared = Arc::clone(&counts);
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let Ok(listener) = TcpListener::from_std(listener) else {
                return;
            };
            loop {
                let Ok((stream, _)) = listener.accept().await else {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    continue;
                };
                tokio::spawn(serve(stream, Arc::clone(&shared)));
            }
        });
    });
    Ok((port, counts))
}

/// Counts one request while it is under way.
struct UnderWay(Arc<Counts>);

impl UnderWay {
    fn begin(counts: &Arc<Counts>) -> Self {
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
