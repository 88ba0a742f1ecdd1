//! The processes of a drill: center, agents with their sidecars, apps; in folders of their own, on free ports.
//!
//! Each ends when its value is dropped, also after a failure, and with this process. What they said is in the
//! folder's logs, and is shown when a drill cannot go on.

use crate::bench::processes::{Folder, Process, free_port, get, wait_for};
use serde_json::Value;
use std::fmt::Write;
use std::fs::{self, File};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

/// How long a process may take until it serves.
pub(crate) const READY_WITHIN: Duration = Duration::from_secs(20);

/// The service that drills call.
pub(crate) const SERVICE: &str = "shop";

/// Its interface in Motan2.
pub(crate) const INTERFACE: &str = "drill.Shop";

/// How long the app takes for a reply.
pub(crate) const DELAY_MS: u64 = 5;

/// The processes' folder and binary.
pub(crate) struct Mesh {
    binary: PathBuf,
    folder: Folder,
    center: SocketAddr,
}

/// An agent with its sidecar.
pub(crate) struct Instance {
    pub(crate) agent: Process,
    file: PathBuf,
    ports: Value,
}

/// An app in its own process.
pub(crate) struct App {
    pub(crate) process: Process,
    address: Ipv4Addr,
    pub(crate) http: u16,
    pub(crate) motan: u16,
}

impl Mesh {
    /// Makes the folder and chooses the center's address.
    pub(crate) fn new(binary: &Path, name: &str) -> Result<Self, String> {
        Ok(Self {
            binary: binary.to_path_buf(),
            folder: Folder::new(&format!("drill-{name}"))?,
            center: SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()?)),
        })
    }

    /// The same with a center that others reach at this address of ours.
    pub(crate) fn reached_at(address: Ipv4Addr, binary: &Path, name: &str) -> Result<Self, String> {
        let mut mesh = Self::new(binary, name)?;
        mesh.center.set_ip(address.into());
        Ok(mesh)
    }

    /// A command of the binary, with this mesh's folders; what it says goes to a log.
    pub(crate) fn command(&self, log: &str, words: &[&str]) -> Result<Command, String> {
        let mut command = tied_to_us();
        command.arg(&self.binary).args(words);
        self.dress(&mut command, log)?;
        Ok(command)
    }

    fn dress(&self, command: &mut Command, log: &str) -> Result<(), String> {
        let path = self.folder.path.join(format!("{log}.log"));
        let told = |error| format!("open the log \"{}\": {error}", path.display());
        let file = File::options().create(true).append(true).open(&path);
        let file = file.map_err(told)?;
        command
            .env("WEFT_RUNTIME_DIR", self.folder.path.join("run"))
            .env("WEFT_STATE_DIR", self.folder.path.join("state"))
            .env_remove("WEFT_CENTER")
            .stdin(Stdio::null())
            .stdout(file.try_clone().map_err(told)?)
            .stderr(file);
        Ok(())
    }

    /// Starts the center and waits until it listens.
    pub(crate) fn start_center(&self) -> Result<Process, String> {
        let address = self.center.to_string();
        let mut words = vec!["center", "--listen", &address];
        if !self.center.ip().is_loopback() {
            words.push("--insecure-listen");
        }
        let mut command = self.command("center", &words)?;
        let process = Process::spawn(&mut command)?;
        self.wait_for("the center", || TcpStream::connect(self.center).ok())?;
        Ok(process)
    }

    /// Where the center listens.
    pub(crate) fn center(&self) -> SocketAddr {
        self.center
    }

    /// Starts the agent of a service with these flags and the app after `--`, and waits until its sidecar is ready.
    pub(crate) fn start_instance(
        &self,
        service: &str,
        flags: &[String],
        app: &[String],
    ) -> Result<Instance, String> {
        self.start_under(tied_to_us(), service, flags, app)
    }

    /// The same for an agent and a sidecar that may have so many files open, without an app.
    pub(crate) fn start_limited(
        &self,
        files: &str,
        service: &str,
        flags: &[String],
    ) -> Result<Instance, String> {
        self.start_under(limited(files), service, flags, &[])
    }

    /// The same for an agent and a sidecar that belong to the cgroup whose file of processes this is.
    pub(crate) fn start_within(
        &self,
        processes: &Path,
        service: &str,
        flags: &[String],
    ) -> Result<Instance, String> {
        let mut command = tied_to_us();
        let enter = "echo $$ > \"$0\" && exec \"$@\"";
        command.args(["sh", "-c", enter]).arg(processes);
        self.start_under(command, service, flags, &[])
    }

    /// The same under a command that leads elsewhere, where nobody here can ask whether it is ready.
    pub(crate) fn start_apart(
        &self,
        command: Command,
        flags: &[String],
        app: &[String],
    ) -> Result<Process, String> {
        self.spawn(command, SERVICE, flags, app)
    }

    fn spawn(
        &self,
        mut command: Command,
        service: &str,
        flags: &[String],
        app: &[String],
    ) -> Result<Process, String> {
        let center = self.center.to_string();
        let mut words = vec!["run", "--service", service, "--center", &center];
        words.extend(flags.iter().map(String::as_str));
        if !app.is_empty() {
            words.push("--");
            words.extend(app.iter().map(String::as_str));
        }
        command.arg(&self.binary).args(words);
        self.dress(&mut command, service)?;
        Process::spawn(&mut command)
    }

    fn start_under(
        &self,
        command: Command,
        service: &str,
        flags: &[String],
        app: &[String],
    ) -> Result<Instance, String> {
        let agent = self.spawn(command, service, flags, app)?;
        let folder = self.folder.path.join("run");
        let (file, value) = self.wait_for("the runtime file of a sidecar", || {
            runtime_file(&folder, agent.pid())
        })?;
        let instance = Instance {
            agent,
            file,
            ports: value["ports"].clone(),
        };
        self.wait_for("the readiness of a sidecar", || {
            instance.is_ready().then_some(())
        })?;
        Ok(instance)
    }

    /// Starts an app, and waits until it listens.
    pub(crate) fn start_app(&self, name: &str) -> Result<App, String> {
        App::start_at(self, tied_to_us(), Ipv4Addr::LOCALHOST, name)
    }

    /// A file in the mesh's own folder.
    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.folder.path.join(name)
    }

    /// Runs the binary to its end; what it says is in the log.
    pub(crate) fn run(&self, words: &[&str]) -> Result<(), String> {
        let status = self.command("cli", words)?.status();
        let status = status.map_err(|error| format!("run weft {}: {error}", words.join(" ")))?;
        if status.success() {
            return Ok(());
        }
        Err(format!(
            "weft {}: {status}\n{}",
            words.join(" "),
            self.logs()
        ))
    }

    /// Writes all that the center keeps to a file, and says where.
    pub(crate) fn backup(&self) -> Result<String, String> {
        let path = self.folder.path.join("mesh.backup");
        let path = path.to_string_lossy().into_owned();
        let center = self.center.to_string();
        self.run(&["center", "backup", &path, "--center", &center])?;
        Ok(path)
    }

    /// Waits for something; when it does not come, the error has the ends of the logs.
    pub(crate) fn wait_for<T>(
        &self,
        what: &str,
        look: impl FnMut() -> Option<T>,
    ) -> Result<T, String> {
        wait_for(what, READY_WITHIN, look).map_err(|error| format!("{error}\n{}", self.logs()))
    }

    /// The last lines of every log.
    pub(crate) fn logs(&self) -> String {
        const LINES: usize = 12;
        let mut text = String::new();
        let entries = fs::read_dir(&self.folder.path).into_iter().flatten();
        let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
        paths.sort();
        for path in paths {
            let Ok(log) = fs::read_to_string(&path) else {
                continue;
            };
            let lines: Vec<&str> = log.lines().collect();
            let from = lines.len().saturating_sub(LINES);
            let name = path.file_name().unwrap_or_default().display().to_string();
            let _ = writeln!(text, "--- {name}\n{}", lines[from..].join("\n"));
        }
        text
    }
}

impl Instance {
    /// The sidecar's process as the runtime file has it now; none while there is none.
    pub(crate) fn sidecar_pid(&self) -> Option<u32> {
        let value: Value = serde_json::from_slice(&fs::read(&self.file).ok()?).ok()?;
        value["sidecar_pid"].as_u64().map(|pid| pid as u32)
    }

    /// The address of one of its ports: `inbound`, `outbound`, `management`.
    pub(crate) fn address(&self, port: &str) -> SocketAddr {
        let number = self.ports[port].as_u64().unwrap_or(0);
        SocketAddr::from((Ipv4Addr::LOCALHOST, number as u16))
    }

    /// Whether the management port says so.
    pub(crate) fn is_ready(&self) -> bool {
        get(self.address("management"), "/ready").is_ok_and(|(status, _)| status == 200)
    }
}

impl App {
    /// Starts one that listens at this address, under a command that may lead elsewhere; waits until it does.
    pub(crate) fn start_at(
        mesh: &Mesh,
        mut command: Command,
        address: Ipv4Addr,
        name: &str,
    ) -> Result<Self, String> {
        let (http, motan) = (free_port()?, free_port()?);
        command
            .args(app_words(http, motan, name))
            .args(["--address", &address.to_string()]);
        mesh.dress(&mut command, "app")?;
        let process = Process::spawn(&mut command)?;
        mesh.wait_for("the app", || TcpStream::connect((address, motan)).ok())?;
        Ok(Self {
            process,
            address,
            http,
            motan,
        })
    }

    /// Where it speaks HTTP/1.1.
    pub(crate) fn http_address(&self) -> SocketAddr {
        SocketAddr::from((self.address, self.http))
    }

    /// The flags that declare its ports.
    pub(crate) fn flags(&self) -> Vec<String> {
        port_flags(self.http, self.motan)
    }
}

/// Flags of an instance that is gone at once, where nobody looks at how it leaves.
pub(crate) fn ends_at_once() -> Vec<String> {
    ["--drain-limit", "0s"].map(str::to_owned).to_vec()
}

/// The flags that declare these ports of the service that drills call.
pub(crate) fn port_flags(http: u16, motan: u16) -> Vec<String> {
    [
        "--port",
        &format!("http={http}"),
        "--port",
        &format!("motan={motan},interface={INTERFACE}"),
        "--idempotent",
        "get",
    ]
    .map(str::to_owned)
    .to_vec()
}

/// The words that start an app of a drill.
pub(crate) fn app_words(http: u16, motan: u16, name: &str) -> Vec<String> {
    // Its own file may have been replaced by a build since it was started; this link still leads to it.
    let this = format!("/proc/{}/exe", std::process::id());
    [
        &this,
        "drill-app",
        "--http",
        &http.to_string(),
        "--motan",
        &motan.to_string(),
        "--delay-ms",
        &DELAY_MS.to_string(),
        "--name",
        name,
    ]
    .map(str::to_owned)
    .to_vec()
}

/// A drill that is killed takes its processes with it.
pub(crate) fn tied_to_us() -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "TERM"]);
    command
}

/// The same, with a limit of open files that it cannot raise.
pub(crate) fn limited(files: &str) -> Command {
    let mut command = tied_to_us();
    command.args(["prlimit", &format!("--nofile={files}:{files}")]);
    command
}

fn runtime_file(folder: &Path, agent: u32) -> Option<(PathBuf, Value)> {
    fs::read_dir(folder).ok()?.flatten().find_map(|entry| {
        let path = entry.path();
        path.extension().filter(|end| *end == "json")?;
        let value: Value = serde_json::from_slice(&fs::read(&path).ok()?).ok()?;
        let is_its = value["pid"].as_u64() == Some(u64::from(agent));
        let runs = value["sidecar_pid"].as_u64().is_some_and(|pid| pid > 0);
        (is_its && runs).then_some((path, value))
    })
}
