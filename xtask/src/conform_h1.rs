//! `conform h1`: the HTTP/1.1 codec against its grammar, against floods, and against hyper.
//!
//! | file | what it holds |
//! |---|---|
//! | `conversation.rs` | reads messages with the codec, in any split, and says what they mean |
//! | `cases.rs`, `shared_cases.rs` | one case per way to break a rule, and the valid ones beside them |
//! | `floods.rs` | the floods of HTTP/1.1: how many bytes they get rid of |
//! | `mutants.rs` | valid messages from a seed, and what is done to them |
//! | `oracle.rs` | hyper's reading of the same bytes |
//!
//! Two gates count: nothing invalid is accepted, and what is accepted means the same to hyper. Which
//! messages are refused although hyper takes them is our own choice and no fault.

mod cases;
mod conversation;
mod floods;
mod mutants;
mod oracle;
mod shared_cases;

use cases::Case;
use conversation::{Direction, Meaning, read, told};
use oracle::Oracle;
use serde_json::{Value, json};
use std::io::Write;

/// Mutants of the short and of the long form.
const MUTANTS_SHORT: u64 = 100_000;
const MUTANTS_FULL: u64 = 1_000_000;

/// Up to this many bytes a case is split at every position, above it at [`SPLITS_OF_LARGE`] of them: a head
/// of 32 KiB read again for each of its splits takes minutes and shows nothing new.
const SPLIT_EVERYWHERE_BYTES_MAX: usize = 2048;
const SPLITS_OF_LARGE: usize = 64;

/// Faults printed in full; the rest is counted.
const FAULTS_SHOWN_MAX: usize = 20;

/// Runs the suite and prints it; whether all gates are met.
pub(crate) fn run(full: bool, json: bool) -> bool {
    let mut report = Report::default();
    run_cases(&mut report);
    floods::run(&mut report);
    run_mutants(if full { MUTANTS_FULL } else { MUTANTS_SHORT }, &mut report);
    report.print(json)
}

/// Figures with their limits, and what went wrong.
#[derive(Default)]
struct Report {
    rows: Vec<Row>,
    faults: Vec<String>,
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
    fn at_most(&mut self, name: &str, value: u64, limit: u64) {
        self.rows.push(Row {
            name: name.to_owned(),
            value,
            limit: Some(Limit::AtMost(limit)),
        });
    }

    fn at_least(&mut self, name: &str, value: u64, limit: u64) {
        self.rows.push(Row {
            name: name.to_owned(),
            value,
            limit: Some(Limit::AtLeast(limit)),
        });
    }

    fn shown(&mut self, name: &str, value: u64) {
        self.rows.push(Row {
            name: name.to_owned(),
            value,
            limit: None,
        });
    }

    /// Prints all; a broken pipe is nobody's fault.
    fn print(&self, json: bool) -> bool {
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
                json!({"suite": "conform h1", "pass": pass, "rows": rows})
            );
        }
        pass
    }
}

/// What the cases came to.
#[derive(Default)]
struct CaseCount {
    requests: u64,
    replies: u64,
    feeds: u64,
    invalid_accepted: u64,
    valid_refused: u64,
    told_otherwise: u64,
    unlike_hyper: u64,
}

fn run_cases(report: &mut Report) {
    let oracle = Oracle::new();
    let mut count = CaseCount::default();
    for case in cases::all() {
        match case.direction {
            Direction::Requests => count.requests += 1,
            Direction::Replies { .. } => count.replies += 1,
        }
        run_case(&case, &mut count, &mut report.faults);
        compare(
            &oracle,
            case.direction,
            &case.input,
            &mut count.unlike_hyper,
            report,
            &case.name,
        );
    }
    report.at_least("own cases", count.requests + count.replies, 150);
    report.shown("own cases: requests", count.requests);
    report.shown("own cases: replies", count.replies);
    report.shown(
        "own cases: feeds (every split, and byte by byte)",
        count.feeds,
    );
    report.at_most("own cases: invalid accepted", count.invalid_accepted, 0);
    report.at_most("own cases: valid refused", count.valid_refused, 0);
    report.at_most(
        "own cases: read with another meaning or status",
        count.told_otherwise,
        0,
    );
    report.at_most(
        "own cases: accepted, hyper disagrees",
        count.unlike_hyper,
        0,
    );
}

fn run_case(case: &Case, count: &mut CaseCount, faults: &mut Vec<String>) {
    let input = &case.input;
    let step = if input.len() <= SPLIT_EVERYWHERE_BYTES_MAX {
        1
    } else {
        input.len() / SPLITS_OF_LARGE
    };
    let mut feeds: Vec<Vec<&[u8]>> = vec![vec![input]];
    feeds.extend(
        (1..input.len())
            .step_by(step)
            .map(|at| vec![&input[..at], &input[at..]]),
    );
    feeds.push(input.chunks(step).collect());
    let mut worst = None;
    for pieces in &feeds {
        count.feeds += 1;
        let found = told(&read(case.direction, pieces.iter().copied()));
        if found != case.expect {
            worst = Some((found, pieces.first().map_or(0, |first| first.len())));
        }
    }
    let Some((found, at)) = worst else { return };
    let refused = |told: &str| told.contains("refused");
    match (refused(&case.expect), refused(&found)) {
        (true, false) => count.invalid_accepted += 1,
        (false, true) => count.valid_refused += 1,
        _ => count.told_otherwise += 1,
    }
    faults.push(format!(
        "case \"{}\", first piece {at} bytes: expected `{}`, found `{found}`",
        case.name, case.expect
    ));
}

/// Whether hyper reads what the codec accepts, and alike. Answers how many messages were compared.
fn compare(
    oracle: &Oracle,
    direction: Direction,
    input: &[u8],
    unlike: &mut u64,
    report: &mut Report,
    name: &str,
) -> u64 {
    let ours = read(direction, [input]);
    let theirs = match direction {
        Direction::Requests if ours.messages.is_empty() => Vec::new(),
        Direction::Requests => oracle.requests(input),
        Direction::Replies { to_head } => match ours.messages.iter().position(Meaning::is_final) {
            None => return 0,
            Some(at) => {
                let end = ours.messages.get(at).map_or(0, |message| message.end);
                let reply = oracle.reply(input.get(..end).unwrap_or_default(), to_head);
                // hyper tells only the final reply; the 1xx before it are taken as read.
                ours.messages
                    .iter()
                    .take(at)
                    .cloned()
                    .chain(reply)
                    .collect()
            }
        },
    };
    let wanted = match direction {
        Direction::Requests => ours.messages.len(),
        Direction::Replies { .. } => ours
            .messages
            .iter()
            .position(Meaning::is_final)
            .map_or(0, |at| at + 1),
    };
    for (at, message) in ours.messages.iter().take(wanted).enumerate() {
        let other = theirs.get(at);
        if other.is_none_or(|other| !message.means_the_same(other)) {
            *unlike += 1;
            report.faults.push(format!(
                "{name}: `{}`: weft reads `{}`, hyper {}",
                input.escape_ascii(),
                message.told(),
                other.map_or("refuses it".to_owned(), |other| format!(
                    "reads `{}`",
                    other.told()
                )),
            ));
            break;
        }
    }
    wanted as u64
}

fn run_mutants(mutants: u64, report: &mut Report) {
    let seed = mutants::seed();
    {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(
            out,
            "conform h1: {mutants} mutants, WEFT_SEED={seed} replays them"
        );
    }
    let oracle = Oracle::new();
    let mut random = mutants::Random::new(seed);
    let (mut untouched, mut untouched_refused, mut accepted, mut compared) = (0, 0, 0, 0);
    let (mut unlike, mut split_matters) = (0, 0);
    for number in 0..mutants {
        let mutant = mutants::next(&mut random);
        let ours = read(mutant.direction, [mutant.input.as_slice()]);
        let at = random.below(mutant.input.len() as u64 + 1) as usize;
        let (first, second) = mutant.input.split_at(at);
        if told(&ours) != told(&read(mutant.direction, [first, second])) {
            split_matters += 1;
            report.faults.push(format!(
                "mutant {number}: the split at {at} matters: `{}`",
                mutant.input.escape_ascii()
            ));
        }
        if mutant.untouched {
            untouched += 1;
            if ours.refused.is_some() || !ours.messages.iter().any(Meaning::is_final) {
                untouched_refused += 1;
                report.faults.push(format!(
                    "valid message {number}: `{}`: {}",
                    mutant.input.escape_ascii(),
                    told(&ours)
                ));
            }
        }
        accepted += u64::from(!ours.messages.is_empty());
        let name = format!("mutant {number}");
        compared += compare(
            &oracle,
            mutant.direction,
            &mutant.input,
            &mut unlike,
            report,
            &name,
        );
    }
    report.at_least("mutants", mutants, MUTANTS_SHORT);
    report.shown("mutants: left valid", untouched);
    report.at_most("mutants: left valid, refused", untouched_refused, 0);
    report.shown("mutants: at least one message accepted", accepted);
    // Without it a codec that refuses everything would pass.
    report.at_least(
        "mutants: accepted messages compared with hyper",
        compared,
        mutants / 5,
    );
    report.at_most("mutants: accepted, hyper disagrees", unlike, 0);
    report.at_most("mutants: read otherwise when split", split_matters, 0);
}
