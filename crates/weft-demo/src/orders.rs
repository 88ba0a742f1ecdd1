//! The app `orders`: HTTP towards its callers; each call asks `stock` in Motan2.

use crate::app::{self, StartError};
use crate::http_server::{Exchange, JSON, Reply, TEXT};
use crate::motan::{MotanClient, Request, SharedMotanClient};
use crate::simple;
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weft_codec::http1::Framing;

/// The interface that is asked: the name of a service without a declared interface.
const STOCK: &str = "stock";
/// What the demo shop sells.
const ITEMS: [&str; 4] = ["apples", "bread", "cheese", "dates"];

/// Serves on this port of loopback until the process ends.
pub fn run(port: u16) -> Result<(), StartError> {
    let stock = Arc::new(MotanClient::new(app::sidecar()?));
    let taken = Arc::new(AtomicU64::new(0));
    app::block_on(app::serve(port, move |stream| {
        let (stock, taken) = (Arc::clone(&stock), Arc::clone(&taken));
        async move {
            // A connection that breaks is its caller's to notice.
            let _ = serve(Exchange::new(stream), &stock, &taken).await;
        }
    }))
}

async fn serve(
    mut exchange: Exchange,
    stock: &SharedMotanClient,
    taken: &AtomicU64,
) -> io::Result<()> {
    while exchange.next().await? {
        let order = taken.fetch_add(1, Ordering::Relaxed) + 1;
        let item = ITEMS[order as usize % ITEMS.len()];
        let (status, content_type, body) = match count(stock, item).await {
            Ok(count) => {
                let body = json!({
                    "order": order, "item": item, "in_stock": count, "instance": app::instance(),
                });
                (200, JSON, body.to_string())
            }
            Err(text) => (502, TEXT, format!("cannot ask {STOCK}: {text}\n")),
        };
        let reply = Reply {
            status,
            content_type,
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

async fn count(stock: &MotanClient, item: &str) -> Result<i64, String> {
    let mut body = Vec::new();
    simple::write_string(item, &mut body);
    let request = Request {
        interface: STOCK,
        method: "count",
        body: &body,
    };
    // Counting changes nothing: it may be asked twice.
    let reply = stock
        .call(request, true)
        .await
        .map_err(|error| error.to_string())?;
    simple::read_int64(&reply).ok_or_else(|| "the reply is not a number".into())
}
