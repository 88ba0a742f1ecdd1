//! The load of a bench: wrk or h2load on its own core, and what a proxy's threads ran meanwhile.

use super::meter::cpu_ns;
use super::processes::{LOAD_CORE, now};
use crate::command::{command, output};
use std::net::SocketAddr;
use std::ops::RangeInclusive;
use std::path::PathBuf;

/// Keep-alive connections of the load.
pub(super) const CONNECTIONS: u64 = 64;

/// Connections and streams of each when the load is HTTP/2: as many calls at once as on [`CONNECTIONS`].
pub(super) const H2_CONNECTIONS: u64 = 8;
pub(super) const H2_STREAMS: u64 = 8;

/// What the load speaks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// GET by wrk.
    Http1,
    /// The same through what reads nothing of it: a connection is one call.
    Bytes,
    /// GET by h2load.
    H2,
    /// Unary calls by h2load, with a message in this file.
    Grpc(PathBuf),
}

impl Load {
    fn words(&self, address: SocketAddr, host: &str, seconds: u64) -> Vec<String> {
        let url = format!("http://{address}/");
        let words: Vec<String> = match self {
            Self::Http1 | Self::Bytes => [
                "wrk",
                "-t1",
                &format!("-c{CONNECTIONS}"),
                &format!("-d{seconds}s"),
                "-H",
                &format!("Host: {host}"),
                &url,
            ]
            .map(str::to_owned)
            .to_vec(),
            Self::H2 | Self::Grpc(_) => [
                "h2load",
                "-t1",
                &format!("-c{H2_CONNECTIONS}"),
                &format!("-m{H2_STREAMS}"),
                &format!("-D{seconds}"),
                &format!("--header=:authority: {host}"),
                &url,
            ]
            .map(str::to_owned)
            .to_vec(),
        };
        let grpc = match self {
            Self::Grpc(message) => [
                format!("--data={}", message.display()),
                "--header=content-type: application/grpc".to_owned(),
                "--header=te: trailers".to_owned(),
            ]
            .to_vec(),
            Self::Http1 | Self::Bytes | Self::H2 => Vec::new(),
        };
        [words, grpc].concat()
    }

    /// How many calls a sidecar may have counted after so many rounds with so many replies: what the load broke off
    /// at a round's end was sent too.
    pub(super) fn calls(&self, replies: u64, rounds: usize) -> RangeInclusive<u64> {
        let once_each = CONNECTIONS * rounds as u64;
        match self {
            // wrk opens one more, to see whether anybody is there.
            Self::Bytes => once_each..=once_each + rounds as u64,
            Self::Http1 | Self::H2 | Self::Grpc(_) => replies..=replies + once_each,
        }
    }

    /// How many replies it tells of; any that was not a 200 is an error.
    fn replies(&self, said: &str) -> Result<u64, String> {
        match self {
            Self::Http1 | Self::Bytes => replies(said),
            Self::H2 | Self::Grpc(_) => h2_replies(said),
        }
    }
}

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
    load: &Load,
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
    let said = load.words(address, host, seconds);
    let mut words = vec!["--cpu-list", LOAD_CORE];
    words.extend(said.iter().map(String::as_str));
    let before = ran(pids)?;
    let start = now();
    let said = output(command("taskset", &words))?;
    let wall = (now() - start).as_nanos() as f64;
    let used = (ran(pids)? - before) as f64;
    let requests = load.replies(&said)?;
    Ok(Round {
        requests,
        cpu_us: used / 1000.0 / requests as f64,
        busy: used / wall,
    })
}

/// h2load's line `requests: 10 total, 10 started, 10 done, 10 succeeded, 0 failed, 0 errored, 0 timeout`; what was
/// under way at its end counts as neither.
fn h2_replies(said: &str) -> Result<u64, String> {
    let line = said
        .lines()
        .find_map(|line| line.strip_prefix("requests: "))
        .ok_or_else(|| format!("h2load told of no requests: {said}"))?;
    let count = |what: &str| -> Option<u64> {
        let part = line.split(", ").find(|part| part.ends_with(what))?;
        part.split(' ').next()?.parse().ok()
    };
    let statuses = said.lines().find(|line| line.starts_with("status codes:"));
    let only_well = statuses.is_some_and(|line| line.contains(" 0 3xx, 0 4xx, 0 5xx"));
    match (count("succeeded"), count("failed"), only_well) {
        (Some(replies), Some(0), true) if replies > 0 => Ok(replies),
        _ => Err(format!("h2load: {line}; {}", statuses.unwrap_or_default())),
    }
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
