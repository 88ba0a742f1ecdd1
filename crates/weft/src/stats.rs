//! What services do: the center's `ServiceStatsList`, read and shown as a table.

use crate::failure::Failure;
use crate::http_client;
use serde_json::Value;
use std::fmt::Write;

/// What was counted of some calls over the center's last minute; nothing where nothing was.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Summary {
    pub(crate) calls_per_second: Option<f64>,
    /// 0 to 1.
    pub(crate) success: Option<f64>,
    pub(crate) p50_us: Option<u64>,
    pub(crate) p95_us: Option<u64>,
    pub(crate) p99_us: Option<u64>,
}

/// One service.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct ServiceStats {
    pub(crate) name: String,
    pub(crate) instances: u64,
    pub(crate) calls: Summary,
    /// Callers and their share.
    pub(crate) edges: Vec<(String, Summary)>,
}

/// Asks the center for the list, as it is.
pub(crate) async fn fetch(
    center: &str,
    namespace: &str,
    token: Option<&str>,
) -> Result<Value, Failure> {
    let path = format!("/apis/stats.weft.dev/v1alpha1/namespaces/{namespace}/services");
    let answer = http_client::get(center, &path, token).await.map_err(|error| {
        Failure::center(format!(
            "cannot ask the center at {center}: {error}; is it running there? start one with \"weft center\", or \
             name another with --center"
        ))
    })?;
    if answer.status != 200 {
        let said = serde_json::from_slice::<Value>(&answer.body).ok();
        let said = said
            .as_ref()
            .and_then(|value| value.get("message")?.as_str());
        return Err(Failure::refused(format!(
            "the center at {center} answered {}: {}",
            answer.status,
            said.unwrap_or("without a reason; is this address a weft center?")
        )));
    }
    serde_json::from_slice(&answer.body).map_err(|error| {
        Failure::refused(format!(
            "the center at {center} answered with something else than JSON: {error}; is it a weft center?"
        ))
    })
}

/// The services of a list, sorted by name. What cannot be read is left out.
pub(crate) fn services(list: &Value) -> Vec<ServiceStats> {
    let items = list.get("items").and_then(Value::as_array);
    let mut services: Vec<_> = items.into_iter().flatten().filter_map(service).collect();
    services.sort_by(|a, b| a.name.cmp(&b.name));
    services
}

/// The name of an item of the list.
pub(crate) fn name_of(item: &Value) -> Option<&str> {
    item.get("metadata")?.get("name")?.as_str()
}

fn service(item: &Value) -> Option<ServiceStats> {
    let stats = item.get("stats")?;
    let edges = item.get("edges").and_then(Value::as_array);
    let edge = |edge: &Value| Some((edge.get("caller")?.as_str()?.to_owned(), summary(edge)));
    Some(ServiceStats {
        name: name_of(item)?.to_owned(),
        instances: stats.get("instances").and_then(Value::as_u64).unwrap_or(0),
        calls: summary(stats),
        edges: edges.into_iter().flatten().filter_map(edge).collect(),
    })
}

fn summary(value: &Value) -> Summary {
    let float = |name: &str| value.get(name).and_then(Value::as_f64);
    let whole = |name: &str| value.get(name).and_then(Value::as_u64);
    Summary {
        calls_per_second: float("calls_per_second"),
        success: float("success"),
        p50_us: whole("p50_us"),
        p95_us: whole("p95_us"),
        p99_us: whole("p99_us"),
    }
}

/// The table: a line of names, then one line per service and per caller.
pub(crate) fn table(services: &[ServiceStats]) -> Vec<String> {
    const HEAD: [&str; 7] = [
        "SERVICE",
        "INSTANCES",
        "CALLS/S",
        "SUCCESS",
        "P50",
        "P95",
        "P99",
    ];
    let mut rows = vec![HEAD.map(str::to_owned)];
    for service in services {
        rows.push(row(
            service.name.clone(),
            service.instances.to_string(),
            service.calls,
        ));
        for (caller, calls) in &service.edges {
            rows.push(row(format!("  from {caller}"), String::new(), *calls));
        }
    }
    let width = |column: usize| {
        rows.iter()
            .map(|row| row[column].chars().count())
            .max()
            .unwrap_or(0)
    };
    let widths: [usize; 7] = std::array::from_fn(width);
    let line = |row: &[String; 7]| {
        let [name, rest @ ..] = row;
        let [name_width, widths @ ..] = widths;
        let mut line = format!("{name:name_width$}");
        for (cell, width) in rest.iter().zip(widths) {
            let _ = write!(line, "  {cell:>width$}");
        }
        line
    };
    rows.iter().map(line).collect()
}

fn row(name: String, instances: String, calls: Summary) -> [String; 7] {
    let none = || "-".to_owned();
    let time = |micros: Option<u64>| micros.map_or_else(none, duration);
    [
        name,
        instances,
        calls
            .calls_per_second
            .map_or_else(none, |rate| format!("{rate:.1}")),
        calls.success.map_or_else(none, percent),
        time(calls.p50_us),
        time(calls.p95_us),
        time(calls.p99_us),
    ]
}

/// A share; one that is not whole never reads as 100 %.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    let shown = if percent < 100.0 {
        percent.min(99.99)
    } else {
        percent
    };
    format!("{shown:.2} %")
}

/// Microseconds in a unit that people read.
pub(crate) fn duration(micros: u64) -> String {
    match micros {
        0..1_000 => format!("{micros} us"),
        1_000..1_000_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}

#[cfg(test)]
mod tests;
