//! The app `web`: an HTTP page that is made with one call to `orders`, and with what a stream of `stock-grpc` said last.

use crate::app::{self, StartError};
use crate::grpc::{self, CallError, GrpcClient};
use crate::http_client::{Get, HttpClient};
use crate::http_server::{Exchange, Reply, TEXT};
use crate::stock_grpc;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use weft_codec::http1::Framing;

/// The service that is asked.
const ORDERS: &str = "orders";

/// What the stream is about.
const WATCHED: &str = "apples";

/// The pause before a stream that ended is opened again.
const REOPEN_PAUSE: Duration = Duration::from_millis(200);

/// What the stream said.
#[derive(Default)]
struct Watched {
    messages: AtomicU64,
    last: AtomicU64,
}

/// Serves on this port of loopback until the process ends.
pub fn run(port: u16) -> Result<(), StartError> {
    let sidecar = app::sidecar()?;
    let orders = Arc::new(HttpClient::new(sidecar));
    let watched = Arc::new(Watched::default());
    app::block_on(async {
        tokio::spawn(watch(GrpcClient::new(sidecar), Arc::clone(&watched)));
        app::serve(port, move |stream| {
            let (orders, watched) = (Arc::clone(&orders), Arc::clone(&watched));
            async move {
                // A connection that breaks is its caller's to notice.
                let _ = serve(Exchange::new(stream), &orders, &watched).await;
            }
        })
        .await
    })
}

/// Holds a stream open for as long as the app lives, over whatever ends one.
async fn watch(client: GrpcClient, watched: Arc<Watched>) {
    loop {
        // Why one ended, the sidecar's records tell; the page tells how many messages came.
        let _ = watch_once(&client, &watched).await;
        tokio::time::sleep(REOPEN_PAUSE).await;
    }
}

async fn watch_once(client: &GrpcClient, watched: &Watched) -> Result<(), CallError> {
    let asked = grpc::write_text(WATCHED);
    let mut messages = client.call(stock_grpc::WATCH, &asked).await?;
    while let Some(message) = messages.next().await? {
        if let Some(count) = grpc::read_number(&message) {
            watched.last.store(u64::from(count), Ordering::Relaxed);
            watched.messages.fetch_add(1, Ordering::Relaxed);
        }
    }
    Ok(())
}

async fn serve(mut exchange: Exchange, orders: &HttpClient, watched: &Watched) -> io::Result<()> {
    while exchange.next().await? {
        let get = Get {
            host: ORDERS,
            path: "/",
            request_id: exchange.fields().first("x-request-id"),
        };
        let (status, body) = match orders.get(get).await {
            Ok(answer) if answer.status == 200 => {
                let order = String::from_utf8_lossy(&answer.body).into_owned();
                (
                    200,
                    format!(
                        "weft demo shop, page by {}\n{order}\n{} {WATCHED}, by message {} of a stream\n",
                        app::instance(),
                        watched.last.load(Ordering::Relaxed),
                        watched.messages.load(Ordering::Relaxed),
                    ),
                )
            }
            Ok(answer) => {
                let said = String::from_utf8_lossy(&answer.body).into_owned();
                (
                    502,
                    format!("{ORDERS} answered {}: {said}\n", answer.status),
                )
            }
            Err(error) => (502, format!("cannot ask {ORDERS}: {error}\n")),
        };
        let reply = Reply {
            status,
            content_type: TEXT,
            framing: Framing::None,
            close: false,
        };
        exchange.whole(reply, body.as_bytes()).await?;
        if !exchange.finish(false).await? {
            break;
        }
    }
    Ok(())
}
