//! `bench gates`: user instructions and allocations per call, counted by valgrind, held to committed figures.
//!
//! Counted is the sidecar alone, in a run of 2N calls less a run of N, on one connection and with a fixed window:
//! the same on every machine. The figures that gate stand in `xtask/gates.json` (first honest measurement and 5 %);
//! they only go down. A change that makes a path dearer has to say so by editing that file.

use super::client::Client;
use super::h2;
use super::http1::{build, knows};
use super::motan;
use super::processes::{
    Backend, Folder, Mesh, PROXY_CORE, Sidecar, can_pin, free_port, move_to_the_proxy_core,
};
use crate::command;
use crate::peers;
use crate::report::{Limit, Report, Row};
use serde_json::{Map, Value, json};
use std::fs;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// The committed figures.
const GATES: &str = "xtask/gates.json";

/// A first measurement may be passed by this much.
const MARGIN: f64 = 1.05;

/// The service that is called.
const SERVICE: &str = "bench";

/// Calls of the shorter run; the longer one makes twice as many.
const CALLS: u64 = 1600;

/// Calls before anything is compared: pools and tables have their size then.
const WARM_UP_CALLS: u64 = 160;

/// How to run.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Options {
    /// One JSON object as last line
    #[arg(long)]
    pub(crate) json: bool,
    /// Write what was measured, plus 5 %, as the new gates; rows that already gate may only go down
    #[arg(long)]
    pub(crate) commit: bool,
    /// The profile to build weft in
    #[arg(long, default_value = "release")]
    pub(crate) profile: String,
    /// A binary to measure instead of building one
    #[arg(long, value_name = "PATH")]
    pub(crate) binary: Option<PathBuf>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            json: false,
            commit: false,
            profile: "release".to_owned(),
            binary: None,
        }
    }
}

/// What the load goes through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Case {
    Http1Hop,
    Http1Pair,
    Motan2Hop,
    H2Hop,
    Relay,
}

impl Case {
    const ALL: [Self; 5] = [
        Self::Http1Hop,
        Self::Http1Pair,
        Self::Motan2Hop,
        Self::H2Hop,
        Self::Relay,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Http1Hop => "http1 hop",
            Self::Http1Pair => "http1 pair, plain link",
            Self::Motan2Hop => "motan2 hop, 16 at once",
            Self::H2Hop => "h2 hop",
            Self::Relay => "tcp relay, a request of HTTP/1.1",
        }
    }

    /// What performance work aims at, instructions per call.
    fn goal(self) -> f64 {
        match self {
            Self::Http1Hop => 8_000.0,
            Self::Http1Pair => 20_000.0,
            Self::Motan2Hop => 3_000.0,
            Self::H2Hop => 35_000.0,
            Self::Relay => 1_000.0,
        }
    }
}

/// What valgrind counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Instructions,
    Allocations,
}

impl Counted {
    const ALL: [Self; 2] = [Self::Instructions, Self::Allocations];

    fn name(self) -> &'static str {
        match self {
            Self::Instructions => "instructions",
            Self::Allocations => "allocations",
        }
    }

    /// The words before the program; `%p` becomes the process.
    fn valgrind(self, folder: &Path) -> Vec<String> {
        let file = folder.join("%p.count").to_string_lossy().into_owned();
        let mut words = vec!["valgrind".to_owned(), "--trace-children=yes".to_owned()];
        match self {
            Self::Instructions => words.extend([
                "--tool=callgrind".to_owned(),
                format!("--callgrind-out-file={file}"),
            ]),
            Self::Allocations => words.extend([
                "--tool=memcheck".to_owned(),
                "--leak-check=no".to_owned(),
                "--undef-value-errors=no".to_owned(),
                format!("--log-file={file}"),
            ]),
        }
        words
    }

    /// The count in what valgrind wrote for one process.
    fn read(self, folder: &Path, pid: u32) -> Result<u64, String> {
        let path = folder.join(format!("{pid}.count"));
        let text = fs::read_to_string(&path)
            .map_err(|error| format!("read valgrind's count \"{}\": {error}", path.display()))?;
        self.count(&text)
            .ok_or_else(|| format!("no count in \"{}\"", path.display()))
    }

    fn count(self, text: &str) -> Option<u64> {
        let (before, after) = match self {
            Self::Instructions => ("totals: ", "\n"),
            Self::Allocations => ("total heap usage: ", " allocs"),
        };
        let (_, rest) = text.rsplit_once(before)?;
        let (number, _) = rest.split_once(after)?;
        number.trim().replace(',', "").parse().ok()
    }
}

/// Measures, prints, and says whether every row keeps its gate.
pub(crate) fn run(options: &Options) -> Result<bool, String> {
    if peers::version("valgrind").is_none() {
        return Err("valgrind is not installed; cargo xtask peers installs it".to_owned());
    }
    let binary = match &options.binary {
        Some(binary) => binary.clone(),
        None => build(&options.profile)?,
    };
    can_pin()?;
    move_to_the_proxy_core()?;
    let path = command::root().join(GATES);
    let mut gates = read_gates(&path)?;
    let mut rows = Vec::new();
    let mut faults = Vec::new();
    for case in Case::ALL {
        for counted in Counted::ALL {
            let name = format!("{} {}", case.name(), counted.name());
            let once = measure(&binary, case, counted, CALLS)?;
            let twice = measure(&binary, case, counted, 2 * CALLS)?;
            let each = twice.saturating_sub(once) as f64 / CALLS as f64;
            println!("{name}: {each}");
            let gate = gates.get(&name).and_then(Value::as_f64);
            let mut row = Row::shown(&name, each);
            row.gate = gate;
            row.limit = if gate.is_some() {
                Limit::AtMost
            } else {
                Limit::Shown
            };
            row.goal = Some(if counted == Counted::Instructions {
                case.goal()
            } else {
                0.0
            });
            if gate.is_none() && !options.commit {
                faults.push(format!(
                    "\"{name}\" has no gate in {GATES}; cargo xtask bench gates --commit writes it"
                ));
            }
            let allowed = margin(each, counted);
            if options.commit && gate.is_none_or(|gate| allowed < gate) {
                gates.insert(name, json!(allowed));
            }
            rows.push(row);
        }
    }
    if options.commit {
        write_gates(&path, &gates)?;
    }
    let report = Report {
        suite: "bench gates".to_owned(),
        rows,
        faults,
        setting: json!({
            "profile": options.profile,
            "calls": CALLS,
            "window": {"http1": 1, "h2": 1, "motan2": motan::BATCH},
            "peer": peers::version("valgrind"),
        }),
    };
    report.print(options.json);
    Ok(report.pass())
}

/// The gate of a first measurement: instructions to the next ten, allocations to the next hundredth.
fn margin(each: f64, counted: Counted) -> f64 {
    match counted {
        Counted::Instructions => (each * MARGIN / 10.0).ceil() * 10.0,
        Counted::Allocations => (each * MARGIN * 100.0).ceil().max(5.0) / 100.0,
    }
}

fn read_gates(path: &Path) -> Result<Map<String, Value>, String> {
    let Ok(text) = fs::read_to_string(path) else {
        return Ok(Map::new());
    };
    serde_json::from_str(&text).map_err(|error| format!("read {GATES}: {error}"))
}

fn write_gates(path: &Path, gates: &Map<String, Value>) -> Result<(), String> {
    let text =
        serde_json::to_string_pretty(gates).map_err(|error| format!("write {GATES}: {error}"))?;
    fs::write(path, text + "\n").map_err(|error| format!("write {GATES}: {error}"))
}

/// What all sidecars of a case counted in one run.
fn measure(binary: &Path, case: Case, counted: Counted, calls: u64) -> Result<u64, String> {
    let counts = Folder::new("counts")?;
    let kind = match case {
        Case::Motan2Hop => "motan2",
        Case::H2Hop => "h2",
        Case::Http1Hop | Case::Http1Pair | Case::Relay => "http1",
    };
    let backend = Backend::start(PROXY_CORE, kind)?;
    let mut mesh = Mesh::new(binary.to_path_buf(), "gates")?;
    if case == Case::Http1Pair {
        mesh.start_center()?;
    }
    let mesh = mesh.under(counted.valgrind(&counts.path));
    let port = match case {
        Case::Motan2Hop => format!("motan={},interface={SERVICE},group=bench", backend.port),
        Case::Http1Hop | Case::Http1Pair => format!("http={}", backend.port),
        Case::H2Hop => format!("h2={}", backend.port),
        Case::Relay => format!("tcp={}", backend.port),
    };
    let relay = free_port()?;
    let listener = (case == Case::Relay).then(|| format!("inbound:tcp={relay}"));
    let called = mesh.start_listening(SERVICE, Some(&port), listener.as_deref())?;
    let inbound = called.address("inbound")?;
    let mut sidecars: Vec<Sidecar> = Vec::new();
    match case {
        Case::Http1Pair => {
            let caller = mesh.start_sidecar("bench-caller", None)?;
            let outbound = caller.address("outbound")?;
            knows(outbound)?;
            http1(outbound, calls)?;
            sidecars.push(caller);
        }
        Case::Motan2Hop => {
            let mut client = Client::connect(inbound)?;
            motan::call_times(&mut client, SERVICE, WARM_UP_CALLS + calls)?;
        }
        Case::Http1Hop => http1(inbound, calls)?,
        Case::H2Hop => h2::get_times(inbound, SERVICE, WARM_UP_CALLS + calls)?,
        Case::Relay => http1(SocketAddr::from((Ipv4Addr::LOCALHOST, relay)), calls)?,
    }
    sidecars.push(called);
    let mut sum = 0;
    for sidecar in sidecars {
        let pid = sidecar.pid;
        sidecar.end()?;
        sum += counted.read(&counts.path, pid)?;
    }
    Ok(sum)
}

fn http1(address: SocketAddr, calls: u64) -> Result<(), String> {
    Client::connect(address)?.get_times(SERVICE, WARM_UP_CALLS + calls)
}

#[cfg(test)]
mod tests;
