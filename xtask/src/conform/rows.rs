//! What the suites of `conform` have in common: counts with their limits, and what went wrong.

use serde_json::{Value, json};
use std::io::Write;

/// Faults printed in full; the rest is counted.
const FAULTS_SHOWN_MAX: usize = 40;

/// Figures with their limits, and what went wrong.
#[derive(Default)]
pub(crate) struct Report {
    rows: Vec<Row>,
    /// A sentence each.
    pub(crate) faults: Vec<String>,
}

struct Row {
    name: String,
    value: u64,
    limit: Option<Limit>,
}

enum Limit {
    AtMost(u64),
    AtLeast(u64),
}

impl Row {
    fn pass(&self) -> bool {
        match self.limit {
            Some(Limit::AtMost(limit)) => self.value <= limit,
            Some(Limit::AtLeast(limit)) => self.value >= limit,
            None => true,
        }
    }

    fn json(&self) -> Value {
        let mut row = json!({"name": self.name, "value": self.value, "pass": self.pass()});
        if let Some(Limit::AtMost(limit) | Limit::AtLeast(limit)) = self.limit {
            row["limit"] = json!(limit);
        }
        row
    }
}

impl Report {
    /// A count that may not be more.
    pub(crate) fn at_most(&mut self, name: &str, value: u64, limit: u64) {
        self.rows.push(Row {
            name: name.to_owned(),
            value,
            limit: Some(Limit::AtMost(limit)),
        });
    }

    /// A count that may not be less.
    pub(crate) fn at_least(&mut self, name: &str, value: u64, limit: u64) {
        self.rows.push(Row {
            name: name.to_owned(),
            value,
            limit: Some(Limit::AtLeast(limit)),
        });
    }

    /// A count that tells something and gates nothing.
    pub(crate) fn shown(&mut self, name: &str, value: u64) {
        self.rows.push(Row {
            name: name.to_owned(),
            value,
            limit: None,
        });
    }

    /// Prints all; a broken pipe is nobody's fault.
    pub(crate) fn print(&self, suite: &str, json: bool) -> bool {
        let pass = self.rows.iter().all(Row::pass);
        let mut out = std::io::stdout().lock();
        for fault in self.faults.iter().take(FAULTS_SHOWN_MAX) {
            let _ = writeln!(out, "fault: {fault}");
        }
        if self.faults.len() > FAULTS_SHOWN_MAX {
            let _ = writeln!(
                out,
                "fault: and {} more",
                self.faults.len() - FAULTS_SHOWN_MAX
            );
        }
        for row in &self.rows {
            let limit = match row.limit {
                Some(Limit::AtMost(limit)) => format!("at most {limit}"),
                Some(Limit::AtLeast(limit)) => format!("at least {limit}"),
                None => String::new(),
            };
            let verdict = if row.pass() { "ok" } else { "FAILED" };
            let _ = writeln!(
                out,
                "{:<52} {:>10}  {limit:<18} {verdict}",
                row.name, row.value
            );
        }
        if json {
            let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
            let _ = writeln!(
                out,
                "{}",
                json!({"suite": suite, "pass": pass, "rows": rows})
            );
        }
        pass
    }
}
