//! An app of which a test writes every byte: a task per connection.

use std::cell::RefCell;
use std::net::{Ipv4Addr, SocketAddr};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, spawn_local};

/// An app on a port of its own. Dropped, it stops and its connections break.
#[derive(Debug)]
pub struct TcpApp {
    port: u16,
    accepted: Arc<AtomicUsize>,
    tasks: Rc<RefCell<Vec<AbortHandle>>>,
    accepting: AbortHandle,
}

impl TcpApp {
    /// Starts one. `serve` gets every connection with its number, from 0. Sidecars look whether the port
    /// answers: connections that end without a byte are normal.
    pub async fn start<F>(serve: impl Fn(TcpStream, usize) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        Self::start_on(0, serve).await
    }

    /// Starts one on a port that an app had before.
    pub async fn start_on<F>(port: u16, serve: impl Fn(TcpStream, usize) -> F + 'static) -> Self
    where
        F: Future<Output = ()> + 'static,
    {
        let address = SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port);
        let listener = TcpListener::bind(address)
            .await
            .unwrap_or_else(|error| panic!("an app could not listen on {address}: {error}"));
        let port = listener
            .local_addr()
            .expect("a bound socket has an address")
            .port();
        let accepted = Arc::new(AtomicUsize::new(0));
        let tasks = Rc::new(RefCell::new(Vec::<AbortHandle>::new()));
        let (count, list) = (Arc::clone(&accepted), Rc::clone(&tasks));
        let accepting = spawn_local(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let number = count.fetch_add(1, Relaxed);
                let task = spawn_local(serve(stream, number)).abort_handle();
                let mut list = list.borrow_mut();
                list.retain(|task| !task.is_finished());
                list.push(task);
            }
        });
        Self {
            port,
            accepted,
            tasks,
            accepting: accepting.abort_handle(),
        }
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Connections accepted so far.
    pub fn accepted(&self) -> usize {
        self.accepted.load(Relaxed)
    }

    /// Breaks its connections and stops listening.
    pub async fn stop(self) {
        let port = self.port;
        drop(self);
        // The runtime drops the sockets when it next looks at the aborted tasks.
        crate::wait::until("a stopped app to refuse connections", async || {
            TcpStream::connect((Ipv4Addr::LOCALHOST, port))
                .await
                .is_err()
                .then_some(())
        })
        .await;
    }
}

impl Drop for TcpApp {
    fn drop(&mut self) {
        self.accepting.abort();
        for task in self.tasks.borrow().iter() {
            task.abort();
        }
    }
}

/// A port that was free a moment ago, for programs that take no port 0.
pub fn free_port() -> u16 {
    let socket = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let address = socket.and_then(|socket| socket.local_addr());
    address.expect("some port is free").port()
}
