//! `conform h2`: HTTP/2 of real sidecars against hostile clients and hostile servers.
//!
//! | file | what it holds |
//! |---|---|
//! | `suites.rs` | h2spec |
//! | `app.rs` | the app behind h2spec |
//! | `hostile.rs` | the own list: a server by hand as the app, played case by case |
//! | `cases.rs`, `frame_cases.rs`, `message_cases.rs` | the own list, by section of RFC 9113 |
//! | `wire.rs` | frames by hand |
//! | `caller.rs` | who calls |
//!
//! Two gates count: h2spec finds nothing that has no reason here, and in the own list the client side does what the RFC
//! says while its caller gets a whole reply or a clean failure.

mod app;
mod caller;
mod cases;
mod frame_cases;
mod hostile;
mod message_cases;
mod suites;
pub(crate) mod wire;

use crate::bench::http1::build;
use crate::bench::processes::{get, metric_sum};
use crate::conform::rows::Report;
use crate::drill::mesh::{Instance, Mesh, ends_at_once};
use crate::peers;
use cases::Case;
use hostile::Server;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// Cases whose servers are the ports of one instance: it may have 64.
const CASES_PER_INSTANCE: usize = 50;

/// Cases of the own list at the least.
const OWN_CASES_MIN: u64 = 100;

/// Cases of h2spec (`section/case`) that a sidecar may fail, each with the reason in RFC 9113.
const EXCEPTIONS: &[(&str, &str)] = &[];

/// Cases of the own list that a sidecar may fail, each with the reason. In all of them nothing of what is wrong reaches
/// the caller.
const OWN_EXCEPTIONS: &[(&str, &str, &str)] = &[
    (
        "6.5.2",
        "ENABLE_PUSH of 1 from a server",
        "the h2 crate ignores it; a promise ends the connection all the same",
    ),
    (
        "8.1",
        "trailers with :status",
        "the h2 crate drops pseudo-fields of trailers before anybody sees them",
    ),
    (
        "8.3",
        "a pseudo-field of requests",
        "the h2 crate drops them from replies before anybody sees them",
    ),
];

/// How to run.
#[derive(Clone, Debug, Default, clap::Args)]
pub(crate) struct Options {
    /// A binary to test instead of building one
    #[arg(long, value_name = "PATH")]
    binary: Option<PathBuf>,
    /// Only cases of the own list whose section or name contains this
    #[arg(long, value_name = "TEXT")]
    case: Option<String>,
}

/// Runs the suite and prints it; whether all gates are met.
pub(crate) fn run(options: &Options, json: bool) -> Result<bool, String> {
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => build("release")?,
    };
    let mut report = Report::default();
    own_list(&binary, options.case.as_deref(), &mut report)?;
    if options.case.is_none() {
        if peers::version("h2spec").is_none() {
            return Err("h2spec is not installed; cargo xtask peers installs it".to_owned());
        }
        suites::h2spec(&binary, &mut report)?;
    }
    Ok(report.print("conform h2", json))
}

/// Every case of the own list, through two sidecars.
fn own_list(binary: &Path, only: Option<&str>, report: &mut Report) -> Result<(), String> {
    let cases: Vec<Arc<Case>> = cases::all()
        .into_iter()
        .filter(|case| only.is_none_or(|text| case.section == text || case.name.contains(text)))
        .map(Arc::new)
        .collect();
    let servers = cases
        .iter()
        .map(|case| Server::start(Arc::clone(case)))
        .collect::<Result<Vec<Server>, String>>()?;
    let mesh = Mesh::new(binary, "hostile")?;
    let _center = mesh.start_center()?;
    let mut called = Vec::new();
    for (index, servers) in servers.chunks(CASES_PER_INSTANCE).enumerate() {
        let mut flags = ends_at_once();
        for server in servers {
            let port = server.port;
            flags.extend(["--port".to_owned(), format!("p{port}:h2={port}")]);
        }
        called.push(mesh.start_instance(&service(index), &flags, &[])?);
    }
    let caller = mesh.start_instance("web", &ends_at_once(), &[])?;
    let outbound = caller.address("outbound");
    for index in 0..called.len() {
        // A port that no service has: refused by the own sidecar as soon as it knows the service.
        let nowhere = format!("{}:none", service(index));
        mesh.wait_for("the caller to know the service", || {
            let got = caller::call(outbound, &nowhere, "GET").ok()?;
            (got.code? == "no_port").then_some(())
        })?;
    }
    let mut count = Count::default();
    for (index, (case, server)) in cases.iter().zip(&servers).enumerate() {
        let outcome = server.play(case, outbound, &service(index / CASES_PER_INSTANCE));
        let excepted = OWN_EXCEPTIONS
            .iter()
            .any(|(section, name, _)| case.section == *section && case.name == *name);
        count.add(&outcome, excepted);
        if !excepted {
            let Case { section, name, .. } = &**case;
            let tell = |fault| format!("{section} {name}: {fault}");
            report.faults.extend(outcome.faults.into_iter().map(tell));
        }
    }
    if only.is_none() {
        report.at_least("own list: cases", cases.len() as u64, OWN_CASES_MIN);
    }
    report.at_most("own list: wrong", count.wrong, 0);
    report.shown("own list: wrong, with a reason here", count.excepted);
    report.shown(
        "own list: ended with PROTOCOL_ERROR instead",
        count.other_code,
    );
    report.shown(
        "own list: stream errors that ended the connection",
        count.ended,
    );
    report.shown("own list: connections ended without GOAWAY", count.without);
    let mut sum = 0;
    for instance in called.iter().chain([&caller]) {
        sum += unbalanced(&mesh, instance)?;
    }
    report.at_most("own list: calls not recorded once", sum, 0);
    Ok(())
}

fn service(index: usize) -> String {
    format!("hostile{index}")
}

/// Cases, by what came of them.
#[derive(Default)]
struct Count {
    wrong: u64,
    excepted: u64,
    other_code: u64,
    ended: u64,
    without: u64,
}

impl Count {
    fn add(&mut self, outcome: &hostile::Outcome, excepted: bool) {
        let wrong = u64::from(!outcome.faults.is_empty());
        if excepted {
            self.excepted += wrong;
        } else {
            self.wrong += wrong;
        }
        self.other_code += u64::from(outcome.other_code);
        self.ended += u64::from(outcome.ended_for_stream_error);
        self.without += u64::from(outcome.without_goaway);
    }
}

/// Calls opened and not recorded, or under way, or panics, when all have ended.
fn unbalanced(mesh: &Mesh, instance: &Instance) -> Result<u64, String> {
    let mut last = 0;
    let balanced = mesh.wait_for("balanced books", || {
        let (_, text) = get(instance.address("management"), "/metrics").ok()?;
        let opened = metric_sum(&text, "weft_calls_opened_total");
        let recorded = metric_sum(&text, "weft_calls_total");
        let active = metric_sum(&text, "weft_calls_active");
        let panics = metric_sum(&text, "weft_panics_total");
        last = ((opened - recorded).abs() + active + panics) as u64;
        (last == 0 && opened > 0.0).then_some(())
    });
    if last > 0 {
        return Ok(last);
    }
    balanced.map(|()| 0)
}

#[cfg(test)]
mod tests;
