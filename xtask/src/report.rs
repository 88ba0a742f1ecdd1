//! The one shape in which suites tell their figures: rows with a limit, and one JSON object as last line.
//!
//! A row passes or fails by its own numbers; nothing here measures.

use crate::suites::note_failed;
use serde_json::{Map, Value, json};

/// Which way a row's limit points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Limit {
    /// The value may be at most this.
    AtMost,
    /// The ratio to the peer must be at least this.
    RatioAtLeast,
    /// Shown, never failed.
    Shown,
}

/// One figure.
#[derive(Clone, Debug)]
pub(crate) struct Row {
    /// What was measured, unit last: `hop cpu_us`.
    pub(crate) name: String,
    /// The figure of weft: a median where there were rounds.
    pub(crate) weft: f64,
    /// The same of the peer in the same run.
    pub(crate) peer: Option<f64>,
    /// What the row is held to.
    pub(crate) limit: Limit,
    /// The number behind `limit`.
    pub(crate) gate: Option<f64>,
    /// What we want in the end.
    pub(crate) goal: Option<f64>,
    /// Every round, weft then peer.
    pub(crate) rounds: Vec<(f64, Option<f64>)>,
}

impl Row {
    /// A figure that is only shown.
    pub(crate) fn shown(name: &str, weft: f64) -> Self {
        Self {
            name: name.to_owned(),
            weft,
            peer: None,
            limit: Limit::Shown,
            gate: None,
            goal: None,
            rounds: Vec::new(),
        }
    }

    /// A figure of weft alone with an upper limit.
    pub(crate) fn at_most(name: &str, weft: f64, gate: f64, goal: Option<f64>) -> Self {
        Self {
            limit: Limit::AtMost,
            gate: Some(gate),
            goal,
            ..Self::shown(name, weft)
        }
    }

    /// Medians of interleaved rounds; with a peer the ratio is the median of the rounds' own ratios.
    pub(crate) fn rounds(name: &str, rounds: Vec<(f64, Option<f64>)>) -> Self {
        let weft = median(rounds.iter().map(|round| round.0).collect());
        let peers: Vec<f64> = rounds.iter().filter_map(|round| round.1).collect();
        let peer = if peers.is_empty() {
            None
        } else {
            Some(median(peers))
        };
        Self {
            peer,
            rounds,
            ..Self::shown(name, weft)
        }
    }

    /// Holds the row's ratio to a gate.
    pub(crate) fn ratio_at_least(mut self, gate: f64, goal: f64) -> Self {
        if self.peer.is_some() {
            self.limit = Limit::RatioAtLeast;
        }
        self.gate = Some(gate);
        self.goal = Some(goal);
        self
    }

    /// How many times cheaper weft is.
    pub(crate) fn ratio(&self) -> Option<f64> {
        let peer = self.peer?;
        let paired: Vec<f64> = self
            .rounds
            .iter()
            .filter_map(|(weft, peer)| peer.map(|peer| peer / weft))
            .collect();
        Some(if paired.is_empty() {
            peer / self.weft
        } else {
            median(paired)
        })
    }

    /// Whether the row meets its limit.
    pub(crate) fn pass(&self) -> bool {
        match (self.limit, self.gate) {
            (Limit::AtMost, Some(gate)) => self.weft <= gate,
            (Limit::RatioAtLeast, Some(gate)) => self.ratio().is_some_and(|ratio| ratio >= gate),
            _ => true,
        }
    }

    fn json(&self) -> Value {
        let mut object = Map::new();
        object.insert("name".into(), json!(self.name));
        object.insert("weft".into(), json!(rounded(self.weft)));
        if let Some(peer) = self.peer {
            object.insert("peer".into(), json!(rounded(peer)));
            object.insert("ratio".into(), json!(self.ratio().map(rounded)));
        }
        for (name, value) in [("gate", self.gate), ("goal", self.goal)] {
            if let Some(value) = value {
                object.insert(name.into(), json!(value));
            }
        }
        object.insert("pass".into(), json!(self.pass()));
        if !self.rounds.is_empty() {
            let rounds: Vec<Value> = self
                .rounds
                .iter()
                .map(|(weft, peer)| json!([rounded(*weft), peer.map(rounded)]))
                .collect();
            object.insert("rounds".into(), Value::Array(rounds));
        }
        Value::Object(object)
    }

    fn line(&self) -> String {
        let spread = |values: Vec<f64>| {
            let least = values.iter().copied().fold(f64::INFINITY, f64::min);
            let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
            format!(" ({}-{})", short(least), short(most))
        };
        let mut weft = short(self.weft);
        let mut peer = self.peer.map_or_else(|| "-".to_owned(), short);
        if !self.rounds.is_empty() {
            weft += &spread(self.rounds.iter().map(|round| round.0).collect());
            if self.peer.is_some() {
                peer += &spread(self.rounds.iter().filter_map(|round| round.1).collect());
            }
        }
        let ratio = self
            .ratio()
            .map_or_else(|| "-".to_owned(), |ratio| format!("{ratio:.2}"));
        let gate = match (self.limit, self.gate) {
            (Limit::AtMost, Some(gate)) => format!("<= {}", short(gate)),
            (Limit::RatioAtLeast, Some(gate)) => format!(">= {gate}x"),
            (Limit::Shown, Some(gate)) => format!("({})", short(gate)),
            _ => "-".to_owned(),
        };
        let verdict = match (self.limit, self.pass()) {
            (Limit::Shown, _) => "shown",
            (_, true) => "pass",
            (_, false) => "FAIL",
        };
        format!(
            "{:<34} {weft:>26} {peer:>26} {ratio:>6} {gate:>10}  {verdict}",
            self.name
        )
    }
}

/// The rows of one suite.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// The suite as it is called: `bench http1`.
    pub(crate) suite: String,
    /// Its figures.
    pub(crate) rows: Vec<Row>,
    /// What makes the suite fail beside its rows: a sentence each.
    pub(crate) faults: Vec<String>,
    /// How it was measured, for the JSON.
    pub(crate) setting: Value,
}

impl Report {
    /// Whether all gated rows pass and nothing else went wrong.
    pub(crate) fn pass(&self) -> bool {
        self.faults.is_empty() && self.rows.iter().all(Row::pass)
    }

    /// Prints the table, and with `json` the object as last line.
    pub(crate) fn print(&self, json: bool) {
        println!("{}", self.suite);
        println!(
            "{:<34} {:>26} {:>26} {:>6} {:>10}",
            "row", "weft (min-max)", "peer (min-max)", "ratio", "gate"
        );
        for row in &self.rows {
            println!("{}", row.line());
        }
        for row in self.rows.iter().filter(|row| !row.pass()) {
            note_failed(format!("{}: {}", self.suite, row.line().trim_end()));
        }
        for fault in &self.faults {
            note_failed(format!("{}: {fault}", self.suite));
            println!("fault: {fault}");
        }
        if json {
            let rows: Vec<Value> = self.rows.iter().map(Row::json).collect();
            println!(
                "{}",
                json!({
                    "suite": self.suite,
                    "pass": self.pass(),
                    "rows": rows,
                    "faults": self.faults,
                    "setting": self.setting,
                })
            );
        }
    }
}

/// The middle value; 0 of none.
pub(crate) fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = values.len() / 2;
    match (values.get(middle), values.len() % 2) {
        (None, _) => 0.0,
        (Some(value), 1) => *value,
        (Some(value), _) => f64::midpoint(*value, values[middle - 1]),
    }
}

fn rounded(value: f64) -> f64 {
    (value * 1000.0).round() / 1000.0
}

fn short(value: f64) -> String {
    if value.abs() >= 1000.0 {
        format!("{value:.0}")
    } else {
        format!("{value:.2}")
    }
}

#[cfg(test)]
mod tests;
