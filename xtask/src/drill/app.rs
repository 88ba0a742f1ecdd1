//! The app of a drill: HTTP/1.1 and Motan2 in one process, a constant reply after a few milliseconds.
//!
//! It leaves as an orderly app does: at SIGTERM it listens no more, ends what it has begun, says so on each
//! connection that can be told, and is gone when nothing came for a moment.

use super::wire::{Wire, frame_bytes};
use clap::Args;
use std::cell::Cell;
use std::io;
use std::net::Ipv4Addr;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{Mutex, watch};
use tokio::task::{JoinSet, LocalSet};
use tokio::time::{sleep, timeout};
use weft_codec::motan2::Header;

/// How long a connection without a call stays open after SIGTERM: a call may be on its way.
const LAST_CALL: Duration = Duration::from_millis(200);

/// The wait between two looks whether the last connection has closed.
const LOOK_EVERY: Duration = Duration::from_millis(2);

/// What the app serves.
#[derive(Clone, Debug, Args)]
pub(crate) struct Options {
    /// The address of both ports.
    #[arg(long, default_value_t = Ipv4Addr::LOCALHOST)]
    address: Ipv4Addr,
    /// The port of HTTP/1.1.
    #[arg(long)]
    http: u16,
    /// The port of Motan2.
    #[arg(long)]
    motan: u16,
    /// How long each reply takes, in milliseconds.
    #[arg(long, default_value_t = 5)]
    delay_ms: u64,
    /// What each reply says.
    #[arg(long, default_value = "app")]
    name: String,
}

struct App {
    delay: Duration,
    name: String,
    open: Cell<usize>,
    leaving: watch::Receiver<bool>,
}

/// Serves until SIGTERM.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    let told = |error: io::Error| format!("serve as the app of a drill: {error}");
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(told)?;
    LocalSet::new()
        .block_on(&runtime, serve(options))
        .map_err(told)?;
    Ok(true)
}

async fn serve(options: &Options) -> io::Result<()> {
    let mut term = signal(SignalKind::terminate())?;
    let http = TcpListener::bind((options.address, options.http)).await?;
    let motan = TcpListener::bind((options.address, options.motan)).await?;
    let (leave, leaving) = watch::channel(false);
    let app = Rc::new(App {
        delay: Duration::from_millis(options.delay_ms),
        name: options.name.clone(),
        open: Cell::new(0),
        leaving,
    });
    loop {
        let (stream, is_http) = tokio::select! {
            accepted = http.accept() => (accepted?.0, true),
            accepted = motan.accept() => (accepted?.0, false),
            _ = term.recv() => break,
        };
        let app = Rc::clone(&app);
        app.open.set(app.open.get() + 1);
        tokio::task::spawn_local(async move {
            // A connection that breaks is its caller's to notice.
            let _ = app.connection(stream, is_http).await;
            app.open.set(app.open.get() - 1);
        });
    }
    drop((http, motan));
    let _ = leave.send(true);
    while app.open.get() > 0 {
        sleep(LOOK_EVERY).await;
    }
    Ok(())
}

impl App {
    async fn connection(&self, stream: TcpStream, is_http: bool) -> io::Result<()> {
        stream.set_nodelay(true)?;
        let mut wire = Wire::new(stream);
        if is_http {
            while let Some(request) = self.next(wire.request()).await? {
                sleep(asked_delay(&request).unwrap_or(self.delay)).await;
                let close = *self.leaving.borrow();
                let last = if close { "Connection: close\r\n" } else { "" };
                let reply = format!(
                    "HTTP/1.1 200 OK\r\nContent-Length: {}\r\n{last}\r\n{}",
                    self.name.len(),
                    self.name
                );
                wire.write(reply.as_bytes()).await?;
                if close {
                    break;
                }
            }
            return Ok(());
        }
        // Calls of many callers share a connection: each is answered when it is done.
        let (reading, writing) = wire.split();
        let writing = Rc::new(Mutex::new(writing));
        let mut wire = reading;
        let mut calls = JoinSet::new();
        loop {
            let Some(frame) = self.next(wire.frame()).await? else {
                break;
            };
            let (writing, name, delay) = (Rc::clone(&writing), self.name.clone(), self.delay);
            while calls.try_join_next().is_some() {}
            calls.spawn_local(async move {
                if !frame.header.heartbeat {
                    sleep(delay).await;
                }
                let header = Header {
                    response: true,
                    ..frame.header
                };
                let bytes = frame_bytes(header, &[], name.as_bytes());
                writing.lock().await.write_all(&bytes).await
            });
        }
        while calls.join_next().await.is_some() {}
        Ok(())
    }

    /// Waits for the next call; none when there will be none.
    async fn next<T>(
        &self,
        read: impl Future<Output = io::Result<Option<T>>>,
    ) -> io::Result<Option<T>> {
        let mut leaving = self.leaving.clone();
        tokio::pin!(read);
        tokio::select! {
            next = &mut read => return next,
            _ = leaving.wait_for(|leaving| *leaving) => {}
        }
        timeout(LAST_CALL, read).await.unwrap_or(Ok(None))
    }
}

/// How long a request wants its reply to take: `/?ms=2500`.
fn asked_delay(request: &str) -> Option<Duration> {
    let (_, rest) = request.split_once("?ms=")?;
    let digits = rest.split(|c: char| !c.is_ascii_digit()).next()?;
    digits.parse().ok().map(Duration::from_millis)
}
