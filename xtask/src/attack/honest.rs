//! Callers that look like attackers and are none, over HTTP/2 through the sidecar. Neither is cut off: messages of a
//! few bytes without end with the pings by which grpc-go measures bandwidth, and calls of which three in ten are
//! given up after 200 ms because the app hangs.

use super::stand::Stand;
use crate::drill::rows::Rows;
use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::Request;
use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::Poll;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::{MissedTickBehavior, interval, timeout};

/// Messages in the full form, and in the short one.
const MESSAGES: (u32, u32) = (1_000_000, 30_000);

/// Messages a second: so many every so often.
const BATCH: u32 = 50;
const BATCH_EVERY: Duration = Duration::from_millis(10);

/// Calls in the full form, and in the short one.
const CALLS: (u32, u32) = (10_000, 600);

/// Between two calls.
const CALL_EVERY: Duration = Duration::from_millis(4);

/// Three of ten calls reach an app that hangs.
const HUNG: (u32, u32) = (3, 10);

/// The deadline of these.
const DEADLINE: Duration = Duration::from_millis(200);

/// A call that is to be answered, or the rest of the messages, takes no longer.
const ANSWERED_WITHIN: Duration = Duration::from_secs(10);

/// Attempts of a call that was proven not to have been processed.
const ATTEMPTS_MAX: usize = 3;

/// Runs both.
pub(super) fn run(stand: &Stand, rows: &mut Rows) -> Result<(), String> {
    let full = rows.full();
    let address = stand.inbound();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| format!("make a runtime for honest callers: {error}"))?;
    let title = "honest, messages of 1-20 bytes";
    let count = if full { MESSAGES.0 } else { MESSAGES.1 };
    let (outcome, _) = stand.under(title, rows, || {
        Ok(runtime.block_on(messages(address, count)))
    })?;
    let (came, sent, pings) = outcome.unwrap_or_else(|reason| {
        rows.note(format!("{title}: {reason}"));
        (0, 1, 0)
    });
    rows.count(
        &format!("{title}: bytes that did not come back"),
        (sent - came) as f64,
        0.0,
    );
    rows.shown(&format!("{title}: messages"), f64::from(count));
    rows.shown(&format!("{title}: pings"), f64::from(pings));
    let title = "honest, 30 % of calls given up";
    let count = if full { CALLS.0 } else { CALLS.1 };
    let (outcome, cost) = stand.under(title, rows, || runtime.block_on(calls(address, count)))?;
    rows.count(
        &format!("{title}: answered calls that were lost of {count}"),
        f64::from(outcome.lost),
        0.0,
    );
    rows.shown(
        &format!("{title}: connections used"),
        f64::from(outcome.connections),
    );
    rows.count(
        &format!("{title}: not stopped at the app"),
        cost.not_stopped,
        0.0,
    );
    if let Some(why) = outcome.why {
        rows.note(format!("{title}: {why}"));
    }
    Ok(())
}

/// A connection, and the task that drives it.
struct Caller {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<Result<(), h2::Error>>,
    pings: Option<h2::PingPong>,
}

impl Caller {
    async fn connect(address: SocketAddr) -> Result<Self, String> {
        let told = |error: &dyn std::fmt::Display| format!("connect to {address}: {error}");
        let stream = TcpStream::connect(address)
            .await
            .map_err(|error| told(&error))?;
        stream.set_nodelay(true).map_err(|error| told(&error))?;
        let (requests, mut h2) = client::handshake(stream)
            .await
            .map_err(|error| told(&error))?;
        let pings = h2.ping_pong();
        Ok(Self {
            requests,
            driver: tokio::spawn(h2),
            pings,
        })
    }
}

fn request(path: &str) -> Result<Request<()>, String> {
    Request::post(format!("http://shop{path}"))
        .body(())
        .map_err(|error| format!("make a request: {error}"))
}

/// Sends messages on one stream to an app that sends them back; bytes that came, bytes that were sent, and pings.
async fn messages(address: SocketAddr, count: u32) -> Result<(u64, u64, u32), String> {
    let told = |error: h2::Error| format!("the stream of messages: {error}");
    let mut caller = Caller::connect(address).await?;
    let mut pings = caller.pings.take().ok_or("no pings on this connection")?;
    let mut requests = caller.requests.ready().await.map_err(told)?;
    let (response, mut out) = requests
        .send_request(request("/echo")?, false)
        .map_err(told)?;
    let reading = tokio::spawn(async move {
        let mut body = response.await?.into_body();
        let (mut came, mut pinged) = (0, 0);
        while let Some(bytes) = body.data().await {
            let bytes = bytes?;
            came += bytes.len() as u64;
            body.flow_control().release_capacity(bytes.len())?;
            // grpc-go: with data that came, unless one is under way.
            if pings.send_ping(h2::Ping::opaque()).is_ok() {
                pinged += 1;
            }
            let _ = poll_fn(|cx| Poll::Ready(pings.poll_pong(cx).is_ready())).await;
        }
        Ok::<_, h2::Error>((came, pinged))
    });
    let mut tick = interval(BATCH_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut sent = 0;
    for n in 0..count {
        if n.is_multiple_of(BATCH) {
            tick.tick().await;
        }
        let message = Bytes::from(vec![b'm'; 1 + (n % 20) as usize]);
        sent += message.len() as u64;
        out.send_data(message, n + 1 == count).map_err(told)?;
    }
    let (came, pinged) = timeout(ANSWERED_WITHIN, reading)
        .await
        .map_err(|_| "the last messages did not come back in time".to_owned())?
        .map_err(|error| error.to_string())?
        .map_err(told)?;
    caller.driver.abort();
    Ok((came, sent, pinged))
}

/// What came of many calls.
#[derive(Default)]
struct Outcome {
    lost: u32,
    connections: u32,
    why: Option<String>,
}

/// Calls of which some are given up; a connection that was asked to go is replaced.
async fn calls(address: SocketAddr, count: u32) -> Result<Outcome, String> {
    let mut outcome = Outcome {
        connections: 1,
        ..Outcome::default()
    };
    let mut caller = Caller::connect(address).await?;
    let mut under_way = JoinSet::new();
    let mut tick = interval(CALL_EVERY);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0..count {
        tick.tick().await;
        let ready = caller.requests.clone().ready().await;
        let requests = match ready {
            Ok(requests) if !caller.driver.is_finished() => requests,
            _ => {
                outcome.connections += 1;
                caller = Caller::connect(address).await?;
                caller.requests.clone()
            }
        };
        if n % HUNG.1 < HUNG.0 {
            under_way.spawn(give_up(requests));
        } else {
            under_way.spawn(answered(requests, address));
        }
    }
    while let Some(result) = under_way.join_next().await {
        let result = result.map_err(|error| error.to_string());
        if let Err(why) = result.and_then(|result| result) {
            outcome.lost += 1;
            outcome.why.get_or_insert(why);
        }
    }
    caller.driver.abort();
    Ok(outcome)
}

/// A call with a deadline to an app that hangs: it is reset, and whatever becomes of it is no loss.
async fn give_up(mut requests: SendRequest<Bytes>) -> Result<(), String> {
    if let Ok((response, _)) = requests.send_request(request("/slow")?, true) {
        let _ = timeout(DEADLINE, response).await;
    }
    Ok(())
}

/// A call that must be answered. One that was not processed is made again, on a connection of its own.
async fn answered(mut requests: SendRequest<Bytes>, address: SocketAddr) -> Result<(), String> {
    let mut caller = None;
    for _ in 0..ATTEMPTS_MAX {
        let sent = requests.send_request(request("/ok")?, true);
        let result = match sent {
            Ok((response, _)) => timeout(ANSWERED_WITHIN, response)
                .await
                .map_err(|_| "a call was not answered in time".to_owned())?,
            // It was never sent.
            Err(_) => Err(h2::Reason::REFUSED_STREAM.into()),
        };
        match result {
            Ok(response) if response.status() == 200 => return Ok(()),
            Ok(response) => return Err(format!("a call was answered {}", response.status())),
            Err(error)
                if error.is_go_away() || error.reason() == Some(h2::Reason::REFUSED_STREAM) =>
            {
                let other = Caller::connect(address).await?;
                requests = other.requests.clone();
                caller = Some(other);
            }
            Err(error) => return Err(format!("a call was lost: {error}")),
        }
    }
    drop(caller);
    Err(format!("a call was refused {ATTEMPTS_MAX} times"))
}
