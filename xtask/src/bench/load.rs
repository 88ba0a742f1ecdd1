//! The load of a bench: wrk on its own core, and what a proxy's threads ran meanwhile.

use super::meter::cpu_ns;
use super::processes::{LOAD_CORE, now};
use crate::command::{command, output};
use std::net::SocketAddr;

/// Keep-alive connections of the load.
pub(super) const CONNECTIONS: u64 = 64;

/// What one round showed.
#[derive(Clone, Copy, Debug)]
pub(super) struct Round {
    /// Replies that wrk took.
    pub(super) requests: u64,
    /// CPU time of all measured processes for one request, microseconds.
    pub(super) cpu_us: f64,
    /// Share of the proxies' core that was busy with them.
    pub(super) busy: f64,
}

/// Loads an address for some seconds and measures these processes.
pub(super) fn round(
    address: SocketAddr,
    host: &str,
    pids: &[u32],
    seconds: u64,
) -> Result<Round, String> {
    let ran = |pids: &[u32]| {
        pids.iter()
            .map(|pid| cpu_ns(*pid))
            .sum::<Result<u64, String>>()
    };
    let connections = format!("-c{CONNECTIONS}");
    let duration = format!("-d{seconds}s");
    let header = format!("Host: {host}");
    let url = format!("http://{address}/");
    let words = [
        "--cpu-list",
        LOAD_CORE,
        "wrk",
        "-t1",
        &connections,
        &duration,
        "-H",
        &header,
        &url,
    ];
    let before = ran(pids)?;
    let start = now();
    let said = output(command("taskset", &words))?;
    let wall = (now() - start).as_nanos() as f64;
    let used = (ran(pids)? - before) as f64;
    let requests = replies(&said)?;
    Ok(Round {
        requests,
        cpu_us: used / 1000.0 / requests as f64,
        busy: used / wall,
    })
}

/// How many replies wrk tells of; any that was not a 200 is an error.
fn replies(said: &str) -> Result<u64, String> {
    let wrong = said
        .lines()
        .find(|line| line.contains("Non-2xx") || line.contains("Socket errors"));
    if let Some(line) = wrong {
        return Err(format!("wrk: {}", line.trim()));
    }
    said.lines()
        .find_map(|line| line.trim().split_once(" requests in "))
        .and_then(|(count, _)| count.parse().ok())
        .filter(|count| *count > 0)
        .ok_or_else(|| format!("wrk told of no requests: {said}"))
}

#[cfg(test)]
mod tests;
