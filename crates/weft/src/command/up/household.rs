//! The processes of `weft up`: started, looked after, ended, and the temporary folder in which they live.
//!
//! None outlives us: each is started through the launcher, which ties its life to ours.

use crate::clock;
use crate::failure::Failure;
use crate::values;
use std::fmt::Write;
use std::fs::{self, DirBuilder, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::DirBuilderExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::time::sleep;
use weft_host::app::{LaunchSignal, launcher};
use weft_host::{CenterFile, Folders, RuntimeFile};

/// The process that is the center.
pub(super) const CENTER: &str = "center";
/// The process that makes the load.
pub(super) const VISITORS: &str = "visitors";

/// How long a process may take to end by itself.
const END_WAIT: Duration = Duration::from_secs(8);
/// How often it is looked at meanwhile.
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Bytes of a log that are shown when something went wrong.
const TAIL_BYTES: u64 = 4096;
/// The first port for apps: below the range from which the system gives out ports by itself.
const APP_PORTS_FROM: u16 = 18_000;
/// Ports tried for an app, at the most.
const APP_PORTS_TRIED: u16 = 8_000;

/// One instance to be started.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    /// The name of its process: the service, and a number where there are several.
    pub(super) name: String,
    /// The service, which is also the name of the demo app.
    pub(super) service: &'static str,
    /// What the app speaks.
    pub(super) protocol: &'static str,
    /// Where the app listens.
    pub(super) port: u16,
}

/// The instances behind the load, the deepest first.
pub(super) fn plans() -> Vec<Plan> {
    const INSTANCES: [(&str, &str, &str); 7] = [
        ("grpc-1", "stock-grpc", "grpc"),
        ("grpc-2", "stock-grpc", "grpc"),
        ("stock-1", "stock", "motan"),
        ("stock-2", "stock", "motan"),
        ("orders-1", "orders", "http"),
        ("orders-2", "orders", "http"),
        ("web", "web", "http"),
    ];
    // Held together until all are found, so that none is found twice.
    let held = free_ports(INSTANCES.len());
    let port = |listener: &TcpListener| listener.local_addr().map_or(0, |address| address.port());
    INSTANCES
        .into_iter()
        .zip(&held)
        .map(|((name, service, protocol), listener)| Plan {
            name: name.to_owned(),
            service,
            protocol,
            port: port(listener),
        })
        .collect()
}

/// Free ports; where they are looked for depends on our pid, so that two of us do not race for the same ones.
fn free_ports(count: usize) -> Vec<TcpListener> {
    let offset = (std::process::id() % 1000) as u16 * 8;
    (0..APP_PORTS_TRIED)
        .map(|step| APP_PORTS_FROM + (offset + step) % APP_PORTS_TRIED)
        .filter_map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).ok())
        .take(count)
        .collect()
}

/// The processes and their folder.
pub(super) struct Household {
    folder: PathBuf,
    folders: Folders,
    program: PathBuf,
    members: Vec<Member>,
    app_ports: Vec<(String, u16)>,
}

struct Member {
    name: String,
    child: Child,
}

impl Household {
    /// An empty one, with a folder of its own.
    pub(super) fn new() -> Result<Self, Failure> {
        let program = std::env::current_exe().map_err(|error| {
            Failure::refused(format!(
                "cannot find the weft binary: {error}; is /proc mounted?"
            ))
        })?;
        let folder = std::env::temp_dir().join(values::new_instance_id("weft-up"));
        let folders = Folders {
            runtime: folder.join("run"),
            state: folder.join("state"),
        };
        let household = Self {
            folders,
            program,
            members: Vec::new(),
            app_ports: Vec::new(),
            folder,
        };
        for path in [&household.folder, &household.log_folder()] {
            DirBuilder::new()
                .mode(0o700)
                .create(path)
                .map_err(|error| {
                    Failure::refused(format!(
                        "cannot create the folder {}: {error}",
                        path.display()
                    ))
                })?;
        }
        Ok(household)
    }

    /// Where the processes' output goes.
    pub(super) fn log_folder(&self) -> PathBuf {
        self.folder.join("logs")
    }

    /// Where the load generator writes its numbers.
    pub(super) fn report_path(&self) -> PathBuf {
        self.folder.join("visitors.jsonl")
    }

    /// Starts one process of this binary.
    pub(super) fn start(&mut self, name: &str, arguments: &[&str]) -> Result<(), Failure> {
        let command: Vec<_> = [self.program.as_os_str()]
            .into_iter()
            .chain(arguments.iter().map(AsRef::as_ref))
            .map(ToOwned::to_owned)
            .collect();
        let failed = |error: io::Error| Failure::refused(format!("cannot start {name}: {error}"));
        // Appended to: a center that is started anew goes on in its log.
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.log_path(name))
            .map_err(failed)?;
        let mut launcher: Command = launcher(&self.program, LaunchSignal::Term, &command);
        launcher
            .env("WEFT_RUNTIME_DIR", &self.folders.runtime)
            .env("WEFT_STATE_DIR", &self.folders.state)
            .env_remove("WEFT_CENTER")
            .stdin(Stdio::null())
            .stdout(log.try_clone().map_err(failed)?)
            .stderr(log)
            // A group of its own: Ctrl-C comes to us alone, and we end all in good order.
            .process_group(0);
        let child = launcher.spawn().map_err(failed)?;
        self.members.push(Member {
            name: name.to_owned(),
            child,
        });
        Ok(())
    }

    /// Starts an instance of a demo service with its sidecar.
    pub(super) fn start_instance(&mut self, plan: &Plan, center: &str) -> Result<(), Failure> {
        let program = self.program.display().to_string();
        let port = plan.port.to_string();
        let declared = format!("{}={port}", plan.protocol);
        self.app_ports.push((plan.name.clone(), plan.port));
        let arguments = [
            "run",
            "--service",
            plan.service,
            "--port",
            &declared,
            "--center",
            center,
            // A person kills what they like, and sees it come back.
            "--restart",
            "always",
            // The demo apps only read.
            "--idempotent",
            "count",
            "--idempotent",
            "*/Count",
            // All end together: nobody is left who would have to hear of it first.
            "--drain-limit",
            "0s",
            "--",
            &program,
            "demo",
            plan.service,
            "--port",
            &port,
        ];
        let in_turns: &[&str] = if plan.service == "orders" {
            &["--in-turns"]
        } else {
            &[]
        };
        self.start(&plan.name, &[&arguments, in_turns].concat())
    }

    /// Starts the load with its sidecar.
    pub(super) fn start_visitors(
        &mut self,
        center: &str,
        rate: u32,
        connections: u16,
    ) -> Result<(), Failure> {
        let program = self.program.display().to_string();
        let report = self.report_path().display().to_string();
        let (rate, connections) = (rate.to_string(), connections.to_string());
        let arguments = [
            "run",
            "--service",
            VISITORS,
            "--center",
            center,
            // All end together: nobody is left who would have to hear of it first.
            "--drain-limit",
            "0s",
            "--",
            &program,
            "demo",
            VISITORS,
            "--rate",
            &rate,
            "--connections",
            &connections,
            "--report",
            &report,
        ];
        self.start(VISITORS, &arguments)
    }

    /// The names of all processes.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.members.iter().map(|member| member.name.as_str())
    }

    /// Where the app of each instance listens.
    pub(super) fn app_ports(&self) -> &[(String, u16)] {
        &self.app_ports
    }

    /// The center's address, once it has written it.
    pub(super) fn center_url(&self) -> Option<String> {
        CenterFile::read(&self.folders).map(|file| file.url)
    }

    /// Where an instance is, once it has a sidecar.
    pub(super) fn runtime_file(&self, name: &str) -> Option<RuntimeFile> {
        let pid = self
            .members
            .iter()
            .find(|member| member.name == name)?
            .child
            .id();
        let found = self
            .runtime_files()
            .into_iter()
            .find(|file| file.pid == pid)?;
        found.sidecar_pid.is_some().then_some(found)
    }

    /// Every instance there is.
    pub(super) fn runtime_files(&self) -> Vec<RuntimeFile> {
        let entries = fs::read_dir(&self.folders.runtime)
            .into_iter()
            .flatten()
            .flatten();
        entries
            .filter_map(|entry| RuntimeFile::read(&entry.path()))
            .collect()
    }

    /// A process that has ended although nobody asked it to: its name, and a sentence. Told once.
    pub(super) fn ended(&mut self) -> Option<(String, String)> {
        let ended = |member: &mut Member| member.child.try_wait().ok().flatten();
        let (index, status) = self
            .members
            .iter_mut()
            .enumerate()
            .find_map(|(index, member)| Some((index, ended(member)?)))?;
        let member = self.members.remove(index);
        let text = format!("{} ended by itself ({status})", member.name);
        Some((member.name, text))
    }

    /// A failure with the ends of the logs that say something.
    pub(super) fn failure(&self, text: &str) -> Failure {
        let mut text = text.to_owned();
        let logs = fs::read_dir(self.log_folder())
            .into_iter()
            .flatten()
            .flatten();
        let mut logs: Vec<PathBuf> = logs.map(|entry| entry.path()).collect();
        logs.sort();
        for log in logs {
            let tail = tail(&log);
            if !tail.is_empty() {
                let name = log.file_name().unwrap_or_default().display();
                let _ = write!(text, "\n--- {name}\n{}", tail.trim_end());
            }
        }
        Failure::refused(text)
    }

    /// Ends one process in good order.
    pub(super) async fn end(&mut self, name: &str) -> Result<(), Failure> {
        let Some(index) = self.members.iter().position(|member| member.name == name) else {
            return Ok(());
        };
        let member = self.members.remove(index);
        let text = format!("{name} did not end within {} s", END_WAIT.as_secs());
        if end(vec![member]).await {
            Ok(())
        } else {
            Err(self.failure(&text))
        }
    }

    /// Ends every process and removes the folder.
    pub(super) async fn end_all(&mut self) {
        // The center last: it hears the others' goodbyes.
        let center = self.members.iter().position(|member| member.name == CENTER);
        let center = center.map(|index| self.members.remove(index));
        end(std::mem::take(&mut self.members)).await;
        end(center.into_iter().collect()).await;
        let _ = fs::remove_dir_all(&self.folder);
    }

    /// The output of one process.
    pub(super) fn log_path(&self, name: &str) -> PathBuf {
        self.log_folder().join(format!("{name}.log"))
    }
}

impl Drop for Household {
    fn drop(&mut self) {
        // Reached without `end_all` only when starting failed at once; nobody must stay behind then either.
        for member in &mut self.members {
            let _ = member.child.kill();
            let _ = member.child.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// Asks processes to end, waits, then kills; whether all ended by themselves.
async fn end(mut members: Vec<Member>) -> bool {
    for member in &members {
        if let Some(pid) = i32::try_from(member.child.id())
            .ok()
            .and_then(rustix::process::Pid::from_raw)
        {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
    let until = clock::now() + END_WAIT;
    while !members.is_empty() && clock::now() < until {
        members.retain_mut(|member| matches!(member.child.try_wait(), Ok(None)));
        sleep(LOOK_EVERY).await;
    }
    for member in &mut members {
        let _ = member.child.kill();
        let _ = member.child.wait();
    }
    members.is_empty()
}

/// The end of a log.
fn tail(path: &Path) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(path)?;
        let len = file.metadata()?.len();
        file.seek(SeekFrom::Start(len.saturating_sub(TAIL_BYTES)))?;
        let mut bytes = Vec::new();
        file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    };
    read().unwrap_or_default()
}

#[cfg(test)]
mod tests;
