//! `weft run`: an app with its sidecar.

use super::sidecar_arguments::SidecarArguments;
use crate::center_address;
use crate::failure::Failure;
use crate::values;
use clap::Args;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;
use std::time::Duration;
use weft_host::Folders;
use weft_host::check::{Check, Probe};
use weft_host::policy::{AppRestart, SidecarFailure};
use weft_host::sockets::{InboundAddress, Plan};
use weft_model::PortSpec;

mod systemd;

/// Run an app with its sidecar; without a command: a sidecar for an app that something else starts.
///
/// The app finds the mesh at WEFT_OUTBOUND (127.0.0.1:<port>), and its own name in WEFT_SERVICE and
/// WEFT_INSTANCE. The exit code is the app's.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Arguments {
    #[command(flatten)]
    sidecar: SidecarArguments,

    #[command(flatten)]
    sockets: SocketArguments,

    /// Set http_proxy for the app, so that its HTTP clients go through the mesh unchanged.
    #[arg(long)]
    set_http_proxy: bool,

    /// How long calls for the app may take to end at SIGTERM, before the app is told to end. 0s: at once.
    #[arg(long, alias = "drain", value_name = "TIME", default_value = "25s", value_parser = values::duration)]
    drain_limit: Duration,

    /// How long all of it may take, from SIGTERM to the app's end; then the app is killed.
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = values::duration)]
    grace: Duration,

    /// What follows when the sidecar dies once more after five deaths in a minute: restart-app, give-up (the app
    /// is told to end, exit code 70), keep-trying [default: as the Mesh declares, else restart-app].
    #[arg(long, value_name = "WHAT")]
    sidecar_failure: Option<SidecarFailure>,

    /// Whether an app that ends by itself, or fails its check, is started again: never, on-failure, always.
    #[arg(long, value_name = "WHEN", default_value = "never")]
    restart: AppRestart,

    #[command(flatten)]
    check: CheckArguments,

    /// How long the ports of an app that something else starts may be closed before the instance leaves and weft
    /// ends with 0. Its callers know at once that it is dead; answers again within this time: it is back.
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = values::duration)]
    app_away: Duration,

    /// Print systemd units that run this command line, a service and its sockets, and do nothing else.
    #[arg(long)]
    systemd_unit: bool,

    /// The app and its arguments.
    #[arg(last = true, value_name = "COMMAND")]
    command: Vec<OsString>,
}

/// Where the sidecar listens. Sockets that systemd hands over (LISTEN_FDS) are taken before any is opened.
#[derive(Debug, Args)]
struct SocketArguments {
    /// The port at which the app finds the mesh [default: 9981, else the next free one].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    outbound_port: Option<u16>,

    /// Where calls for the app arrive, addr:port or addr [default: loopback, 9982, else the next free one].
    /// Whoever reaches it reaches the app.
    #[arg(long, value_name = "ADDRESS")]
    inbound: Option<InboundAddress>,

    /// The port of the HTTP forward proxy [default: 9983, else the next free one].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    http_proxy_port: Option<u16>,

    /// The port of /metrics, /ready, /live and /config [default: 8002, else the next free one].
    #[arg(long, value_name = "PORT", value_parser = clap::value_parser!(u16).range(1..))]
    management_port: Option<u16>,
}

impl SocketArguments {
    fn plan(self, sidecar: &SidecarArguments) -> Plan {
        let listens = sidecar.upstreams.iter().chain(&sidecar.listens);
        let declared: Vec<u16> = listens.map(|listen| listen.port).collect();
        let ports = sidecar.ports.iter().map(|port| port.0.number);
        Plan {
            outbound: self.outbound_port,
            inbound: self.inbound,
            http_proxy: self.http_proxy_port,
            management: self.management_port,
            avoid: ports.chain(declared.iter().copied()).collect(),
            declared,
        }
    }
}

/// Whether and how the app is checked.
#[derive(Debug, Args)]
struct CheckArguments {
    /// Check the app while it runs: tcp[:PORT] (it takes a connection) or http:[PORT]/path (it answers with a status
    /// from 200 to 399); PORT is the first --port by default. One that fails counts as dead: one that weft started
    /// gets SIGTERM, 5 s later SIGKILL, and --restart says what follows (without one, exit code 69).
    #[arg(long = "check", value_name = "HOW")]
    probe: Option<Probe>,

    /// The time from one check to the next.
    #[arg(long = "check-interval", value_name = "TIME", default_value = "2s", value_parser = values::pause, requires = "probe")]
    interval: Duration,

    /// Checks in a row that must fail.
    #[arg(long = "check-failures", value_name = "NUMBER", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..), requires = "probe")]
    failures: u32,

    /// How long an app that weft started may take until it passes for the first time; failures count after that.
    #[arg(id = "check_grace", long = "check-grace", value_name = "TIME", default_value = "60s", value_parser = values::duration, requires = "probe")]
    grace: Duration,
}

impl CheckArguments {
    /// The check, of a port of its own or the first one declared.
    fn check(self, ports: &[PortSpec]) -> Result<Option<Check>, Failure> {
        let Some(probe) = self.probe else {
            return Ok(None);
        };
        let declared = ports.first().map(|port| port.0.number);
        let Some(port) = probe.port().or(declared) else {
            return Err(Failure::usage(format!(
                "--check {probe} names no port and no --port is declared; write one of them, for example \
                 --check tcp:8080"
            )));
        };
        Ok(Some(Check {
            probe,
            port,
            interval: self.interval,
            failures: self.failures,
            grace: self.grace,
        }))
    }
}

const EXAMPLES: &str = "\
Examples:
  weft run --service orders --port http=8080 -- ./orders --listen 8080
  weft run --service stock --port motan=8001,interface=com.acme.Stock,group=main -- java -jar stock.jar
  weft run --service orders --port http=8080 --check http:/live --restart on-failure -- ./orders
  weft run --service web --port http=8080            for an app that systemd or a container starts
  curl -H 'Host: orders' http://127.0.0.1:9981/      a call through the sidecar";

/// Runs until the app has ended.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Failure> {
    arguments.sidecar.check()?;
    if arguments.systemd_unit {
        return print_units(arguments);
    }
    let folders = Folders::of_this_user();
    let mut sidecar = arguments.sidecar;
    sidecar.centers = center_address::centers(&sidecar.centers, &folders)?;
    let instance = values::new_instance_id(&sidecar.service);
    let program = std::env::current_exe().map_err(|error| {
        Failure::refused(format!(
            "cannot find the weft binary, from which the sidecar is started: {error}; is /proc mounted?"
        ))
    })?;
    let check = arguments.check.check(&sidecar.ports)?;
    let config = weft_host::RunConfig {
        sockets: arguments.sockets.plan(&sidecar),
        spec: sidecar.into_spec(instance, 1),
        folders,
        command: arguments.command,
        set_http_proxy: arguments.set_http_proxy,
        drain_limit: arguments.drain_limit,
        grace: arguments.grace,
        sidecar_failure: arguments.sidecar_failure,
        restart: arguments.restart,
        check,
        app_away: arguments.app_away,
        program,
    };
    weft_host::run(config)
        .map(ExitCode::from)
        .map_err(Failure::refused)
}

/// Prints the units for the command line that we were started with.
fn print_units(arguments: Arguments) -> Result<ExitCode, Failure> {
    let refused = |text: &str| Failure::refused(format!("cannot write the units: {text}"));
    let program = std::env::current_exe().map_err(|error| refused(&error.to_string()))?;
    let words = std::iter::once(program.into_os_string()).chain(std::env::args_os().skip(1));
    let words: Result<Vec<String>, OsString> = words.map(OsString::into_string).collect();
    let words = words.map_err(|word| {
        refused(&format!(
            "\"{}\" is not UTF-8; rename the file",
            word.display()
        ))
    })?;
    let Arguments {
        sidecar,
        sockets,
        grace,
        ..
    } = arguments;
    let plan = sockets.plan(&sidecar);
    let units = systemd::units(&sidecar.service, &words, grace, &plan);
    io::stdout()
        .write_all(units.as_bytes())
        .map_err(|error| refused(&error.to_string()))?;
    Ok(ExitCode::SUCCESS)
}
