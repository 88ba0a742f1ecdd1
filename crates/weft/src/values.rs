//! How texts on the command line become values.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::time::Duration;
use weft_api::sidecar::AccessLog;
use weft_host::app::LaunchSignal;

/// Characters of a name, at the most (DNS allows no more).
const NAME_CHARS_MAX: usize = 253;

/// A service's or namespace's name: it becomes a host name and part of file names.
pub(crate) fn name(text: &str) -> Result<String, String> {
    let inside = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.');
    let edge = |c: Option<char>| c.is_some_and(|c| c.is_ascii_alphanumeric());
    let fits = text.len() <= NAME_CHARS_MAX && text.chars().all(inside);
    if fits && edge(text.chars().next()) && edge(text.chars().next_back()) {
        return Ok(text.to_owned());
    }
    Err("a name has letters, digits and, between them, - _ and . (for example orders)".into())
}

/// `name=value`.
pub(crate) fn label(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write name=value, for example version=v2".into()),
    }
}

/// `off`, `failed`, `all`.
pub(crate) fn access_log(text: &str) -> Result<AccessLog, String> {
    AccessLog::from_name(text).ok_or_else(|| "write off, failed or all".into())
}

/// `term`, `kill`.
pub(crate) fn launch_signal(text: &str) -> Result<LaunchSignal, String> {
    LaunchSignal::from_name(text).ok_or_else(|| "write term or kill".into())
}

/// `20s`, `500ms`, `2m`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let millis_per_unit = match unit {
        "ms" => 1,
        "s" => 1000,
        "m" => 60_000,
        "h" => 3_600_000,
        _ => return Err("write a number with ms, s, m or h, for example 20s".into()),
    };
    let millis = number
        .parse::<u64>()
        .ok()
        .and_then(|n| n.checked_mul(millis_per_unit));
    millis
        .map(Duration::from_millis)
        .ok_or_else(|| format!("\"{number}\" is not a number of {unit}"))
}

/// A time between two of something: not so short that there is nothing but them.
pub(crate) fn pause(text: &str) -> Result<Duration, String> {
    const PAUSE_MIN: Duration = Duration::from_millis(100);
    duration(text).and_then(|time| {
        (time >= PAUSE_MIN)
            .then_some(time)
            .ok_or_else(|| format!("at least {PAUSE_MIN:?}"))
    })
}

/// A center's address, `host:port`, from that or from `http://host:port/`. The port defaults to 9700.
pub(crate) fn center(text: &str) -> Result<String, String> {
    const PORT_DEFAULT: u16 = 9700;
    let wrong = || "write host:port or http://host:port, for example 127.0.0.1:9700".to_owned();
    let address = text
        .strip_prefix("http://")
        .unwrap_or(text)
        .trim_end_matches('/');
    if address.is_empty() || address.contains(['/', '@', ' ', '?', '#']) {
        return Err(wrong());
    }
    let after_host = address.rsplit_once(']').map_or(address, |(_, rest)| rest);
    match after_host.rsplit_once(':') {
        None => Ok(format!("{address}:{PORT_DEFAULT}")),
        Some((host, port)) => {
            let is_v6_without_brackets = host.contains(':');
            let is_port = port.parse::<u16>().is_ok_and(|port| port != 0);
            if is_port && !is_v6_without_brackets {
                Ok(address.to_owned())
            } else {
                Err(wrong())
            }
        }
    }
}

/// A new instance id: the service's name and eight random hexadecimal digits.
pub(crate) fn new_instance_id(service: &str) -> String {
    // The standard library seeds its hash maps from the system's randomness; that is all this needs.
    let random = RandomState::new().build_hasher().finish();
    format!("{service}-{:08x}", random as u32)
}

#[cfg(test)]
mod tests;
