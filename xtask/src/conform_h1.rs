//! `conform h1`: the HTTP/1.1 codec against its grammar, against floods, and against hyper.
//!
//! | file | what it holds |
//! |---|---|
//! | `conversation.rs` | reads messages with the codec, in any split, and says what they mean |
//! | `cases.rs`, `shared_cases.rs` | one case per way to break a rule, and the valid ones beside them |
//! | `floods.rs` | the floods of HTTP/1.1: how many bytes they get rid of |
//! | `mutants.rs` | valid messages from a seed, and what is done to them |
//! | `oracle.rs` | hyper's reading of the same bytes |
//! | `link.rs` | the own cases through two real sidecars |
//!
//! Two gates count: nothing invalid is accepted, and what is accepted means the same to hyper. Which
//! messages are refused although hyper takes them is our own choice and no fault.

mod cases;
mod conversation;
mod floods;
mod link;
mod mutants;
mod oracle;
mod shared_cases;

use crate::command::{cargo_command, run as run_command, target};
use crate::conform::rows::Report;
use cases::Case;
use conversation::{Conversation, Direction, Meaning, read, told};
use oracle::Oracle;
use std::io::Write;
use std::path::PathBuf;
use weft_codec::http1::http1_prefix;
use weft_codec::sniff::Prefix;

/// Mutants of the short and of the long form.
const MUTANTS_SHORT: u64 = 100_000;
const MUTANTS_FULL: u64 = 1_000_000;

/// Up to this many bytes a case is split at every position, above it at [`SPLITS_OF_LARGE`] of them: a head
/// of 32 KiB read again for each of its splits takes minutes and shows nothing new.
const SPLIT_EVERYWHERE_BYTES_MAX: usize = 2048;
const SPLITS_OF_LARGE: usize = 64;

/// Runs the suite and prints it; whether all gates are met.
pub(crate) fn run(full: bool, json: bool) -> bool {
    let mut report = Report::default();
    run_cases(&mut report);
    if let Err(error) = sidecar_binary().and_then(|binary| link::run(&binary, &mut report)) {
        report.at_most("over the link: could not run", 1, 0);
        report.faults.push(error);
    }
    floods::run(&mut report);
    run_mutants(if full { MUTANTS_FULL } else { MUTANTS_SHORT }, &mut report);
    report.print("conform h1", json)
}

/// The binary that the tests use too, built as they build it.
fn sidecar_binary() -> Result<PathBuf, String> {
    run_command(cargo_command(&["build", "--quiet", "--workspace"]))?;
    Ok(target().join("debug/weft"))
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
}

fn run_cases(report: &mut Report) {
    let mut comparison = Comparison::new();
    let mut count = CaseCount::default();
    for case in cases::all() {
        match case.direction {
            Direction::Requests => count.requests += 1,
            Direction::Replies { .. } => count.replies += 1,
        }
        run_case(&case, &mut count, &mut report.faults);
        let ours = read(case.direction, [case.input.as_slice()]);
        comparison.add(
            &case.name,
            case.direction,
            &case.input,
            &ours,
            &mut report.faults,
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
        comparison.read_otherwise,
        0,
    );
    report.at_most(
        "own cases: written anew, hyper disagrees",
        comparison.written_otherwise,
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

/// hyper's reading beside the codec's.
struct Comparison {
    oracle: Oracle,
    /// Messages compared.
    compared: u64,
    /// Inputs of which hyper reads something else, or nothing.
    read_otherwise: u64,
    /// The same of what the codec writes anew.
    written_otherwise: u64,
    /// Requests accepted, although detection would not have taken the connection for HTTP/1.
    undetected: u64,
}

impl Comparison {
    fn new() -> Self {
        Self {
            oracle: Oracle::new(),
            compared: 0,
            read_otherwise: 0,
            written_otherwise: 0,
            undetected: 0,
        }
    }

    /// Compares what the codec accepted of an input.
    fn add(
        &mut self,
        name: &str,
        direction: Direction,
        input: &[u8],
        ours: &Conversation,
        faults: &mut Vec<String>,
    ) {
        let messages = match direction {
            Direction::Requests => ours.messages.as_slice(),
            // hyper's client takes one final reply and what stands before it.
            Direction::Replies { .. } => {
                let last = ours.messages.iter().position(Meaning::is_final);
                last.and_then(|last| ours.messages.get(..=last))
                    .unwrap_or_default()
            }
        };
        let Some(last) = messages.last() else { return };
        self.compared += messages.len() as u64;
        let read = match direction {
            Direction::Requests => input,
            Direction::Replies { .. } => input.get(..last.end).unwrap_or_default(),
        };
        if let Some(fault) = self.disagreement(direction, messages, read) {
            self.read_otherwise += 1;
            faults.push(format!("{name}: {fault}"));
        }
        let mut written: Vec<u8> = messages
            .iter()
            .flat_map(|message| message.written.clone())
            .collect();
        if direction == Direction::Requests {
            written.extend_from_slice(cases::NEXT_REQUEST);
        }
        if let Some(fault) = self.disagreement(direction, messages, &written) {
            self.written_otherwise += 1;
            faults.push(format!("{name}, written anew: {fault}"));
        }
        // Empty lines stand before a request, never at the beginning of a connection.
        let detected = http1_prefix(input) == Prefix::Match || input.starts_with(b"\r\n");
        if direction == Direction::Requests && !detected {
            self.undetected += 1;
            faults.push(format!(
                "{name}: accepted, not detected: `{}`",
                input.escape_ascii()
            ));
        }
    }

    /// How hyper's reading of the bytes differs from the messages.
    fn disagreement(
        &self,
        direction: Direction,
        messages: &[Meaning],
        bytes: &[u8],
    ) -> Option<String> {
        let theirs = match direction {
            Direction::Requests => self.oracle.requests(bytes),
            Direction::Replies { to_head } => {
                // hyper does not tell the 1xx replies; they are taken as read.
                let interim = messages
                    .iter()
                    .filter(|message| !message.is_final())
                    .cloned();
                interim.chain(self.oracle.reply(bytes, to_head)).collect()
            }
        };
        let closes = messages.last().is_some_and(|last| last.closes);
        if let Some(more) = theirs.get(messages.len()).filter(|_| closes) {
            return Some(format!(
                "`{}`: hyper reads `{}` behind a close",
                bytes.escape_ascii(),
                more.told()
            ));
        }
        let differing = messages.iter().enumerate().find(|(at, message)| {
            theirs
                .get(*at)
                .is_none_or(|other| !message.means_the_same(other))
        });
        let (at, message) = differing?;
        let other = match theirs.get(at) {
            Some(other) => format!("reads `{}`", other.told()),
            None => "refuses it".to_owned(),
        };
        Some(format!(
            "`{}`: weft reads `{}`, hyper {other}",
            bytes.escape_ascii(),
            message.told()
        ))
    }
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
    let mut comparison = Comparison::new();
    let mut random = mutants::Random::new(seed);
    let (mut untouched, mut untouched_refused, mut accepted, mut split_matters) = (0, 0, 0, 0);
    for number in 0..mutants {
        let mutant = mutants::next(&mut random);
        let ours = read(mutant.direction, [mutant.input.as_slice()]);
        let at = random.below(mutant.input.len() as u64 + 1) as usize;
        let (first, second) = mutant.input.split_at(at);
        let fault =
            |what: &str| format!("mutant {number}: {what}: `{}`", mutant.input.escape_ascii());
        if told(&ours) != told(&read(mutant.direction, [first, second])) {
            split_matters += 1;
            report
                .faults
                .push(fault(&format!("the split at {at} matters")));
        }
        untouched += u64::from(mutant.untouched);
        let complete = ours.refused.is_none() && ours.messages.iter().any(Meaning::is_final);
        if mutant.untouched && !complete {
            untouched_refused += 1;
            report
                .faults
                .push(fault(&format!("valid, but `{}`", told(&ours))));
        }
        accepted += u64::from(!ours.messages.is_empty());
        let name = format!("mutant {number}");
        comparison.add(
            &name,
            mutant.direction,
            &mutant.input,
            &ours,
            &mut report.faults,
        );
    }
    report.at_least("mutants", mutants, MUTANTS_SHORT);
    report.shown("mutants: left valid", untouched);
    report.at_most("mutants: left valid, refused", untouched_refused, 0);
    report.shown("mutants: at least one message accepted", accepted);
    // Without it a codec that refuses everything would pass.
    report.at_least(
        "mutants: messages compared with hyper",
        comparison.compared,
        mutants / 5,
    );
    report.at_most(
        "mutants: accepted, hyper disagrees",
        comparison.read_otherwise,
        0,
    );
    report.at_most(
        "mutants: written anew, hyper disagrees",
        comparison.written_otherwise,
        0,
    );
    report.at_most("mutants: accepted, not detected", comparison.undetected, 0);
    report.at_most("mutants: read otherwise when split", split_matters, 0);
}
