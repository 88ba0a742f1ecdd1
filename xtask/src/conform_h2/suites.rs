//! h2spec, a hostile client, against listeners of sidecars that declare HTTP/2; read by its counts and never by
//! its exit code.
//!
//! It names what it calls `localhost:<port>`, so that is what the service and its port are called here.

use super::EXCEPTIONS;
use super::caller::call;
use crate::bench::processes::free_port;
use crate::conform::rows::Report;
use crate::drill::mesh::{Instance, Mesh};
use crate::peers;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};

/// What it calls the host.
const SERVICE: &str = "localhost";

/// Cases of h2spec with `--strict`.
const SERVER_CASES: u64 = 146;

/// Seconds that a case of h2spec waits: with less, a server that is merely polite fails.
const CASE_SECONDS: &str = "4";

/// Seconds after which it hangs.
const SUITE_SECONDS_MAX: &str = "300";

/// h2spec against an inbound and an outbound listener that declare HTTP/2.
pub(super) fn h2spec(binary: &Path, report: &mut Report) -> Result<(), String> {
    let app = super::app::start()?;
    let mesh = Mesh::new(binary, "h2spec")?;
    let _center = mesh.start_center()?;
    let (inbound, outbound) = (free_port()?, free_port()?);
    let called = start(
        &mesh,
        SERVICE,
        &[format!("{outbound}:h2={app}")],
        &format!("inbound:h2={inbound}"),
    )?;
    let caller = start(&mesh, "web", &[], &format!("outbound:h2={outbound}"))?;
    let host = format!("{SERVICE}:{outbound}");
    mesh.wait_for("a reply through both sidecars", || {
        let got = call(caller.address("outbound"), &host, "GET").ok()?;
        (got.status == 200).then_some(())
    })?;
    for (direction, port) in [("inbound", inbound), ("outbound", outbound)] {
        let results = server_results(&mesh, port)?;
        judge(report, direction, &results);
    }
    for instance in [&called, &caller] {
        if !instance.is_ready() {
            report.at_most("h2spec: sidecars not ready at the end", 1, 0);
        }
    }
    Ok(())
}

/// Starts an instance with these ports and a listener that declares HTTP/2.
fn start(mesh: &Mesh, service: &str, ports: &[String], listen: &str) -> Result<Instance, String> {
    let mut flags = crate::drill::mesh::ends_at_once();
    for port in ports {
        flags.extend(["--port".to_owned(), port.clone()]);
    }
    flags.extend(["--listen".to_owned(), listen.to_owned()]);
    mesh.start_instance(service, &flags, &[])
}

/// Passed or not, by `section/case`.
type Results = BTreeMap<String, bool>;

fn server_results(mesh: &Mesh, port: u16) -> Result<Results, String> {
    let junit = mesh.file(&format!("h2spec-{port}.xml"));
    let path = junit.to_string_lossy().into_owned();
    let port = port.to_string();
    let status = Command::new("timeout")
        .args([SUITE_SECONDS_MAX, "h2spec", "--strict", "-o", CASE_SECONDS])
        .args(["-h", SERVICE, "-p", &port, "-j", &path])
        .env("PATH", peers::path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status()
        .map_err(|error| format!("run h2spec: {error}"))?;
    let text = fs::read_to_string(&junit)
        .map_err(|error| format!("h2spec ended with {status} and without a report: {error}"))?;
    Ok(junit_results(&text))
}

/// What h2spec's JUnit report says: failures are `<error>` children, and cases have no number.
pub(super) fn junit_results(text: &str) -> Results {
    let mut results = Results::new();
    let mut case = (String::new(), 0);
    for line in text.lines().map(str::trim) {
        if let Some(rest) = line.strip_prefix("<testcase package=\"") {
            let package = rest.split('"').next().unwrap_or_default();
            let number = if case.0 == package { case.1 + 1 } else { 1 };
            case = (package.to_owned(), number);
            results.insert(format!("{package}/{number}"), true);
        }
        if line.contains("<error>") || line.contains("<failure") || line.contains("<skipped") {
            results.insert(format!("{}/{}", case.0, case.1), false);
        }
    }
    results
}

fn judge(report: &mut Report, direction: &str, results: &Results) {
    let failed: Vec<&String> = results
        .iter()
        .filter(|(_, passed)| !**passed)
        .map(|(case, _)| case)
        .collect();
    let excepted = |case: &str| EXCEPTIONS.iter().any(|(known, _)| *known == case);
    let unexpected: Vec<&&String> = failed.iter().filter(|case| !excepted(case)).collect();
    report.at_least(
        &format!("h2spec {direction}: cases"),
        results.len() as u64,
        SERVER_CASES,
    );
    report.shown(
        &format!("h2spec {direction}: passed"),
        (results.len() - failed.len()) as u64,
    );
    report.at_most(
        &format!("h2spec {direction}: failed and not excepted"),
        unexpected.len() as u64,
        0,
    );
    for case in unexpected {
        report.faults.push(format!("h2spec {direction}: {case}"));
    }
}
