//! Who calls in a drill, and how the calls that failed are told.

use super::load::{Failure, Kind, Load, Protocol, Target};
use super::mesh::READY_WITHIN;
use crate::bench::processes::wait_for;
use std::collections::BTreeMap;
use std::time::Instant;

/// Clients of each protocol.
const CLIENTS: usize = 16;

/// Calls a second of each client.
pub(super) const RATE: f64 = 60.0;

/// The clients of both protocols.
pub(super) fn both(retry: bool) -> Vec<Kind> {
    let both = [Protocol::Http1, Protocol::Motan2];
    both.map(|protocol| clients(protocol, retry)).concat()
}

/// A failure in words, with the time since the event before it.
pub(super) fn told(
    failure: &Failure,
    events: impl Iterator<Item = Instant>,
    event: &str,
) -> String {
    let Kind {
        protocol,
        idempotent,
        keeps,
        retries,
    } = failure.kind;
    let since = events
        .filter(|at| *at <= failure.ended)
        .last()
        .map_or_else(String::new, |at| {
            let ms = |time: Instant| {
                let sign = if time < at { -1.0 } else { 1.0 };
                let apart = time
                    .saturating_duration_since(at)
                    .max(at.saturating_duration_since(time));
                sign * apart.as_secs_f64() * 1000.0
            };
            format!(
                " ({:.0} to {:.0} ms after {event})",
                ms(failure.began),
                ms(failure.ended)
            )
        });
    let mut like = Vec::new();
    like.extend(idempotent.then_some("idempotent"));
    like.extend((!keeps).then_some("new connection"));
    like.extend(retries.then_some("retried"));
    format!("{protocol:?} [{}] {}|{since}", like.join(", "), failure.why)
}

/// Sixteen clients of a protocol: one in four has a connection for each call, every other one is idempotent, and
/// where the caller's own sidecar dies, half of them try once more.
pub(super) fn clients(protocol: Protocol, retry: bool) -> Vec<Kind> {
    (0..CLIENTS)
        .map(|index| Kind {
            protocol,
            keeps: index % 4 != 3,
            idempotent: index % 2 == 0,
            retries: retry && index / 2 % 2 == 0,
        })
        .collect()
}

/// Calls until both protocols are answered: the caller's sidecar has heard of the service.
pub(super) fn warm_up(target: &Target) -> Result<(), String> {
    const ANSWERED: u64 = 40;
    const RATE: f64 = 50.0;
    let both = [Protocol::Http1, Protocol::Motan2];
    for protocol in both {
        let kind = Kind {
            protocol,
            idempotent: true,
            keeps: true,
            retries: false,
        };
        let load = Load::start(target.clone(), vec![kind], RATE)?;
        let answered = wait_for("answers through the mesh", READY_WITHIN, || {
            (load.counts().answered >= ANSWERED).then_some(())
        });
        let counts = load.end();
        answered.map_err(|error| {
            let last = counts.failures.last();
            let why = last.map_or("nothing was called", |failure| failure.why.as_str());
            format!("{error}: {protocol:?}: {why}")
        })?;
    }
    Ok(())
}

/// Sentences that are alike up to their `|`, once, with how many there were and what stood behind the first one's.
pub(super) fn summed_up(sentences: Vec<String>) -> Vec<String> {
    const TOLD_MAX: usize = 12;
    let mut alike: BTreeMap<String, (usize, String)> = BTreeMap::new();
    for sentence in sentences {
        let (head, tail) = sentence.split_once('|').unwrap_or((&sentence, ""));
        let entry = alike.entry(head.to_owned());
        entry.or_insert_with(|| (0, tail.to_owned())).0 += 1;
    }
    let mut told: Vec<(usize, String)> = alike
        .into_iter()
        .map(|(head, (times, tail))| (times, format!("{times} x {head}{tail}")))
        .collect();
    told.sort_by_key(|(times, _)| std::cmp::Reverse(*times));
    told.truncate(TOLD_MAX);
    told.into_iter().map(|(_, text)| text).collect()
}

#[cfg(test)]
mod tests;
