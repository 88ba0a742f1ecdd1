//! How an app starts: its port, its runtime, its sidecar's address.

use std::fmt;
use std::future::Future;
use std::io::{self, Write};
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;

/// Connections that an app serves at a time.
const CONNECTIONS_MAX: usize = 8192;
/// The wait after an accept that failed for want of resources.
const ACCEPT_PAUSE: Duration = Duration::from_millis(20);

/// Why an app did not start.
#[derive(Debug)]
pub enum StartError {
    /// The system: what was attempted, and what was found.
    System(String, io::Error),
    /// The environment has no usable address of a sidecar.
    NoSidecar(String),
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::System(attempt, _) => write!(f, "cannot {attempt}"),
            Self::NoSidecar(found) => write!(
                f,
                "cannot find the sidecar: {found}; start this app by \"weft run ... -- weft demo ...\""
            ),
        }
    }
}

impl std::error::Error for StartError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::System(_, error) => Some(error),
            Self::NoSidecar(_) => None,
        }
    }
}

/// The address of the app's sidecar, from `WEFT_OUTBOUND`.
pub fn sidecar() -> Result<SocketAddr, StartError> {
    let text = std::env::var("WEFT_OUTBOUND")
        .map_err(|_| StartError::NoSidecar("WEFT_OUTBOUND is not set".into()))?;
    text.parse()
        .map_err(|_| StartError::NoSidecar(format!("WEFT_OUTBOUND is \"{text}\"")))
}

/// The app's own instance, from `WEFT_INSTANCE`; `alone` outside of a mesh.
pub(crate) fn instance() -> String {
    std::env::var("WEFT_INSTANCE").unwrap_or_else(|_| "alone".into())
}

/// Runs an app on a runtime of its own, on this thread.
pub(crate) fn block_on<T>(
    app: impl Future<Output = Result<T, StartError>>,
) -> Result<T, StartError> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| StartError::System("start the runtime".into(), error))?;
    runtime.block_on(app)
}

/// Listens on loopback and serves every connection until the process ends. The first line on standard output
/// says where, so that port 0 is of use.
pub(crate) async fn serve<F>(
    port: u16,
    serve_one: impl Fn(TcpStream) -> F,
) -> Result<(), StartError>
where
    F: Future<Output = ()> + Send + 'static,
{
    let failed = |error| StartError::System(format!("listen on 127.0.0.1:{port}"), error);
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, port))
        .await
        .map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let _ = writeln!(io::stdout(), "listening on {address}");
    let _ = io::stdout().flush();
    let permits = Arc::new(Semaphore::new(CONNECTIONS_MAX));
    loop {
        // The semaphore is never closed.
        let Ok(permit) = Arc::clone(&permits).acquire_owned().await else {
            return Ok(());
        };
        // A connection that was gone again, or no descriptors left: neither ends an app.
        let Ok((stream, _)) = listener.accept().await else {
            tokio::time::sleep(ACCEPT_PAUSE).await;
            continue;
        };
        let _ = stream.set_nodelay(true);
        let serving = serve_one(stream);
        tokio::spawn(async move {
            serving.await;
            drop(permit);
        });
    }
}
