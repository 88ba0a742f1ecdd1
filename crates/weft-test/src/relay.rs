//! A way between two sidecars that a test can turn into a black hole (connections stay, bytes do not arrive), or that
//! refuses HTTP/2 as an old middlebox does.

use std::cell::{Cell, RefCell};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::{AbortHandle, spawn_local};

/// Bytes that are carried at once.
const CARRIED_BYTES: usize = 64 * 1024;

/// Carries TCP connections from one address to another. Dropped, they break.
#[derive(Debug)]
pub struct Relay {
    carries: watch::Sender<bool>,
    tasks: Rc<RefCell<Vec<AbortHandle>>>,
    refused: Rc<Cell<u32>>,
}

impl Relay {
    /// Carries what connects to `from` on to `to`.
    pub async fn start(from: SocketAddr, to: SocketAddr) -> Self {
        Self::begin(from, to, None).await
    }

    /// The same, but what begins as HTTP/2 is answered with this and closed.
    pub async fn refusing_http2(from: SocketAddr, to: SocketAddr, answer: &'static [u8]) -> Self {
        Self::begin(from, to, Some(answer)).await
    }

    /// Connections that were refused because they began as HTTP/2.
    pub fn refused(&self) -> u32 {
        self.refused.get()
    }

    async fn begin(from: SocketAddr, to: SocketAddr, refusal: Option<&'static [u8]>) -> Self {
        let listener = TcpListener::bind(from)
            .await
            .unwrap_or_else(|error| panic!("a relay could not listen on {from}: {error}"));
        let (carries, carrying) = watch::channel(true);
        let tasks = Rc::new(RefCell::new(Vec::new()));
        let refused = Rc::new(Cell::new(0));
        let (list, count) = (Rc::clone(&tasks), Rc::clone(&refused));
        let accepting = spawn_local(async move {
            while let Ok((mut near, _)) = listener.accept().await {
                let (carrying, count) = (carrying.clone(), Rc::clone(&count));
                let task = spawn_local(async move {
                    if let Some(answer) = refusal
                        && begins_as_http2(&near).await
                    {
                        count.set(count.get() + 1);
                        // Whether the refused reads it is its own business.
                        let _ = near.write_all(answer).await;
                        return;
                    }
                    if let Ok(far) = TcpStream::connect(to).await {
                        both_ways(near, far, &carrying).await;
                    }
                });
                list.borrow_mut().push(task.abort_handle());
            }
        });
        tasks.borrow_mut().push(accepting.abort_handle());
        Self {
            carries,
            tasks,
            refused,
        }
    }

    /// From now on nothing arrives, and nobody is told.
    pub fn swallow(&self) {
        self.carries.send_replace(false);
    }

    /// What was held back arrives, and all that follows.
    pub fn carry(&self) {
        self.carries.send_replace(true);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        for task in self.tasks.borrow().iter() {
            task.abort();
        }
    }
}

async fn begins_as_http2(stream: &TcpStream) -> bool {
    let mut first = [0; 4];
    matches!(stream.peek(&mut first).await, Ok(4)) && first == *b"PRI "
}

async fn both_ways(near: TcpStream, far: TcpStream, carrying: &watch::Receiver<bool>) {
    let (near_in, near_out) = near.into_split();
    let (far_in, far_out) = far.into_split();
    // The end of either way ends both.
    tokio::select! {
        () = one_way(near_in, far_out, carrying.clone()) => {}
        () = one_way(far_in, near_out, carrying.clone()) => {}
    }
}

async fn one_way(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    mut carrying: watch::Receiver<bool>,
) {
    let mut bytes = vec![0; CARRIED_BYTES];
    while let Ok(count) = from.read(&mut bytes).await {
        if carrying.wait_for(|carries| *carries).await.is_err() || count == 0 {
            return;
        }
        if to.write_all(&bytes[..count]).await.is_err() {
            return;
        }
    }
}
