//! What a drill found: rows of a value and its limit, printed as a table and as one JSON object.
//!
//! Counts gate as they are. Rows in seconds gate at five times their limit in the short form, where a slow minute
//! of the machine must not decide, and at the limit in the full form.

use crate::report::median;
use crate::suites::note_failed;
use serde_json::{Map, Value, json};

/// Rows in seconds outside of the full form gate at this many times their limit.
const SHORT_FORM_SLACK: f64 = 5.0;

/// What a row is held to.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Gate {
    /// Exactly its limit.
    Count,
    /// Its limit, or five times of it in the short form.
    Time,
    /// Nothing: shown beside the others.
    Shown,
}

/// One figure.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    value: f64,
    limit: Option<f64>,
    gate: Gate,
}

/// All figures of a drill.
#[derive(Clone, Debug)]
pub(crate) struct Rows {
    full: bool,
    figures: Vec<Row>,
    /// Times of every round, until the drill is over: (name, limit, values).
    timed: Vec<(String, f64, Vec<f64>)>,
    /// Rows that are known to fail, as README says: they fail the full form alone.
    known: &'static [&'static str],
    /// Sentences that explain a figure: why calls failed, what the processes said.
    notes: Vec<String>,
}

impl Rows {
    /// No rows yet.
    pub(crate) fn new(full: bool) -> Self {
        Self {
            full,
            figures: Vec::new(),
            timed: Vec::new(),
            known: &[],
            notes: Vec::new(),
        }
    }

    /// Whether this is the full form.
    pub(crate) fn full(&self) -> bool {
        self.full
    }

    /// A count, or anything that does not depend on how fast the machine is.
    pub(crate) fn count(&mut self, name: &str, value: f64, limit: f64) {
        self.row(name, value, Some(limit), Gate::Count);
    }

    /// A time of one round in the unit of the name; the row holds the median of all rounds.
    pub(crate) fn time(&mut self, name: &str, value: f64, limit: f64) {
        match self.timed.iter_mut().find(|row| row.0 == name) {
            Some(row) => {
                // Where the limit is a round's own, the widest stands for all.
                row.1 = row.1.max(limit);
                row.2.push(value);
            }
            None => self.timed.push((name.to_owned(), limit, vec![value])),
        }
    }

    /// A figure that explains others, or a peer's.
    pub(crate) fn shown(&mut self, name: &str, value: f64) {
        self.row(name, value, None, Gate::Shown);
    }

    /// A figure of every round that is shown as their median.
    pub(crate) fn shown_once(&mut self, name: &str, value: f64) {
        self.time(name, value, f64::INFINITY);
    }

    /// Says which rows are known to fail. README, "What it does not do yet", names each of them.
    pub(crate) fn known(&mut self, rows: &'static [&'static str]) {
        self.known = rows;
    }

    /// A sentence beside the rows.
    pub(crate) fn note(&mut self, text: String) {
        self.notes.push(text);
    }

    fn row(&mut self, name: &str, value: f64, limit: Option<f64>, gate: Gate) {
        self.figures.push(Row {
            name: name.to_owned(),
            value,
            limit,
            gate,
        });
    }

    /// The rows of times follow when all rounds are over.
    fn with_times(mut self) -> Self {
        for (name, limit, values) in std::mem::take(&mut self.timed) {
            if limit.is_finite() {
                self.row(&name, median(values), Some(limit), Gate::Time);
            } else {
                self.shown(&name, median(values));
            }
        }
        self
    }

    /// Whether the row counts for the result.
    fn passes(&self, row: &Row) -> bool {
        self.is_met(row) || !self.full && self.known.contains(&row.name.as_str())
    }

    fn is_met(&self, row: &Row) -> bool {
        let slack = if self.full { 1.0 } else { SHORT_FORM_SLACK };
        match (row.gate, row.limit) {
            (Gate::Count, Some(limit)) => row.value <= limit,
            (Gate::Time, Some(limit)) => row.value <= limit * slack,
            _ => true,
        }
    }

    /// Prints all, and with `json` the object as last line; whether every row passes.
    pub(crate) fn print(self, suite: &str, seconds: f64, json: bool) -> bool {
        let this = self.with_times();
        let form = if this.full { "full" } else { "short" };
        println!("{suite} ({form}, {seconds:.1} s)");
        for row in &this.figures {
            let limit = row
                .limit
                .map_or_else(String::new, |limit| format!("<= {}", short(limit)));
            let verdict = match (row.gate, this.passes(row)) {
                (Gate::Shown, _) => "shown",
                (Gate::Time, true) if row.limit.is_some_and(|limit| row.value > limit) => {
                    "pass (short form)"
                }
                (_, true) if !this.is_met(row) => "known",
                (_, true) => "pass",
                (_, false) => "FAIL",
            };
            println!(
                "{:<52} {:>12} {limit:>12}  {verdict}",
                row.name,
                short(row.value)
            );
        }
        for note in &this.notes {
            println!("note: {note}");
        }
        for row in this.figures.iter().filter(|row| !this.passes(row)) {
            let limit = row.limit.unwrap_or_default();
            let (name, value) = (&row.name, short(row.value));
            note_failed(format!("{suite}: {name}: {value}, limit {}", short(limit)));
        }
        let pass = this.figures.iter().all(|row| this.passes(row));
        if json {
            println!("{}", this.json(suite, seconds, pass));
        }
        pass
    }

    fn json(&self, suite: &str, seconds: f64, pass: bool) -> Value {
        let rows: Vec<Value> = self
            .figures
            .iter()
            .map(|row| {
                let mut object = Map::new();
                object.insert("name".into(), json!(row.name));
                object.insert("value".into(), json!(rounded(row.value)));
                if let Some(limit) = row.limit {
                    object.insert("limit".into(), json!(limit));
                }
                object.insert("pass".into(), json!(self.is_met(row)));
                if self.known.contains(&row.name.as_str()) {
                    object.insert("known".into(), json!(true));
                }
                Value::Object(object)
            })
            .collect();
        json!({
            "suite": suite,
            "pass": pass,
            "rows": rows,
            "full": self.full,
            "seconds": rounded(seconds),
            "notes": self.notes,
        })
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn short(value: f64) -> String {
    if value.fract() == 0.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests;
