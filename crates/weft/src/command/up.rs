//! `weft up`: a whole mesh on this machine, to look at: center, demo services, load.
//!
//! | file | defines |
//! |---|---|
//! | `up/household.rs` | the processes: started, looked after, ended; their folder |
//! | `up/news.rs` | what happened to them, in words |
//! | `up/report.rs` | what the load generator wrote |
//! | `up/screen.rs` | what is shown: a live table on a terminal, plain lines elsewhere |
//!
//! Every instance is a `weft run` process with its own sidecar, as anywhere else; nothing here is simulated.

use crate::clock;
use crate::failure::Failure;
use crate::stats;
use crate::values;
use clap::Args;
use household::{Household, Plan};
use news::News;
use report::Report;
use screen::Screen;
use std::io;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};
use weft_host::RuntimeFile;
use weft_model::instance::NAMESPACE_DEFAULT;

mod household;
mod news;
mod report;
mod screen;

/// How long a process may take until it is up.
const UP_WAIT: Duration = Duration::from_secs(15);
/// How often something that is awaited is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// How often the numbers are shown.
const SHOW_EVERY: Duration = Duration::from_secs(1);

/// Show a whole mesh on this machine: center, five demo services, load.
///
/// visitors (load) -> web (HTTP) -> orders (HTTP, 2 instances) -> stock (Motan2, 2 instances) and stock-grpc (gRPC,
/// 2 instances) in turns; web also holds a stream of stock-grpc. Each instance has its own sidecar. Ctrl-C ends every
/// process.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    /// How long [default: until Ctrl-C].
    #[arg(long = "for", value_name = "TIME", value_parser = values::duration)]
    duration: Option<Duration>,

    /// Print the sum as a JSON object on the last line.
    #[arg(long)]
    json: bool,

    /// Calls a second that the load generator makes.
    #[arg(long, value_name = "NUMBER", default_value_t = 200, value_parser = clap::value_parser!(u32).range(1..=100_000))]
    rate: u32,

    /// Connections that the load generator keeps.
    #[arg(long, value_name = "NUMBER", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1024))]
    connections: u16,
}

const EXAMPLES: &str = "\
Examples:
  weft up
  weft up --for 20s --json

Exit codes: 0 when no call failed, 1 when one did or something did not start.";

/// Starts all, shows it, ends all.
pub(crate) fn run(arguments: &Arguments) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::refused(format!("cannot start the runtime: {error}")))?;
    runtime.block_on(async {
        let mut household = Household::new()?;
        let outcome = tokio::select! {
            outcome = live(arguments, &mut household) => outcome,
            asked = asked_to_end() => asked,
        };
        let parts = Parts::of(&household);
        let visited = household.end(household::VISITORS).await;
        let report = Report::read(&household.report_path());
        household.end_all().await;
        outcome?;
        visited?;
        Ok(sum_up(arguments, parts, &report))
    })
}

/// Ends when the time is over or something went wrong.
async fn live(arguments: &Arguments, household: &mut Household) -> Result<(), Failure> {
    let mut screen = Screen::new();
    screen.say(&format!("logs are in {}", household.log_folder().display()));
    let center = start_center(household).await?;
    screen.say(&format!("center    http://{center}"));
    let began = clock::now();
    let instances = start_services(household, &center).await?;
    for (name, instance) in &instances {
        let ports = instance.ports;
        screen.say(&format!(
            "{name:9} sidecar pid {}, outbound {}, inbound {}",
            instance.sidecar_pid.unwrap_or(0),
            ports.outbound,
            ports.inbound
        ));
    }
    start_visitors(household, arguments, &center).await?;
    let took = clock::now().saturating_duration_since(began);
    screen.say(&format!(
        "all up and answering after {:.1} s",
        took.as_secs_f64()
    ));
    screen.say(&things_to_try(&center, &instances));

    let watched = watch(household, &center, &mut screen);
    match arguments.duration {
        None => watched.await?,
        Some(duration) => match timeout(duration, watched).await {
            Ok(ended) => ended?,
            Err(_over) => {}
        },
    }
    Ok(())
}

/// What was running at the end.
#[derive(Clone, Copy, Debug)]
struct Parts {
    services: usize,
    sidecars: usize,
}

impl Parts {
    fn of(household: &Household) -> Self {
        let files = household.runtime_files();
        let mut services: Vec<&str> = files.iter().map(|file| file.service.as_str()).collect();
        services.sort_unstable();
        services.dedup();
        let sidecars = files
            .iter()
            .filter(|file| file.sidecar_pid.is_some())
            .count();
        Self {
            services: services.len(),
            sidecars,
        }
    }
}

async fn asked_to_end() -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::refused(format!("cannot listen to signals: {error}"));
    let listen = |kind| signal(kind).map_err(failed);
    let mut interrupt = listen(SignalKind::interrupt())?;
    let mut terminate = listen(SignalKind::terminate())?;
    let mut hangup = listen(SignalKind::hangup())?;
    tokio::select! {
        _ = interrupt.recv() => {},
        _ = terminate.recv() => {},
        _ = hangup.recv() => {},
    }
    Ok(())
}

/// Starts the center; its address.
async fn start_center(household: &mut Household) -> Result<String, Failure> {
    household.start(household::CENTER, &["center", "--or-any-port"])?;
    wait_for(household, household::CENTER, |household| {
        let url = household.center_url()?;
        values::center(&url).ok()
    })
    .await
}

/// Starts an instance of every service but the load; their names and where they are.
async fn start_services(
    household: &mut Household,
    center: &str,
) -> Result<Vec<(String, RuntimeFile)>, Failure> {
    let plans = household::plans();
    for plan in &plans {
        household.start_instance(plan, center)?;
    }
    let mut instances = Vec::new();
    for Plan { name, port, .. } in &plans {
        let file = wait_for(household, name, |household| {
            let is_up = weft_host::owner::any_listens(&[*port]);
            household.runtime_file(name).filter(|_| is_up)
        })
        .await?;
        instances.push((name.clone(), file));
    }
    Ok(instances)
}

/// Starts the load and waits until it is answered.
async fn start_visitors(
    household: &mut Household,
    arguments: &Arguments,
    center: &str,
) -> Result<(), Failure> {
    household.start_visitors(center, arguments.rate, arguments.connections)?;
    let report = household.report_path();
    let warm = wait_for(household, household::VISITORS, |_| {
        Some(Report::read(&report)).filter(|report| report.is_warm.is_some())
    })
    .await?;
    if warm.is_warm == Some(true) {
        return Ok(());
    }
    Err(household.failure(&format!(
        "no steady answers came from web, though all processes are up; the last call found: {}",
        warm.found
    )))
}

/// Waits until something is there, as long as every process lives.
async fn wait_for<T>(
    household: &mut Household,
    name: &str,
    mut there: impl FnMut(&Household) -> Option<T>,
) -> Result<T, Failure> {
    let until = clock::now() + UP_WAIT;
    loop {
        if let Some(found) = there(household) {
            return Ok(found);
        }
        if let Some((_, text)) = household.ended() {
            return Err(household.failure(&text));
        }
        if clock::now() > until {
            let text = format!("{name} is not up after {} s", UP_WAIT.as_secs());
            return Err(household.failure(&text));
        }
        sleep(LOOK_EVERY).await;
    }
}

/// Shows the numbers until a process ends that should not.
async fn watch(
    household: &mut Household,
    center: &str,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let mut turn = interval(SHOW_EVERY);
    turn.set_missed_tick_behavior(MissedTickBehavior::Skip);
    turn.tick().await;
    let mut news = News::begin(household);
    let mut center_is_gone = false;
    loop {
        turn.tick().await;
        match household.ended() {
            None => {}
            Some((name, text)) if name == household::CENTER => {
                let text =
                    format!("{text}: calls go on with what the sidecars know; it is started anew");
                screen.tell(&news.sentence(&text));
                household.start(household::CENTER, &["center", "--listen", center])?;
                center_is_gone = true;
            }
            Some((_, text)) => return Err(household.failure(&text)),
        }
        let services = match stats::fetch(center, NAMESPACE_DEFAULT, None).await {
            Ok(list) => stats::services(&list),
            // The mesh goes on without it, and so do we.
            Err(_) => Vec::new(),
        };
        if center_is_gone && !services.is_empty() {
            screen.tell(&news.sentence("the center is back and hears the sidecars again"));
            center_is_gone = false;
        }
        let report = Report::read(&household.report_path());
        for text in news.turn(household, &report) {
            screen.tell(&text);
        }
        screen.show(&services, &report);
    }
}

/// Three things to try, with the real ports and pids.
fn things_to_try(center: &str, instances: &[(String, RuntimeFile)]) -> String {
    let weft = own_name();
    let of = |name: &str| {
        instances
            .iter()
            .find(|(known, _)| known == name)
            .map(|(_, file)| file)
    };
    let port = of("web").map_or(0, |file| file.ports.outbound);
    let pid = of("orders-2")
        .and_then(|file| file.sidecar_pid)
        .unwrap_or(0);
    format!(
        "\nTry in another terminal:\n  \
         curl -H 'Host: orders' http://127.0.0.1:{port}/   # a call through web's sidecar\n  \
         {weft} stat --center {center}   # what the services do\n  \
         kill -9 {pid}   # ends the sidecar of an orders instance: it comes back on the same sockets\n"
    )
}

/// How this binary was called.
fn own_name() -> String {
    let name = std::env::args_os().next().unwrap_or_else(|| "weft".into());
    Path::new(&name).display().to_string()
}

/// Says how it went.
fn sum_up(arguments: &Arguments, parts: Parts, report: &Report) -> ExitCode {
    let total = report.total;
    let mut screen = Screen::new();
    screen.say(&format!(
        "{} calls, {} failed, p50 {}, p99 {}",
        total.calls,
        total.failed,
        stats::duration(total.p50_us),
        stats::duration(total.p99_us)
    ));
    if total.failed > 0 {
        screen.say(&format!(
            "the last call that failed found: {}",
            report.found
        ));
    }
    if arguments.json {
        // Written by hand for the order of its fields.
        screen.say(&format!(
            "{{\"services\":{},\"sidecars\":{},\"calls\":{},\"failed\":{},\"p50_us\":{},\"p99_us\":{}}}",
            parts.services, parts.sidecars, total.calls, total.failed, total.p50_us, total.p99_us
        ));
    }
    // Ended by a person before anything was called is fine; a run of its own that called nothing is not.
    let nothing_seen = arguments.duration.is_some() && total.calls == 0;
    if total.failed > 0 || nothing_seen {
        ExitCode::FAILURE
    } else {
        ExitCode::SUCCESS
    }
}
