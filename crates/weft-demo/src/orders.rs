//! The app `orders`: HTTP towards its callers; each call asks `stock` in Motan2, or in turns with it `stock-grpc` in gRPC.

use crate::app::{self, StartError};
use crate::grpc::{self, GrpcClient};
use crate::http_server::{Exchange, JSON, Reply, TEXT};
use crate::motan::{MotanClient, Request};
use crate::simple;
use crate::stock_grpc;
use serde_json::json;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use weft_codec::http1::Framing;

/// The interface that is asked: the name of a service without a declared interface.
const STOCK: &str = "stock";
/// What the demo shop sells.
const ITEMS: [&str; 4] = ["apples", "bread", "cheese", "dates"];

/// Who is asked.
struct Stocks {
    motan: MotanClient,
    grpc: GrpcClient,
    in_turns: bool,
    taken: AtomicU64,
}

/// Serves on this port of loopback until the process ends; whether `stock-grpc` is asked in turns with `stock`.
pub fn run(port: u16, in_turns: bool) -> Result<(), StartError> {
    let sidecar = app::sidecar()?;
    let stocks = Arc::new(Stocks {
        motan: MotanClient::new(sidecar),
        grpc: GrpcClient::new(sidecar),
        in_turns,
        taken: AtomicU64::new(0),
    });
    app::block_on(app::serve(port, move |stream| {
        let stocks = Arc::clone(&stocks);
        async move {
            // A connection that breaks is its caller's to notice.
            let _ = serve(Exchange::new(stream), &stocks).await;
        }
    }))
}

async fn serve(mut exchange: Exchange, stocks: &Stocks) -> io::Result<()> {
    while exchange.next().await? {
        let order = stocks.taken.fetch_add(1, Ordering::Relaxed) + 1;
        let item = ITEMS[order as usize / 2 % ITEMS.len()];
        let (asked, counted) = if order.is_multiple_of(2) || !stocks.in_turns {
            (STOCK, count(&stocks.motan, item).await)
        } else {
            let counted = count_in_grpc(&stocks.grpc, item).await;
            (stock_grpc::COUNT.authority, counted)
        };
        let (status, content_type, body) = match counted {
            Ok(count) => {
                let body = json!({
                    "order": order, "item": item, "in_stock": count, "says": asked,
                    "instance": app::instance(),
                });
                (200, JSON, body.to_string())
            }
            Err(text) => (502, TEXT, format!("cannot ask {asked}: {text}\n")),
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

async fn count_in_grpc(stock: &GrpcClient, item: &str) -> Result<i64, String> {
    let reply = stock
        .unary(stock_grpc::COUNT, &grpc::write_text(item))
        .await
        .map_err(|error| error.to_string())?;
    grpc::read_number(&reply)
        .map(i64::from)
        .ok_or_else(|| "the reply is not a number".into())
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
