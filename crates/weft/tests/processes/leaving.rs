//! Instances that leave, and sidecars that are replaced, while calls go on: none of them fails.

use super::*;
use std::io::Write;

/// A mesh of a center, two instances of orders, and visitors that call them.
pub(super) struct Loaded {
    pub(super) folder: Folder,
    pub(super) center: Weft,
    orders: Vec<Weft>,
    visitors: Weft,
}

impl Loaded {
    /// Starts all, and waits until the visitors have had answers.
    pub(super) fn start(name: &str) -> Self {
        let folder = Folder::new(name);
        let center = Weft::start(folder.weft(&["center", "--listen", "127.0.0.1:0"]));
        let file = folder.0.join("run/center.json");
        wait_for("the center", || file.exists().then_some(()));
        let orders = (0..2).map(|number| start_orders(&folder, number)).collect();
        let report = folder.0.join("report").display().to_string();
        let binary = env!("CARGO_BIN_EXE_weft");
        let arguments = [
            "run",
            "--service",
            "web",
            "--",
            binary,
            "demo",
            "visitors",
            "--host",
            "orders",
            "--rate",
            "200",
            "--report",
            &report,
        ];
        let visitors = Weft::start(folder.weft(&arguments));
        wait_for("a second of load", || {
            let text = fs::read_to_string(&report).ok()?;
            text.contains('\n').then_some(())
        });
        Self {
            folder,
            center,
            orders,
            visitors,
        }
    }

    /// The file that the app of an instance makes when it is told to end.
    fn told(&self, number: usize) -> PathBuf {
        self.folder.0.join(format!("told-{number}"))
    }

    /// The runtime file of an instance of orders.
    pub(super) fn instance(&self, number: usize) -> Option<Value> {
        let agent = self.orders[number].0.id();
        (0..2).find_map(|slot| {
            let path = self
                .folder
                .0
                .join(format!("run/default-orders-{slot}.json"));
            let file: Value = serde_json::from_slice(&fs::read(path).ok()?).ok()?;
            (file["pid"] == agent).then_some(file)
        })
    }

    /// Ends the load; calls and failures of all of it.
    pub(super) fn count(mut self) -> (u64, u64) {
        self.visitors.signal(Signal::TERM);
        let status = self.visitors.end();
        let text = fs::read_to_string(self.folder.0.join("report")).unwrap();
        let sum: Value = serde_json::from_str(text.lines().last().unwrap()).unwrap();
        println!("{status}: {sum}");
        if self.center.0.try_wait().unwrap().is_none() {
            self.center.signal(Signal::TERM);
        }
        let number = |name: &str| sum[name].as_u64().unwrap();
        (number("calls"), number("failed"))
    }
}

/// An instance whose app leaves a file when it is told to end.
fn start_orders(folder: &Folder, number: usize) -> Weft {
    let port = TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let told = folder
        .0
        .join(format!("told-{number}"))
        .display()
        .to_string();
    // The app dies with the shell, whatever ends the shell: an orphan would hold the test's output open.
    let weft = env!("CARGO_BIN_EXE_weft");
    let script = format!(
        "{weft} launch --signal kill --parent $$ -- {weft} demo echo-http --port {port} & app=$!; \
         trap ': > {told}; kill $app' TERM; wait $app; wait $app",
    );
    let declared = format!("http={port}");
    let arguments = [
        "run",
        "--service",
        "orders",
        "--port",
        &declared,
        "--",
        "sh",
        "-c",
        &script,
    ];
    Weft::start(folder.weft(&arguments))
}

#[test]
fn an_instance_leaves_under_load_without_a_failed_call_and_its_app_hears_of_it_last() {
    let mut mesh = Loaded::start("leaving");
    let told = mesh.told(0);
    mesh.orders[0].signal(Signal::TERM);
    let asked_at = now();
    wait_for("the app to be told", || told.exists().then_some(()));
    let took = now().duration_since(asked_at);
    println!("the app was told after {took:?}");
    // Two seconds, less the moment between the signal and our look at the clock.
    assert!(took >= Duration::from_millis(1900), "after {took:?}");
    assert!(took <= Duration::from_secs(5), "after {took:?}");
    mesh.orders[0].end();
    let (calls, failed) = mesh.count();
    assert!(calls > 400, "{calls} calls");
    assert_eq!(failed, 0, "of {calls} calls");
}

#[test]
fn a_second_signal_cuts_the_drain_short() {
    let mut mesh = Loaded::start("impatient");
    let told = mesh.told(1);
    let asked_at = now();
    mesh.orders[1].signal(Signal::TERM);
    wait_for("the app to be told", || {
        mesh.orders[1].signal(Signal::TERM);
        told.exists().then_some(())
    });
    let took = now().duration_since(asked_at);
    assert!(took <= Duration::from_millis(1500), "after {took:?}");
    mesh.orders[1].end();
    assert_eq!(mesh.instance(1), None);
}

#[test]
fn weft_drain_returns_when_the_instance_has_left_without_a_failed_call() {
    let mut mesh = Loaded::start("drain");
    let id = mesh.instance(0).unwrap()["instance"]
        .as_str()
        .unwrap()
        .to_owned();
    let output = mesh.folder.weft(&["drain", &id]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert!(mesh.told(0).exists());
    assert_eq!(mesh.instance(0), None);
    mesh.orders[0].end();
    let again = mesh.folder.weft(&["drain", &id]).output().unwrap();
    assert_eq!(again.status.code(), Some(1));
    let (calls, failed) = mesh.count();
    assert_eq!(failed, 0, "of {calls} calls");
}

#[test]
fn sidecars_are_restarted_as_planned_under_load_without_a_failed_call() {
    let mesh = Loaded::start("planned");
    let web = mesh.folder.runtime_file("web").unwrap();
    for file in [mesh.instance(0).unwrap(), mesh.instance(1).unwrap(), web] {
        let id = file["instance"].as_str().unwrap();
        let before = pid(file["sidecar_pid"].as_u64().unwrap()).unwrap();
        let output = mesh
            .folder
            .weft(&["restart", "proxy", id])
            .output()
            .unwrap();
        assert!(output.status.success(), "{output:?}");
        wait_for("the end of the one before", || {
            (!lives(before)).then_some(())
        });
    }
    assert!(mesh.instance(0).is_some() && mesh.instance(1).is_some());
    let (calls, failed) = mesh.count();
    assert_eq!(failed, 0, "of {calls} calls");
}

#[test]
fn an_idle_connection_ends_in_order_at_a_planned_restart_and_the_next_one_is_served() {
    let mesh = Loaded::start("planned-idle");
    let web = mesh.folder.runtime_file("web").unwrap();
    let id = web["instance"].as_str().unwrap();
    let outbound = mesh.folder.port("web", "outbound");
    let call = |idle: &mut TcpStream| {
        idle.write_all(b"GET / HTTP/1.1\r\nHost: orders\r\n\r\n")
            .unwrap();
        let mut head = [0; 4096];
        let read = idle.read(&mut head).unwrap();
        assert!(head[..read].starts_with(b"HTTP/1.1 200 "), "{read} bytes");
    };
    let connect = || {
        let stream = TcpStream::connect(("127.0.0.1", outbound)).unwrap();
        let wait = Some(Duration::from_secs(20));
        stream.set_read_timeout(wait).unwrap();
        stream
    };
    let mut idle = connect();
    call(&mut idle);
    let before = pid(web["sidecar_pid"].as_u64().unwrap()).unwrap();
    let output = mesh
        .folder
        .weft(&["restart", "proxy", id])
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    // Its end, not a reset, and not a byte that belongs to no call.
    let mut rest = Vec::new();
    idle.read_to_end(&mut rest).unwrap();
    assert!(rest.is_empty(), "{rest:?}");
    wait_for("the end of the one before", || {
        (!lives(before)).then_some(())
    });
    call(&mut connect());
    let (calls, failed) = mesh.count();
    assert_eq!(failed, 0, "of {calls} calls");
}

#[test]
fn a_sidecar_that_hangs_is_replaced_within_three_seconds() {
    let folder = Folder::new("hangs");
    let mut weft = Weft::start(folder.weft(&["run", "--service", "orders", "--", "sleep", "600"]));
    let first = wait_for("the sidecar", || folder.sidecar("orders"));
    let port = folder.port("orders", "management");
    wait_for("its answer", || {
        answer(port, "/ready").filter(|text| text.contains(" 200 "))
    });
    kill_process(first, Signal::STOP).unwrap();
    let stopped_at = now();
    wait_for("the successor", || {
        folder.sidecar("orders").filter(|pid| *pid != first)
    });
    let took = now().duration_since(stopped_at);
    println!("replaced after {took:?}");
    assert!(took <= Duration::from_secs(3), "after {took:?}");
    weft.signal(Signal::TERM);
    weft.end();
    assert!(weft.errors().contains("hangs"));
}
