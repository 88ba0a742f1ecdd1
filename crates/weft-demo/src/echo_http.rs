//! A test app in HTTP/1.1 that says what it got.
//!
//! | path | answer |
//! |---|---|
//! | `/bytes/N` | N bytes with a length |
//! | `/chunked/N` | N bytes in chunks |
//! | `/close-delimited/N` | N bytes that end with the connection |
//! | `/status/NNN` | that status |
//! | `/slow?ms=N` | after N milliseconds (1000 by default) |
//! | `/close` | as others, then closes |
//! | `/abort` | half a body, then breaks the connection |
//! | any other, with a body | that body, streamed, in the request's own framing, trailers included |
//! | any other | method, target, host and fields, as JSON |
//!
//! Byte `i` of a made body is `i % 251`.

use crate::app::{self, StartError};
use crate::http_server::{BYTES, Exchange, JSON, Reply, TEXT};
use serde_json::json;
use std::io;
use std::time::Duration;
use tokio::net::TcpStream;
use weft_codec::http1::Framing;

/// The length of the pattern of made bodies; a prime, so that a shifted byte is seen.
const PATTERN: usize = 251;
/// Bytes of one write of a made body.
const WRITE_BYTES: usize = 64 * PATTERN;
/// The longest wait of `/slow`.
const SLOW_MAX: Duration = Duration::from_mins(1);

/// Serves on this port of loopback (0: any) until the process ends.
pub fn run(port: u16) -> Result<(), StartError> {
    app::block_on(app::serve(port, |stream| async move {
        // A connection that breaks is its caller's to notice.
        let _ = serve(stream).await;
    }))
}

async fn serve(stream: TcpStream) -> io::Result<()> {
    let mut exchange = Exchange::new(stream);
    while exchange.next().await? {
        let close = answer(&mut exchange).await?;
        if !exchange.finish(close).await? {
            break;
        }
    }
    Ok(())
}

/// Answers one request; whether the connection is to close.
async fn answer(exchange: &mut Exchange) -> io::Result<bool> {
    let path = String::from_utf8_lossy(exchange.path()).into_owned();
    let (first, rest) = path
        .trim_start_matches('/')
        .split_once('/')
        .unwrap_or((&path, ""));
    let number = rest.parse::<u64>();
    let reply = Reply {
        status: 200,
        content_type: BYTES,
        framing: Framing::None,
        close: false,
    };
    match (first, number) {
        ("bytes", Ok(len)) => {
            made(
                exchange,
                Reply {
                    framing: Framing::Length(len),
                    ..reply
                },
                len,
            )
            .await?;
        }
        ("chunked", Ok(len)) => {
            made(
                exchange,
                Reply {
                    framing: Framing::Chunked,
                    ..reply
                },
                len,
            )
            .await?;
        }
        ("close-delimited", Ok(len)) => {
            let reply = Reply {
                framing: Framing::Close,
                close: true,
                ..reply
            };
            made(exchange, reply, len).await?;
            return Ok(true);
        }
        ("status", Ok(status @ 200..=599)) => {
            let status = status as u16;
            let reply = Reply {
                status,
                content_type: TEXT,
                ..reply
            };
            exchange
                .whole(reply, format!("status {status}\n").as_bytes())
                .await?;
        }
        _ => return answer_by_name(exchange, &path, reply).await,
    }
    Ok(false)
}

async fn answer_by_name(exchange: &mut Exchange, path: &str, reply: Reply<'_>) -> io::Result<bool> {
    match path {
        "/slow" => {
            let millis = exchange.parameter("ms").and_then(|text| text.parse().ok());
            let wait = Duration::from_millis(millis.unwrap_or(1000)).min(SLOW_MAX);
            tokio::time::sleep(wait).await;
            let reply = Reply {
                content_type: TEXT,
                ..reply
            };
            exchange
                .whole(reply, format!("after {wait:?}\n").as_bytes())
                .await?;
            Ok(false)
        }
        "/close" => {
            let body = description(exchange);
            exchange
                .whole(
                    Reply {
                        content_type: JSON,
                        close: true,
                        ..reply
                    },
                    &body,
                )
                .await?;
            Ok(true)
        }
        "/abort" => {
            exchange
                .start(Reply {
                    framing: Framing::Length(1000),
                    ..reply
                })
                .await?;
            exchange.write_body(&[0; 500]).await?;
            Ok(true)
        }
        _ if exchange.request_framing() != Framing::None => {
            echo(exchange, reply).await?;
            Ok(false)
        }
        _ => {
            let body = description(exchange);
            exchange
                .whole(
                    Reply {
                        content_type: JSON,
                        ..reply
                    },
                    &body,
                )
                .await?;
            Ok(false)
        }
    }
}

/// A body of this length, made up.
async fn made(exchange: &mut Exchange, reply: Reply<'_>, len: u64) -> io::Result<()> {
    exchange.start(reply).await?;
    if exchange.method() == b"HEAD" {
        return Ok(());
    }
    let pattern: Vec<u8> = (0..WRITE_BYTES)
        .map(|index| (index % PATTERN) as u8)
        .collect();
    let mut left = len;
    while left > 0 {
        // Every write begins where the pattern does.
        let now = pattern
            .get(..left.min(WRITE_BYTES as u64) as usize)
            .unwrap_or(&pattern);
        exchange.write_body(now).await?;
        left -= now.len() as u64;
    }
    exchange.end(None).await
}

/// The request's body, as it comes.
async fn echo(exchange: &mut Exchange, reply: Reply<'_>) -> io::Result<()> {
    exchange
        .start(Reply {
            framing: exchange.request_framing(),
            ..reply
        })
        .await?;
    while let Some(bytes) = exchange.next_body().await? {
        exchange.write_body(&bytes).await?;
    }
    let trailers = exchange.take_trailers();
    exchange.end(trailers.as_ref()).await
}

/// What was asked, as JSON.
fn description(exchange: &Exchange) -> Vec<u8> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    let fields: Vec<_> = exchange
        .fields()
        .iter()
        .map(|(name, value)| json!([text(name), text(value)]))
        .collect();
    let description = json!({
        "method": text(exchange.method()),
        "target": text(exchange.target()),
        "host": text(exchange.authority()),
        "fields": fields,
        "instance": app::instance(),
    });
    format!("{description}\n").into_bytes()
}

#[cfg(test)]
mod tests;
