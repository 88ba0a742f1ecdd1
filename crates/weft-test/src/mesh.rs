//! A mesh of one test: its folders, its center, its sidecars.

use crate::http::HttpConnection;
use crate::process::Process;
use crate::sidecar::{Sidecar, SidecarBuilder};
use crate::wait::until;
use serde_json::Value;
use std::cell::RefCell;
use std::ffi::OsStr;
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};

/// What opens `/config` of the sidecars of a test.
pub(crate) const ADMIN_TOKEN: &str = "token-of-the-test";

/// Lines of a process's output that are shown when a scenario fails.
const LINES_SHOWN: usize = 20;

/// A mesh in folders of its own. Dropped, all its processes are killed.
#[derive(Debug)]
pub struct Mesh {
    folder: Folder,
    center: RefCell<Option<Center>>,
    sidecars: RefCell<Vec<Sidecar>>,
}

#[derive(Debug)]
struct Center {
    process: Process,
    /// `host:port`
    address: String,
}

impl Mesh {
    /// A mesh with a center.
    pub async fn start() -> Self {
        let mesh = Self::without_center();
        mesh.start_center("127.0.0.1:0").await;
        mesh
    }

    /// A mesh of which no sidecar has heard a center.
    pub fn without_center() -> Self {
        Self {
            folder: Folder::new(),
            center: RefCell::default(),
            sidecars: RefCell::default(),
        }
    }

    /// Starts a center at an address; it knows nothing yet.
    pub async fn start_center(&self, listen: &str) {
        // What a center that was killed left behind.
        let _ = std::fs::remove_file(self.runtime().join("center.json"));
        let process = Process::weft(
            "center",
            self.folder(),
            &["center", "--listen", listen],
            &self.environment(),
        );
        let file = self.runtime().join("center.json");
        let address = until("the center to write center.json", async || {
            let text = std::fs::read_to_string(&file).ok()?;
            let value: Value = serde_json::from_str(&text).ok()?;
            Some(
                value
                    .get("url")?
                    .as_str()?
                    .strip_prefix("http://")?
                    .to_owned(),
            )
        })
        .await;
        *self.center.borrow_mut() = Some(Center { process, address });
    }

    /// A sidecar of a service, to be described further and started.
    pub fn sidecar(&self, service: &str) -> SidecarBuilder<'_> {
        SidecarBuilder::new(self, service)
    }

    /// A caller and a service with one port, each with its sidecar.
    pub async fn pair(&self, service: &str, protocol: &str, port: u16) -> Pair {
        let callee = self.sidecar(service).port(protocol, port).start().await;
        let caller = self.sidecar("web").start().await;
        Pair { caller, callee }
    }

    /// Declares what stands in this YAML, as a person would: `weft apply`.
    pub async fn apply(&self, yaml: &str) {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("apply-{}", NUMBER.fetch_add(1, Relaxed));
        let file = self.folder().join(format!("{name}.yaml"));
        std::fs::write(&file, yaml).expect("the folder of the test can be written");
        let path = file.display().to_string();
        let arguments = ["apply", "-f", &path];
        let mut process = Process::weft(&name, self.folder(), &arguments, &self.environment());
        let code = until("weft apply to end", async || process.ended()).await;
        assert_eq!(code, Some(0), "{}", process.written());
    }

    /// Kills the center with SIGKILL; the address it had.
    pub fn kill_center(&self) -> String {
        let mut center = self
            .center
            .borrow_mut()
            .take()
            .expect("the mesh has a center");
        center.process.kill();
        center.address.clone()
    }

    /// The instances of a service, as the center lists them.
    pub async fn instances(&self, service: &str) -> Vec<Value> {
        let port = self
            .center_address()
            .and_then(|address| address.rsplit(':').next()?.parse().ok());
        let mut center = HttpConnection::open(port.expect("the mesh has a center")).await;
        let path = "/apis/mesh.weft.dev/v1alpha1/namespaces/default/instances";
        let reply = center.get("localhost", path).await;
        assert_eq!(
            reply.status, 200,
            "the center's list of instances: {reply:?}"
        );
        let list: Value = serde_json::from_str(reply.text()).expect("the center answers JSON");
        let items = list["items"].as_array().cloned().unwrap_or_default();
        items
            .into_iter()
            .filter(|item| item["spec"]["service"] == service)
            .collect()
    }

    /// The states of the instances of a service at the center.
    pub async fn states(&self, service: &str) -> Vec<String> {
        let instances = self.instances(service).await;
        instances
            .iter()
            .map(|item| {
                item["status"]["state"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            })
            .collect()
    }

    /// Waits until the center and every sidecar know of every instance; a sidecar that does not call a service
    /// yet knows that it is one.
    pub async fn settle(&self) {
        let wanted: Vec<(String, String, String)> = self
            .alive()
            .iter()
            .filter(|sidecar| sidecar.has_ports())
            .map(|sidecar| {
                let service = sidecar.service().to_owned();
                (sidecar.namespace(), service, sidecar.instance())
            })
            .collect();
        for (namespace, service, instance) in &wanted {
            // Of other namespaces a sidecar's word for the name is enough.
            if self.center_address().is_some() && namespace == "default" {
                until(
                    &format!("the center to list {instance} of {namespace} as ready"),
                    async || {
                        let instances = self.instances(service).await;
                        let is_ready = |item: &Value| {
                            item["metadata"]["name"] == **instance
                                && item["status"]["state"] == "Ready"
                        };
                        instances.iter().any(is_ready).then_some(())
                    },
                )
                .await;
            }
            for sidecar in self.alive() {
                let what = format!("the sidecar of {} to know of {instance}", sidecar.service());
                until(&what, async || {
                    let knows = sidecar
                        .would_be_told_of(namespace, service, instance)
                        .await?;
                    knows.then_some(())
                })
                .await;
            }
        }
    }

    /// The folder for files of the test.
    pub fn folder(&self) -> &Path {
        &self.folder.0
    }

    pub(crate) fn runtime(&self) -> PathBuf {
        self.folder().join("runtime")
    }

    pub(crate) fn state(&self) -> PathBuf {
        self.folder().join("state")
    }

    pub(crate) fn center_address(&self) -> Option<String> {
        self.center
            .borrow()
            .as_ref()
            .map(|center| center.address.clone())
    }

    pub(crate) fn environment(&self) -> [(&'static str, &OsStr); 5] {
        [
            ("WEFT_RUNTIME_DIR", self.folder.1.as_os_str()),
            ("WEFT_STATE_DIR", self.folder.2.as_os_str()),
            ("WEFT_ADMIN_TOKEN", OsStr::new(ADMIN_TOKEN)),
            ("WEFT_CENTER", OsStr::new("")),
            ("http_proxy", OsStr::new("")),
        ]
    }

    pub(crate) fn add(&self, sidecar: Sidecar) {
        self.sidecars.borrow_mut().push(sidecar);
    }

    fn alive(&self) -> Vec<Sidecar> {
        let sidecars = self.sidecars.borrow();
        sidecars
            .iter()
            .filter(|sidecar| sidecar.is_alive())
            .cloned()
            .collect()
    }

    /// The end of every scenario: each sidecar recorded every call that it opened, none is under way, nothing
    /// panicked.
    pub async fn expect_balanced_books(&self) {
        for sidecar in self.alive() {
            sidecar.expect_balanced_books().await;
        }
    }

    /// What the processes wrote last, for a scenario that failed.
    pub fn story(&self) -> String {
        let mut story = String::new();
        let mut tell = |name: &str, written: &str| {
            let is_well = |line: &&str| line.contains("\"code\":\"ok\"");
            let well = written.lines().filter(is_well).count();
            let lines: Vec<&str> = written.lines().filter(|line| !is_well(line)).collect();
            let from = lines.len().saturating_sub(LINES_SHOWN);
            let shown = lines.get(from..).unwrap_or_default().join("\n");
            // Writing to a String cannot fail.
            let _ = writeln!(
                story,
                "--- {name} wrote {well} records of good calls, and last:\n{shown}"
            );
        };
        for sidecar in self.sidecars.borrow().iter() {
            tell(
                &format!("{} ({})", sidecar.service(), sidecar.instance()),
                &sidecar.written(),
            );
        }
        if let Some(center) = self.center.borrow().as_ref() {
            tell("the center", &center.process.written());
        }
        story
    }
}

/// A caller's sidecar and a callee's.
#[derive(Clone, Debug)]
pub struct Pair {
    /// Beside the caller; its service is `web`.
    pub caller: Sidecar,
    /// Beside the app.
    pub callee: Sidecar,
}

/// The folder of the test, and the runtime and state folder in it; removed at the end.
#[derive(Debug)]
struct Folder(PathBuf, PathBuf, PathBuf);

impl Folder {
    fn new() -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!(
            "weft-test-{}-{}",
            std::process::id(),
            NUMBER.fetch_add(1, Relaxed)
        );
        let folder = std::env::temp_dir().join(name);
        std::fs::create_dir_all(&folder).expect("the temporary folder can be written");
        let (runtime, state) = (folder.join("runtime"), folder.join("state"));
        Self(folder, runtime, state)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What is left behind in a temporary folder is no reason to fail.
        let _ = std::fs::remove_dir_all(&self.0);
    }
}
