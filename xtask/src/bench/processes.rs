//! The processes of a bench: the app, weft's own, Envoy; each ends when its value is dropped.
//!
//! Load and app run on core 0, what is measured on core 1. Folders are temporary; ports are free ones.

use crate::command::{self, found};
use crate::peers;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader};
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The core of the load and the app.
pub(super) const LOAD_CORE: &str = "0";

/// The core of what is measured.
pub(super) const PROXY_CORE: &str = "1";

/// How long a process may take until it serves; valgrind makes it slow.
pub(crate) const READY_WITHIN: Duration = Duration::from_mins(1);

/// How long a process may take to end after it was asked.
const END_WITHIN: Duration = Duration::from_secs(30);

/// Between two looks at a state that is waited for; the start rows are as exact as this.
const LOOK_EVERY: Duration = Duration::from_micros(200);

/// The clock of the benches.
#[expect(clippy::disallowed_methods, reason = "a bench measures time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Looks until something is there; an error names what was waited for.
pub(crate) fn wait_for<T>(
    what: &str,
    within: Duration,
    look: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    wait_for_every(LOOK_EVERY, what, within, look)
}

/// The same with few looks, where each look costs something that is counted.
pub(crate) fn wait_for_every<T>(
    every: Duration,
    what: &str,
    within: Duration,
    mut look: impl FnMut() -> Option<T>,
) -> Result<T, String> {
    let start = now();
    loop {
        if let Some(found) = look() {
            return Ok(found);
        }
        if now() - start > within {
            return Err(format!("{what} did not come within {} s", within.as_secs()));
        }
        std::thread::sleep(every);
    }
}

/// A process that is asked to end, then killed, when dropped.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    /// Starts it on a core.
    pub(super) fn start(
        core: &str,
        words: Vec<String>,
        envs: &[(&str, &Path)],
    ) -> Result<Self, String> {
        Self::start_with(core, words, envs, Stdio::null())
    }

    fn start_with(
        core: &str,
        words: Vec<String>,
        envs: &[(&str, &Path)],
        stdout: Stdio,
    ) -> Result<Self, String> {
        let mut command = Command::new("taskset");
        command
            .args(["--cpu-list", core])
            // A bench that is killed takes its processes with it.
            .args(["setpriv", "--pdeathsig", "TERM"])
            .args(words)
            .env("PATH", peers::path());
        for (name, value) in envs {
            command.env(name, value);
        }
        let stderr = if std::env::var_os("WEFT_BENCH_LOUD").is_some() {
            Stdio::inherit()
        } else {
            Stdio::null()
        };
        command.stdin(Stdio::null()).stdout(stdout).stderr(stderr);
        Self::spawn(&mut command)
    }

    /// Starts a command as it is.
    pub(crate) fn spawn(command: &mut Command) -> Result<Self, String> {
        let told = command::told(command);
        let child = command
            .spawn()
            .map_err(|error| format!("start {told}: {error}"))?;
        Ok(Self { child })
    }

    /// Whether it has not ended yet.
    pub(crate) fn runs(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Sends it a signal.
    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        signal_to(self.child.id(), signal);
    }

    /// Its id: `taskset` replaces itself by the program.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Asks it to end and waits; killed when it does not.
    pub(crate) fn end(&mut self) -> Result<(), String> {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return Ok(());
        }
        self.signal(rustix::process::Signal::TERM);
        let ended = wait_for("the end of a process", END_WITHIN, || {
            self.child.try_wait().ok().flatten().map(|_| ())
        });
        if ended.is_err() {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
        ended
    }
}

/// Sends a signal to a process; one that is gone is what its sender finds out by looking.
pub(crate) fn signal_to(pid: u32, signal: rustix::process::Signal) {
    if let Some(pid) = rustix::process::Pid::from_raw(pid.cast_signed()) {
        let _ = rustix::process::kill_process(pid, signal);
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.end();
    }
}

/// The app of a bench.
pub(crate) struct Backend {
    process: Process,
    /// Where it listens.
    pub(crate) port: u16,
}

impl Backend {
    /// Starts this program's own `bench backend` on a core.
    pub(crate) fn start(core: &str, kind: &str) -> Result<Self, String> {
        // Its own file may have been replaced by a build since it was started; this link still leads to it.
        let this = format!("/proc/{}/exe", std::process::id());
        let words = vec![
            this,
            "bench".to_owned(),
            "backend".to_owned(),
            kind.to_owned(),
        ];
        let mut process = Process::start_with(core, words, &[], Stdio::piped())?;
        let stdout = process
            .child
            .stdout
            .take()
            .ok_or("the backend has no output")?;
        let mut line = String::new();
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(|error| format!("read the backend's port: {error}"))?;
        let port = line
            .trim()
            .parse()
            .map_err(|_| format!("the backend said \"{line}\""))?;
        Ok(Self { process, port })
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

/// A temporary folder, removed when dropped.
pub(crate) struct Folder {
    /// Where.
    pub(crate) path: PathBuf,
}

impl Folder {
    /// Makes one below the system's temporary folder.
    pub(crate) fn new(name: &str) -> Result<Self, String> {
        let path = std::env::temp_dir().join(format!("weft-bench-{}-{name}", std::process::id()));
        fs::create_dir_all(&path)
            .map_err(|error| format!("make folder \"{}\": {error}", path.display()))?;
        Ok(Self { path })
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.path);
    }
}

/// Weft's processes with folders of their own.
pub(super) struct Mesh {
    /// The binary.
    binary: PathBuf,
    /// Words before the binary: valgrind.
    under: Vec<String>,
    folder: Folder,
    /// Where the center listens; empty without one.
    center: Option<(Process, String)>,
}

/// One sidecar with its agent.
pub(super) struct Sidecar {
    agent: Process,
    /// The sidecar's own process.
    pub(super) pid: u32,
    ports: Value,
}

impl Mesh {
    /// A mesh of this binary.
    pub(super) fn new(binary: PathBuf, name: &str) -> Result<Self, String> {
        Ok(Self {
            binary,
            under: Vec::new(),
            folder: Folder::new(name)?,
            center: None,
        })
    }

    /// The same with every sidecar below another program.
    pub(super) fn under(mut self, words: Vec<String>) -> Self {
        self.under = words;
        self
    }

    fn envs(&self) -> [(&'static str, &Path); 2] {
        [
            ("WEFT_RUNTIME_DIR", &self.folder.path),
            ("WEFT_STATE_DIR", &self.folder.path),
        ]
    }

    fn binary(&self) -> String {
        self.binary.to_string_lossy().into_owned()
    }

    /// Starts a center; sidecars that are started later are told of it.
    pub(super) fn start_center(&mut self) -> Result<(), String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?));
        let words = vec![
            self.binary(),
            "center".to_owned(),
            "--listen".to_owned(),
            address.to_string(),
        ];
        let process = Process::start(LOAD_CORE, words, &self.envs())?;
        wait_for("the center", READY_WITHIN, || {
            std::net::TcpStream::connect(address).ok()
        })?;
        self.center = Some((process, address.to_string()));
        Ok(())
    }

    /// Starts the sidecar of a service at an inbound address, and does not wait.
    pub(super) fn launch(
        &self,
        service: &str,
        port: &str,
        inbound: SocketAddr,
    ) -> Result<Process, String> {
        let inbound = inbound.to_string();
        let words = [
            "run",
            "--service",
            service,
            "--port",
            port,
            "--inbound",
            &inbound,
        ];
        let mut all = vec![self.binary()];
        all.extend(words.map(str::to_owned));
        Process::start(PROXY_CORE, all, &self.envs())
    }

    /// Starts the sidecar of a service, with one worker.
    pub(super) fn start_sidecar(
        &self,
        service: &str,
        port: Option<&str>,
    ) -> Result<Sidecar, String> {
        self.start_listening(service, port, None)
    }

    /// The same with a listener that declares its protocol.
    pub(super) fn start_listening(
        &self,
        service: &str,
        port: Option<&str>,
        listener: Option<&str>,
    ) -> Result<Sidecar, String> {
        let mut words = self.under.clone();
        words.extend([self.binary(), "run".to_owned()]);
        let mut flag = |name: &str, value: &str| {
            words.extend([format!("--{name}"), value.to_owned()]);
        };
        flag("service", service);
        flag("workers", "1");
        if let Some(port) = port {
            flag("port", port);
        }
        if let Some(listener) = listener {
            flag("listen", listener);
        }
        if let Some((_, center)) = &self.center {
            flag("center", center);
        }
        let agent = Process::start(PROXY_CORE, words, &self.envs())?;
        let path = self.folder.path.clone();
        let file = wait_for("the runtime file of a sidecar", READY_WITHIN, || {
            runtime_file(&path, service)
        })?;
        let pid = file["sidecar_pid"]
            .as_u64()
            .ok_or("the runtime file has no sidecar_pid")? as u32;
        let sidecar = Sidecar {
            agent,
            pid,
            ports: file["ports"].clone(),
        };
        let management = sidecar.address("management")?;
        wait_for("the readiness of a sidecar", READY_WITHIN, || {
            get(management, "/ready")
                .ok()
                .filter(|(status, _)| *status == 200)
        })?;
        Ok(sidecar)
    }
}

impl Sidecar {
    /// The address of one of its ports: `inbound`, `outbound`, `management`.
    pub(super) fn address(&self, port: &str) -> Result<SocketAddr, String> {
        let number = self.ports[port]
            .as_u64()
            .ok_or_else(|| format!("the runtime file has no {port} port"))?;
        Ok(SocketAddr::from((Ipv4Addr::LOCALHOST, number as u16)))
    }

    /// The sum of a metric over its labels, as the management port tells it.
    pub(super) fn metric(&self, name: &str) -> Result<f64, String> {
        let (status, text) = get(self.address("management")?, "/metrics")?;
        if status != 200 {
            return Err(format!("/metrics was answered with {status}"));
        }
        Ok(metric_sum(&text, name))
    }

    /// Ends agent and sidecar.
    pub(super) fn end(mut self) -> Result<(), String> {
        self.agent.end()
    }
}

/// The sum of the samples of one metric.
pub(crate) fn metric_sum(text: &str, name: &str) -> f64 {
    text.lines()
        .filter(|line| {
            line.strip_prefix(name)
                .is_some_and(|rest| rest.starts_with('{') || rest.starts_with(' '))
        })
        .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}

fn runtime_file(folder: &Path, service: &str) -> Option<Value> {
    let name = format!("default-{service}-");
    let entries = fs::read_dir(folder).ok()?;
    for entry in entries.flatten() {
        let file = entry.file_name().to_string_lossy().into_owned();
        if file.starts_with(&name)
            && Path::new(&file)
                .extension()
                .is_some_and(|end| end == "json")
        {
            let value: Value = serde_json::from_slice(&fs::read(entry.path()).ok()?).ok()?;
            if value["sidecar_pid"].as_u64().is_some_and(|pid| pid > 0) {
                return Some(value);
            }
        }
    }
    None
}

/// One request on a connection of its own; status and body.
pub(crate) fn get(address: SocketAddr, path: &str) -> Result<(u16, String), String> {
    get_from(address, &address.to_string(), path)
}

/// The same of a host that is reached through this address.
pub(crate) fn get_from(
    address: SocketAddr,
    host: &str,
    path: &str,
) -> Result<(u16, String), String> {
    use std::io::{Read, Write};
    let told = |error| format!("GET http://{address}{path}: {error}");
    let mut stream =
        std::net::TcpStream::connect_timeout(&address, Duration::from_secs(5)).map_err(told)?;
    stream
        .set_read_timeout(Some(Duration::from_secs(20)))
        .map_err(told)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(told)?;
    let mut text = Vec::new();
    stream.read_to_end(&mut text).map_err(told)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let status = head
        .split(' ')
        .nth(1)
        .and_then(|status| status.parse().ok())
        .unwrap_or(0);
    Ok((status, body.to_owned()))
}

/// A port that was free just now.
pub(crate) fn free_port() -> Result<u16, String> {
    let told = |error| format!("find a free port: {error}");
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).map_err(told)?;
    Ok(listener.local_addr().map_err(told)?.port())
}

/// Whether two cores and `taskset` are there.
pub(super) fn can_pin() -> Result<(), String> {
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    if cores < 2 {
        return Err(
            "a bench needs two cores: one for the load, one for what is measured".to_owned(),
        );
    }
    if found("taskset").is_none() || found("setpriv").is_none() {
        return Err("taskset and setpriv are not installed (Debian util-linux)".to_owned());
    }
    Ok(())
}

/// Moves this thread, and what it starts, to the core of what is measured: whoever waits then lets the next one
/// run, and the order of events is the same in every run.
pub(super) fn move_to_the_proxy_core() -> Result<(), String> {
    let core = PROXY_CORE
        .parse()
        .map_err(|_| "the core is no number".to_owned())?;
    let mut cores = rustix::thread::CpuSet::new();
    cores.set(core);
    rustix::thread::sched_setaffinity(None, &cores)
        .map_err(|error| format!("move to core {core}: {error}"))
}
