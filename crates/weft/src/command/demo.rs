//! `weft demo`: the apps that `weft up` shows, and test apps. They know of the mesh what any app knows.

use crate::failure::Failure;
use crate::values;
use clap::{Args, Subcommand};
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;
use weft_demo::app::StartError;
use weft_demo::load::{self, LoadConfig};
use weft_demo::{echo_http, motan_echo, orders, stock, stock_grpc, web};

/// Run one of the demo apps, or a test app.
#[derive(Debug, Args)]
#[command(hide = true, after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    app: App,
}

const EXAMPLES: &str = "\
Examples:
  weft demo echo-http --port 8080
  weft run --service web --port http=8080 -- weft demo web --port 8080
  weft run --service visitors -- weft demo visitors --rate 200 --for 10s";

#[derive(Debug, Subcommand)]
enum App {
    /// HTTP; each call asks orders. Holds a stream of stock-grpc.
    Web(Port),
    /// HTTP; each call asks stock in Motan2.
    Orders(Orders),
    /// Motan2; counts items.
    Stock(Port),
    /// gRPC; counts items, once or in a stream.
    StockGrpc(Port),
    /// Calls a service at a steady rate; one JSON line a second, the last one is the sum.
    Visitors(Visitors),
    /// A test app in HTTP/1.1: /bytes/N, /chunked/N, /close-delimited/N, /status/NNN, /slow?ms=N, /close, /abort;
    /// else it gives back the body, or describes the request.
    EchoHttp(Port),
    /// A test app in Motan2: gives back the body; methods slow (metadata sleep_ms), fail and metadata.
    MotanEcho(Port),
}

#[derive(Debug, Args)]
struct Port {
    /// The port on 127.0.0.1; 0 is any free one. The first line of output says which.
    #[arg(long)]
    port: u16,
}

#[derive(Debug, Args)]
struct Orders {
    #[command(flatten)]
    port: Port,

    /// Ask stock-grpc in gRPC every other time.
    #[arg(long)]
    in_turns: bool,
}

#[derive(Debug, Args)]
struct Visitors {
    /// Where the calls go [default: WEFT_OUTBOUND, the sidecar].
    #[arg(long, value_name = "ADDRESS")]
    target: Option<SocketAddr>,

    /// The Host of the calls.
    #[arg(long, default_value = "web")]
    host: String,

    /// The path of the calls.
    #[arg(long, default_value = "/")]
    path: String,

    /// Calls a second, over all connections.
    #[arg(long, default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    rate: u32,

    /// Kept connections.
    #[arg(
        long,
        default_value_t = 8,
        value_parser = clap::value_parser!(u16).range(1..=load::CONNECTIONS_MAX as i64)
    )]
    connections: u16,

    /// How long [default: until a signal].
    #[arg(long = "for", value_name = "TIME", value_parser = values::duration)]
    duration: Option<Duration>,

    /// How long the first answers are waited for, uncounted.
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = values::duration)]
    warm_up: Duration,

    /// A file for the report [default: standard output].
    #[arg(long, value_name = "FILE")]
    report: Option<PathBuf>,
}

/// Runs the app until it, or its time, ends.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    weft_host::open_files::raise_limit();
    let failed = |error: StartError| Failure::chain("cannot run the app", &error);
    match arguments.app {
        App::Web(Port { port }) => web::run(port),
        App::Orders(orders) => orders::run(orders.port.port, orders.in_turns),
        App::Stock(Port { port }) => stock::run(port),
        App::StockGrpc(Port { port }) => stock_grpc::run(port),
        App::EchoHttp(Port { port }) => echo_http::run(port),
        App::MotanEcho(Port { port }) => motan_echo::run(port),
        App::Visitors(visitors) => return visit(visitors).map_err(failed),
    }
    .map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

/// Exit code 1 when a call failed.
fn visit(visitors: Visitors) -> Result<ExitCode, StartError> {
    let failed = load::run(&LoadConfig {
        target: visitors.target,
        host: visitors.host,
        path: visitors.path,
        rate: visitors.rate,
        connections: usize::from(visitors.connections),
        duration: visitors.duration,
        warm_up: visitors.warm_up,
        report: visitors.report,
    })?;
    Ok(if failed == 0 {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
