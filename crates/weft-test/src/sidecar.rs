//! A sidecar of a test: `weft run` without a command, beside an app that the test serves itself.

use crate::http::HttpConnection;
use crate::mesh::{ADMIN_TOKEN, Mesh};
use crate::metrics::Metrics;
use crate::process::{Process, freeze, resident_bytes, signal_pid, thaw};
use crate::wait::{until, until_within};
use rustix::process::Signal;
use serde_json::Value;
use std::cell::{Cell, RefCell};
use std::path::PathBuf;
use std::rc::Rc;
use std::time::Duration;

/// How long the books may take to balance once a scenario is over.
const BALANCE_BOUND: Duration = Duration::from_secs(10);

/// A sidecar that is yet to be started.
#[derive(Debug)]
pub struct SidecarBuilder<'a> {
    mesh: &'a Mesh,
    service: String,
    args: Vec<String>,
    advertise: &'static str,
    has_ports: bool,
    awaits_app: bool,
}

impl<'a> SidecarBuilder<'a> {
    pub(crate) fn new(mesh: &'a Mesh, service: &str) -> Self {
        let args = ["run", "--service", service, "--access-log", "all"];
        Self {
            mesh,
            service: service.to_owned(),
            args: args.map(str::to_owned).to_vec(),
            advertise: "127.0.0.1",
            has_ports: false,
            awaits_app: true,
        }
    }

    /// A port of the app: what stands before the number in `--port` and the number.
    pub fn port(self, protocol: &str, number: u16) -> Self {
        self.port_spec(&format!("{protocol}={number}"))
    }

    /// A port of the app as in `--port`.
    pub fn port_spec(mut self, spec: &str) -> Self {
        self.has_ports = true;
        self.arg("--port").arg(spec)
    }

    /// The address at which its peers look for it, where a test may put something between.
    pub fn advertise(mut self, address: &'static str) -> Self {
        self.advertise = address;
        self
    }

    /// One more argument of `weft run`.
    pub fn arg(mut self, arg: &str) -> Self {
        self.args.push(arg.to_owned());
        self
    }

    /// Does not wait until the mesh knows this instance: its app is not there.
    pub fn without_app(mut self) -> Self {
        self.awaits_app = false;
        self
    }

    /// Starts it and waits until it is ready, and until every sidecar of the mesh knows its instance.
    pub async fn start(mut self) -> Sidecar {
        let advertise = self.advertise.to_owned();
        self.args.extend(["--advertise".to_owned(), advertise]);
        let center = self.mesh.center_address();
        if let Some(address) = &center {
            self.args.extend(["--center".to_owned(), address.clone()]);
        }
        let number = std::fs::read_dir(self.mesh.folder()).map_or(0, Iterator::count);
        let name = format!("{}-{number}", self.service);
        let process = Process::weft(
            &name,
            self.mesh.folder(),
            &self.args,
            &self.mesh.environment(),
        );
        let pid = process.pid();
        let file = until(
            &format!("the runtime file of {}", self.service),
            async || runtime_file_of(self.mesh, pid),
        )
        .await;
        let sidecar = Sidecar(Rc::new(Started {
            process: RefCell::new(process),
            service: self.service.clone(),
            has_ports: self.has_ports && self.awaits_app,
            file,
            state: self.mesh.state(),
            alive: Cell::new(true),
        }));
        self.mesh.add(sidecar.clone());
        until(
            &format!("the sidecar of {} to be ready", self.service),
            async || sidecar.is_ready().await.then_some(()),
        )
        .await;
        if center.is_some() {
            self.mesh.settle().await;
        }
        sidecar
    }
}

fn runtime_file_of(mesh: &Mesh, agent: u32) -> Option<PathBuf> {
    let entries = std::fs::read_dir(mesh.runtime()).ok()?;
    entries.flatten().map(|entry| entry.path()).find(|path| {
        path.extension()
            .is_some_and(|extension| extension == "json")
            && read_json(path)
                .is_some_and(|file| file["pid"] == agent && file["sidecar_pid"].is_u64())
    })
}

fn read_json(path: &PathBuf) -> Option<Value> {
    serde_json::from_str(&std::fs::read_to_string(path).ok()?).ok()
}

/// A running host agent with its sidecar.
#[derive(Clone, Debug)]
pub struct Sidecar(Rc<Started>);

#[derive(Debug)]
struct Started {
    process: RefCell<Process>,
    service: String,
    has_ports: bool,
    file: PathBuf,
    state: PathBuf,
    alive: Cell<bool>,
}

impl Sidecar {
    /// The service.
    pub fn service(&self) -> &str {
        &self.0.service
    }

    /// The instance's id.
    pub fn instance(&self) -> String {
        self.runtime_file()["instance"]
            .as_str()
            .unwrap_or_default()
            .to_owned()
    }

    /// The sidecar's process; none while it is down.
    pub fn pid(&self) -> Option<u32> {
        u32::try_from(self.runtime_file()["sidecar_pid"].as_u64()?).ok()
    }

    /// Where it keeps what it knows of the mesh.
    pub fn state_folder(&self) -> PathBuf {
        let slot = self.0.file.file_stem().unwrap_or_default();
        self.0.state.join(slot)
    }

    fn runtime_file(&self) -> Value {
        read_json(&self.0.file).unwrap_or_default()
    }

    fn port(&self, role: &str) -> u16 {
        let file = self.runtime_file();
        let port = file["ports"][role]
            .as_u64()
            .and_then(|port| u16::try_from(port).ok());
        port.unwrap_or_else(|| {
            panic!(
                "the runtime file of {} has no port {role}: {file}",
                self.service()
            )
        })
    }

    /// The port for the app's calls, in any protocol.
    pub fn outbound_port(&self) -> u16 {
        self.port("outbound")
    }

    /// The port at which calls for the app arrive.
    pub fn inbound_port(&self) -> u16 {
        self.port("inbound")
    }

    /// The HTTP forward proxy.
    pub fn http_proxy_port(&self) -> u16 {
        self.port("http_proxy")
    }

    /// Metrics and readiness.
    pub fn management_port(&self) -> u16 {
        self.port("management")
    }

    /// A connection as the app's.
    pub async fn outbound(&self) -> HttpConnection {
        HttpConnection::open(self.outbound_port()).await
    }

    /// A connection of a plain caller to the app.
    pub async fn inbound(&self) -> HttpConnection {
        HttpConnection::open(self.inbound_port()).await
    }

    /// A connection to the forward proxy.
    pub async fn http_proxy(&self) -> HttpConnection {
        HttpConnection::open(self.http_proxy_port()).await
    }

    /// Memory of the sidecar's process.
    pub fn resident_bytes(&self) -> u64 {
        resident_bytes(self.pid().expect("the sidecar runs"))
    }

    /// Kills the sidecar's process, not its agent. Returns its process id.
    pub fn kill_process(&self) -> u32 {
        let pid = self.pid().expect("the sidecar runs");
        signal_pid(pid, Signal::KILL);
        pid
    }

    /// Waits for a sidecar process other than this one.
    pub async fn successor_of(&self, killed: u32) -> u32 {
        until("a successor of the killed sidecar", async || {
            self.pid().filter(|pid| *pid != killed)
        })
        .await
    }

    /// Kills agent and sidecar, and waits until their ports are free: nobody says goodbye.
    pub async fn kill(&self) {
        let port = self.inbound_port();
        self.0.alive.set(false);
        // Stopped first: an agent that is alive starts a successor, a sidecar that outlives it says goodbye.
        self.0.process.borrow().signal(Signal::STOP);
        if let Some(pid) = self.pid() {
            signal_pid(pid, Signal::KILL);
        }
        self.0.process.borrow_mut().kill();
        until("the ports of a killed sidecar to be free", async || {
            let attempt = tokio::net::TcpStream::connect(("127.0.0.1", port)).await;
            attempt.is_err().then_some(())
        })
        .await;
    }

    /// Stops agent and sidecar where they stand: connections stay, nobody answers, nobody replaces anything.
    pub async fn freeze(&self) {
        let agent = self.0.process.borrow().pid();
        freeze(agent).await;
        freeze(self.pid().expect("the sidecar runs")).await;
    }

    /// Lets both run on.
    pub fn thaw(&self) {
        thaw(self.pid().expect("the sidecar runs"));
        thaw(self.0.process.borrow().pid());
    }

    /// Asks the agent to end, as systemd would, and waits until it has.
    pub async fn end(&self) -> Option<i32> {
        self.0.alive.set(false);
        self.0.process.borrow().signal(Signal::TERM);
        until("the agent to end after SIGTERM", async || {
            self.0.process.borrow_mut().ended()
        })
        .await
    }

    /// Whether nobody has ended it.
    pub fn is_alive(&self) -> bool {
        self.0.alive.get()
    }

    pub(crate) fn has_ports(&self) -> bool {
        self.0.has_ports
    }

    /// What agent and sidecar wrote.
    pub fn written(&self) -> String {
        self.0.process.borrow().written()
    }

    async fn is_ready(&self) -> bool {
        let port = self.management_port();
        let Ok(_) = tokio::net::TcpStream::connect(("127.0.0.1", port)).await else {
            return false;
        };
        HttpConnection::open(port)
            .await
            .get("localhost", "/ready")
            .await
            .status
            == 200
    }

    /// Whether calls of a service would be told of this instance: it is held as ready, or nothing of the service
    /// is held and its name is known, so that the first call asks for it.
    pub(crate) async fn would_be_told_of(
        &self,
        namespace: &str,
        service: &str,
        instance: &str,
    ) -> Option<bool> {
        let config = self.config(&format!("{service}.{namespace}")).await?;
        let services = config["snapshot"]["services"].as_array()?;
        let is_it = |held: &&Value| held["name"] == service && held["namespace"] == namespace;
        let held = services.iter().find(is_it);
        let Some(held) = held else {
            return config["asked"]["is_service"].as_bool();
        };
        let instances = held["instances"].as_array()?;
        Some(
            instances
                .iter()
                .any(|held| held["id"] == instance && held["state"] == "ready"),
        )
    }

    /// Its namespace: the runtime file's name begins with it.
    pub(crate) fn namespace(&self) -> String {
        let name = self
            .0
            .file
            .file_name()
            .unwrap_or_default()
            .to_string_lossy();
        name.split('-').next().unwrap_or_default().to_owned()
    }

    /// The services that it is told of.
    pub async fn subscribed(&self) -> Vec<String> {
        let config = self
            .config("")
            .await
            .expect("the sidecar shows its configuration");
        let services = config["snapshot"]["services"].as_array();
        let subscribed = services
            .into_iter()
            .flatten()
            .filter(|held| held["subscribed"] == true);
        subscribed
            .map(|held| held["name"].as_str().unwrap_or_default().to_owned())
            .collect()
    }

    async fn config(&self, host: &str) -> Option<Value> {
        let mut management = HttpConnection::open(self.management_port()).await;
        let request = format!(
            "GET /config?host={host} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {ADMIN_TOKEN}\r\n\r\n"
        );
        let reply = management.call(request).await;
        serde_json::from_str(reply.text()).ok()
    }

    /// What it counted so far.
    pub async fn metrics(&self) -> Metrics {
        let mut management = HttpConnection::open(self.management_port()).await;
        let reply = management.get("localhost", "/metrics").await;
        assert_eq!(
            reply.status,
            200,
            "the metrics of {}: {reply:?}",
            self.service()
        );
        Metrics::parse(reply.text())
    }

    /// Waits until it has recorded exactly so many calls with these labels.
    pub async fn expect_calls(&self, count: u64, labels: &[(&str, &str)]) {
        let mut last = Metrics::default();
        let reached = tokio::time::timeout(BALANCE_BOUND, async {
            while last.calls(labels) != count {
                last = self.metrics().await;
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        assert!(
            reached.is_ok(),
            "calls of {} with {labels:?}: expected {count}, found {}; all:\n{last}",
            self.service(),
            last.calls(labels)
        );
    }

    /// The records of calls that it wrote so far.
    pub fn records(&self) -> Vec<Value> {
        let written = self.written();
        let lines = written
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        lines.filter(|line| line["kind"] == "call").collect()
    }

    /// Waits for a record of which these fields have these values.
    pub async fn expect_record(&self, fields: &[(&str, &str)]) -> Value {
        until_within(
            &format!("a record of {} with {fields:?}", self.service()),
            BALANCE_BOUND,
            async || {
                let fits = |record: &Value| {
                    fields.iter().all(|(name, value)| match record.get(*name) {
                        Some(Value::String(found)) => found == value,
                        Some(Value::Number(found)) => found.to_string() == **value,
                        _ => false,
                    })
                };
                self.records().into_iter().find(fits)
            },
        )
        .await
    }

    /// Every call that it opened is recorded, none is under way, nothing panicked.
    pub async fn expect_balanced_books(&self) {
        let mut last = Metrics::default();
        let balanced = tokio::time::timeout(BALANCE_BOUND, async {
            loop {
                last = self.metrics().await;
                if last.imbalance().is_none() {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        })
        .await;
        assert!(
            balanced.is_ok(),
            "the books of {} do not balance: {}\n{last}",
            self.service(),
            last.imbalance().unwrap_or_default()
        );
    }
}
