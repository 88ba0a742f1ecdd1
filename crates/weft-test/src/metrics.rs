//! What a sidecar counted: its `/metrics`, read as Prometheus would.

use std::collections::BTreeMap;
use std::fmt;

/// One sample.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// The name of its metric.
    pub name: String,
    /// Its labels.
    pub labels: BTreeMap<String, String>,
    /// Its value.
    pub value: f64,
}

/// All samples of one scrape.
#[derive(Clone, Debug, Default)]
pub struct Metrics(Vec<Sample>);

impl Metrics {
    /// Reads the text format.
    pub fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(sample).collect())
    }

    /// The sum of a metric over all series whose labels have these values.
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> u64 {
        let fits = |sample: &&Sample| {
            sample.name == name
                && labels.iter().all(|(label, value)| {
                    sample.labels.get(*label).map(String::as_str) == Some(value)
                })
        };
        self.0
            .iter()
            .filter(fits)
            .map(|sample| sample.value as u64)
            .sum()
    }

    /// Calls that ended, with these labels.
    pub fn calls(&self, labels: &[(&str, &str)]) -> u64 {
        self.sum("weft_calls_total", labels)
    }

    /// Why the books do not balance; `None` when every call that was opened was recorded, none is under way and
    /// nothing panicked.
    pub fn imbalance(&self) -> Option<String> {
        let opened = self.sum("weft_calls_opened_total", &[]);
        let recorded = self.calls(&[]);
        let active = self.sum("weft_calls_active", &[]);
        let panics = self.sum("weft_panics_total", &[]);
        let has = self
            .0
            .iter()
            .any(|sample| sample.name == "weft_calls_opened_total");
        if !has {
            return Some("it has no weft_calls_opened_total".into());
        }
        (opened != recorded || active != 0 || panics != 0).then(|| {
            format!("calls opened {opened}, recorded {recorded}, active {active}, panics {panics}")
        })
    }
}

impl fmt::Display for Metrics {
    /// All but the buckets.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for sample in self
            .0
            .iter()
            .filter(|sample| !sample.name.contains("duration"))
        {
            writeln!(f, "  {}{:?} {}", sample.name, sample.labels, sample.value)?;
        }
        Ok(())
    }
}

fn sample(line: &str) -> Option<Sample> {
    if line.starts_with('#') || line.trim().is_empty() {
        return None;
    }
    let (series, value) = line.rsplit_once(' ')?;
    let (name, labels) = match series.split_once('{') {
        Some((name, labels)) => (name, labels.strip_suffix('}')?),
        None => (series, ""),
    };
    Some(Sample {
        name: name.to_owned(),
        labels: parsed_labels(labels)?,
        value: value.parse().ok()?,
    })
}

fn parsed_labels(mut text: &str) -> Option<BTreeMap<String, String>> {
    let mut labels = BTreeMap::new();
    while !text.is_empty() {
        let (name, rest) = text.split_once("=\"")?;
        // No label of these tests holds a quote.
        let (value, rest) = rest.split_once('"')?;
        labels.insert(name.to_owned(), value.to_owned());
        text = rest.strip_prefix(',').unwrap_or(rest);
    }
    Some(labels)
}

#[cfg(test)]
mod tests;
