//! The app `web`: an HTTP page that is made with one call to `orders`.

use crate::app::{self, StartError};
use crate::http_client::{Get, HttpClient};
use crate::http_server::{Exchange, Reply, TEXT};
use std::io;
use std::sync::Arc;
use weft_codec::http1::Framing;

/// The service that is asked.
const ORDERS: &str = "orders";

/// Serves on this port of loopback until the process ends.
pub fn run(port: u16) -> Result<(), StartError> {
    let orders = Arc::new(HttpClient::new(app::sidecar()?));
    app::block_on(app::serve(port, move |stream| {
        let orders = Arc::clone(&orders);
        async move {
            // A connection that breaks is its caller's to notice.
            let _ = serve(Exchange::new(stream), &orders).await;
        }
    }))
}

async fn serve(mut exchange: Exchange, orders: &HttpClient) -> io::Result<()> {
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
                    format!("weft demo shop, page by {}\n{order}\n", app::instance()),
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
